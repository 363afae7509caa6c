#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/control_group.h"

long rrt__memory_fail_after = -1;

enum { ALIGNMENT = 64, CHUNK_BYTES = 64 * 1024, HUGE_BYTES = 2 * 1024 * 1024 };

void *rrt__malloc(size_t size_bytes)
{
    if (rrt__memory_fail_after >= 0) {
        if (rrt__memory_fail_after == 0) return NULL;
        rrt__memory_fail_after--;
    }
    if (size_bytes > SIZE_MAX - ALIGNMENT) return NULL;
    size_t rounded = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT);
}

void *rrt__realloc(void *memory, size_t old_bytes, size_t new_bytes)
{
    void *bigger = rrt__malloc(new_bytes);
    if (!bigger) return NULL;
    if (memory) memcpy(bigger, memory, old_bytes < new_bytes ? old_bytes : new_bytes);
    rrt__free(memory);
    return bigger;
}

void rrt__free(void *memory)
{
    free(memory);
}

void rrt__give_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void rrt__give_back_at_once(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20); // a fixed threshold: by default it grows with what is freed
#endif
}

size_t rrt__memory_available_max = SIZE_MAX;

// The first number in a file after a key, or at its beginning; SIZE_MAX without one ("max").
static size_t read_number(const char *path, const char *key)
{
    char line[256];
    unsigned long long number = 0;
    size_t found = SIZE_MAX, length = strlen(key);
    FILE *file = fopen(path, "r");
    while (file && found == SIZE_MAX && fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && sscanf(line + length, "%llu", &number) == 1) found = number;
    if (file) fclose(file);
    return found;
}

// Remaining part of RLIMIT_AS (ulimit -v).
static size_t address_space_left(void)
{
    struct rlimit limit;
    size_t pages = read_number("/proc/self/statm", "");
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY || pages == SIZE_MAX) return SIZE_MAX;
    size_t used = pages * (size_t)sysconf(_SC_PAGESIZE);
    return limit.rlim_cur > used ? (size_t)limit.rlim_cur - used : 0;
}

size_t rrt__memory_available(void)
{
    size_t kib = read_number("/proc/meminfo", "MemAvailable:");
    size_t limits[] = {kib < SIZE_MAX / 1024 ? kib * 1024 : SIZE_MAX, rrt__control_group_memory(),
                       address_space_left()};
    size_t min = rrt__memory_available_max;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) min = limits[i] < min ? limits[i] : min;
    return min;
}

bool rrt__size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static rrt_status fail_memory(rrt_error *err, size_t count, size_t size, const char *what)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: %s needs %zu x %zu bytes", what, count, size);
}

rrt_status rrt__alloc(void *out_pointer, size_t count, size_t size, const char *what, rrt_error *err)
{
    size_t bytes = 0;
    void *memory = rrt__size_mul(count, size, &bytes) ? rrt__malloc(bytes) : NULL;
    if (!memory) return fail_memory(err, count, size, what);
    memset(memory, 0, bytes);
    memcpy(out_pointer, &memory, sizeof memory);
    return RRT_STATUS_OK;
}

void rrt__use_huge_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t begin = ((uintptr_t)memory + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES,
              end = ((uintptr_t)memory + bytes) / HUGE_BYTES * HUGE_BYTES;
    if (bytes > HUGE_BYTES && end > begin) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

typedef struct rrt__arena_chunk {
    struct rrt__arena_chunk *next;
    size_t used, capacity;
    _Alignas(ALIGNMENT) unsigned char bytes[];
} rrt__arena_chunk;

rrt_status rrt__arena_room(rrt__arena *arena, void *out_pointer, size_t count, size_t size, const char *what,
                           rrt_error *err)
{
    size_t bytes;
    if (!rrt__size_mul(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return fail_memory(err, count, size, what);
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    rrt__arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->capacity - chunk->used < bytes) {
        size_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        rrt__arena_chunk *fresh = rrt__malloc(sizeof *fresh + capacity);
        if (!fresh) return fail_memory(err, count, size, what);
        rrt__use_huge_pages(fresh, sizeof *fresh + capacity);
        fresh->used = 0;
        fresh->capacity = capacity;
        // A big allocation must not retire a half-empty small chunk: its chunk is inserted after the
        // current one.
        bool behind = chunk && bytes > CHUNK_BYTES;
        fresh->next = behind ? chunk->next : chunk;
        if (behind)
            chunk->next = fresh;
        else
            arena->chunks = fresh;
        chunk = fresh;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += bytes;
    memcpy(out_pointer, &memory, sizeof memory);
    return RRT_STATUS_OK;
}

rrt_status rrt__arena_alloc(rrt__arena *arena, void *out_pointer, size_t count, size_t size, const char *what,
                            rrt_error *err)
{
    void *memory;
    RRT__TRY(rrt__arena_room(arena, &memory, count, size, what, err));
    memset(memory, 0, count * size);
    memcpy(out_pointer, &memory, sizeof memory);
    return RRT_STATUS_OK;
}

rrt_status rrt__arena_copy(rrt__arena *arena, char **out, const char *text, size_t length, rrt_error *err)
{
    RRT__TRY(rrt__arena_alloc(arena, out, length + 1, 1, "a string", err));
    memcpy(*out, text, length);
    return RRT_STATUS_OK;
}

void rrt__arena_free(rrt__arena *arena)
{
    while (arena->chunks) {
        rrt__arena_chunk *next = arena->chunks->next;
        rrt__free(arena->chunks);
        arena->chunks = next;
    }
}

rrt_status rrt__array_reserve(void *array_pointer, size_t *capacity, size_t need, size_t size, rrt_error *err)
{
    if (need <= *capacity) return RRT_STATUS_OK;
    size_t grown = *capacity + *capacity / 2 + 16;
    if (grown < need) grown = need;
    size_t bytes;
    void *array;
    memcpy(&array, array_pointer, sizeof array);
    void *bigger = rrt__size_mul(grown, size, &bytes) ? rrt__realloc(array, *capacity * size, bytes) : NULL;
    if (!bigger) return fail_memory(err, grown, size, "a growing array");
    memcpy(array_pointer, &bigger, sizeof bigger);
    *capacity = grown;
    return RRT_STATUS_OK;
}

rrt_status rrt__string_append(rrt__string *string, const char *bytes, size_t length, rrt_error *err)
{
    if (length > SIZE_MAX / 2 - string->length) return fail_memory(err, length, 1, "a string");
    RRT__TRY(rrt__array_reserve(&string->data, &string->capacity, string->length + length + 1, 1, err));
    if (length) memcpy(string->data + string->length, bytes, length);
    string->length += length;
    string->data[string->length] = '\0';
    return RRT_STATUS_OK;
}

void rrt__string_free(rrt__string *string)
{
    rrt__free(string->data);
    *string = (rrt__string){0};
}
