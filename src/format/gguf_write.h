// Writes a GGUF file, version 3: metadata and tensors are declared first, then the tensors' bytes follow in
// the same order. Zero-initialised is an empty file; callers must pass on the first error, and call
// rrt__gguf_writer_free at the end.
#ifndef RRT__GGUF_WRITE_H
#define RRT__GGUF_WRITE_H

#include <stdio.h>

#include "base/memory.h"
#include "base/rows.h"
#include "format/dtype.h"

// Of every tensor's bytes: the default of readers, and the only value of some writers (llama-quantize).
enum { RRT__GGUF_ALIGNMENT = 32 };

typedef struct rrt__gguf_writer {
    rrt__string entries, tensors; // in the header's encoding
    uint64_t n_entries, n_tensors;
    size_t alignment;  // 0: RRT__GGUF_ALIGNMENT
    size_t data_bytes; // declared so far
    size_t written;    // bytes of the current tensor
    FILE *file;        // after rrt__gguf_writer_begin
    const char *path;
} rrt__gguf_writer;

rrt_status rrt__gguf_write_string(rrt__gguf_writer *writer, const char *key, const char *text, size_t length,
                                  rrt_error *err);
rrt_status rrt__gguf_write_u32(rrt__gguf_writer *writer, const char *key, uint32_t value, rrt_error *err);
rrt_status rrt__gguf_write_f32(rrt__gguf_writer *writer, const char *key, float value, rrt_error *err);
rrt_status rrt__gguf_write_bool(rrt__gguf_writer *writer, const char *key, bool value, rrt_error *err);
rrt_status rrt__gguf_write_i32s(rrt__gguf_writer *writer, const char *key, const int32_t *values,
                                size_t count, rrt_error *err);
rrt_status rrt__gguf_write_f32s(rrt__gguf_writer *writer, const char *key, const float *values, size_t count,
                                rrt_error *err);

// Begins an array of strings, of which exactly count must follow.
rrt_status rrt__gguf_write_strings(rrt__gguf_writer *writer, const char *key, size_t count, rrt_error *err);
rrt_status rrt__gguf_write_item(rrt__gguf_writer *writer, const char *text, size_t length, rrt_error *err);

// Declares a tensor; shape is outermost first.
rrt_status rrt__gguf_write_tensor(rrt__gguf_writer *writer, const char *name, rrt__dtype dtype, int n_dims,
                                  const size_t *shape, rrt_error *err);

// Opens the file and writes all declarations. path must outlive the writer.
rrt_status rrt__gguf_writer_begin(rrt__gguf_writer *writer, const char *path, rrt_error *err);
rrt_status rrt__gguf_write_data(rrt__gguf_writer *writer, const void *data, size_t size_bytes,
                                rrt_error *err);

// The same in parts: a tensor's bytes, then its end.
rrt_status rrt__gguf_write_part(rrt__gguf_writer *writer, const void *data, size_t size_bytes,
                                rrt_error *err);
rrt_status rrt__gguf_write_end(rrt__gguf_writer *writer, rrt_error *err);

// The same for a matrix [count, columns], or a vector as one column, converted to dtype (F32, F16 or BF16)
// piece by piece. NUMERIC if a converted value is not finite.
rrt_status rrt__gguf_write_rows(rrt__gguf_writer *writer, rrt__dtype dtype, const rrt__rows *rows,
                                size_t count, size_t columns, rrt_error *err);

// Flushes to the disk.
rrt_status rrt__gguf_writer_finish(rrt__gguf_writer *writer, rrt_error *err);
void rrt__gguf_writer_free(rrt__gguf_writer *writer);

#endif
