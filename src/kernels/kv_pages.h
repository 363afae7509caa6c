// Layout of keys and values in pages, and the primitives that know it: another type or order changes only
// this file, kv_pages_generic.c (storing) and attention_generic.c.
#ifndef RRT__KV_PAGES_H
#define RRT__KV_PAGES_H

#include <stddef.h>
#include <stdint.h>

enum { RRT__PAGE_TOKENS = 16 }; // tokens per page

// Type of the stored numbers. f16: rounded to nearest even. Values beyond its range become its largest
// number, ±65,504, so that attention stays finite; infinity and NaN are kept, so that they are detected.
// q8_0: blocks of 32 numbers of a head as 8-bit integers, each with an f16 scale; a block with infinity or
// NaN gets the scale NaN.
typedef enum rrt__kv_type {
    RRT__KV_TYPE_F16,
    RRT__KV_TYPE_F32,
    RRT__KV_TYPE_Q8_0,
    RRT__KV_TYPE_COUNT
} rrt__kv_type;

// Of keys and of values.
typedef struct rrt__kv_types {
    rrt__kv_type key, value;
} rrt__kv_types;

enum { RRT__KV_BLOCK = 32 };

// One K/V head of a sequence at one depth. In page p, which holds tokens 16p … 16p+15, keys start at
// pages[p] + key_offset as [head_dim, 16] (one vector lane per token) and values at pages[p] + value_offset
// as [16, head_dim]. Scales of q8_0 follow the numbers: [blocks, 16] of keys and of values.
typedef struct rrt__kv_view {
    unsigned char *const *pages;
    size_t key_offset, value_offset; // in bytes
    size_t head_dim;
    rrt__kv_types types;
} rrt__kv_view;

// Bytes of a number, scales aside.
static inline size_t rrt__kv_size(rrt__kv_type type)
{
    return type == RRT__KV_TYPE_Q8_0 ? 1 : type == RRT__KV_TYPE_F16 ? sizeof(uint16_t) : sizeof(float);
}

// Scales of a token.
static inline size_t rrt__kv_blocks(rrt__kv_type type, size_t head_dim)
{
    return type == RRT__KV_TYPE_Q8_0 ? (head_dim + RRT__KV_BLOCK - 1) / RRT__KV_BLOCK : 0;
}

// Bytes of a head's keys, or its values, in a page; a multiple of 4.
static inline size_t rrt__kv_bytes(rrt__kv_type type, size_t head_dim)
{
    return RRT__PAGE_TOKENS *
           (head_dim * rrt__kv_size(type) + rrt__kv_blocks(type, head_dim) * sizeof(uint16_t));
}

// Stores one token's key and value [head_dim] at a position.
typedef void rrt__kv_store(rrt__kv_view kv, size_t position, const float *key, const float *value);

// Copies the key and value at a position from one view to another of the same shape and type.
typedef void rrt__kv_copy(rrt__kv_view to, rrt__kv_view from, size_t position);

// Attention goes through the tokens in splits of this many, from multiples of it on. What a query gets
// depends on its own tokens alone, bit for bit: not on the queries beside it, and not on the thread that
// handles a split.
enum { RRT__KV_SPLIT = 128 };

// Scores are multiplied by scale and then, if cap is not 0, become cap · tanh(score / cap).
typedef struct rrt__scoring {
    float scale, cap;
} rrt__scoring;

// A query, and the tokens [first, end) that it attends to.
typedef struct rrt__query {
    const float *vector; // [head_dim]
    size_t first, end;
} rrt__query;

// What a query has seen of its tokens so far, all zero before the first: its largest score, Σ e^(score -
// largest), and the sum of the values weighted so. Attention's result is values / total.
typedef struct rrt__seen {
    float largest, total;
    float *values; // [head_dim]
} rrt__seen;

// Adds what each query attends to in a split: the tokens [split · RRT__KV_SPLIT, (split + 1) ·
// RRT__KV_SPLIT). Queries beside each other read their keys and values at once, and best see about the same
// tokens.
typedef void rrt__kv_attend(rrt__seen *seen, const rrt__query *queries, size_t count, rrt__kv_view kv,
                            const rrt__scoring *scoring, size_t split);

// Adds what was seen in a split alone: the same bits as that split added to *seen.
typedef void rrt__kv_merge(rrt__seen *seen, const rrt__seen *of_split, size_t head_dim);

rrt__kv_store rrt__kv_store_reference;
rrt__kv_copy rrt__kv_copy_reference;
rrt__kv_attend rrt__kv_attend_reference;
rrt__kv_merge rrt__kv_merge_reference;
#if defined(__x86_64__)
rrt__kv_store rrt__kv_store_avx2, rrt__kv_store_avx512;
rrt__kv_copy rrt__kv_copy_avx2, rrt__kv_copy_avx512;
rrt__kv_attend rrt__kv_attend_avx2, rrt__kv_attend_avx512;
rrt__kv_merge rrt__kv_merge_avx2, rrt__kv_merge_avx512;
#endif

#endif
