// Memory: checked sizes, allocations that name their purpose in errors, and arenas. All of rrt's memory comes
// from rrt__malloc and rrt__realloc, so that tests can make the n-th request fail.
#ifndef RRT__MEMORY_H
#define RRT__MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

void *rrt__malloc(size_t size_bytes); // 64-byte aligned
void *rrt__realloc(void *memory, size_t old_bytes, size_t new_bytes);
void rrt__free(void *memory);
void rrt__give_back(void);         // returns freed memory to the system, after something large
void rrt__give_back_at_once(void); // from now on at once, for a megabyte or more

// Requests whole pages of 2 MiB for large memory: fewer page faults, and fewer TLB misses while reading
// weights or keys and values. The system may ignore it.
void rrt__use_huge_pages(void *memory, size_t bytes);

// Bytes that can be allocated without swapping; SIZE_MAX if the system does not say.
size_t rrt__memory_available(void);
extern size_t rrt__memory_available_max; // test hook

// Test hook: a countdown of requests; the one that reaches 0, and all later ones, fail. Negative: never.
extern long rrt__memory_fail_after;

// *out = a * b, false on overflow.
bool rrt__size_mul(size_t a, size_t b, size_t *out);

// *out = zeroed memory for count items of size bytes. what names the purpose in the error ("merge table").
rrt_status rrt__alloc(void *out_pointer, size_t count, size_t size, const char *what, rrt_error *err);

// An arena: many allocations, one free. Zero-initialised is empty and ready.
typedef struct rrt__arena {
    struct rrt__arena_chunk *chunks;
} rrt__arena;

// Zeroed, 64-byte aligned memory for count items of size bytes.
rrt_status rrt__arena_alloc(rrt__arena *arena, void *out_pointer, size_t count, size_t size, const char *what,
                            rrt_error *err);
// The same, not zeroed: for large buffers that are filled at once.
rrt_status rrt__arena_room(rrt__arena *arena, void *out_pointer, size_t count, size_t size, const char *what,
                           rrt_error *err);
rrt_status rrt__arena_copy(rrt__arena *arena, char **out, const char *text, size_t length, rrt_error *err);
void rrt__arena_free(rrt__arena *arena);

// A growing byte string. Zero-initialised is empty; data is NUL-terminated after the first append.
typedef struct rrt__string {
    char *data;
    size_t length, capacity;
} rrt__string;

rrt_status rrt__string_append(rrt__string *string, const char *bytes, size_t length, rrt_error *err);
void rrt__string_free(rrt__string *string);

// Reserves space for at least `need` items in a growing array of items of size bytes.
rrt_status rrt__array_reserve(void *array_pointer, size_t *capacity, size_t need, size_t size,
                              rrt_error *err);

#endif
