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
    b->spans[b->n_spans++] = (rrt__span){.sequence = sequence, .position = position, .count = count};
}

// The last `count` rows start at this depth.
static void add_to_segment(rrt__row_batch *b, int depth, size_t count)
{
    if (!b->n_segments || b->segments[b->n_segments - 1].depth != depth)
        b->segments[b->n_segments++] = (rrt__segment){depth, b->n_rows - count, 0};
    b->segments[b->n_segments - 1].end = b->n_rows;
}

// Sets the row of a chunk's states.
static void move(rrt_engine *e, rrt__chunk *c, size_t row)
{
    bool enters = c->loop == 1 && !c->waits;
    e->exit_states[row] = enters ? rrt__exit_entered : e->last_exit_states[c->row];
    c->row = row;
}

// Rows that only store the keys and values of loops that tokens left out; of one loop where all are the same.
static void add_left_tokens(rrt_engine *e)
{
    rrt__row_batch *b = &e->block;
    for (int loop = 2; loop <= e->schedule.loops; loop++) {
        size_t before = b->n_rows;
        for (size_t i = 0; i < e->n_left; i++) {
            const rrt__left_token *t = &e->left[i];
            bool wanted = e->is_kv_tied ? loop == t->loop + 1 : loop > t->loop;
            if (!t->request || !wanted || loop > t->request->loops) continue;
            add(b, &t->request->sequence, t->position, 1, e->schedule.rows + i);
            b->spans[b->n_spans - 1].only_stores = true;
        }
        if (b->n_rows > before)
            b->segments[b->n_segments++] = (rrt__segment){rrt__engine_loop(e, loop).begin, before, b->n_rows};
    }
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
        add_to_segment(b, rrt__engine_loop(e, c->loop).begin, c->count);
        move(e, c, b->n_rows - c->count);
        e->stats.occupancy[rrt__counted_loop(c->loop)] += c->count;
        e->stats.rows[rrt__counted_loop(c->loop)] += c->count;
    }
    e->n_active = b->n_rows;
    add_left_tokens(e);
    e->n_held = 0;
    for (size_t i = s->n_running; i < s->n_chunks; i++) { // only their states are kept
        rrt__chunk *c = &s->chunks[i];
        for (size_t k = 0; k < c->count; k++) b->source[b->n_rows + e->n_held + k] = c->row + k;
        move(e, c, e->n_active + e->n_held);
        e->n_held += c->count;
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
    for (size_t i = 0; i < s->n_chunks && e->coda_depths.begin < e->coda_depths.end; i++) {
        const rrt__chunk *c = &s->chunks[i];
        rrt__engine_request *r = rrt__chunk_request(e, c);
        size_t count = c->leaves && c->loop == r->loops ? rrt__chunk_first_logits(r, c) - c->position : 0;
        if (count) add(&e->coda, &r->sequence, c->position, count, c->row);
    }
    if (e->coda.n_rows) add_to_segment(&e->coda, e->coda_depths.begin, e->coda.n_rows);
}
