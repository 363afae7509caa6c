// A step: one loop of all chunks in flight, in one parallel region.
#include <string.h>

#include "infer/engine_inside.h"

static void gather_share(rrt__team team, const rrt_engine *e, float *to, const size_t *source, size_t rows)
{
    size_t width = e->model->shape.hidden;
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++)
        memcpy(to + r * width, e->states + source[r] * width, width * sizeof(float));
}

static rrt__pass pass_of(rrt__team team, rrt_engine *e, const rrt__row_batch *b)
{
    return rrt__pass_make(team, e->model, &e->workspace, b->spans, b->n_spans);
}

// Rows at a boundary start from their states, the others from the embedding and the prelude.
static void run_loop(rrt__team team, rrt_engine *e)
{
    rrt__workspace *ws = &e->workspace;
    const rrt__row_batch *b = &e->block;
    const rrt__pass pass = pass_of(team, e, b), entering = rrt__pass_over(&pass, b->spans, e->n_entering);
    size_t width = e->model->shape.hidden, first = entering.n_rows;
    gather_share(team, e, ws->hidden + first * width, b->source + first, e->n_states - first);
    rrt__team_barrier(team); // the embedding splits the rows differently
    if (first) {
        rrt__forward_embed(&entering, e->entering);
        rrt__walk_range(&entering, rrt__plan_prelude(&e->model->plan));
    }
    rrt__team_copy_share(team, e->before, ws->hidden, b->n_rows, width);
    rrt__forward_rotations_share(&pass);
    rrt__team_barrier(team);
    rrt__walk_segments(&pass, b->segments, b->n_segments, e->layers, rrt__forward_block);
    rrt__team_copy_share(team, e->states, ws->hidden, e->n_states, width);
    rrt__team_barrier(team);
}

// Runs coda and head on the rows that have come to an exit, or whose exit depends on their logits.
static void run_coda(rrt__team team, rrt_engine *e)
{
    rrt__workspace *ws = &e->workspace;
    size_t vocab = e->model->shape.vocab;
    const rrt__row_batch *b = &e->coda;
    const rrt__pass pass = pass_of(team, e, b);
    gather_share(team, e, ws->hidden, b->source, b->n_rows);
    rrt__forward_rotations_share(&pass);
    rrt__team_barrier(team);
    if (b->n_rows)
        rrt__walk_segments(&pass, b->segments, b->n_segments, e->model->plan.coda, rrt__forward_block);
    for (size_t at = 0; at < e->n_logits_rows; at += RRT__LOGIT_ROWS) {
        size_t count = e->n_logits_rows - at < RRT__LOGIT_ROWS ? e->n_logits_rows - at : RRT__LOGIT_ROWS;
        rrt__forward_logits(&pass, at, count, e->logits);
        for (size_t i = (size_t)team.ith; i < count; i += (size_t)team.nth)
            rrt__logits_row_read(e, &e->logits_rows[at + i], e->logits + i * vocab, team.ith);
        rrt__team_barrier(team);
    }
}

// Deeper loops copy the keys and values of an earlier loop: the one that a token left after, or, where all
// loops compute the same, the first one that was filled.
static void copy_kv(rrt__team team, rrt_engine *e)
{
    const rrt__plan *plan = &e->model->plan;
    for (size_t i = (size_t)team.ith; i < e->n_exits; i += (size_t)team.nth) {
        const rrt__chunk *c = &e->schedule.chunks[e->exits[i]];
        rrt__engine_request *r = rrt__chunk_request(e, c);
        int from = rrt__kv_policy_copies(r->policy) ? c->loop : c->loop + 1;
        if (r->policy == RRT__KV_PROPAGATE && !e->is_kv_tied) continue;
        for (int loop = from + 1; loop <= r->loops; loop++)
            for (int d = rrt__plan_loop(plan, loop).begin; d < rrt__plan_loop(plan, loop).end; d++)
                rrt__sequence_copy(&r->sequence, c->position, d, d - (loop - from) * e->layers);
    }
}

static void fill_kv(rrt__team team, rrt_engine *e)
{
    while (e->n_filled < e->n_exits) {
        rrt__team_barrier(team); // all threads have read n_filled
        if (team.ith == 0) rrt__batch_fill(e);
        rrt__team_barrier(team);
        const rrt__row_batch *b = &e->fill;
        const rrt__pass pass = pass_of(team, e, b);
        gather_share(team, e, e->workspace.hidden, b->source, b->n_rows);
        rrt__forward_rotations_share(&pass);
        rrt__team_barrier(team);
        if (b->n_rows) rrt__walk_segments(&pass, b->segments, b->n_segments, e->layers, rrt__forward_kv);
    }
    copy_kv(team, e);
}

void rrt__engine_run(rrt__team team, void *engine)
{
    rrt_engine *e = engine;
    run_loop(team, e);
    if (team.ith == 0) {
        rrt__leave_by_states(e);
        rrt__batch_coda(e);
    }
    rrt__team_barrier(team);
    run_coda(team, e);
    if (team.ith == 0) rrt__leave_by_logits(e);
    rrt__team_barrier(team);
    fill_kv(team, e);
}
