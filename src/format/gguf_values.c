// GGUF metadata: typed access by key.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf_inside.h"

static int compare_key(const void *wanted, const void *entry)
{
    return rrt__gguf_compare_keys(*(const rrt__slice *)wanted, ((const rrt__gguf_entry *)entry)->key);
}

static const rrt__gguf_entry *find(const rrt__gguf *gguf, const char *key)
{
    if (gguf->n_entries == 0) return NULL;
    rrt__slice wanted = {key, strlen(key)};
    return bsearch(&wanted, gguf->entries, gguf->n_entries, sizeof *gguf->entries, compare_key);
}

bool rrt__gguf_has(const rrt__gguf *gguf, const char *key)
{
    return find(gguf, key) != NULL;
}

bool rrt__gguf_is_array(const rrt__gguf *gguf, const char *key)
{
    const rrt__gguf_entry *entry = find(gguf, key);
    return entry && entry->is_array;
}

static rrt_status fail_missing(const rrt__gguf *gguf, const char *key, const char *expected, rrt_error *err)
{
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT, "the metadata has no '%s': %s is expected", key, expected);
    return rrt__at(err, status, "%s", gguf->path);
}

static rrt_status fail_type(const rrt__gguf *gguf, const rrt__gguf_entry *entry, const char *key,
                            const char *expected, rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT, "'%s' is %s%s (byte %zu): %s is expected", key,
                                  entry->is_array ? "an array of " : "", rrt__gguf_type_name(entry->type),
                                  entry->values.at, expected);
    return rrt__at(err, status, "%s", gguf->path);
}

// Item i of an entry as an integer; false if it has no integer type or exceeds INT64_MAX.
static bool get_int(const rrt__gguf_entry *entry, size_t i, int64_t *out)
{
    size_t bytes = rrt__gguf_type_bytes(entry->type);
    uint64_t bits = 0;
    memcpy(&bits, entry->values.data + entry->values.at + i * bytes, bytes);
    switch (entry->type) {
    case RRT__GGUF_TYPE_INT8:
        *out = (int8_t)bits;
        return true;
    case RRT__GGUF_TYPE_INT16:
        *out = (int16_t)bits;
        return true;
    case RRT__GGUF_TYPE_INT32:
        *out = (int32_t)bits;
        return true;
    case RRT__GGUF_TYPE_INT64:
        *out = (int64_t)bits;
        return true;
    case RRT__GGUF_TYPE_UINT8:
    case RRT__GGUF_TYPE_UINT16:
    case RRT__GGUF_TYPE_UINT32:
    case RRT__GGUF_TYPE_UINT64:
        *out = (int64_t)bits;
        return bits <= INT64_MAX;
    default:
        return false;
    }
}

// Item i of an entry as a real; false if it has no float type.
static bool get_real(const rrt__gguf_entry *entry, size_t i, double *out)
{
    const unsigned char *values = entry->values.data + entry->values.at;
    if (entry->type == RRT__GGUF_TYPE_FLOAT64) {
        memcpy(out, values + i * sizeof *out, sizeof *out);
        return true;
    }
    float narrow;
    if (entry->type != RRT__GGUF_TYPE_FLOAT32) return false;
    memcpy(&narrow, values + i * sizeof narrow, sizeof narrow);
    *out = (double)narrow;
    return true;
}

rrt_status rrt__gguf_int(const rrt__gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out,
                         rrt_error *err)
{
    const rrt__gguf_entry *entry = find(gguf, key);
    if (!entry) return fail_missing(gguf, key, "an integer", err);
    if (entry->is_array || !get_int(entry, 0, out)) return fail_type(gguf, entry, key, "an integer", err);
    if (*out >= min && *out <= max) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT, "'%s' is %lld (byte %zu): from %lld to %lld is possible", key,
                  (long long)*out, entry->values.at, (long long)min, (long long)max);
    return rrt__at(err, status, "%s", gguf->path);
}

rrt_status rrt__gguf_int_or(const rrt__gguf *gguf, const char *key, int64_t min, int64_t max,
                            int64_t fallback, int64_t *out, rrt_error *err)
{
    *out = fallback;
    return rrt__gguf_has(gguf, key) ? rrt__gguf_int(gguf, key, min, max, out, err) : RRT_STATUS_OK;
}

rrt_status rrt__gguf_real_or(const rrt__gguf *gguf, const char *key, double fallback, double *out,
                             rrt_error *err)
{
    const rrt__gguf_entry *entry = find(gguf, key);
    *out = fallback;
    if (!entry) return RRT_STATUS_OK;
    bool is_real = !entry->is_array && get_real(entry, 0, out) && isfinite(*out);
    return is_real ? RRT_STATUS_OK : fail_type(gguf, entry, key, "a finite float", err);
}

rrt_status rrt__gguf_number(const rrt__gguf *gguf, const char *key, double *out, rrt_error *err)
{
    const rrt__gguf_entry *entry = find(gguf, key);
    int64_t whole;
    if (!entry) return fail_missing(gguf, key, "a number", err);
    if (!entry->is_array && get_int(entry, 0, &whole)) {
        *out = (double)whole;
        return RRT_STATUS_OK;
    }
    return rrt__gguf_real_or(gguf, key, 0, out, err);
}

rrt_status rrt__gguf_bool_or(const rrt__gguf *gguf, const char *key, bool fallback, bool *out, rrt_error *err)
{
    const rrt__gguf_entry *entry = find(gguf, key);
    *out = fallback;
    if (!entry) return RRT_STATUS_OK;
    bool is_bool = entry->type == RRT__GGUF_TYPE_BOOL && !entry->is_array;
    unsigned char byte = is_bool ? entry->values.data[entry->values.at] : 2;
    if (byte > 1) return fail_type(gguf, entry, key, "a BOOL of 0 or 1", err);
    *out = byte == 1;
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_string(const rrt__gguf *gguf, const char *key, rrt__slice *out, rrt_error *err)
{
    const rrt__gguf_entry *entry = find(gguf, key);
    if (!entry) return fail_missing(gguf, key, "a string", err);
    if (entry->type != RRT__GGUF_TYPE_STRING || entry->is_array)
        return fail_type(gguf, entry, key, "a string", err);
    rrt__gguf_reader reader = entry->values;
    return rrt__gguf_take_string(&reader, SIZE_MAX, out, key, err);
}

static rrt_status find_array(const rrt__gguf *gguf, const char *key, const rrt__gguf_entry **out,
                             rrt_error *err)
{
    *out = find(gguf, key);
    if (!*out) return fail_missing(gguf, key, "an array", err);
    return (*out)->is_array ? RRT_STATUS_OK : fail_type(gguf, *out, key, "an array", err);
}

rrt_status rrt__gguf_array_count(const rrt__gguf *gguf, const char *key, size_t *count, rrt_error *err)
{
    const rrt__gguf_entry *entry;
    RRT__TRY(find_array(gguf, key, &entry, err));
    *count = entry->count;
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_each_string(const rrt__gguf *gguf, const char *key,
                                 rrt_status (*each)(void *user, size_t index, rrt__slice string,
                                                    rrt_error *err),
                                 void *user, rrt_error *err)
{
    const rrt__gguf_entry *entry;
    RRT__TRY(find_array(gguf, key, &entry, err));
    if (entry->type != RRT__GGUF_TYPE_STRING) return fail_type(gguf, entry, key, "an array of strings", err);
    rrt__gguf_reader reader = entry->values;
    for (size_t i = 0; i < entry->count; i++) {
        rrt__slice string;
        RRT__TRY(rrt__gguf_take_string(&reader, SIZE_MAX, &string, key, err));
        rrt_status status = each(user, i, string, err);
        if (status) return rrt__at(err, status, "%s: '%s', item %zu", gguf->path, key, i);
    }
    return RRT_STATUS_OK;
}

// The array, if it has exactly count items.
static rrt_status find_numbers(const rrt__gguf *gguf, const char *key, size_t count,
                               const rrt__gguf_entry **out, rrt_error *err)
{
    RRT__TRY(find_array(gguf, key, out, err));
    if ((*out)->count == count) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT, "'%s' has %zu items (byte %zu): %zu are expected",
                                  key, (*out)->count, (*out)->values.at, count);
    return rrt__at(err, status, "%s", gguf->path);
}

rrt_status rrt__gguf_ints(const rrt__gguf *gguf, const char *key, int64_t *out, size_t count, rrt_error *err)
{
    const rrt__gguf_entry *entry;
    RRT__TRY(find_numbers(gguf, key, count, &entry, err));
    for (size_t i = 0; i < count; i++) {
        bool is_bool = entry->type == RRT__GGUF_TYPE_BOOL;
        if (is_bool) out[i] = entry->values.data[entry->values.at + i] != 0;
        if (!is_bool && !get_int(entry, i, &out[i]))
            return fail_type(gguf, entry, key, "an array of integers", err);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_reals(const rrt__gguf *gguf, const char *key, float *out, size_t count, rrt_error *err)
{
    const rrt__gguf_entry *entry;
    RRT__TRY(find_numbers(gguf, key, count, &entry, err));
    for (size_t i = 0; i < count; i++) {
        double value;
        if (!get_real(entry, i, &value)) return fail_type(gguf, entry, key, "an array of floats", err);
        out[i] = (float)value;
    }
    return RRT_STATUS_OK;
}
