#include "checkpoint/whole.h"

#include "model/read.h"

void rrt__whole_add(rrt__whole *whole, const rrt__fused *place, size_t rows, rrt__linear part)
{
    whole->part[whole->count] = part;
    whole->place[whole->count++] = *place;
    whole->filled += rows;
}

// The part with row r of the tensor, its row there, and the number of rows that follow in one run.
static const rrt__linear *find(const rrt__whole *whole, size_t r, size_t *row, size_t *left)
{
    for (int i = 0; i < whole->count; i++) {
        const rrt__fused *place = &whole->place[i];
        if (r < place->first) continue;
        size_t at = r - place->first, run = place->stride ? at / place->stride : 0,
               within = at - run * place->stride;
        if (within >= place->run) continue;
        *row = run * place->run + within;
        *left = place->run - within;
        return &whole->part[i];
    }
    return NULL;
}

static rrt_status read_rows(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    for (size_t r = begin, row, rows; r < end; r += rows) {
        const rrt__linear *part = find(from, r, &row, &rows);
        if (rows > end - r) rows = end - r;
        RRT__TRY(rrt__linear_read(part, row, row + rows, out + (r - begin) * part->in, err));
    }
    return RRT_STATUS_OK;
}

rrt__rows rrt__whole_rows(const rrt__whole *whole)
{
    return (rrt__rows){read_rows, whole};
}
