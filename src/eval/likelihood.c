#include "eval/likelihood.h"

#include <math.h>
#include <string.h>

#include "base/progress.h"
#include "pass/exit.h"

enum { STEP_ROWS = 1024, STEP_GROUPS = 64, LOGIT_ROWS = 64 };

// Requests [first, first + count) with one context.
typedef struct group {
    size_t first, count;
    rrt__sequence sequence;
} group;

// A token of a continuation to score.
typedef struct target {
    size_t row; // index among the rows whose logits are needed
    int32_t id;
    size_t request;
    double log_p;
    bool is_greedy;
} target;

typedef struct run {
    const rrt_model *model;
    rrt__continuation *requests;
    size_t n_requests;
    int threads;
    int loops;
    rrt__workspace workspace;
    float *logits;             // [LOGIT_ROWS, vocab]
    group groups[STEP_GROUPS]; // of this batch
    size_t n_groups;
    // One step: some rows of each group.
    rrt__span spans[STEP_GROUPS];
    size_t n_spans, n_rows;
    int32_t *ids;             // [n_rows]
    size_t *wanted, n_wanted; // rows whose logits are needed, ascending
    target *targets;          // by row
    size_t n_targets, targets_capacity;
} run;

static size_t max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool same_context(const rrt__continuation *a, const rrt__continuation *b)
{
    return a->context == b->context && memcmp(a->ids, b->ids, a->context * sizeof *a->ids) == 0;
}

// How many requests from `first` on share the first one's context. *rows: max rows of a step for them.
static size_t measure_group(const run *r, size_t first, size_t *rows)
{
    const rrt__continuation *request = r->requests + first;
    size_t count = 0;
    *rows = request->context;
    for (; first + count < r->n_requests && same_context(request, request + count); count++)
        *rows = max(*rows, request[count].count - request[count].context);
    return count;
}

// --- one step, by all threads

// Moves the wanted rows to the front: only they go through the head.
static void gather_wanted(rrt__team team, run *r)
{
    size_t width = r->model->shape.hidden;
    float *hidden = r->workspace.hidden;
    for (size_t i = 0; team.ith == 0 && i < r->n_wanted; i++)
        memmove(hidden + i * width, hidden + r->wanted[i] * width, width * sizeof *hidden);
}

static void score(const run *r, target *t, const float *logits)
{
    size_t vocab = r->model->shape.vocab;
    t->log_p = logits[t->id] - r->workspace.kernels->log_sum_exp(logits, vocab);
    t->is_greedy = rrt__argmax(logits, vocab) == (size_t)t->id;
}

static void run_step(rrt__team team, void *argument)
{
    run *r = argument;
    const rrt__pass pass = rrt__pass_make(team, r->model, &r->workspace, r->spans, r->n_spans);
    rrt__walk(&pass, r->ids, r->loops);
    gather_wanted(team, r);
    rrt__team_barrier(team);
    for (size_t at = 0, t = 0; at < r->n_wanted; at += LOGIT_ROWS) {
        size_t rows = r->n_wanted - at < LOGIT_ROWS ? r->n_wanted - at : LOGIT_ROWS, first = t;
        rrt__forward_logits(&pass, at, rows, r->logits);
        while (t < r->n_targets && r->targets[t].row < at + rows) t++;
        rrt__share share = rrt__team_share(team, t - first, 1);
        for (size_t i = first + share.begin; i < first + share.end; i++)
            score(r, &r->targets[i], r->logits + (r->targets[i].row - at) * r->model->shape.vocab);
    }
}

// --- the steps of a batch

static void begin_step(run *r)
{
    r->n_spans = r->n_rows = r->n_wanted = r->n_targets = 0;
}

static void add_span(run *r, group *g, size_t position, const int32_t *ids, size_t count)
{
    r->spans[r->n_spans++] = (rrt__span){&g->sequence, position, count};
    memcpy(r->ids + r->n_rows, ids, count * sizeof *ids);
    r->n_rows += count;
}

// Scores a request's token by the last wanted row.
static rrt_status add_target(run *r, size_t request, size_t token, rrt_error *err)
{
    RRT__TRY(
        rrt__array_reserve(&r->targets, &r->targets_capacity, r->n_targets + 1, sizeof *r->targets, err));
    r->targets[r->n_targets++] =
        (target){.row = r->n_wanted - 1, .id = r->requests[request].ids[token], .request = request};
    return RRT_STATUS_OK;
}

static void finish_step(run *r)
{
    rrt__team_run(r->threads, run_step, r);
    for (size_t i = 0; i < r->n_targets; i++) {
        rrt__continuation *request = &r->requests[r->targets[i].request];
        request->log_likelihood += r->targets[i].log_p;
        request->is_greedy = request->is_greedy && r->targets[i].is_greedy;
    }
}

// Runs all contexts: their last rows score the first tokens of the continuations.
static rrt_status run_contexts(run *r, rrt_error *err)
{
    begin_step(r);
    for (size_t i = 0; i < r->n_groups; i++) {
        group *g = &r->groups[i];
        size_t context = r->requests[g->first].context;
        add_span(r, g, 0, r->requests[g->first].ids, context);
        r->wanted[r->n_wanted++] = r->n_rows - 1;
        for (size_t c = 0; c < g->count; c++) RRT__TRY(add_target(r, g->first + c, context, err));
    }
    finish_step(r);
    return RRT_STATUS_OK;
}

// Runs each group's continuation at `index`, over the previous one. Its last token is only scored.
static rrt_status run_continuations(run *r, size_t index, rrt_error *err)
{
    begin_step(r);
    for (size_t i = 0; i < r->n_groups; i++) {
        group *g = &r->groups[i];
        if (index >= g->count) continue;
        const rrt__continuation *request = &r->requests[g->first + index];
        size_t row = r->n_rows;
        add_span(r, g, request->context, request->ids + request->context,
                 request->count - request->context - 1);
        for (size_t token = request->context + 1; token < request->count; token++, row++) {
            r->wanted[r->n_wanted++] = row;
            RRT__TRY(add_target(r, g->first + index, token, err));
        }
    }
    if (r->n_rows > 0) finish_step(r);
    return RRT_STATUS_OK;
}

// Fills a batch with the groups from request `first` on. *end: the next request. Releases the last batch's
// pages: otherwise each sequence would grow to the longest that used its place.
static rrt_status make_batch(run *r, size_t first, size_t *end, rrt_error *err)
{
    size_t rows = 0, needed;
    for (size_t i = 0; i < r->n_groups; i++) rrt__sequence_free(&r->groups[i].sequence);
    for (r->n_groups = 0; first < r->n_requests && r->n_groups < STEP_GROUPS;) {
        size_t count = measure_group(r, first, &needed), positions = 0;
        if (r->n_groups > 0 && rows + needed > STEP_ROWS) break;
        rows += needed;
        group *g = &r->groups[r->n_groups++];
        g->first = first;
        g->count = count;
        for (; first < g->first + count; first++) positions = max(positions, r->requests[first].count);
        g->sequence.tokens = positions;
        RRT__TRY(rrt__sequence_reserve(&g->sequence, positions, err));
    }
    *end = first;
    return RRT_STATUS_OK;
}

static rrt_status run_batch(run *r, rrt_error *err)
{
    size_t max_count = 0;
    RRT__TRY(run_contexts(r, err));
    for (size_t i = 0; i < r->n_groups; i++) max_count = max(max_count, r->groups[i].count);
    for (size_t index = 0; index < max_count; index++) RRT__TRY(run_continuations(r, index, err));
    return RRT_STATUS_OK;
}

static rrt_status open_run(run *r, int loops, rrt__kv_types kv_type, rrt_error *err)
{
    const rrt_model *model = r->model;
    size_t rows = STEP_ROWS, positions = 1;
    for (size_t i = 0; i < r->n_requests; i++) {
        rrt__continuation *request = &r->requests[i];
        rows = max(rows, max(request->context, request->count - request->context));
        positions = max(positions, request->count);
        request->log_likelihood = 0;
        request->is_greedy = true;
    }
    for (size_t i = 0; i < STEP_GROUPS; i++) rrt__sequence_init(&r->groups[i].sequence, model, kv_type, 0);
    if (model->kv_window)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "tasks need the keys and values of every loop: the model was opened with kv last");
    r->loops = loops ? loops : model->plan.loops;
    RRT__TRY(rrt__plan_check_loops(&model->plan, r->loops, err));
    RRT__TRY(rrt__workspace_create(&r->workspace, model, rows, positions, r->threads, err));
    RRT__TRY(rrt__alloc(&r->logits, LOGIT_ROWS, model->shape.vocab * sizeof *r->logits, "logits", err));
    RRT__TRY(rrt__alloc(&r->ids, rows, sizeof *r->ids, "a step's ids", err));
    return rrt__alloc(&r->wanted, rows, sizeof *r->wanted, "a step's rows", err);
}

static void close_run(run *r)
{
    for (size_t i = 0; i < STEP_GROUPS; i++) rrt__sequence_free(&r->groups[i].sequence);
    rrt__workspace_free(&r->workspace);
    rrt__free(r->logits);
    rrt__free(r->ids);
    rrt__free(r->wanted);
    rrt__free(r->targets);
}

rrt_status rrt__likelihoods(const rrt_model *model, rrt__continuation *requests, size_t count, int threads,
                            int loops, rrt__kv_types kv_type, const rrt_progress *progress, const char *stage,
                            rrt_error *err)
{
    run r = {.model = model, .requests = requests, .n_requests = count, .threads = threads};
    rrt_status status;
    RRT__GOTO(open_run(&r, loops, kv_type, err));
    for (size_t first = 0, end; first < count; first = end) {
        RRT__GOTO(make_batch(&r, first, &end, err));
        RRT__GOTO(run_batch(&r, err));
        for (; first < end; first++)
            if (!isfinite(requests[first].log_likelihood))
                RRT__GOTO(rrt__fail(err, RRT_STATUS_NUMERIC, "the model's output is not finite"));
        RRT__GOTO(rrt__progress_report(progress, stage, (double)end, (double)count, err));
    }
done:
    close_run(&r);
    return status;
}
