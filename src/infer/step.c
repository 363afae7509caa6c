// A step: one loop of everything that is in flight, in one parallel region.
#include <string.h>

#include "infer/engine_inside.h"

static void gather(rrt__team team, const rrt_engine *e, float *to, const size_t *source, size_t rows)
{
    size_t width = e->model->shape.hidden;
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++)
        memcpy(to + r * width, e->states + source[r] * width, width * sizeof(float));
}

// Each segment runs `layers` depths from its own on, all of the same slots.
static void run(rrt__team team, rrt_engine *e, const rrt__batch *b, int layers,
                void (*function)(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                                 const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                                 size_t n_segments))
{
    rrt__segment segments[RRT__MAX_DEPTHS];
    memcpy(segments, b->segments, b->n_segments * sizeof *segments);
    for (int layer = 0; layer < layers; layer++) {
        function(team, e->model, &e->workspace, b->spans, b->n_spans, segments, b->n_segments);
        for (size_t s = 0; s < b->n_segments; s++) segments[s].depth++;
    }
}

// Rows that were at a boundary come from there, the others from the embedding and the prelude.
static void run_loop(rrt__team team, rrt_engine *e)
{
    rrt__workspace *ws = &e->workspace;
    const rrt__batch *b = &e->block;
    size_t width = e->model->shape.hidden, entering = rrt__spans_rows(b->spans, e->n_entering);
    short prelude[RRT__MAX_DEPTHS];
    for (int d = 0; d < e->model->plan.prelude; d++) prelude[d] = (short)d;
    gather(team, e, ws->hidden + entering * width, b->source + entering, e->n_states - entering);
    rrt__team_barrier(team); // the embedding's share of the rows is another
    if (entering) {
        rrt__forward_embed(team, e->model, ws, b->spans, e->n_entering, e->entering);
        rrt__forward_depths(team, e->model, ws, b->spans, e->n_entering, prelude, e->model->plan.prelude);
    }
    rrt__team_copy(team, e->before, ws->hidden, b->n_rows, width);
    rrt__forward_rotations(team, e->model, ws, b->spans, b->n_spans);
    run(team, e, b, e->layers, rrt__forward_block);
    rrt__team_copy(team, e->states, ws->hidden, e->n_states, width);
    rrt__team_barrier(team);
}

// Coda and head of the rows that have come to an exit, or are asked whether they have.
static void run_coda(rrt__team team, rrt_engine *e)
{
    rrt__workspace *ws = &e->workspace;
    size_t vocab = e->model->shape.vocab;
    gather(team, e, ws->hidden, e->coda.source, e->coda.n_rows);
    rrt__forward_rotations(team, e->model, ws, e->coda.spans, e->coda.n_spans);
    rrt__team_barrier(team);
    if (e->coda.n_rows) run(team, e, &e->coda, e->model->plan.coda, rrt__forward_block);
    for (size_t at = 0; at < e->n_answers; at += RRT__LOGIT_ROWS) {
        size_t count = e->n_answers - at < RRT__LOGIT_ROWS ? e->n_answers - at : RRT__LOGIT_ROWS;
        rrt__forward_logits(team, e->model, ws, at, count, e->logits);
        for (size_t i = (size_t)team.ith; i < count; i += (size_t)team.nth)
            rrt__answer_read(e, &e->answers[at + i], e->logits + i * vocab, team.ith);
        rrt__team_barrier(team);
    }
}

// Deeper loops take keys and values of a loop before: the one that a token left after, or where all loops
// make the same ones, the first that was filled.
static void copy_kv(rrt__team team, rrt_engine *e)
{
    for (size_t i = (size_t)team.ith; i < e->n_exits; i += (size_t)team.nth) {
        const rrt__flight *f = &e->schedule.flights[e->exits[i]];
        rrt__task *t = rrt__flight_task(e, f);
        int from = t->policy == RRT__KV_COPY ? f->loop : f->loop + 1;
        if (t->policy == RRT__KV_PROPAGATE && !e->is_kv_tied) continue;
        for (int loop = from + 1; loop <= t->loops; loop++)
            for (int d = rrt__plan_loop_end(&e->model->plan, loop - 1);
                 d < rrt__plan_loop_end(&e->model->plan, loop); d++)
                rrt__sequence_copy(&t->sequence, f->position, d, d - (loop - from) * e->layers);
    }
}

static void fill_kv(rrt__team team, rrt_engine *e)
{
    while (e->n_filled < e->n_exits) {
        rrt__team_barrier(team); // all have read n_filled
        if (team.ith == 0) rrt__batch_fill(e);
        rrt__team_barrier(team);
        gather(team, e, e->workspace.hidden, e->fill.source, e->fill.n_rows);
        rrt__forward_rotations(team, e->model, &e->workspace, e->fill.spans, e->fill.n_spans);
        rrt__team_barrier(team);
        if (e->fill.n_rows) run(team, e, &e->fill, e->layers, rrt__forward_kv);
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
    if (team.ith == 0) rrt__leave_by_answers(e);
    rrt__team_barrier(team);
    fill_kv(team, e);
}
