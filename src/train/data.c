#include "train/data.h"

#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "train/shards.h"

typedef struct shard {
    rrt__map map;
    const uint32_t *ids;
    size_t begin, count; // in the joined ids of all shards
    bool has_unlearnt;
} shard;

struct rrt__dataset {
    shard *shards;
    size_t n_shards, capacity;
    size_t tokens, bytes, context;
    int32_t bos; // prepended to each window; -1: none
    bool has_unlearnt;
    uint64_t fingerprint;
};

static rrt_status check_ids(const shard *s, const rrt__shard_header *header, size_t vocab, rrt_error *err)
{
    if (rrt__hash(0, s->ids, s->count * sizeof *s->ids) != header->ids_hash) {
        rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT, "the ids were changed: their checksum differs");
        return rrt__hint(err, status, "delete the shard and run again: it is made anew");
    }
    for (size_t i = 0; i < s->count; i++) {
        uint32_t id = s->has_unlearnt ? s->ids[i] & ~RRT__UNLEARNT : s->ids[i];
        if (id >= vocab)
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "token %zu is id %u: the model's vocabulary has 0 to %zu", i, id, vocab - 1);
    }
    return RRT_STATUS_OK;
}

static rrt_status check_tokenizer(const rrt__shard_header *header, uint64_t fingerprint, rrt_error *err)
{
    if (header->tokenizer == fingerprint) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_MISMATCH, "the shard was made with another tokenizer");
    return rrt__hint(err, status, "make it again with this model: delete it and run again");
}

static rrt_status add_shard(rrt__dataset *d, const char *path, uint64_t tokenizer, size_t vocab,
                            rrt_error *err)
{
    const rrt__shard_header *header;
    RRT__TRY(rrt__array_reserve(&d->shards, &d->capacity, d->n_shards + 1, sizeof *d->shards, err));
    shard *s = &d->shards[d->n_shards];
    RRT__TRY(rrt__shard_map(&s->map, &header, path, err));
    d->n_shards++; // closing the dataset now closes it
    s->ids = (const uint32_t *)(header + 1);
    s->begin = d->tokens;
    s->count = header->count;
    s->has_unlearnt = header->version > 1;
    d->has_unlearnt = d->has_unlearnt || s->has_unlearnt;
    d->tokens += s->count;
    d->bytes += s->map.size_bytes;
    rrt_status status = check_tokenizer(header, tokenizer, err);
    if (!status) status = check_ids(s, header, vocab, err);
    if (status) return rrt__at(err, status, "%s", path);
    const uint64_t parts[2] = {header->count, header->ids_hash};
    d->fingerprint = rrt__hash(d->fingerprint, parts, sizeof parts);
    return RRT_STATUS_OK;
}

static rrt_status add_shards(rrt__dataset *d, const char *folder, const rrt_tokenizer *tokenizer,
                             size_t vocab, rrt_error *err)
{
    uint64_t fingerprint = rrt__tokenizer_fingerprint(tokenizer);
    for (size_t i = 0;; i++) {
        char path[4096];
        RRT__TRY(rrt__shard_path(path, folder, i, err));
        if (!rrt__path_exists(path)) break;
        RRT__TRY(add_shard(d, path, fingerprint, vocab, err));
    }
    if (d->n_shards == 0)
        return rrt__at(err, rrt__fail(err, RRT_STATUS_IO, "there is no 0000.tokens"), "%s", folder);
    if (rrt__dataset_windows(d) > 0) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_ARGUMENT, "the text has %zu tokens: too few for one window of %zu",
                  d->tokens, d->context);
    return rrt__hint(err, status, "give more text, or shorter windows");
}

rrt_status rrt__dataset_open(rrt__dataset **out, const char *folder, const rrt_tokenizer *tokenizer,
                             size_t vocab, size_t context, rrt_error *err)
{
    *out = NULL;
    if (context == 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "windows of 0 tokens");
    rrt__dataset *d;
    RRT__TRY(rrt__alloc(&d, 1, sizeof *d, "a dataset", err));
    d->context = context;
    d->bos = rrt_tokenizer_adds_bos(tokenizer) ? rrt_tokenizer_bos(tokenizer) : -1;
    rrt_status status = add_shards(d, folder, tokenizer, vocab, err);
    if (status)
        rrt__dataset_close(d);
    else
        *out = d;
    return status;
}

void rrt__dataset_close(rrt__dataset *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->n_shards; i++) rrt__map_close(&d->shards[i].map);
    rrt__free(d->shards);
    rrt__free(d);
}

size_t rrt__dataset_windows(const rrt__dataset *d)
{
    // With BOS the first token is a target, too, else only an input.
    size_t targets = d->tokens - (d->bos < 0 && d->tokens > 0);
    return targets / d->context;
}

size_t rrt__dataset_tokens(const rrt__dataset *d)
{
    return d->tokens;
}

size_t rrt__dataset_bytes(const rrt__dataset *d)
{
    return d->bytes;
}

uint64_t rrt__dataset_fingerprint(const rrt__dataset *d)
{
    return d->fingerprint;
}

// out = ids [first, first + count) of all shards.
static void copy_ids(const rrt__dataset *d, size_t first, size_t count, int32_t *out)
{
    size_t low = 0;
    while (first >= d->shards[low].begin + d->shards[low].count) low++;
    for (const shard *s = &d->shards[low]; count > 0; s++) {
        size_t at = first - s->begin, n = s->count - at < count ? s->count - at : count;
        memcpy(out, s->ids + at, n * sizeof *out);
        first += n;
        out += n;
        count -= n;
    }
}

void rrt__dataset_window(const rrt__dataset *d, size_t window, int32_t *ids, int32_t *targets)
{
    size_t first = window * d->context, n_bos = d->bos >= 0;
    if (n_bos) ids[0] = d->bos;
    copy_ids(d, first, d->context - n_bos, ids + n_bos);
    copy_ids(d, first + 1 - n_bos, d->context, targets);
    for (size_t i = 0; d->has_unlearnt && i < d->context; i++) {
        ids[i] = (int32_t)((uint32_t)ids[i] & ~RRT__UNLEARNT);
        if ((uint32_t)targets[i] & RRT__UNLEARNT) targets[i] = -1;
    }
}

size_t rrt__dataset_learnt(const rrt__dataset *d, size_t window)
{
    size_t first = window * d->context + 1 - (d->bos >= 0), learnt = d->context;
    const shard *s = d->shards;
    for (size_t i = first; d->has_unlearnt && i < first + d->context; i++) {
        while (i >= s->begin + s->count) s++;
        learnt -= (s->ids[i - s->begin] & RRT__UNLEARNT) != 0;
    }
    return learnt;
}

// A Feistel network permutes the numbers below 4^half for any round function.
static uint64_t permute(uint64_t x, unsigned half, uint64_t seed, uint64_t epoch)
{
    enum { ROUNDS = 6 };
    const uint64_t streams = UINT64_C(0x73687566) << 32; // no other stream of this seed
    uint64_t mask = (UINT64_C(1) << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t mixed = left ^ (rrt__random_bits(seed, streams + epoch * ROUNDS + round, right) & mask);
        left = right;
        right = mixed;
    }
    return left << half | right;
}

size_t rrt__dataset_shuffle(size_t n_windows, uint64_t seed, uint64_t step)
{
    uint64_t epoch = step / n_windows, at = step % n_windows;
    unsigned half = 1;
    while (half < 32 && UINT64_C(1) << 2 * half < n_windows) half++;
    // Permutes numbers beyond the last window again until one is a window: still a permutation of
    // the windows.
    do at = permute(at, half, seed, epoch);
    while (at >= n_windows);
    return (size_t)at;
}
