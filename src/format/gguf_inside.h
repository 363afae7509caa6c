// Shared by gguf.c (header and tensor table), gguf_split.c (models in several files), gguf_entries.c (reading
// of metadata) and gguf_values.c (metadata by key).
#ifndef RRT__GGUF_INSIDE_H
#define RRT__GGUF_INSIDE_H

#include "format/gguf.h"

typedef enum rrt__gguf_type {
    RRT__GGUF_TYPE_UINT8,
    RRT__GGUF_TYPE_INT8,
    RRT__GGUF_TYPE_UINT16,
    RRT__GGUF_TYPE_INT16,
    RRT__GGUF_TYPE_UINT32,
    RRT__GGUF_TYPE_INT32,
    RRT__GGUF_TYPE_FLOAT32,
    RRT__GGUF_TYPE_BOOL,
    RRT__GGUF_TYPE_STRING,
    RRT__GGUF_TYPE_ARRAY,
    RRT__GGUF_TYPE_UINT64,
    RRT__GGUF_TYPE_INT64,
    RRT__GGUF_TYPE_FLOAT64,
    RRT__GGUF_TYPE_COUNT
} rrt__gguf_type;

// A position in the file's bytes; every read is bounds-checked.
typedef struct rrt__gguf_reader {
    const unsigned char *data;
    size_t size_bytes, at;
} rrt__gguf_reader;

typedef struct rrt__gguf_entry {
    rrt__slice key;
    rrt__gguf_type type; // of the value, or of an array's items
    bool is_array;
    size_t count;            // of items; 1 unless is_array
    rrt__gguf_reader values; // at the first item; all items were checked to be in the file
} rrt__gguf_entry;

struct rrt__gguf {
    rrt__arena arena; // path and tensor names
    rrt__map map;     // empty after rrt__gguf_parse
    const char *path;
    rrt__gguf_entry *entries; // sorted by key
    size_t n_entries, entries_capacity;
    rrt__tensor_table table; // of all parts
    struct rrt__gguf *next;  // the next part of a model in several files; NULL: none
};

// Opens one file, which may be a part of a model.
rrt_status rrt__gguf_open_one(rrt__gguf **out, const char *path, rrt_error *err);

const char *rrt__gguf_type_name(rrt__gguf_type type); // "UINT32"
size_t rrt__gguf_type_bytes(rrt__gguf_type type);     // 0: no fixed size (STRING, ARRAY)

// ggml_type's number for a dtype.
uint32_t rrt__gguf_type_of(rrt__dtype dtype);

// Reads the next n bytes, a number, a string of up to max_bytes. what is its name in the error, which has the
// offset.
rrt_status rrt__gguf_take(rrt__gguf_reader *reader, size_t n, const unsigned char **out, const char *what,
                          rrt_error *err);
rrt_status rrt__gguf_take_u32(rrt__gguf_reader *reader, uint32_t *out, const char *what, rrt_error *err);
rrt_status rrt__gguf_take_u64(rrt__gguf_reader *reader, uint64_t *out, const char *what, rrt_error *err);
rrt_status rrt__gguf_take_string(rrt__gguf_reader *reader, size_t max_bytes, rrt__slice *out,
                                 const char *what, rrt_error *err);

// Reads key and type of one metadata entry, and skips its values.
rrt_status rrt__gguf_take_entry(rrt__gguf_reader *reader, rrt__gguf_entry *entry, rrt_error *err);

// Compares bytes, like strcmp.
int rrt__gguf_compare_keys(rrt__slice a, rrt__slice b);

// Sorts the entries by key; FORMAT for a duplicate key.
rrt_status rrt__gguf_sort_entries(rrt__gguf *gguf, rrt_error *err);

#endif
