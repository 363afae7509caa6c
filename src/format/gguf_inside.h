// What gguf.c (header and tensor table), gguf_split.c (models in several files), gguf_entries.c (metadata as
// it is read) and gguf_values.c (by key) share.
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

// A position in the file's bytes; every read is checked against their end.
typedef struct rrt__gguf_reader {
    const unsigned char *data;
    size_t size_bytes, at;
} rrt__gguf_reader;

typedef struct rrt__gguf_entry {
    rrt__slice key;
    rrt__gguf_type type; // of the value, or of an array's items
    bool is_array;
    size_t count;            // of items; 1 unless is_array
    rrt__gguf_reader values; // at the first item; the items have been walked once, so they lie in the file
} rrt__gguf_entry;

struct rrt__gguf {
    rrt__arena arena; // path and tensor names
    rrt__map map;     // empty after rrt__gguf_parse
    const char *path;
    rrt__gguf_entry *entries; // sorted by key
    size_t n_entries, entries_capacity;
    rrt__tensor_table table; // of all parts
    struct rrt__gguf *next;  // of a model in several files the part that follows; NULL: none
};

// One file, which may be a part of a model.
rrt_status rrt__gguf_open_one(rrt__gguf **out, const char *path, rrt_error *err);

const char *rrt__gguf_type_name(rrt__gguf_type type); // "UINT32"
size_t rrt__gguf_type_bytes(rrt__gguf_type type);     // 0: no fixed size (STRING, ARRAY)

// The number of ggml_type that stands for a dtype.
uint32_t rrt__gguf_type_of(rrt__dtype dtype);

// The next n bytes, a number, a string of at most `most` bytes. what names it in the error, which has the
// offset.
rrt_status rrt__gguf_take(rrt__gguf_reader *reader, size_t n, const unsigned char **out, const char *what,
                          rrt_error *err);
rrt_status rrt__gguf_take_u32(rrt__gguf_reader *reader, uint32_t *out, const char *what, rrt_error *err);
rrt_status rrt__gguf_take_u64(rrt__gguf_reader *reader, uint64_t *out, const char *what, rrt_error *err);
rrt_status rrt__gguf_take_string(rrt__gguf_reader *reader, size_t most, rrt__slice *out, const char *what,
                                 rrt_error *err);

// Reads key, type and (walking over them) values of one metadata entry.
rrt_status rrt__gguf_take_entry(rrt__gguf_reader *reader, rrt__gguf_entry *entry, rrt_error *err);

// Order of the bytes, as strcmp has it.
int rrt__gguf_compare_keys(rrt__slice a, rrt__slice b);

// Sorts the entries by key; fails with FORMAT if a key is there twice.
rrt_status rrt__gguf_sort_entries(rrt__gguf *gguf, rrt_error *err);

#endif
