#include "base/rows.h"

#include <stdatomic.h>

#include "base/memory.h"
#include "base/team.h"

enum { PIECE_VALUES = 1 << 17 }; // 512 KB

typedef struct pieces {
    size_t begin, end, piece;
    rrt__pieces_use use;
    void *user;
    atomic_size_t next; // piece
    atomic_int failed;
    rrt_error error; // of the first piece that failed
} pieces;

// Threads take the next piece when they are free: some pieces take longer.
static void work(rrt__team team, void *argument)
{
    (void)team;
    pieces *p = argument;
    rrt_error err = {0};
    while (!atomic_load(&p->failed)) {
        size_t begin = p->begin + atomic_fetch_add(&p->next, 1) * p->piece, end = begin + p->piece;
        if (begin >= p->end) return;
        if (p->use(p->user, begin, end < p->end ? end : p->end, &err) && !atomic_exchange(&p->failed, 1))
            p->error = err;
    }
}

rrt_status rrt__pieces_each(size_t begin, size_t end, size_t piece, int threads, rrt__pieces_use use,
                            void *user, rrt_error *err)
{
    pieces p = {.begin = begin, .end = end, .piece = piece, .use = use, .user = user};
    rrt__team_run(end - begin <= piece ? 1 : threads, work, &p);
    if (!p.failed) return RRT_STATUS_OK;
    if (err) *err = p.error;
    return p.error.status;
}

size_t rrt__rows_piece(size_t columns, size_t grain)
{
    size_t piece = PIECE_VALUES / columns / grain * grain;
    return piece ? piece : grain;
}

typedef struct reading {
    const rrt__rows *rows;
    size_t begin, columns;
    float *out; // [end - begin, columns]
    rrt__rows_use use;
    void *user;
} reading;

static rrt_status read_piece(void *user, size_t begin, size_t end, rrt_error *err)
{
    const reading *r = user;
    return r->rows->read(r->rows->from, begin, end, r->out + (begin - r->begin) * r->columns, err);
}

static rrt_status use_piece(void *user, size_t begin, size_t end, rrt_error *err)
{
    const reading *r = user;
    float *values;
    RRT__TRY(rrt__alloc(&values, (end - begin) * r->columns, sizeof *values, "rows of a matrix", err));
    rrt_status status = r->rows->read(r->rows->from, begin, end, values, err);
    if (!status) status = r->use(r->user, begin, end, values, err);
    rrt__free(values);
    return status;
}

rrt_status rrt__rows_read(const rrt__rows *rows, size_t begin, size_t end, size_t columns, int threads,
                          float *out, rrt_error *err)
{
    reading r = {.rows = rows, .begin = begin, .columns = columns, .out = out};
    return rrt__pieces_each(begin, end, rrt__rows_piece(columns, 1), threads, read_piece, &r, err);
}

rrt_status rrt__rows_each(const rrt__rows *rows, size_t begin, size_t end, size_t columns, size_t grain,
                          int threads, rrt__rows_use use, void *user, rrt_error *err)
{
    reading r = {.rows = rows, .columns = columns, .use = use, .user = user};
    return rrt__pieces_each(begin, end, rrt__rows_piece(columns, grain), threads, use_piece, &r, err);
}
