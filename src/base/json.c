#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json_numbers.h"
#include "base/utf8.h"

// Without memory, jansson silently omits a value from its object, unless each call is checked, and calls a
// document invalid. So its allocations are watched instead.
static _Thread_local bool ran_out;

static void *take(size_t size)
{
    void *memory = malloc(size);
    if (!memory) ran_out = true;
    return memory;
}

// A host program's own allocation functions stay.
__attribute__((constructor)) static void watch_memory(void)
{
    json_malloc_t take_now;
    json_free_t free_now;
    json_get_alloc_funcs(&take_now, &free_now);
    if (take_now == malloc && free_now == free) json_set_alloc_funcs(take, free);
}

rrt_status rrt__json_check_memory(rrt_error *err)
{
    if (!ran_out) return RRT_STATUS_OK;
    ran_out = false;
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: JSON");
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i]) return false;
    return true;
}

rrt_status rrt__json_parse(json_t **out, const char *text, size_t length, rrt_error *err)
{
    enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };
    json_error_t detail;
    rrt__string rewritten = {0};
    *out = NULL;
    if (is_blank(text, length)) return rrt__fail(err, RRT_STATUS_FORMAT, "not valid JSON: it is empty");
    RRT__TRY(rrt__json_numbers_for_jansson(&rewritten, text, length, err));
    *out = rewritten.data ? json_loadb(rewritten.data, rewritten.length, FLAGS, &detail)
                          : json_loadb(text, length, FLAGS, &detail);
    size_t position = *out || detail.position < 0 ? 0 : (size_t)detail.position;
    if (!*out && rewritten.data)
        position = rrt__json_numbers_position(text, length, position, &detail.column);
    rrt__string_free(&rewritten);
    if (*out) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_check_memory(err));
    if (json_error_code(&detail) == json_error_out_of_memory) // with a host program's functions
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: JSON");
    return rrt__fail(err, RRT_STATUS_FORMAT, "not valid JSON: %s (line %d, column %d, byte %zu)", detail.text,
                     detail.line, detail.column, position);
}

rrt_status rrt__json_read(json_t **out, const char *path, rrt_error *err)
{
    rrt__map map;
    *out = NULL;
    RRT__TRY(rrt__map_open(&map, path, err));
    rrt_status status = map.size_bytes
                            ? rrt__json_parse(out, (const char *)map.data, map.size_bytes, err)
                            : rrt__fail(err, RRT_STATUS_FORMAT, "not valid JSON: the file is empty");
    rrt__map_close(&map);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

rrt_status rrt__json_read_object(json_t **out, const char *folder, const char *name, rrt_error *err)
{
    char path[4096];
    *out = NULL;
    RRT__TRY(rrt__path_join(path, folder, name, err));
    if (!rrt__path_exists(path)) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_read(out, path, err));
    return json_is_object(*out) ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_FORMAT, "%s is no object", name);
}

rrt_status rrt__json_write(const json_t *json, const char *path, rrt_error *err)
{
    RRT__TRY(rrt__json_check_memory(err));
    char *text = json_dumps(json, JSON_INDENT(2)); // all digits of reals
    if (!text) return rrt__fail(err, RRT_STATUS_MEMORY, "cannot format JSON for %s", path);
    rrt__string document = {0};
    rrt_status status = rrt__json_numbers_from_jansson(&document, text, err);
    if (!status) status = rrt__string_append(&document, "\n", 1, err);
    if (!status) status = rrt__file_write(path, document.data, document.length, err);
    rrt__string_free(&document);
    free(text);
    return status;
}

static rrt_status fail_missing(rrt_error *err, const char *key, const char *kind)
{
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is missing: %s is expected", key, kind);
}

static rrt_status fail_type(rrt_error *err, const char *key, const char *kind)
{
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" has the wrong type: %s is expected", key, kind);
}

rrt_status rrt__json_int(const json_t *json, const char *key, int64_t min, int64_t max, int64_t *out,
                         rrt_error *err)
{
    const json_t *value = json_object_get(json, key);
    if (!value) return fail_missing(err, key, "an integer");
    if (json_is_real(value) && fabs(json_real_value(value)) >= 0x1p63)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %s: from %lld to %lld is possible", key,
                         rrt__json_number_name(json_real_value(value), (char[32]){0}), (long long)min,
                         (long long)max);
    if (!json_is_integer(value)) return fail_type(err, key, "an integer");
    *out = json_integer_value(value);
    if (*out < min || *out > max)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %lld: from %lld to %lld is possible", key,
                         (long long)*out, (long long)min, (long long)max);
    return RRT_STATUS_OK;
}

bool rrt__json_is_finite(const json_t *value)
{
    return json_is_number(value) && fabs(json_number_value(value)) < RRT__JSON_NAN;
}

bool rrt__json_is_absent(const json_t *value)
{
    return !value || json_is_null(value);
}

bool rrt__json_is_off(const json_t *value)
{
    return rrt__json_is_absent(value) || json_is_false(value) ||
           (json_is_integer(value) && json_integer_value(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

rrt_status rrt__json_int_or(const json_t *json, const char *key, int64_t min, int64_t max, int64_t fallback,
                            int64_t *out, rrt_error *err)
{
    *out = fallback;
    return rrt__json_is_absent(json_object_get(json, key)) ? RRT_STATUS_OK
                                                           : rrt__json_int(json, key, min, max, out, err);
}

rrt_status rrt__json_real_or(const json_t *json, const char *key, double fallback, double *out,
                             rrt_error *err)
{
    *out = fallback;
    const json_t *value = json_object_get(json, key);
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    if (!json_is_number(value)) return fail_type(err, key, "a number");
    *out = json_number_value(value);
    if (fabs(*out) >= RRT__JSON_NAN)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %s: a finite number is expected", key,
                         rrt__json_number_name(*out, (char[32]){0}));
    return RRT_STATUS_OK;
}

rrt_status rrt__json_bool_or(const json_t *json, const char *key, bool fallback, bool *out, rrt_error *err)
{
    *out = fallback;
    const json_t *value = json_object_get(json, key);
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    if (!json_is_boolean(value)) return fail_type(err, key, "true or false");
    *out = json_is_true(value);
    return RRT_STATUS_OK;
}

rrt_status rrt__json_string(const json_t *json, const char *key, const char **out, rrt_error *err)
{
    const json_t *value = json_object_get(json, key);
    if (!value) return fail_missing(err, key, "a string");
    if (!json_is_string(value)) return fail_type(err, key, "a string");
    *out = json_string_value(value);
    if (strlen(*out) != json_string_length(value))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" contains a NUL character", key);
    return RRT_STATUS_OK;
}

rrt_status rrt__json_string_or(const json_t *json, const char *key, const char *fallback, const char **out,
                               rrt_error *err)
{
    *out = fallback;
    return rrt__json_is_absent(json_object_get(json, key)) ? RRT_STATUS_OK
                                                           : rrt__json_string(json, key, out, err);
}

rrt_status rrt__json_object(const json_t *json, const char *key, json_t **out, rrt_error *err)
{
    *out = json_object_get(json, key);
    if (!*out) return fail_missing(err, key, "an object");
    return json_is_object(*out) ? RRT_STATUS_OK : fail_type(err, key, "an object");
}

rrt_status rrt__json_array(const json_t *json, const char *key, json_t **out, rrt_error *err)
{
    *out = json_object_get(json, key);
    if (!*out) return fail_missing(err, key, "an array");
    return json_is_array(*out) ? RRT_STATUS_OK : fail_type(err, key, "an array");
}

json_t *rrt__json_text(const char *bytes, size_t length)
{
    rrt__string valid = {0};
    rrt_status status = rrt__string_append(&valid, "", 0, NULL);
    for (size_t at = 0; !status && at < length;) {
        size_t good = rrt__utf8_first_invalid(bytes + at, length - at);
        status = rrt__string_append(&valid, bytes + at, good, NULL);
        at += good;
        if (status || at == length) break;
        status = rrt__string_append(&valid, "\xef\xbf\xbd", 3, NULL);
        at += rrt__utf8_broken(bytes + at, length - at);
    }
    json_t *text = status ? NULL : json_stringn(valid.data, valid.length);
    rrt__string_free(&valid);
    return text;
}
