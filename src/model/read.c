#include "model/read.h"

#include <string.h>

#include "format/tensors.h"
#include "kernels/storage.h"

rrt_status rrt__linear_read(const rrt__linear *linear, size_t begin, size_t end, float *out, rrt_error *err)
{
    size_t in = linear->in;
    if (!linear->data) return linear->from.read(linear->from.from, begin, end, out, err);
    for (size_t r = begin; r < end; r++) rrt__linear_row(linear, r, out + (r - begin) * in);
    if (!rrt__storage_is_packed(linear->storage) || rrt__all_finite(out, (end - begin) * in))
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_NUMERIC, "a scale of rows %zu to %zu is not finite", begin, end - 1);
}

static rrt_status read_rows(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    return rrt__linear_read(from, begin, end, out, err);
}

rrt__rows rrt__linear_rows(const rrt__linear *linear)
{
    return (rrt__rows){read_rows, linear};
}
