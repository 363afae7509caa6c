#include "format/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Values converted before each check: a multiple of every block, small enough for the cache.
enum { CHUNK_VALUES = 4096 };

rrt_status rrt__tensor_table_add(rrt__tensor_table *table, const rrt__tensor *tensor, rrt_error *err)
{
    RRT__TRY(rrt__array_reserve(&table->tensors, &table->capacity, table->count + 1, sizeof *tensor, err));
    table->tensors[table->count++] = *tensor;
    return RRT_STATUS_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const rrt__tensor *)a)->name, ((const rrt__tensor *)b)->name);
}

// By address, which also separates files; an empty tensor comes before the one at its place.
static int compare_places(const void *a, const void *b)
{
    const rrt__tensor *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q) return p < q ? -1 : 1;
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

rrt_status rrt__tensor_table_seal(rrt__tensor_table *table, rrt_error *err)
{
    rrt__tensor *tensors = table->tensors;
    if (table->count == 0) return RRT_STATUS_OK;
    qsort(tensors, table->count, sizeof *tensors, compare_places);
    for (size_t i = 1; i < table->count; i++) {
        const rrt__tensor *a = &tensors[i - 1], *b = &tensors[i];
        if ((uintptr_t)a->data + a->size_bytes > (uintptr_t)b->data)
            return rrt__fail(err, RRT_STATUS_FORMAT, "tensors '%.80s' and '%.80s' overlap at byte %zu",
                             a->name, b->name, b->file_offset);
    }
    qsort(tensors, table->count, sizeof *tensors, compare_names);
    for (size_t i = 1; i < table->count; i++)
        if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "tensor '%.80s' is there twice: at byte %zu of %s and at byte %zu of %s",
                             tensors[i].name, tensors[i - 1].file_offset, tensors[i - 1].path,
                             tensors[i].file_offset, tensors[i].path);
    return RRT_STATUS_OK;
}

const rrt__tensor *rrt__tensor_table_find(const rrt__tensor_table *table, const char *name)
{
    if (table->count == 0) return NULL;
    rrt__tensor key = {.name = name};
    return bsearch(&key, table->tensors, table->count, sizeof key, compare_names);
}

rrt__dtype rrt__tensor_table_dtype(const rrt__tensor_table *table)
{
    uint64_t bytes[RRT__DTYPE_COUNT] = {0};
    rrt__dtype widest = RRT__DTYPE_F32;
    for (size_t i = 0; i < table->count; i++) {
        const rrt__tensor *tensor = &table->tensors[i];
        if (tensor->n_dims > 1) bytes[tensor->dtype] += tensor->size_bytes;
        if (bytes[tensor->dtype] > bytes[widest]) widest = tensor->dtype;
    }
    return widest <= RRT__DTYPE_BF16 ? widest : RRT__DTYPE_BF16;
}

void rrt__tensor_table_free(rrt__tensor_table *table)
{
    rrt__free(table->tensors);
    *table = (rrt__tensor_table){0};
}

bool rrt__tensor_count(const rrt__tensor *tensor, size_t *count)
{
    *count = 1;
    for (int i = 0; i < tensor->n_dims; i++)
        if (!rrt__size_mul(*count, tensor->shape[i], count)) return false;
    return true;
}

// "[49152, 576]"; 4 numbers of 20 digits fit.
static const char *format_shape(char out[96], const size_t *shape, int n_dims)
{
    int length = snprintf(out, 96, "[");
    for (int i = 0; i < n_dims; i++)
        length += snprintf(out + length, 96 - (size_t)length, "%s%zu", i ? ", " : "", shape[i]);
    snprintf(out + length, 96 - (size_t)length, "]");
    return out;
}

bool rrt__all_finite(const float *values, size_t count)
{
    uint32_t below = ~0u; // its top bit stays set while every magnitude is below infinity's; without
                          // branches, so that the loop vectorises
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        below &= (bits & 0x7fffffffu) - 0x7f800000u;
    }
    return below >> 31;
}

// values: from value `first` on; one is not finite.
static rrt_status fail_not_finite(const rrt__tensor *tensor, const float *values, size_t first,
                                  rrt_error *err)
{
    while (isfinite(*values)) values++, first++;
    size_t block = first / rrt__dtype_block_values(tensor->dtype);
    rrt_status status =
        rrt__fail(err, RRT_STATUS_NUMERIC, "value %zu is %f, a finite number is expected (byte %zu)", first,
                  (double)*values, tensor->file_offset + block * rrt__dtype_block_bytes(tensor->dtype));
    return rrt__hint(err, status, "the file is damaged, or the training that wrote it has diverged");
}

rrt_status rrt__tensor_check_shape(const rrt__tensor *tensor, size_t rows, size_t columns, rrt_error *err)
{
    size_t wanted[2] = {rows, columns}, count;
    int n_dims = columns ? 2 : 1;
    if (tensor->n_dims == n_dims && memcmp(tensor->shape, wanted, (size_t)n_dims * sizeof *wanted) == 0 &&
        rrt__tensor_count(tensor, &count))
        return RRT_STATUS_OK;
    char have[96], want[96];
    rrt_status status =
        rrt__fail(err, RRT_STATUS_MISMATCH, "its shape is %s, %s is expected",
                  format_shape(have, tensor->shape, tensor->n_dims), format_shape(want, wanted, n_dims));
    return rrt__at(err, status, "%s: tensor '%.80s'", tensor->path, tensor->name);
}

const unsigned char *rrt__tensor_place(const rrt__tensor *tensor, size_t first)
{
    return tensor->data +
           first / rrt__dtype_block_values(tensor->dtype) * rrt__dtype_block_bytes(tensor->dtype);
}

rrt_status rrt__tensor_read_values(const rrt__tensor *tensor, size_t first, size_t count, float *out,
                                   rrt_error *err)
{
    for (size_t at = 0; at < count; at += CHUNK_VALUES) {
        size_t n = count - at < CHUNK_VALUES ? count - at : CHUNK_VALUES;
        rrt__dtype_to_f32(tensor->dtype, rrt__tensor_place(tensor, first + at), n, out + at);
        if (rrt__all_finite(out + at, n)) continue;
        rrt_status status = fail_not_finite(tensor, out + at, first + at, err);
        return rrt__at(err, status, "%s: tensor '%.80s'", tensor->path, tensor->name);
    }
    return RRT_STATUS_OK;
}

void rrt__tensor_forget(const rrt__tensor *tensor, size_t first, size_t count)
{
    const unsigned char *begin = rrt__tensor_place(tensor, first),
                        *end = rrt__tensor_place(tensor, first + count);
    rrt__map_forget(&tensor->map, begin, (size_t)(end - begin));
}

bool rrt__tensor_is_same(const rrt__tensor *a, const rrt__tensor *b)
{
    enum { PIECE_BYTES = 1 << 20 };
    bool is_same = a->dtype == b->dtype && a->size_bytes == b->size_bytes;
    for (size_t at = 0, bytes; is_same && at < a->size_bytes; at += bytes) {
        bytes = a->size_bytes - at < PIECE_BYTES ? a->size_bytes - at : PIECE_BYTES;
        is_same = memcmp(a->data + at, b->data + at, bytes) == 0;
        rrt__map_forget(&a->map, a->data + at, bytes);
        rrt__map_forget(&b->map, b->data + at, bytes);
    }
    return is_same;
}

rrt_status rrt__tensor_read(const rrt__tensor *tensor, size_t rows, size_t columns, float *out,
                            rrt_error *err)
{
    RRT__TRY(rrt__tensor_check_shape(tensor, rows, columns, err));
    return rrt__tensor_read_values(tensor, 0, rows * (columns ? columns : 1), out, err);
}
