#include "format/gguf_write.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "format/encode.h"
#include "format/gguf_inside.h"

static rrt_status put(rrt__string *to, const void *bytes, size_t count, rrt_error *err)
{
    return rrt__string_append(to, bytes, count, err);
}

static rrt_status put_u32(rrt__string *to, uint32_t value, rrt_error *err)
{
    return put(to, &value, sizeof value, err);
}

static rrt_status put_u64(rrt__string *to, uint64_t value, rrt_error *err)
{
    return put(to, &value, sizeof value, err);
}

static rrt_status put_text(rrt__string *to, const char *text, size_t length, rrt_error *err)
{
    RRT__TRY(put_u64(to, length, err));
    return put(to, text, length, err);
}

static rrt_status put_key(rrt__gguf_writer *w, const char *key, rrt__gguf_type type, rrt_error *err)
{
    w->n_entries++;
    RRT__TRY(put_text(&w->entries, key, strlen(key), err));
    return put_u32(&w->entries, type, err);
}

rrt_status rrt__gguf_write_string(rrt__gguf_writer *w, const char *key, const char *text, size_t length,
                                  rrt_error *err)
{
    RRT__TRY(put_key(w, key, RRT__GGUF_TYPE_STRING, err));
    return put_text(&w->entries, text, length, err);
}

rrt_status rrt__gguf_write_u32(rrt__gguf_writer *w, const char *key, uint32_t value, rrt_error *err)
{
    RRT__TRY(put_key(w, key, RRT__GGUF_TYPE_UINT32, err));
    return put_u32(&w->entries, value, err);
}

rrt_status rrt__gguf_write_f32(rrt__gguf_writer *w, const char *key, float value, rrt_error *err)
{
    RRT__TRY(put_key(w, key, RRT__GGUF_TYPE_FLOAT32, err));
    return put(&w->entries, &value, sizeof value, err);
}

rrt_status rrt__gguf_write_bool(rrt__gguf_writer *w, const char *key, bool value, rrt_error *err)
{
    const char byte = value;
    RRT__TRY(put_key(w, key, RRT__GGUF_TYPE_BOOL, err));
    return put(&w->entries, &byte, 1, err);
}

static rrt_status put_array(rrt__gguf_writer *w, const char *key, rrt__gguf_type type, size_t count,
                            rrt_error *err)
{
    RRT__TRY(put_key(w, key, RRT__GGUF_TYPE_ARRAY, err));
    RRT__TRY(put_u32(&w->entries, type, err));
    return put_u64(&w->entries, count, err);
}

rrt_status rrt__gguf_write_i32s(rrt__gguf_writer *w, const char *key, const int32_t *values, size_t count,
                                rrt_error *err)
{
    RRT__TRY(put_array(w, key, RRT__GGUF_TYPE_INT32, count, err));
    return put(&w->entries, values, count * sizeof *values, err);
}

rrt_status rrt__gguf_write_f32s(rrt__gguf_writer *w, const char *key, const float *values, size_t count,
                                rrt_error *err)
{
    RRT__TRY(put_array(w, key, RRT__GGUF_TYPE_FLOAT32, count, err));
    return put(&w->entries, values, count * sizeof *values, err);
}

rrt_status rrt__gguf_write_strings(rrt__gguf_writer *w, const char *key, size_t count, rrt_error *err)
{
    return put_array(w, key, RRT__GGUF_TYPE_STRING, count, err);
}

rrt_status rrt__gguf_write_item(rrt__gguf_writer *w, const char *text, size_t length, rrt_error *err)
{
    return put_text(&w->entries, text, length, err);
}

enum { MAX_ALIGNMENT = 64 };

static size_t alignment_of(const rrt__gguf_writer *w)
{
    return w->alignment ? w->alignment : RRT__GGUF_ALIGNMENT;
}

static size_t padding(const rrt__gguf_writer *w, size_t bytes)
{
    return (alignment_of(w) - bytes % alignment_of(w)) % alignment_of(w);
}

rrt_status rrt__gguf_write_tensor(rrt__gguf_writer *w, const char *name, rrt__dtype dtype, int n_dims,
                                  const size_t *shape, rrt_error *err)
{
    size_t values = 1;
    RRT__TRY(put_text(&w->tensors, name, strlen(name), err));
    RRT__TRY(put_u32(&w->tensors, (uint32_t)n_dims, err));
    for (int i = n_dims - 1; i >= 0; i--) {
        RRT__TRY(put_u64(&w->tensors, shape[i], err));
        values *= shape[i];
    }
    RRT__TRY(put_u32(&w->tensors, rrt__gguf_type_of(dtype), err));
    RRT__TRY(put_u64(&w->tensors, w->data_bytes, err));
    size_t bytes = values / rrt__dtype_block_values(dtype) * rrt__dtype_block_bytes(dtype);
    w->data_bytes += bytes + padding(w, bytes);
    w->n_tensors++;
    return RRT_STATUS_OK;
}

static rrt_status write_bytes(rrt__gguf_writer *w, const void *bytes, size_t count, rrt_error *err)
{
    if (count == 0 || fwrite(bytes, 1, count, w->file) == count) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail(err, RRT_STATUS_IO, "cannot write: %s", strerror(errno)), "%s", w->path);
}

static rrt_status write_padding(rrt__gguf_writer *w, size_t after, rrt_error *err)
{
    static const char zeros[MAX_ALIGNMENT];
    return write_bytes(w, zeros, padding(w, after), err);
}

rrt_status rrt__gguf_writer_begin(rrt__gguf_writer *w, const char *path, rrt_error *err)
{
    rrt__string head = {0};
    w->path = path;
    rrt_status status = rrt__gguf_write_u32(w, "general.alignment", (uint32_t)alignment_of(w), err);
    if (!status) status = put(&head, "GGUF", 4, err);
    if (!status) status = put_u32(&head, 3, err);
    if (!status) status = put_u64(&head, w->n_tensors, err);
    if (!status) status = put_u64(&head, w->n_entries, err);
    if (!status && !(w->file = fopen(path, "wb")))
        status = rrt__at(err, rrt__fail(err, RRT_STATUS_IO, "cannot create the file: %s", strerror(errno)),
                         "%s", path);
    if (!status) status = write_bytes(w, head.data, head.length, err);
    if (!status) status = write_bytes(w, w->entries.data, w->entries.length, err);
    if (!status) status = write_bytes(w, w->tensors.data, w->tensors.length, err);
    if (!status) status = write_padding(w, head.length + w->entries.length + w->tensors.length, err);
    rrt__string_free(&head);
    return status;
}

rrt_status rrt__gguf_write_part(rrt__gguf_writer *w, const void *data, size_t size_bytes, rrt_error *err)
{
    w->written += size_bytes;
    return write_bytes(w, data, size_bytes, err);
}

rrt_status rrt__gguf_write_end(rrt__gguf_writer *w, rrt_error *err)
{
    size_t bytes = w->written;
    w->written = 0;
    return write_padding(w, bytes, err);
}

rrt_status rrt__gguf_write_data(rrt__gguf_writer *w, const void *data, size_t size_bytes, rrt_error *err)
{
    RRT__TRY(rrt__gguf_write_part(w, data, size_bytes, err));
    return rrt__gguf_write_end(w, err);
}

static rrt_status put_part(void *writer, const void *bytes, size_t size_bytes, rrt_error *err)
{
    return rrt__gguf_write_part(writer, bytes, size_bytes, err);
}

rrt_status rrt__gguf_write_rows(rrt__gguf_writer *w, rrt__dtype dtype, const rrt__rows *rows, size_t count,
                                size_t columns, rrt_error *err)
{
    RRT__TRY(rrt__encode_rows(rows, count, columns, dtype, put_part, w, err));
    return rrt__gguf_write_end(w, err);
}

rrt_status rrt__gguf_writer_finish(rrt__gguf_writer *w, rrt_error *err)
{
    FILE *file = w->file;
    w->file = NULL;
    return rrt__file_finish(file, w->path, err);
}

void rrt__gguf_writer_free(rrt__gguf_writer *w)
{
    if (w->file) fclose(w->file);
    rrt__string_free(&w->entries);
    rrt__string_free(&w->tensors);
    *w = (rrt__gguf_writer){0};
}
