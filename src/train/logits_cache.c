#include "train/logits_cache.h"

#include <stddef.h>
#include <string.h>

#include "base/hash.h"
#include "rrt/train.h"

typedef struct rrt__logits_cache_header {
    char magic[8]; // "RRTTOPK1"
    uint64_t context, top, vocab, windows;
    uint64_t fingerprint;
    uint64_t rows_hash;
    char teacher[448];    // NUL-padded
    uint64_t header_hash; // of all fields before
} header;

static const char magic[8] = {'R', 'R', 'T', 'T', 'O', 'P', 'K', '1'};
static const char file_name[] = "teacher.topk";
_Static_assert(sizeof(header) == 512, "the header is written as it is");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are mapped as they are");

struct rrt__logits_cache {
    rrt__map map;
    const header *header;
    const unsigned char *rows;
    size_t row_bytes;
};

static uint64_t hash_header(const header *h)
{
    return rrt__hash(0, h, offsetof(header, header_hash));
}

// A multiple of 8, so that ids are aligned and the hash can continue from row to row.
size_t rrt__logits_cache_row_bytes(size_t top)
{
    return (top * (sizeof(uint32_t) + sizeof(uint16_t)) + 7) / 8 * 8;
}

bool rrt_store_exists(const char *folder)
{
    char path[4096];
    return !rrt__path_join(path, folder, file_name, NULL) && rrt__path_exists(path);
}

// --- reading

static rrt_status check_header(const rrt__map *map, const header *h, rrt_error *err)
{
    size_t rows, bytes;
    if (map->size_bytes < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "not a teacher's cache: it does not begin with RRTTOPK1");
    if (hash_header(h) != h->header_hash)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the cache's header is damaged: its checksum differs");
    if (h->vocab == 0 || h->vocab > INT32_MAX || h->top == 0 || h->top > h->vocab || h->context == 0 ||
        h->teacher[sizeof h->teacher - 1])
        return rrt__fail(err, RRT_STATUS_FORMAT, "impossible sizes: top %llu of %llu tokens, context %llu",
                         (unsigned long long)h->top, (unsigned long long)h->vocab,
                         (unsigned long long)h->context);
    if (rrt__size_mul(h->windows, h->context, &rows) &&
        rrt__size_mul(rows, rrt__logits_cache_row_bytes(h->top), &bytes) &&
        bytes == map->size_bytes - sizeof *h)
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT,
                     "%zu bytes of logits, but %llu windows of %llu tokens, top %llu, are announced",
                     map->size_bytes - sizeof *h, (unsigned long long)h->windows,
                     (unsigned long long)h->context, (unsigned long long)h->top);
}

// Whether the bits are a log-probability: -0 to -65504, or 0.
static bool is_log_p(uint16_t half)
{
    return half == 0 || (half >= 0x8000 && half < 0xfc00);
}

static rrt_status check_rows(const rrt__logits_cache *cache, rrt_error *err)
{
    const header *h = cache->header;
    size_t n_rows = h->windows * h->context;
    if (rrt__hash(0, cache->rows, n_rows * cache->row_bytes) != h->rows_hash)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the logits were changed: their checksum differs");
    for (size_t r = 0; r < n_rows; r++) {
        rrt__logits_cache_row row = rrt__logits_cache_at(cache, 0, r);
        for (size_t k = 0; k < h->top; k++)
            if (row.ids[k] >= h->vocab || !is_log_p(row.log_p[k]))
                return rrt__fail(err, RRT_STATUS_FORMAT,
                                 "logit %zu of token %zu is id %u with log-probability 0x%04x: below %llu, "
                                 "and finite and "
                                 "not above 0 is possible",
                                 k, r, row.ids[k], row.log_p[k], (unsigned long long)h->vocab);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__logits_cache_check_ids(const rrt__logits_cache *cache, size_t vocab, rrt_error *err)
{
    const header *h = cache->header;
    for (size_t r = 0; r < h->windows * h->context; r++) {
        rrt__logits_cache_row row = rrt__logits_cache_at(cache, 0, r);
        for (size_t k = 0; k < h->top; k++)
            if (row.ids[k] >= vocab)
                return rrt__fail(
                    err, RRT_STATUS_MISMATCH,
                    "the stored teacher's logit %zu of token %zu is id %u: the student has 0 to %zu", k, r,
                    row.ids[k], vocab - 1);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__logits_cache_open(rrt__logits_cache **out, const char *folder, rrt_error *err)
{
    char path[4096];
    rrt__logits_cache *cache;
    *out = NULL;
    RRT__TRY(rrt__path_join(path, folder, file_name, err));
    RRT__TRY(rrt__alloc(&cache, 1, sizeof *cache, "a teacher's cache", err));
    rrt_status status = rrt__map_open(&cache->map, path, err);
    if (status) goto done;
    cache->header = (const header *)cache->map.data;
    status = check_header(&cache->map, cache->header, err);
    if (!status) {
        cache->rows = cache->map.data + sizeof *cache->header;
        cache->row_bytes = rrt__logits_cache_row_bytes(cache->header->top);
        status = check_rows(cache, err);
    }
    if (status) {
        rrt__hint(err, status, "delete the cache and run `rrt teach` again");
        rrt__at(err, status, "%s", path);
    }
done:
    if (status)
        rrt__logits_cache_close(cache);
    else
        *out = cache;
    return status;
}

void rrt__logits_cache_close(rrt__logits_cache *cache)
{
    if (!cache) return;
    rrt__map_close(&cache->map);
    rrt__free(cache);
}

size_t rrt__logits_cache_context(const rrt__logits_cache *cache)
{
    return cache->header->context;
}

size_t rrt__logits_cache_top(const rrt__logits_cache *cache)
{
    return cache->header->top;
}

size_t rrt__logits_cache_vocab(const rrt__logits_cache *cache)
{
    return cache->header->vocab;
}

size_t rrt__logits_cache_windows(const rrt__logits_cache *cache)
{
    return cache->header->windows;
}

uint64_t rrt__logits_cache_fingerprint(const rrt__logits_cache *cache)
{
    return cache->header->fingerprint;
}

uint64_t rrt__logits_cache_checksum(const rrt__logits_cache *cache)
{
    return cache->header->rows_hash;
}

const char *rrt__logits_cache_teacher(const rrt__logits_cache *cache)
{
    return cache->header->teacher;
}

rrt__logits_cache_row rrt__logits_cache_at(const rrt__logits_cache *cache, size_t window, size_t position)
{
    const unsigned char *row = cache->rows + (window * cache->header->context + position) * cache->row_bytes;
    const uint32_t *ids = (const uint32_t *)row;
    return (rrt__logits_cache_row){ids, (const uint16_t *)(ids + cache->header->top)};
}

// --- writing

static rrt_status fail_writing(const rrt__logits_cache_writer *writer, rrt_error *err)
{
    return rrt__at(err, rrt__fail_errno(err, "cannot write"), "%s", writer->path);
}

rrt_status rrt__logits_cache_create(rrt__logits_cache_writer *writer, const char *folder,
                                    const rrt__logits_cache_shape *shape, rrt_error *err)
{
    RRT__TRY(rrt__path_join(writer->path, folder, file_name, err));
    RRT__TRY(rrt__alloc(&writer->header, 1, sizeof *writer->header, "a cache's header", err));
    header *h = writer->header; // zeros on disk until the end
    writer->file = fopen(writer->path, "wb");
    if (!writer->file) return rrt__at(err, rrt__fail_errno(err, "cannot create"), "%s", writer->path);
    fwrite(h, sizeof *h, 1, writer->file);
    memcpy(h->magic, magic, sizeof magic);
    h->context = shape->context;
    h->top = shape->top;
    h->vocab = shape->vocab;
    h->windows = shape->windows;
    h->fingerprint = shape->fingerprint;
    snprintf(h->teacher, sizeof h->teacher, "%s", shape->teacher ? shape->teacher : "");
    return RRT_STATUS_OK;
}

rrt_status rrt__logits_cache_append(rrt__logits_cache_writer *writer, const void *rows, size_t n_rows,
                                    rrt_error *err)
{
    size_t bytes = n_rows * rrt__logits_cache_row_bytes(writer->header->top);
    writer->header->rows_hash = rrt__hash(writer->header->rows_hash, rows, bytes);
    return fwrite(rows, 1, bytes, writer->file) == bytes ? RRT_STATUS_OK : fail_writing(writer, err);
}

rrt_status rrt__logits_cache_finish(rrt__logits_cache_writer *writer, uint64_t *bytes, rrt_error *err)
{
    header *h = writer->header;
    FILE *file = writer->file;
    h->header_hash = hash_header(h);
    if (fseek(file, 0, SEEK_SET) != 0) return fail_writing(writer, err);
    fwrite(h, sizeof *h, 1, file);
    writer->file = NULL;
    *bytes = sizeof *h + h->windows * h->context * rrt__logits_cache_row_bytes(h->top);
    return rrt__file_finish(file, writer->path, err);
}

void rrt__logits_cache_discard(rrt__logits_cache_writer *writer)
{
    if (writer->file) fclose(writer->file);
    rrt__free(writer->header);
    writer->file = NULL;
    writer->header = NULL;
}
