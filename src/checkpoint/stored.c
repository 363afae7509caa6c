#include "checkpoint/stored.h"

// The tensor's row that holds row r.
static size_t place_of(const rrt__stored *s, size_t r)
{
    size_t i = r % s->block, half = s->block / 2;
    if (s->paired) i = i < half ? 2 * i : 2 * (i - half) + 1;
    return r / s->block * s->stride + s->first + i;
}

// Number of rows from r on, r < end, that are adjacent in the tensor.
static size_t run_of(const rrt__stored *s, size_t r, size_t end)
{
    size_t left = s->block - r % s->block;
    if (s->paired) return 1;
    return left < end - r ? left : end - r;
}

rrt_status rrt__stored_read(const rrt__stored *s, size_t begin, size_t end, float *out, rrt_error *err)
{
    for (size_t r = begin; r < end;) {
        size_t rows = run_of(s, r, end);
        RRT__TRY(rrt__tensor_read_values(s->tensor, place_of(s, r) * s->columns, rows * s->columns,
                                         out + (r - begin) * s->columns, err));
        r += rows;
    }
    return RRT_STATUS_OK;
}

const unsigned char *rrt__stored_row(const rrt__stored *s, size_t r)
{
    return rrt__tensor_place(s->tensor, place_of(s, r) * s->columns);
}

// Releases all pages of a block of the rows: pages that another thread is still reading are loaded again.
void rrt__stored_forget(const rrt__stored *s, size_t begin, size_t end)
{
    for (size_t r = begin; r < end;) {
        size_t rows = s->block - r % s->block;
        if (rows > end - r) rows = end - r;
        size_t first = s->paired ? place_of(s, r / s->block * s->block) : place_of(s, r);
        rrt__tensor_forget(s->tensor, first * s->columns, (s->paired ? s->block : rows) * s->columns);
        r += rows;
    }
}

static rrt_status read_rows(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    const rrt__stored *s = from;
    RRT__TRY(rrt__stored_read(s, begin, end, out, err));
    rrt__stored_forget(s, begin, end);
    return RRT_STATUS_OK;
}

rrt__rows rrt__stored_rows(const rrt__stored *stored)
{
    return (rrt__rows){read_rows, stored};
}

const rrt__stored *rrt__rows_stored(rrt__rows rows)
{
    return rows.read == read_rows ? rows.from : NULL;
}
