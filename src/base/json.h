// JSON through jansson: strict reading (no duplicate keys) and typed access that names the wrong key.
#ifndef RRT__JSON_H
#define RRT__JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

// Parses text[0..length); the error gives line and column. Numbers beyond 64 bits, and Python's NaN and
// Infinity, are accepted (json_numbers.h); using such a number fails. Free with json_decref.
rrt_status rrt__json_parse(json_t **out, const char *text, size_t length, rrt_error *err);
rrt_status rrt__json_read(json_t **out, const char *path, rrt_error *err);
// *out = the object in a folder's file; NULL if there is no such file. FORMAT if it is no object.
rrt_status rrt__json_read_object(json_t **out, const char *folder, const char *name, rrt_error *err);
// MEMORY if any value that this thread created since the last such failure ran out of memory.
rrt_status rrt__json_check_memory(rrt_error *err);
// Checks that, too. Real numbers are written with all digits, and those of json_numbers.h as they were read.
rrt_status rrt__json_write(const json_t *json, const char *path, rrt_error *err);

// An absent key and a null are equivalent: Hugging Face's files use both.
bool rrt__json_is_absent(const json_t *value);

// Whether it is absent, false, 0, or an empty list.
bool rrt__json_is_off(const json_t *value);

// Whether it is a number, neither NaN nor beyond double's range.
bool rrt__json_is_finite(const json_t *value);

// Bytes as a JSON string, which must be valid UTF-8: invalid sequences become U+FFFD. NULL if out of memory.
json_t *rrt__json_text(const char *bytes, size_t length);

// Typed members of an object. The key is required unless a fallback is passed; *out points into json.
rrt_status rrt__json_int(const json_t *json, const char *key, int64_t min, int64_t max, int64_t *out,
                         rrt_error *err);
rrt_status rrt__json_int_or(const json_t *json, const char *key, int64_t min, int64_t max, int64_t fallback,
                            int64_t *out, rrt_error *err);
rrt_status rrt__json_real_or(const json_t *json, const char *key, double fallback, double *out,
                             rrt_error *err);
rrt_status rrt__json_bool_or(const json_t *json, const char *key, bool fallback, bool *out, rrt_error *err);
rrt_status rrt__json_string(const json_t *json, const char *key, const char **out, rrt_error *err);
rrt_status rrt__json_string_or(const json_t *json, const char *key, const char *fallback, const char **out,
                               rrt_error *err);
rrt_status rrt__json_object(const json_t *json, const char *key, json_t **out, rrt_error *err);
rrt_status rrt__json_array(const json_t *json, const char *key, json_t **out, rrt_error *err);

#endif
