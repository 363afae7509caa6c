#include "format/encode.h"

#include "base/memory.h"

enum {
    CHUNK_VALUES = 4096,    // values converted at once
    BATCH_VALUES = 1 << 22, // values read at once, on all threads
};

static rrt_status fail_not_finite(rrt__dtype dtype, float value, size_t index, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_NUMERIC, "value %zu is %g, which is no finite number in %s", index,
                     (double)value, rrt__dtype_name(dtype));
}

rrt_status rrt__encode_values(const float *values, size_t count, rrt__dtype dtype, rrt__encode_put put,
                              void *to, rrt_error *err)
{
    float converted[CHUNK_VALUES]; // or 16-bit values
    for (size_t at = 0; at < count; at += CHUNK_VALUES) {
        size_t n = count - at < CHUNK_VALUES ? count - at : CHUNK_VALUES;
        size_t bad = rrt__dtype_from_f32(dtype, values + at, n, converted);
        if (bad < n) return fail_not_finite(dtype, values[at + bad], at + bad, err);
        RRT__TRY(put(to, converted, n * rrt__dtype_block_bytes(dtype), err));
    }
    return RRT_STATUS_OK;
}

// Rows [first, …) of a matrix as bytes.
typedef struct batch {
    unsigned char *bytes;
    size_t first, columns;
    rrt__dtype dtype;
} batch;

static rrt_status encode_piece(void *user, size_t begin, size_t end, const float *values, rrt_error *err)
{
    const batch *b = user;
    size_t count = (end - begin) * b->columns, at = (begin - b->first) * b->columns;
    size_t bad =
        rrt__dtype_from_f32(b->dtype, values, count, b->bytes + at * rrt__dtype_block_bytes(b->dtype));
    if (bad == count) return RRT_STATUS_OK;
    return fail_not_finite(b->dtype, values[bad], begin * b->columns + bad, err);
}

rrt_status rrt__encode_rows(const rrt__rows *rows, size_t count, size_t columns, rrt__dtype dtype,
                            rrt__encode_put put, void *to, rrt_error *err)
{
    size_t row_bytes = columns * rrt__dtype_block_bytes(dtype), max_rows = BATCH_VALUES / columns + 1;
    if (max_rows > count) max_rows = count;
    batch b = {.columns = columns, .dtype = dtype};
    RRT__TRY(rrt__alloc(&b.bytes, max_rows, row_bytes, "values to be written", err));
    rrt_status status = RRT_STATUS_OK;
    for (size_t end; !status && b.first < count; b.first = end) {
        end = count - b.first < max_rows ? count : b.first + max_rows;
        status = rrt__rows_each(rows, b.first, end, columns, 1, 0, encode_piece, &b, err);
        if (!status) status = put(to, b.bytes, (end - b.first) * row_bytes, err);
    }
    rrt__free(b.bytes);
    return status;
}
