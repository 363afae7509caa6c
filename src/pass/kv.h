// Keys and values of one sequence, in pages of 16 tokens that hold all depths with keys of their own. A page
// is the unit of allocation: a sequence's pages are reserved before a step, which then allocates nothing.
//
// With a window of W tokens (rrt_model.kv_window), pages hold the loops' last keys and values only, those of
// the last loop that a token ran; earlier loops keep theirs in memory that the next W tokens overwrite. A
// token at position p reads, in its loop, that loop's keys and values of the tokens from W · ⌊p / W⌋ on, and
// the last ones of those before. So a step's rows of a sequence lie within one such block of W, and those
// before have run all their loops.
#ifndef RRT__KV_H
#define RRT__KV_H

#include "kernels/kernels.h"
#include "model/model.h"

typedef struct rrt__sequence {
    const rrt_model *model;
    const rrt__kernels *kernels;
    rrt__kv_types types;
    unsigned char **pages;  // [n_pages], each [depths with keys of their own][kv_heads][keys, values]
    unsigned char **recent; // [n_pages]: of loops before the last, with a window
    int loops;              // the last one whose keys and values are those of pages, with a window
    size_t n_pages, page_capacity;
    rrt__arena arena; // of its own pages; those of an engine are the engine's
    size_t page_bytes;
    size_t tokens; // max tokens: some models rotate long texts differently, from the first token on
} rrt__sequence;

// The types of this name, "f16", "q8_0", or "KEYS/VALUES"; NULL: the default. ARGUMENT for an unknown name.
rrt_status rrt__kv_types_parse(rrt__kv_types *types, const char *name, rrt_error *err);
const char *rrt__kv_type_name(rrt__kv_type type);

// Bytes of a page.
size_t rrt__page_bytes(const rrt_model *model, rrt__kv_types types);

// Bytes for the loops before the last of a sequence's window; 0: there is none.
size_t rrt__recent_bytes(const rrt_model *model, rrt__kv_types types);

// Tokens that a step may run from a position on, of `count`.
size_t rrt__kv_window_rows(const rrt_model *model, size_t position, size_t count);

// A new sequence of up to `tokens` tokens; allocates nothing yet. The model must outlive it.
void rrt__sequence_init(rrt__sequence *sequence, const rrt_model *model, rrt__kv_types types, size_t tokens);
void rrt__sequence_free(rrt__sequence *sequence);

// Reserves pages for n_tokens tokens in total, and some more while it grows. Memory is used at the first
// store.
rrt_status rrt__sequence_reserve(rrt__sequence *sequence, size_t n_tokens, rrt_error *err);

// Uses this memory of rrt__recent_bytes for pages [begin, end) of the window.
void rrt__sequence_set_recent(rrt__sequence *sequence, unsigned char *memory, size_t begin, size_t end);

// Stores one token's keys and values (each [kv_heads, head_dim]) at a position and depth.
void rrt__sequence_store(rrt__sequence *sequence, size_t position, int depth, const float *keys,
                         const float *values);

// Copies one token's keys and values from one depth to another.
void rrt__sequence_copy(rrt__sequence *sequence, size_t position, int to_depth, int from_depth);

// The view that the attention kernel reads for one K/V head at one depth: of the tokens from
// rrt__sequence_recent on.
rrt__kv_view rrt__sequence_view(const rrt__sequence *sequence, int depth, size_t kv_head);

// The first token of the block of a position that the view above is of; 0: it is of all tokens.
size_t rrt__sequence_recent(const rrt__sequence *sequence, int depth, size_t position);

// The view for the tokens before.
rrt__kv_view rrt__sequence_last_view(const rrt__sequence *sequence, int depth, size_t kv_head);

#endif
