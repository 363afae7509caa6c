#include "convert/prune.h"

#include <math.h>
#include <string.h>

#include "base/progress.h"
#include "pass/loop.h"

enum { LOGIT_ROWS = 64 };

typedef struct pruner {
    const rrt_model *source;
    rrt__workspace workspace;
    const int32_t *ids;
    size_t tokens, judged;
    int kept[RRT__MAX_DEPTHS], n_kept;
    int at;                         // index in kept of the layer that is removed or left out
    float **before;                 // [layers], each [tokens, hidden]: input of kept[i]
    float *reference;               // [judged, vocab]: the source's logits
    float *logits;                  // [LOGIT_ROWS, vocab]
    double *kl;                     // [judged]
    double cost[RRT__MAX_DEPTHS];   // KL without kept[i], as last measured
    bool is_known[RRT__MAX_DEPTHS]; // measured since the last removal
    rrt__arena arena;
} pruner;

static size_t rows_at(const pruner *p, size_t at)
{
    return p->tokens - at < RRT__PRUNE_WINDOW ? p->tokens - at : RRT__PRUNE_WINDOW;
}

static size_t judged_of(size_t rows)
{
    return (rows + RRT__PRUNE_JUDGED_STEP - 1) / RRT__PRUNE_JUDGED_STEP;
}

static void run_layer(rrt__team team, pruner *p, int layer, size_t rows)
{
    const rrt__span span = {.count = rows};
    const rrt__pass pass = rrt__pass_make(team, p->source, &p->workspace, &span, 1);
    rrt__walk_range(&pass, (rrt__depth_range){layer, layer + 1});
}

// Copies the input of kept[i] from the workspace to `before`, and back.
static void keep_state(rrt__team team, pruner *p, int i, size_t at)
{
    size_t hidden = p->source->shape.hidden;
    rrt__team_copy_share(team, p->before[i] + at * hidden, p->workspace.hidden, rows_at(p, at), hidden);
    rrt__team_barrier(team);
}

static void take_state(rrt__team team, pruner *p, int i, size_t at)
{
    size_t hidden = p->source->shape.hidden;
    rrt__team_copy_share(team, p->workspace.hidden, p->before[i] + at * hidden, rows_at(p, at), hidden);
    rrt__team_barrier(team);
}

// Moves the judged rows to the front.
static void gather(rrt__team team, pruner *p, size_t rows)
{
    size_t hidden = p->source->shape.hidden;
    float *x = p->workspace.hidden;
    for (size_t r = RRT__PRUNE_JUDGED_STEP; team.ith == 0 && r < rows; r += RRT__PRUNE_JUDGED_STEP)
        memcpy(x + r / RRT__PRUNE_JUDGED_STEP * hidden, x + r * hidden, hidden * sizeof *x);
    rrt__team_barrier(team);
}

// Runs the source over the text and keeps its hidden states and logits.
static void begin(rrt__team team, void *argument)
{
    pruner *p = argument;
    float *reference = p->reference;
    for (size_t at = 0; at < p->tokens; at += RRT__PRUNE_WINDOW) {
        size_t rows = rows_at(p, at), judged = judged_of(rows);
        const rrt__span span = {.count = rows};
        const rrt__pass pass = rrt__pass_make(team, p->source, &p->workspace, &span, 1);
        rrt__forward_embed(&pass, p->ids + at);
        for (int i = 0; i < p->n_kept; i++) {
            keep_state(team, p, i, at);
            run_layer(team, p, p->kept[i], rows);
        }
        gather(team, p, rows);
        rrt__forward_logits(&pass, 0, judged, reference);
        reference += judged * p->source->shape.vocab;
    }
}

// Computes the inputs of the layers after p->at again, now that the layer there is removed.
static void pass_on(rrt__team team, void *argument)
{
    pruner *p = argument;
    for (size_t at = 0; at < p->tokens; at += RRT__PRUNE_WINDOW) {
        take_state(team, p, p->at, at);
        for (int i = p->at; i < p->n_kept - 1; i++) {
            run_layer(team, p, p->kept[i], rows_at(p, at));
            keep_state(team, p, i + 1, at);
        }
    }
}

static void judge(rrt__team team, pruner *p, size_t judged, size_t first)
{
    size_t vocab = p->source->shape.vocab;
    const rrt__pass pass = rrt__pass_make(team, p->source, &p->workspace, NULL, 0);
    for (size_t at = 0; at < judged; at += LOGIT_ROWS) {
        size_t rows = judged - at < LOGIT_ROWS ? judged - at : LOGIT_ROWS;
        rrt__forward_logits(&pass, at, rows, p->logits);
        rrt__share share = rrt__team_share(team, rows, 1);
        for (size_t r = share.begin; r < share.end; r++)
            p->kl[first + at + r] = p->workspace.kernels->kl_divergence(
                p->reference + (first + at + r) * vocab, p->logits + r * vocab, vocab);
        rrt__team_barrier(team);
    }
}

// Measures kl[judged] without kept[p->at].
static void leave_out(rrt__team team, void *argument)
{
    pruner *p = argument;
    size_t first = 0;
    for (size_t at = 0; at < p->tokens; at += RRT__PRUNE_WINDOW) {
        size_t rows = rows_at(p, at), judged = judged_of(rows);
        take_state(team, p, p->at, at);
        for (int i = p->at + 1; i < p->n_kept; i++) run_layer(team, p, p->kept[i], rows);
        gather(team, p, rows);
        judge(team, p, judged, first);
        first += judged;
    }
}

static double mean_without(pruner *p, int i, int threads)
{
    double sum = 0;
    p->at = i;
    rrt__team_run(threads, leave_out, p);
    for (size_t r = 0; r < p->judged; r++) sum += p->kl[r];
    return isfinite(sum) ? sum / (double)p->judged : INFINITY;
}

// The layer with the lowest cost. Costs almost always grow as layers are removed, so a layer whose old cost
// is not the lowest need not be measured again.
static int find_cheapest(pruner *p, int threads)
{
    for (;;) {
        int best = 0;
        for (int i = 1; i < p->n_kept; i++)
            if (p->cost[i] < p->cost[best]) best = i;
        if (p->is_known[best]) return best;
        p->cost[best] = mean_without(p, best, threads);
        p->is_known[best] = true;
    }
}

static void drop(pruner *p, int i)
{
    size_t behind = (size_t)(p->n_kept - 1 - i);
    memmove(p->kept + i, p->kept + i + 1, behind * sizeof *p->kept);
    memmove(p->cost + i, p->cost + i + 1, behind * sizeof *p->cost);
    p->n_kept--;
    memset(p->is_known, 0, sizeof p->is_known);
    p->at = i;
}

static rrt_status open_pruner(pruner *p, int threads, rrt_error *err)
{
    const rrt__shape *s = &p->source->shape;
    size_t layers = (size_t)p->n_kept, logits = s->vocab * sizeof(float);
    for (size_t at = 0; at < p->tokens; at += RRT__PRUNE_WINDOW) p->judged += judged_of(rows_at(p, at));
    RRT__TRY(
        rrt__workspace_create(&p->workspace, p->source, RRT__PRUNE_WINDOW, RRT__PRUNE_WINDOW, threads, err));
    RRT__TRY(rrt__arena_alloc(&p->arena, &p->before, layers, sizeof *p->before, "hidden states", err));
    for (size_t i = 0; i < layers; i++)
        RRT__TRY(rrt__arena_alloc(&p->arena, &p->before[i], p->tokens, s->hidden * sizeof(float),
                                  "hidden states", err));
    RRT__TRY(rrt__arena_alloc(&p->arena, &p->reference, p->judged, logits, "the source's logits", err));
    RRT__TRY(rrt__arena_alloc(&p->arena, &p->logits, LOGIT_ROWS, logits, "logits", err));
    return rrt__arena_alloc(&p->arena, &p->kl, p->judged, sizeof *p->kl, "divergences", err);
}

static rrt_status choose(pruner *p, const rrt__recipe *r, rrt_error *err)
{
    int all = p->n_kept;
    RRT__TRY(open_pruner(p, r->threads, err));
    rrt__team_run(r->threads, begin, p);
    while (p->n_kept > r->n_layers) {
        int i = find_cheapest(p, r->threads);
        if (!isfinite(p->cost[i]))
            return rrt__fail(err, RRT_STATUS_NUMERIC,
                             "without any of the %d layers that are left the output is not finite",
                             p->n_kept);
        drop(p, i);
        if (p->n_kept > r->n_layers) rrt__team_run(r->threads, pass_on, p);
        RRT__TRY(rrt__progress_report(r->progress, "prune", all - p->n_kept, all - r->n_layers, err));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__prune_choose(rrt__recipe *r, const rrt_model *source, rrt_error *err)
{
    pruner p = {.source = source, .ids = r->ids, .tokens = r->n_ids, .n_kept = source->plan.n_depths};
    for (int i = 0; i < p.n_kept; i++) {
        p.kept[i] = i;
        p.cost[i] = -INFINITY;
    }
    rrt_status status = choose(&p, r, err);
    for (int i = 0; !status && i < r->n_layers; i++) r->layer[i] = (short)p.kept[i];
    rrt__workspace_free(&p.workspace);
    rrt__arena_free(&p.arena);
    return status;
}
