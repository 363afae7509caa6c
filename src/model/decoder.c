#include "model/decoder.h"

#include <string.h>

rrt_status rrt__decoder_create(rrt__decoder *d, const rrt_model *model, const rrt__exit_rule *rule,
                               rrt__kv_policy policy, size_t rows, size_t positions, int n_threads,
                               rrt_error *err)
{
    *d = (rrt__decoder){.model = model, .rule = *rule, .policy = policy};
    size_t hidden = model->shape.hidden * sizeof(float), vocab = model->shape.vocab * sizeof(float);
    rrt_status status;
    RRT__GOTO(rrt__workspace_create(&d->workspace, model, rows, positions, n_threads, err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->logits, rows, vocab, "logits", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->kept, rows, hidden, "hidden states", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->before, rows, hidden, "hidden states", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->state, rows, hidden, "hidden states", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->left, rows, sizeof *d->left, "exits", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->best, rows, sizeof *d->best, "exits", err));
done:
    if (status) rrt__decoder_free(d);
    return status;
}

void rrt__decoder_free(rrt__decoder *d)
{
    rrt__workspace_free(&d->workspace);
    rrt__arena_free(&d->arena);
    *d = (rrt__decoder){0};
}

typedef struct step {
    rrt__team team;
    rrt__decoder *decoder;
    const rrt__span *spans;
    size_t rows;
    const int32_t *last_best;
} step;

static void copy(const step *s, float *to, const float *from)
{
    rrt__team_copy(s->team, to, from, s->rows, s->decoder->model->shape.hidden);
    rrt__team_barrier(s->team);
}

static void run(const step *s, int first, int end)
{
    rrt__decoder *d = s->decoder;
    for (int depth = first; depth < end; depth++) {
        rrt__segment segment = {depth, 0, s->rows};
        rrt__forward_block(s->team, d->model, &d->workspace, s->spans, s->rows, &segment, 1);
    }
}

// After a block of a loop that some tokens did not run.
static void freeze(const step *s, int depth)
{
    rrt__decoder *d = s->decoder;
    size_t width = d->model->shape.hidden;
    rrt__share share = rrt__team_share(s->team, s->rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        if (!d->left[r]) continue;
        if (d->policy != RRT__KV_RECOMPUTE)
            memcpy(d->workspace.hidden + r * width, d->kept + r * width, width * sizeof(float));
        if (d->policy == RRT__KV_COPY)
            rrt__sequence_copy(s->spans[r].sequence, s->spans[r].position, depth,
                               depth - d->model->plan.layers_per_block);
    }
    rrt__team_barrier(s->team);
}

static void run_loop(const step *s, int n)
{
    const rrt__plan *plan = &s->decoder->model->plan;
    copy(s, s->decoder->before, s->decoder->workspace.hidden);
    for (int depth = rrt__plan_loop_end(plan, n - 1); depth < rrt__plan_loop_end(plan, n); depth++) {
        run(s, depth, depth + 1);
        freeze(s, depth);
    }
}

static void run_coda(const step *s)
{
    const rrt__plan *plan = &s->decoder->model->plan;
    run(s, rrt__plan_loop_end(plan, plan->loops), plan->n_depths);
}

// The exit at the hidden state as it is. The coda's keys and values are written anew each time; the last
// remain.
static void answer(const step *s)
{
    rrt__decoder *d = s->decoder;
    run_coda(s);
    rrt__forward_logits(s->team, d->model, &d->workspace, 0, s->rows, d->logits);
}

static void leave(const step *s, size_t r, int n)
{
    rrt__decoder *d = s->decoder;
    size_t width = d->model->shape.hidden;
    d->left[r] = n;
    memcpy(d->kept + r * width, d->workspace.hidden + r * width, width * sizeof(float));
}

// At the boundary after loop n: who leaves?
static void decide(const step *s, int n)
{
    rrt__decoder *d = s->decoder;
    const rrt__shape *shape = &d->model->shape;
    bool reads = rrt__exit_reads_logits(d->rule.kind);
    rrt__share share = rrt__team_share(s->team, s->rows, 1);
    if (reads) {
        copy(s, d->state, d->workspace.hidden);
        answer(s);
        copy(s, d->workspace.hidden, d->state);
    }
    for (size_t r = share.begin; r < share.end; r++) {
        const float *logits = d->logits + r * shape->vocab;
        rrt__exit_view view = {.n = n,
                               .hidden = d->workspace.hidden + r * shape->hidden,
                               .before = d->before + r * shape->hidden,
                               .logits = logits,
                               .best = reads ? (int32_t)rrt__argmax(logits, shape->vocab) : -1,
                               .best_before = d->best[r],
                               .last_best = s->last_best ? s->last_best[r] : -1};
        d->best[r] = view.best;
        if (!d->left[r] && rrt__exit_score(d->rule.kind, d->model, &view) >= d->rule.limit) leave(s, r, n);
    }
    rrt__team_barrier(s->team);
}

void rrt__decoder_step(rrt__team team, rrt__decoder *d, const rrt__span *spans, size_t rows,
                       const int32_t *ids, const int32_t *last_best)
{
    const step s = {team, d, spans, rows, last_best};
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        d->left[r] = 0;
        d->best[r] = -1;
    }
    rrt__forward_embed(team, d->model, &d->workspace, spans, rows, ids);
    run(&s, 0, d->model->plan.prelude);
    for (int n = 1; n <= d->model->plan.loops; n++) {
        run_loop(&s, n);
        if (n < d->model->plan.loops) decide(&s, n);
    }
    for (size_t r = share.begin; r < share.end; r++)
        if (!d->left[r]) leave(&s, r, d->model->plan.loops);
    rrt__team_barrier(team);
    copy(&s, d->state, d->workspace.hidden);
    copy(&s, d->workspace.hidden, d->kept);
    answer(&s);
    if (d->policy != RRT__KV_RECOMPUTE) return;
    copy(&s, d->workspace.hidden, d->state);
    run_coda(&s); // for its keys and values
}
