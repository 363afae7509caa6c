#include "format/rows.h"

#include <stdatomic.h>

#include "base/memory.h"
#include "base/team.h"

enum { PIECE_VALUES = 1 << 17 }; // 512 KB

typedef struct reading {
    const rrt__rows *rows;
    size_t begin, end, columns, grain;
    size_t piece; // rows
    float *out;   // [end - begin, columns]; NULL: each piece is used and forgotten
    rrt__rows_use use;
    void *user;
    atomic_size_t next; // piece
    atomic_int failed;
    rrt_error error; // of the first that failed
} reading;

// Pieces are dealt out as threads come for them: some rows take longer than others.
static rrt_status read_pieces(reading *r, rrt_error *err)
{
    float *room = NULL;
    rrt_status status = RRT_STATUS_OK;
    if (!r->out) status = rrt__alloc(&room, r->piece * r->columns, sizeof *room, "rows of a matrix", err);
    while (!status && !atomic_load(&r->failed)) {
        size_t begin = r->begin + atomic_fetch_add(&r->next, 1) * r->piece, end = begin + r->piece;
        if (begin >= r->end) break;
        if (end > r->end) end = r->end;
        float *values = r->out ? r->out + (begin - r->begin) * r->columns : room;
        status = r->rows->read(r->rows->from, begin, end, values, err);
        if (!status && r->use) status = r->use(r->user, begin, end, values, err);
    }
    rrt__free(room);
    return status;
}

static void work(rrt__team team, void *argument)
{
    (void)team;
    reading *r = argument;
    rrt_error err = {0};
    if (read_pieces(r, &err) && !atomic_exchange(&r->failed, 1)) r->error = err;
}

static rrt_status run(reading *r, int threads, rrt_error *err)
{
    r->piece = PIECE_VALUES / r->columns / r->grain * r->grain;
    if (r->piece == 0) r->piece = r->grain;
    bool is_small = r->end - r->begin <= r->piece;
    rrt__team_run(is_small ? 1 : threads, work, r);
    if (!r->failed) return RRT_STATUS_OK;
    if (err) *err = r->error;
    return r->error.status;
}

rrt_status rrt__rows_read(const rrt__rows *rows, size_t begin, size_t end, size_t columns, int threads,
                          float *out, rrt_error *err)
{
    reading r = {.rows = rows, .begin = begin, .end = end, .columns = columns, .grain = 1, .out = out};
    return run(&r, threads, err);
}

rrt_status rrt__rows_each(const rrt__rows *rows, size_t begin, size_t end, size_t columns, size_t grain,
                          int threads, rrt__rows_use use, void *user, rrt_error *err)
{
    reading r = {.rows = rows,
                 .begin = begin,
                 .end = end,
                 .columns = columns,
                 .grain = grain,
                 .use = use,
                 .user = user};
    return run(&r, threads, err);
}
