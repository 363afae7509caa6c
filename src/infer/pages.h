// The pages that requests keep their keys and values in: one block of memory, taken page by page. A page
// whose 16 tokens have run all their loops can be found by these tokens and all before them, and serves every
// request that begins with the same ones. A page that nobody holds keeps what it has until it is needed; the
// one that was let go first is taken first.
#ifndef RRT__PAGES_H
#define RRT__PAGES_H

#include "pass/kv.h"

typedef struct rrt__page {
    uint32_t holders;
    uint32_t older, newer; // among the pages that nobody holds
    uint32_t next;         // in its bucket
    bool has_key;
    uint64_t key, before; // of the tokens up to its end, and up to its beginning
    int32_t tokens[RRT__PAGE_TOKENS];
} rrt__page;

typedef struct rrt__pages {
    size_t count, n_free; // free: nobody holds it
    rrt__kv_type type;
    size_t page_bytes;
    unsigned char *memory; // [count, page_bytes]; touched page by page
    rrt__page *page;
    uint32_t *bucket; // [n_buckets]: first page of each
    size_t n_buckets;
    uint32_t oldest, newest;
    rrt__arena arena;
} rrt__pages;

rrt_status rrt__pages_create(rrt__pages *pages, const rrt_model *model, rrt__kv_type type, size_t count,
                             rrt_error *err);
void rrt__pages_free(rrt__pages *pages);

// Appends a page of its own to a sequence, whose table has room for it. There is a page that nobody holds.
void rrt__pages_append(rrt__pages *pages, rrt__sequence *sequence);

// Lets go of a sequence's pages from `begin` on.
void rrt__pages_release(rrt__pages *pages, rrt__sequence *sequence, size_t begin);

// The key of 16 more tokens after those of a key.
uint64_t rrt__pages_key(uint64_t before, const int32_t tokens[RRT__PAGE_TOKENS]);

// Appends the page of these tokens to a sequence, if there is one.
bool rrt__pages_share(rrt__pages *pages, rrt__sequence *sequence, uint64_t before,
                      const int32_t tokens[RRT__PAGE_TOKENS]);

// From here on the sequence's page can be found. Nothing happens if another holds the same tokens.
void rrt__pages_publish(rrt__pages *pages, const rrt__sequence *sequence, size_t index, uint64_t before,
                        const int32_t tokens[RRT__PAGE_TOKENS]);

#endif
