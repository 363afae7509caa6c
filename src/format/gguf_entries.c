// GGUF: bounds-checked reading, and the metadata entries.
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "format/gguf_inside.h"

enum { MAX_KEY_BYTES = 65535 }; // the format's limit

static const struct {
    const char *name;
    size_t bytes;
} types[RRT__GGUF_TYPE_COUNT] = {
    {"UINT8", 1}, {"INT8", 1},   {"UINT16", 2}, {"INT16", 2},  {"UINT32", 4}, {"INT32", 4},   {"FLOAT32", 4},
    {"BOOL", 1},  {"STRING", 0}, {"ARRAY", 0},  {"UINT64", 8}, {"INT64", 8},  {"FLOAT64", 8},
};

const char *rrt__gguf_type_name(rrt__gguf_type type)
{
    return types[type].name;
}

size_t rrt__gguf_type_bytes(rrt__gguf_type type)
{
    return types[type].bytes;
}

rrt_status rrt__gguf_take(rrt__gguf_reader *reader, size_t n, const unsigned char **out, const char *what,
                          rrt_error *err)
{
    *out = (const unsigned char *)""; // for no bytes: data may be NULL
    if (n > reader->size_bytes - reader->at) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_FORMAT, "%s needs %zu bytes at byte %zu, but the file ends at byte %zu",
                      what, n, reader->at, reader->size_bytes);
        return rrt__hint(err, status, "the file is cut off or damaged: fetch it again");
    }
    if (n) *out = reader->data + reader->at;
    reader->at += n;
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_take_u32(rrt__gguf_reader *reader, uint32_t *out, const char *what, rrt_error *err)
{
    const unsigned char *bytes;
    RRT__TRY(rrt__gguf_take(reader, sizeof *out, &bytes, what, err));
    memcpy(out, bytes, sizeof *out);
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_take_u64(rrt__gguf_reader *reader, uint64_t *out, const char *what, rrt_error *err)
{
    const unsigned char *bytes;
    RRT__TRY(rrt__gguf_take(reader, sizeof *out, &bytes, what, err));
    memcpy(out, bytes, sizeof *out);
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_take_string(rrt__gguf_reader *reader, size_t max_bytes, rrt__slice *out,
                                 const char *what, rrt_error *err)
{
    uint64_t length;
    const unsigned char *bytes;
    RRT__TRY(rrt__gguf_take_u64(reader, &length, what, err));
    if (length > max_bytes)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%s has %llu bytes (byte %zu), at most %zu are possible",
                         what, (unsigned long long)length, reader->at - 8, max_bytes);
    RRT__TRY(rrt__gguf_take(reader, length, &bytes, what, err));
    *out = (rrt__slice){(const char *)bytes, length};
    return RRT_STATUS_OK;
}

static rrt_status take_type(rrt__gguf_reader *reader, rrt__gguf_type *out, rrt_error *err)
{
    uint32_t type;
    RRT__TRY(rrt__gguf_take_u32(reader, &type, "the value's type", err));
    if (type >= RRT__GGUF_TYPE_COUNT)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the value's type is number %u (byte %zu), at most %d is known", type,
                         reader->at - 4, RRT__GGUF_TYPE_COUNT - 1);
    *out = (rrt__gguf_type)type;
    return RRT_STATUS_OK;
}

// Skips the entry's values, which checks that they are complete.
static rrt_status skip_values(rrt__gguf_reader *reader, const rrt__gguf_entry *entry, rrt_error *err)
{
    rrt__slice string;
    const unsigned char *bytes;
    if (entry->type == RRT__GGUF_TYPE_STRING) {
        for (size_t i = 0; i < entry->count; i++)
            RRT__TRY(rrt__gguf_take_string(reader, SIZE_MAX, &string, "a string", err));
        return RRT_STATUS_OK;
    }
    size_t n;
    if (!rrt__size_mul(entry->count, rrt__gguf_type_bytes(entry->type), &n)) n = SIZE_MAX;
    return rrt__gguf_take(reader, n, &bytes, "the value", err);
}

rrt_status rrt__gguf_take_entry(rrt__gguf_reader *reader, rrt__gguf_entry *entry, rrt_error *err)
{
    rrt__slice key;
    RRT__TRY(rrt__gguf_take_string(reader, MAX_KEY_BYTES, &key, "the key", err));
    if (key.length == 0 || memchr(key.data, 0, key.length) ||
        rrt__utf8_first_invalid(key.data, key.length) != key.length)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the key before byte %zu is empty or not valid UTF-8",
                         reader->at);
    entry->key = key;
    entry->count = 1;
    RRT__TRY(take_type(reader, &entry->type, err));
    if (entry->type == RRT__GGUF_TYPE_ARRAY) {
        uint64_t count;
        entry->is_array = true;
        RRT__TRY(take_type(reader, &entry->type, err));
        if (entry->type == RRT__GGUF_TYPE_ARRAY)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "an array of arrays (byte %zu)", reader->at - 4);
        RRT__TRY(rrt__gguf_take_u64(reader, &count, "the array's length", err));
        entry->count = count;
    }
    entry->values = *reader;
    return skip_values(reader, entry, err);
}

int rrt__gguf_compare_keys(rrt__slice a, rrt__slice b)
{
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_entries(const void *a, const void *b)
{
    return rrt__gguf_compare_keys(((const rrt__gguf_entry *)a)->key, ((const rrt__gguf_entry *)b)->key);
}

rrt_status rrt__gguf_sort_entries(rrt__gguf *gguf, rrt_error *err)
{
    if (gguf->n_entries == 0) return RRT_STATUS_OK;
    qsort(gguf->entries, gguf->n_entries, sizeof *gguf->entries, compare_entries);
    for (size_t i = 1; i < gguf->n_entries; i++) {
        const rrt__gguf_entry *a = &gguf->entries[i - 1], *b = &gguf->entries[i];
        if (compare_entries(a, b) == 0)
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "the metadata key '%.*s' is there twice: its values are at bytes %zu and %zu",
                             (int)b->key.length, b->key.data, a->values.at, b->values.at);
    }
    return RRT_STATUS_OK;
}
