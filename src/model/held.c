#include "model/held.h"

#include <string.h>

#include "format/tensors.h"

rrt_status rrt__held_read(const rrt__held *held, size_t begin, size_t end, float *out, rrt_error *err)
{
    size_t columns = held->columns;
    if (held->values) {
        memcpy(out, held->values + begin * columns, (end - begin) * columns * sizeof *out);
        return RRT_STATUS_OK;
    }
    if (!held->packed->data) return held->from->read(held->from->from, begin, end, out, err);
    for (size_t r = begin; r < end; r++) rrt__packed_row(held->packed, r, out + (r - begin) * columns);
    if (rrt__all_finite(out, (end - begin) * columns)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_NUMERIC, "a scale of rows %zu to %zu is not finite", begin, end - 1);
}

static rrt_status read_rows(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    return rrt__held_read(from, begin, end, out, err);
}

rrt__rows rrt__held_rows(const rrt__held *held)
{
    return (rrt__rows){read_rows, held};
}
