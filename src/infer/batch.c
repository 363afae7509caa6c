// The rows of a step: spans for the forward pass, made of flights.
#include <string.h>

#include "infer/engine_inside.h"

static void clear(rrt__row_batch *b)
{
    b->n_spans = b->n_segments = b->n_rows = 0;
}

static void add(rrt__row_batch *b, rrt__sequence *sequence, size_t position, size_t count, size_t source)
{
    for (size_t i = 0; i < count; i++) b->source[b->n_rows++] = source + i;
    b->spans[b->n_spans++] = (rrt__span){sequence, position, count};
}

// The last rows run this depth first.
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

// The row at which a flight's states lie from now on.
static void move(rrt_engine *e, rrt__flight *f, size_t row)
{
    e->exit_states[row] = f->loop > 1 ? e->last_exit_states[f->row] : rrt__exit_entered;
    f->row = row;
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
        rrt__flight *f = &s->flights[i];
        rrt__task *t = rrt__flight_task(e, f);
        while (t->sequence.n_pages * RRT__PAGE_TOKENS < f->position + f->count)
            rrt__pages_append(&e->pages, &t->sequence);
        if (f->loop == 1) {
            memcpy(e->entering + b->n_rows, t->ids + f->position, f->count * sizeof *t->ids);
            e->n_entering++;
        }
        add(b, &t->sequence, f->position, f->count, f->row);
        add_to_segment(b, first_depth(e, f->loop), f->count);
        move(e, f, b->n_rows - f->count);
        e->stats.occupancy[rrt__counted_loop(f->loop)] += f->count;
        e->stats.rows[rrt__counted_loop(f->loop)] += f->count;
    }
    e->n_states = b->n_rows;
    for (size_t i = s->n_running; i < s->n_flights; i++) { // held: their states are only kept
        rrt__flight *f = &s->flights[i];
        b->source[e->n_states] = f->row;
        move(e, f, e->n_states++);
    }
}

void rrt__batch_coda(rrt_engine *e)
{
    const rrt__schedule *s = &e->schedule;
    clear(&e->coda);
    for (size_t i = 0; i < e->n_answers; i++) {
        const rrt__answer *a = &e->answers[i];
        const rrt__flight *f = &s->flights[a->flight];
        add(&e->coda, &a->task->sequence, a->position, 1, f->row + (a->position - f->position));
    }
    for (size_t i = 0; i < s->n_running && e->model->plan.coda; i++) {
        const rrt__flight *f = &s->flights[i];
        rrt__task *t = rrt__flight_task(e, f);
        size_t count = f->loop == t->loops ? rrt__flight_first_answer(t, f) - f->position : 0;
        if (count) add(&e->coda, &t->sequence, f->position, count, f->row);
    }
    if (e->coda.n_rows) add_to_segment(&e->coda, rrt__plan_coda(&e->model->plan).begin, e->coda.n_rows);
}

void rrt__batch_fill(rrt_engine *e)
{
    rrt__row_batch *b = &e->fill;
    int loops = e->schedule.loops;
    size_t begin = e->n_filled, most = e->schedule.rows / (size_t)loops;
    clear(b);
    while (e->n_filled < e->n_exits && e->n_filled - begin < most) e->n_filled++;
    for (int loop = 2; loop <= loops; loop++) {
        size_t count = b->n_rows;
        for (size_t i = begin; i < e->n_filled; i++) {
            const rrt__flight *f = &e->schedule.flights[e->exits[i]];
            rrt__task *t = rrt__flight_task(e, f);
            bool wanted = e->is_kv_tied ? loop == f->loop + 1 : loop > f->loop;
            if (t->policy == RRT__KV_PROPAGATE && wanted && loop <= t->loops)
                add(b, &t->sequence, f->position, 1, f->row);
        }
        count = b->n_rows - count;
        if (count) add_to_segment(b, first_depth(e, loop), count);
    }
}
