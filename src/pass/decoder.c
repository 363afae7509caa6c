#include "pass/decoder.h"

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
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->entered, rows, hidden, "hidden states", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->left, rows, sizeof *d->left, "exits", err));
    RRT__GOTO(rrt__arena_alloc(&d->arena, &d->exits, rows, sizeof *d->exits, "exits", err));
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
    rrt__pass pass;
    rrt__decoder *decoder;
    const int32_t *last_best;
} step;

static void copy(const step *s, float *to, const float *from)
{
    rrt__team_copy_share(s->pass.team, to, from, s->pass.n_rows, s->decoder->model->shape.hidden);
    rrt__team_barrier(s->pass.team);
}

// Gives the tokens that have left their hidden state of `state` again: that of the exit, or of this
// loop's entry.
static void restore(const step *s, const float *state)
{
    rrt__decoder *d = s->decoder;
    size_t width = d->model->shape.hidden;
    rrt__share share = rrt__team_share(s->pass.team, s->pass.n_rows, 1);
    for (size_t r = share.begin; r < share.end; r++)
        if (d->left[r] && d->policy != RRT__KV_RECOMPUTE)
            memcpy(d->workspace.hidden + r * width, state + r * width, width * sizeof(float));
    rrt__team_barrier(s->pass.team);
}

// After a block of a loop that some tokens did not run: fixes their keys, values and hidden state.
static void freeze(const step *s, int depth)
{
    rrt__decoder *d = s->decoder;
    rrt__share share = rrt__team_share(s->pass.team, s->pass.n_rows, 1);
    for (size_t r = share.begin; r < share.end; r++)
        if (d->left[r] && rrt__kv_policy_copies(d->policy))
            rrt__sequence_copy(s->pass.spans[r].sequence, s->pass.spans[r].position, depth,
                               depth - d->model->plan.layers_per_block);
    restore(s, d->entered);
}

static void run_loop(const step *s, int n)
{
    rrt__depth_range loop = rrt__plan_loop(&s->decoder->model->plan, n);
    rrt__segment all = {loop.begin, 0, s->pass.n_rows};
    copy(s, s->decoder->before, s->decoder->workspace.hidden);
    restore(s, s->decoder->kept);
    rrt__walk_enter(&s->pass, &all, 1);
    copy(s, s->decoder->entered, s->decoder->workspace.hidden);
    for (; all.depth < loop.end; all.depth++) {
        rrt__forward_block(&s->pass, &all, 1);
        freeze(s, all.depth);
    }
}

// The logits of an exit at the current hidden state. Writes the coda's keys and values each time; the
// last remain.
static void exit_logits(const step *s)
{
    rrt__walk_range(&s->pass, rrt__plan_coda(&s->decoder->model->plan));
    rrt__forward_logits(&s->pass, 0, s->pass.n_rows, s->decoder->logits);
}

static void leave(const step *s, size_t r, int n)
{
    rrt__decoder *d = s->decoder;
    size_t width = d->model->shape.hidden;
    d->left[r] = n;
    memcpy(d->kept + r * width, d->workspace.hidden + r * width, width * sizeof(float));
}

// At the boundary after loop n: decides which tokens leave.
static void decide(const step *s, int n)
{
    rrt__decoder *d = s->decoder;
    rrt__share share = rrt__team_share(s->pass.team, s->pass.n_rows, 1);
    if (rrt__exit_reads_logits(d->rule.kind)) {
        copy(s, d->state, d->workspace.hidden);
        exit_logits(s);
        copy(s, d->workspace.hidden, d->state);
    }
    for (size_t r = share.begin; r < share.end; r++) {
        const float *logits = d->logits + r * d->model->shape.vocab;
        rrt__exit_view view = rrt__exit_look(d->model, n, d->workspace.hidden, d->before, r, logits);
        if (s->last_best) view.last_best = s->last_best[r];
        if (!d->left[r] && rrt__exit_leaves(&d->rule, d->model, &d->exits[r], &view)) leave(s, r, n);
    }
    rrt__team_barrier(s->pass.team);
}

void rrt__decoder_step(rrt__team team, rrt__decoder *d, const rrt__span *spans, size_t rows,
                       const int32_t *ids, const int32_t *last_best)
{
    const rrt__plan *plan = &d->model->plan;
    const step s = {rrt__pass_make(team, d->model, &d->workspace, spans, rows), d, last_best};
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        d->left[r] = 0;
        d->exits[r] = rrt__exit_entered;
    }
    rrt__forward_embed(&s.pass, ids);
    rrt__walk_range(&s.pass, rrt__plan_prelude(plan));
    for (int n = 1; n <= plan->loops; n++) {
        run_loop(&s, n);
        if (n < plan->loops) decide(&s, n);
    }
    for (size_t r = share.begin; r < share.end; r++)
        if (!d->left[r]) leave(&s, r, plan->loops);
    rrt__team_barrier(team);
    copy(&s, d->state, d->workspace.hidden);
    copy(&s, d->workspace.hidden, d->kept);
    exit_logits(&s);
    if (d->policy != RRT__KV_RECOMPUTE) return;
    copy(&s, d->workspace.hidden, d->state);
    rrt__walk_range(&s.pass, rrt__plan_coda(plan)); // for the coda's keys and values
}
