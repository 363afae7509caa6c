#include "convert/made.h"

#include "base/rng.h"
#include "model/read.h"

rrt_status rrt__made_open(rrt__made **out, rrt__arena *arena, int count, size_t columns, rrt_error *err)
{
    RRT__TRY(rrt__arena_alloc(arena, out, 1, sizeof **out, "a matrix's place", err));
    (*out)->count = count;
    (*out)->columns = columns;
    if (!count) return RRT_STATUS_OK;
    RRT__TRY(rrt__arena_alloc(arena, &(*out)->source, (size_t)count, sizeof *(*out)->source,
                              "a matrix's place", err));
    return rrt__arena_alloc(arena, &(*out)->gain, (size_t)count, sizeof *(*out)->gain, "a matrix's place",
                            err);
}

static rrt_status read_source(const rrt__made *made, int i, size_t begin, size_t end, float *out,
                              rrt_error *err)
{
    RRT__TRY(rrt__linear_read(&made->source[i], begin, end, out, err));
    for (size_t r = 0; made->gain[i] && r < end - begin; r++)
        for (size_t c = 0; c < made->columns; c++) out[r * made->columns + c] *= made->gain[i][c];
    return RRT_STATUS_OK;
}

static rrt_status read_mean(const rrt__made *made, size_t begin, size_t end, float *out, rrt_error *err)
{
    size_t values = (end - begin) * made->columns;
    float *one;
    RRT__TRY(rrt__alloc(&one, values, sizeof *one, "a matrix of several", err));
    for (size_t k = 0; k < values; k++) out[k] = 0;
    rrt_status status = RRT_STATUS_OK;
    for (int i = 0; !status && i < made->count; i++) {
        status = read_source(made, i, begin, end, one, err);
        for (size_t k = 0; !status && k < values; k++) out[k] += one[k] / (float)made->count;
    }
    rrt__free(one);
    return status;
}

static rrt_status read_rows(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    const rrt__made *made = from;
    if (made->count == 1) return read_source(made, 0, begin, end, out, err);
    if (made->count > 1) return read_mean(made, begin, end, out, err);
    for (size_t k = begin * made->columns; k < end * made->columns; k++)
        out[k - begin * made->columns] = 0.02f * (float)rrt__random_gaussian(made->seed, made->stream, k);
    return RRT_STATUS_OK;
}

rrt__rows rrt__made_rows(const rrt__made *made)
{
    return (rrt__rows){read_rows, made};
}
