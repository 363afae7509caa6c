// GGUF version 3 (and 2, which has the same layout), memory-mapped: metadata and tensor table. Little endian.
#ifndef RRT__GGUF_H
#define RRT__GGUF_H

#include "base/file.h"
#include "format/tensors.h"

typedef struct rrt__gguf rrt__gguf;

// Checks the whole header against the file's size first. Errors have byte offsets: FORMAT for a damaged
// file, UNSUPPORTED for version 1, big-endian files, and unsupported types (of tensors or metadata). Of a
// model in several files (NAME-00001-of-00003.gguf) the path may name any: all are opened, with the metadata
// of the first.
rrt_status rrt__gguf_open(rrt__gguf **out, const char *path, rrt_error *err);

// The same for bytes in memory that must outlive the result (tests, fuzzing); path is for messages.
rrt_status rrt__gguf_parse(rrt__gguf **out, const void *data, size_t size_bytes, const char *path,
                           rrt_error *err);

void rrt__gguf_close(rrt__gguf *gguf); // NULL is allowed

const rrt__tensor_table *rrt__gguf_tensors(const rrt__gguf *gguf);
size_t rrt__gguf_file_bytes(const rrt__gguf *gguf); // of all parts; 0 after rrt__gguf_parse

bool rrt__gguf_has(const rrt__gguf *gguf, const char *key);
bool rrt__gguf_is_array(const rrt__gguf *gguf, const char *key); // false for a missing key

// Typed metadata. An integer in range may have any integer type, a real any (finite) float type. Missing: the
// fallback or, without one, FORMAT with the key. Another type or range: FORMAT.
rrt_status rrt__gguf_int(const rrt__gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out,
                         rrt_error *err);
rrt_status rrt__gguf_int_or(const rrt__gguf *gguf, const char *key, int64_t min, int64_t max,
                            int64_t fallback, int64_t *out, rrt_error *err);
rrt_status rrt__gguf_real_or(const rrt__gguf *gguf, const char *key, double fallback, double *out,
                             rrt_error *err);
// A finite number of any type.
rrt_status rrt__gguf_number(const rrt__gguf *gguf, const char *key, double *out, rrt_error *err);
rrt_status rrt__gguf_bool_or(const rrt__gguf *gguf, const char *key, bool fallback, bool *out,
                             rrt_error *err);

// A string of the file: not NUL-terminated, not checked for UTF-8, valid as long as the gguf.
typedef struct rrt__slice {
    const char *data;
    size_t length;
} rrt__slice;

rrt_status rrt__gguf_string(const rrt__gguf *gguf, const char *key, rrt__slice *out, rrt_error *err);

// Arrays. Strings are passed on one by one, in order, because their size in the file varies.
rrt_status rrt__gguf_array_count(const rrt__gguf *gguf, const char *key, size_t *count, rrt_error *err);
rrt_status rrt__gguf_each_string(const rrt__gguf *gguf, const char *key,
                                 rrt_status (*each)(void *user, size_t index, rrt__slice string,
                                                    rrt_error *err),
                                 void *user, rrt_error *err);
// out[0..count) of an array of integers (of any width; bools are 0 and 1) or of floats (unchecked, NaN
// included). FORMAT unless the array has exactly count items.
rrt_status rrt__gguf_ints(const rrt__gguf *gguf, const char *key, int64_t *out, size_t count, rrt_error *err);
rrt_status rrt__gguf_reals(const rrt__gguf *gguf, const char *key, float *out, size_t count, rrt_error *err);

#endif
