// A step: one loop of all chunks in flight, in one parallel region.
#include <string.h>

#include "infer/engine_inside.h"

static void lap(rrt__team team, rrt_engine *e, rrt_engine_part part)
{
    if (team.ith == 0) rrt__engine_lap(e, part);
}

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

// Keys and values of all loops after `from` become those of `from`.
static void copy_loops(const rrt_engine *e, rrt__engine_request *r, size_t position, int from)
{
    for (int loop = from + 1; loop <= r->loops; loop++)
        for (int d = rrt__engine_loop(e, loop).begin; d < rrt__engine_loop(e, loop).end; d++)
            rrt__sequence_copy(&r->sequence, position, d, d - (loop - from) * e->layers);
}

// Where all loops compute the same, only the first one that a token left out did.
static void copy_left_tokens(rrt__team team, const rrt_engine *e)
{
    for (size_t i = (size_t)team.ith; e->is_kv_tied && i < e->n_left; i += (size_t)team.nth)
        if (e->left[i].request) copy_loops(e, e->left[i].request, e->left[i].position, e->left[i].loop + 1);
}

// Rows at a boundary start from their states, the others from the embedding and the prelude.
static void run_loop(rrt__team team, rrt_engine *e)
{
    rrt__workspace *ws = &e->workspace;
    const rrt__row_batch *b = &e->block;
    const rrt__pass pass = pass_of(team, e, b), entering = rrt__pass_over(&pass, b->spans, e->n_entering);
    size_t width = e->model->shape.hidden, first = entering.n_rows;
    gather_share(team, e, ws->hidden + first * width, b->source + first, b->n_rows + e->n_held - first);
    rrt__team_barrier(team); // the embedding splits the rows differently
    if (first) {
        rrt__forward_embed(&entering, e->entering);
        rrt__walk_range(&entering, e->prelude_depths);
    }
    lap(team, e, RRT_ENGINE_PRELUDE);
    rrt__team_copy_share(team, e->before, ws->hidden, e->n_active, width);
    rrt__forward_rotations_share(&pass);
    rrt__team_barrier(team);
    if (b->n_rows) rrt__walk_segments(&pass, b->segments, b->n_segments, e->layers, rrt__forward_block);
    rrt__team_copy_share(team, e->states, ws->hidden, e->n_active, width);
    rrt__team_copy_share(team, e->states + e->n_active * width, ws->hidden + b->n_rows * width, e->n_held,
                         width);
    copy_left_tokens(team, e);
    rrt__team_barrier(team);
}

// The same where the two loops are different layers: first the rows that enter, then the others.
static void run_halves(rrt__team team, rrt_engine *e)
{
    rrt__workspace *ws = &e->workspace;
    const rrt__row_batch *b = &e->block;
    const rrt__pass pass = pass_of(team, e, b), entering = rrt__pass_over(&pass, b->spans, e->n_entering),
                    others = rrt__pass_over(&pass, b->spans + e->n_entering, b->n_spans - e->n_entering);
    size_t width = e->model->shape.hidden, first = entering.n_rows, all = b->n_rows + e->n_held;
    gather_share(team, e, e->before + first * width, b->source + first, all - first);
    if (first) {
        rrt__forward_embed(&entering, e->entering);
        rrt__walk_range(&entering, rrt__engine_loop(e, 1));
        rrt__team_copy_share(team, e->before, ws->hidden, first, width);
    }
    rrt__team_barrier(team);
    rrt__team_copy_share(team, ws->hidden, e->before + first * width, others.n_rows, width);
    rrt__forward_rotations_share(&others);
    rrt__team_barrier(team);
    if (others.n_rows) rrt__walk_range(&others, rrt__engine_loop(e, 2));
    rrt__team_copy_share(team, e->before + first * width, ws->hidden, others.n_rows, width);
    rrt__team_barrier(team);
    rrt__team_copy_share(team, e->states, e->before, all, width);
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
        rrt__walk_segments(&pass, b->segments, b->n_segments, e->coda_depths.end - e->coda_depths.begin,
                           rrt__forward_block);
    for (size_t at = 0; at < e->n_logits_rows; at += RRT__LOGIT_ROWS) {
        size_t count = e->n_logits_rows - at < RRT__LOGIT_ROWS ? e->n_logits_rows - at : RRT__LOGIT_ROWS;
        rrt__forward_logits(&pass, at, count, e->logits);
        for (size_t i = (size_t)team.ith; i < count; i += (size_t)team.nth)
            rrt__logits_row_read(e, &e->logits_rows[at + i], e->logits + i * vocab, team.ith);
        rrt__team_barrier(team);
    }
}

// Deeper loops copy the keys and values of the last loop that a token ran.
static void copy_kv(rrt__team team, rrt_engine *e)
{
    for (size_t i = (size_t)team.ith; i < e->n_exits; i += (size_t)team.nth) {
        const rrt__chunk *c = &e->schedule.chunks[e->exits[i]];
        copy_loops(e, rrt__chunk_request(e, c), c->position, c->loop);
    }
}

// Shares out the time of coda and head by rows.
static void lap_coda(rrt_engine *e)
{
    double before = e->lap, rows = (double)e->n_logits_rows;
    uint64_t stayed = 0;
    for (size_t i = 0; i < e->n_logits_rows; i++) stayed += !e->logits_rows[i].is_exit;
    rrt__engine_lap(e, RRT_ENGINE_HEAD);
    double boundary = rows > 0 ? (e->lap - before) * (double)stayed / rows : 0;
    e->stats.seconds[RRT_ENGINE_HEAD] -= boundary;
    e->stats.seconds[RRT_ENGINE_BOUNDARY] += boundary;
    e->stats.boundary_rows += stayed;
}

void rrt__engine_run(rrt__team team, void *engine)
{
    rrt_engine *e = engine;
    lap(team, e, RRT_ENGINE_REST);
    (e->options.draft_layers ? run_halves : run_loop)(team, e);
    lap(team, e, RRT_ENGINE_LOOPS);
    if (team.ith == 0) {
        rrt__leave_by_states(e);
        rrt__batch_coda(e);
    }
    rrt__team_barrier(team);
    lap(team, e, RRT_ENGINE_BOUNDARY);
    run_coda(team, e);
    if (team.ith == 0) {
        rrt__leave_by_logits(e);
        lap_coda(e);
    }
    rrt__team_barrier(team);
    copy_kv(team, e);
    lap(team, e, RRT_ENGINE_KV);
}
