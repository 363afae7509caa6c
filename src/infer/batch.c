// The rows of a step: spans for the forward pass, made of chunks.
#include <string.h>

#include "infer/engine_inside.h"

static void clear(rrt__row_batch *b)
{
    b->n_spans = b->n_segments = b->n_rows = 0;
}

static void add(rrt__row_batch *b, rrt__sequence *sequence, size_t position, size_t count, size_t source)
{
    for (size_t i = 0; i < count; i++) b->source[b->n_rows++] = source + i;
    b->spans[b->n_spans++] = (rrt__span){sequence, position, count, false};
}

// The last `count` rows start at this depth.
static void add_to_segment(rrt__row_batch *b, int depth, size_t count)
{
    if (!b->n_segments || b->segments[b->n_segments - 1].depth != depth)
        b->segments[b->n_segments++] = (rrt__segment){depth, b->n_rows - count, 0};
    b->segments[b->n_segments - 1].end = b->n_rows;
}

static int first_depth(const rrt_engine *e, int loop)
{
    return rrt__plan_prelude(&e->model->plan).end + (loop - 1) * e->layers;
}

// Sets the row of a chunk's states.
static void move(rrt_engine *e, rrt__chunk *c, size_t row)
{
    e->exit_states[row] = c->loop > 1 ? e->last_exit_states[c->row] : rrt__exit_entered;
    c->row = row;
}

void rrt__batch_block(rrt_engine *e)
{
    rrt__row_batch *b = &e->block;
    const rrt__schedule *s = &e->schedule;
    rrt__exit_state *last = e->exit_states;
    e->exit_states = e->last_exit_states;
    e->last_exit_states = last;
    clear(b);
    e->n_entering = 0;
    memset(e->stats.occupancy, 0, sizeof e->stats.occupancy);
    for (size_t i = 0; i < s->n_running; i++) {
        rrt__chunk *c = &s->chunks[i];
        rrt__engine_request *r = rrt__chunk_request(e, c);
        while (r->sequence.n_pages * RRT__PAGE_TOKENS < c->position + c->count)
            rrt__pages_append(&e->pages, &r->sequence);
        if (c->loop == 1) {
            memcpy(e->entering + b->n_rows, r->ids + c->position, c->count * sizeof *r->ids);
            e->n_entering++;
        }
        add(b, &r->sequence, c->position, c->count, c->row);
        b->spans[b->n_spans - 1].sees_ahead = r->spec.prefix_lm && c->position < r->spec.prompt_tokens;
        add_to_segment(b, first_depth(e, c->loop), c->count);
        move(e, c, b->n_rows - c->count);
        e->stats.occupancy[rrt__counted_loop(c->loop)] += c->count;
        e->stats.rows[rrt__counted_loop(c->loop)] += c->count;
    }
    e->n_states = b->n_rows;
    for (size_t i = s->n_running; i < s->n_chunks; i++) { // held: only their states are kept
        rrt__chunk *c = &s->chunks[i];
        b->source[e->n_states] = c->row;
        move(e, c, e->n_states++);
    }
}

void rrt__batch_coda(rrt_engine *e)
{
    const rrt__schedule *s = &e->schedule;
    clear(&e->coda);
    for (size_t i = 0; i < e->n_logits_rows; i++) {
        const rrt__logits_row *a = &e->logits_rows[i];
        const rrt__chunk *c = &s->chunks[a->chunk];
        add(&e->coda, &a->request->sequence, a->position, 1, c->row + (a->position - c->position));
    }
    for (size_t i = 0; i < s->n_running && e->model->plan.coda; i++) {
        const rrt__chunk *c = &s->chunks[i];
        rrt__engine_request *r = rrt__chunk_request(e, c);
        size_t count = c->loop == r->loops ? rrt__chunk_first_logits(r, c) - c->position : 0;
        if (count) add(&e->coda, &r->sequence, c->position, count, c->row);
    }
    if (e->coda.n_rows) add_to_segment(&e->coda, rrt__plan_coda(&e->model->plan).begin, e->coda.n_rows);
}

void rrt__batch_fill(rrt_engine *e)
{
    rrt__row_batch *b = &e->fill;
    int loops = e->schedule.loops;
    size_t begin = e->n_filled, max_exits = e->schedule.rows / (size_t)loops;
    clear(b);
    while (e->n_filled < e->n_exits && e->n_filled - begin < max_exits) e->n_filled++;
    for (int loop = 2; loop <= loops; loop++) {
        size_t count = b->n_rows;
        for (size_t i = begin; i < e->n_filled; i++) {
            const rrt__chunk *c = &e->schedule.chunks[e->exits[i]];
            rrt__engine_request *r = rrt__chunk_request(e, c);
            bool wanted = e->is_kv_tied ? loop == c->loop + 1 : loop > c->loop;
            if (r->policy == RRT__KV_PROPAGATE && wanted && loop <= r->loops)
                add(b, &r->sequence, c->position, 1, c->row);
        }
        count = b->n_rows - count;
        if (count) add_to_segment(b, first_depth(e, loop), count);
    }
}
