#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/utf8.h"
#include "format/encode.h"
#include "format/safetensors_inside.h"

enum { HEADER_ALIGNMENT = 8 };

// Number of values; false if it overflows.
static bool count_values(const rrt__safetensors_entry *entry, size_t *count)
{
    rrt__tensor tensor = {.n_dims = entry->n_dims};
    memcpy(tensor.shape, entry->shape, sizeof tensor.shape);
    return rrt__tensor_count(&tensor, count);
}

rrt_status rrt__safetensors_measure(const rrt__safetensors_entry *entry, rrt__dtype dtype, size_t *end,
                                    rrt_error *err)
{
    size_t count, bytes;
    if (entry->n_dims < 0 || entry->n_dims > RRT__TENSOR_MAX_DIMS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d dimensions, from 0 to %d are possible", entry->n_dims,
                         RRT__TENSOR_MAX_DIMS);
    if (!count_values(entry, &count) || !rrt__size_mul(count, rrt__dtype_block_bytes(dtype), &bytes) ||
        bytes > INT64_MAX - *end)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "its size overflows 63 bits");
    *end += bytes;
    return RRT_STATUS_OK;
}

// Adds {name: {dtype, shape, data_offsets: [*end, *end + size]}} to the header and advances *end.
static rrt_status describe(json_t *header, const rrt__safetensors_entry *entry, rrt__dtype dtype, size_t *end,
                           rrt_error *err)
{
    size_t begin = *end;
    if (!entry->name[0] || entry->name[rrt__utf8_first_invalid(entry->name, strlen(entry->name))] ||
        strcmp(entry->name, "__metadata__") == 0)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "this cannot be a tensor's name");
    if (json_object_get(header, entry->name))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "this name is there twice");
    RRT__TRY(rrt__safetensors_measure(entry, dtype, end, err));
    json_t *shape = json_array();
    for (int i = 0; i < entry->n_dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)entry->shape[i]));
    json_t *json = json_pack("{s:s, s:o, s:[I, I]}", "dtype", rrt__dtype_name(dtype), "shape", shape,
                             "data_offsets", (json_int_t)begin, (json_int_t)*end);
    if (json_object_set_new(header, entry->name, json) != 0)
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: a safetensors header");
    return RRT_STATUS_OK;
}

// The header as text, padded with spaces to a multiple of 8 bytes. Free with free().
static rrt_status format_header(rrt__string *out, const rrt__safetensors_entry *entries, size_t count,
                                rrt__dtype dtype, rrt_error *err)
{
    // transformers refuses a file whose metadata does not name a framework.
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    char *text = NULL;
    size_t end = 0;
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        status = describe(header, &entries[i], dtype, &end, err);
        if (status) {
            rrt__at(err, status, "tensor '%.80s'", entries[i].name);
            goto done;
        }
    }
    text = json_dumps(header, JSON_COMPACT);
    if (!text) {
        status = rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: a safetensors header");
        goto done;
    }
    RRT__GOTO(rrt__string_append(out, text, strlen(text), err));
    while (out->length % HEADER_ALIGNMENT) RRT__GOTO(rrt__string_append(out, " ", 1, err));
done:
    free(text);
    json_decref(header);
    return status;
}

static rrt_status write_bytes(FILE *file, const void *bytes, size_t size_bytes, rrt_error *err)
{
    if (fwrite(bytes, 1, size_bytes, file) == size_bytes) return RRT_STATUS_OK;
    return rrt__fail_errno(err, "cannot write");
}

static rrt_status put(void *file, const void *bytes, size_t size_bytes, rrt_error *err)
{
    return write_bytes(file, bytes, size_bytes, err);
}

static rrt_status write_tensor(FILE *file, const rrt__safetensors_entry *entry, rrt__dtype dtype,
                               rrt_error *err)
{
    size_t count;
    count_values(entry, &count);
    if (entry->values || !count) return rrt__encode_values(entry->values, count, dtype, put, file, err);
    size_t columns = entry->n_dims > 1 ? entry->shape[1] : 1;
    return rrt__encode_rows(&entry->from, entry->shape[0], columns, dtype, put, file, err);
}

static rrt_status write_all(FILE *file, const rrt__string *header, const rrt__safetensors_entry *entries,
                            size_t count, rrt__dtype dtype, rrt__safetensors_watch *watch, rrt_error *err)
{
    uint64_t length = header->length;
    RRT__TRY(write_bytes(file, &length, sizeof length, err));
    RRT__TRY(write_bytes(file, header->data, header->length, err));
    for (size_t i = 0; i < count; i++) {
        rrt_status status = write_tensor(file, &entries[i], dtype, err);
        if (status) return rrt__at(err, status, "tensor '%.80s'", entries[i].name);
        size_t bytes = 0;
        RRT__TRY(rrt__safetensors_measure(&entries[i], dtype, &bytes, err));
        watch->done += (double)bytes;
        RRT__TRY(rrt__progress_report(watch->progress, "save", watch->done, watch->total, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status write_file(const char *path, const rrt__string *header,
                             const rrt__safetensors_entry *entries, size_t count, rrt__dtype dtype,
                             rrt__safetensors_watch *watch, rrt_error *err)
{
    FILE *file = fopen(path, "wb");
    rrt_status status = file ? write_all(file, header, entries, count, dtype, watch, err)
                             : rrt__fail_errno(err, "cannot create");
    if (!status) return rrt__file_finish(file, path, err);
    if (file) fclose(file);
    return rrt__at(err, status, "%s", path);
}

rrt_status rrt__safetensors_write_watched(const char *path, const rrt__safetensors_entry *entries,
                                          size_t count, rrt__dtype dtype, rrt__safetensors_watch *watch,
                                          rrt_error *err)
{
    if (dtype != RRT__DTYPE_F32 && dtype != RRT__DTYPE_F16 && dtype != RRT__DTYPE_BF16)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "safetensors cannot hold %s: F32, F16 and BF16 are written", rrt__dtype_name(dtype));
    rrt__string header = {0};
    rrt_status status = format_header(&header, entries, count, dtype, err);
    if (!status) status = write_file(path, &header, entries, count, dtype, watch, err);
    rrt__string_free(&header);
    return status;
}

rrt_status rrt__safetensors_write(const char *path, const rrt__safetensors_entry *entries, size_t count,
                                  rrt__dtype dtype, rrt_error *err)
{
    return rrt__safetensors_write_watched(path, entries, count, dtype, &(rrt__safetensors_watch){0}, err);
}
