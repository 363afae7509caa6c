// JSON through jansson: strict reading (no duplicate keys) and typed access that says which key is wrong.
#ifndef RRT__JSON_H
#define RRT__JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

// Parses text[0..length); the error names line and column. Numbers that do not fit into 64 bits, and Python's
// NaN and Infinity, are read (json_numbers.h); who uses such a number gets an error. Free with json_decref.
rrt_status rrt__json_parse(json_t **out, const char *text, size_t length, rrt_error *err);
rrt_status rrt__json_read(json_t **out, const char *path, rrt_error *err);
// Fails with MEMORY if any value of this thread's, made since the last such failure, found no memory.
rrt_status rrt__json_check_memory(rrt_error *err);
// Checks that, too. Real numbers are written in full, and those of the above as they were.
rrt_status rrt__json_write(const json_t *json, const char *path, rrt_error *err);

// An absent key and a null mean the same: that is how Hugging Face writes its files.
bool rrt__json_is_absent(const json_t *value);

// Whether it is a number, and neither NaN nor beyond what double holds.
bool rrt__json_is_finite(const json_t *value);

// Bytes as a JSON string, which has to be valid UTF-8: what is broken becomes U+FFFD. NULL if out of memory.
json_t *rrt__json_text(const char *bytes, size_t length);

// Typed members of an object. The key must be there unless a fallback is passed; *out is inside json.
rrt_status rrt__json_int(const json_t *json, const char *key, int64_t least, int64_t most, int64_t *out,
                         rrt_error *err);
rrt_status rrt__json_int_or(const json_t *json, const char *key, int64_t least, int64_t most,
                            int64_t fallback, int64_t *out, rrt_error *err);
rrt_status rrt__json_real_or(const json_t *json, const char *key, double fallback, double *out,
                             rrt_error *err);
rrt_status rrt__json_bool_or(const json_t *json, const char *key, bool fallback, bool *out, rrt_error *err);
rrt_status rrt__json_string(const json_t *json, const char *key, const char **out, rrt_error *err);
rrt_status rrt__json_string_or(const json_t *json, const char *key, const char *fallback, const char **out,
                               rrt_error *err);
rrt_status rrt__json_object(const json_t *json, const char *key, json_t **out, rrt_error *err);
rrt_status rrt__json_array(const json_t *json, const char *key, json_t **out, rrt_error *err);

#endif
