// The pages that hold the requests' keys and values: one block of memory, allocated page by page. A page
// whose 16 tokens have run all their loops can be found by these tokens and all before them; every request
// that begins with the same tokens shares it. A page without holders keeps its content until it is needed;
// the one released first is reused first.
#ifndef RRT__PAGES_H
#define RRT__PAGES_H

#include "pass/kv.h"

typedef struct rrt__page {
    uint32_t holders;
    uint32_t older, newer; // neighbours in the list of pages without holders
    uint32_t next;         // in its bucket
    bool has_key;
    uint64_t key, before; // of the tokens up to its end; of those before it
    int32_t tokens[RRT__PAGE_TOKENS];
} rrt__page;

typedef struct rrt__pages {
    size_t count, n_free; // free: without holders
    rrt__kv_types type;
    size_t page_bytes;
    unsigned char *memory; // [count, page_bytes]; touched page by page
    rrt__page *page;
    uint32_t *bucket; // [n_buckets]: first page of each
    size_t n_buckets;
    uint32_t oldest, newest;
    rrt__arena arena;
} rrt__pages;

rrt_status rrt__pages_create(rrt__pages *pages, const rrt_model *model, rrt__kv_types type, size_t count,
                             rrt_error *err);
void rrt__pages_free(rrt__pages *pages);

// Appends a page of its own to a sequence whose table has room. There must be a free page.
void rrt__pages_append(rrt__pages *pages, rrt__sequence *sequence);

// Releases a sequence's pages from `begin` on.
void rrt__pages_release(rrt__pages *pages, rrt__sequence *sequence, size_t begin);

// The key of 16 more tokens after those of `before`.
uint64_t rrt__pages_key(uint64_t before, const int32_t tokens[RRT__PAGE_TOKENS]);

// Appends the page of these tokens to a sequence, if one is published.
bool rrt__pages_share(rrt__pages *pages, rrt__sequence *sequence, uint64_t before,
                      const int32_t tokens[RRT__PAGE_TOKENS]);

// Publishes a page of the sequence: others can find it. Does nothing if another page has the same tokens.
void rrt__pages_publish(rrt__pages *pages, const rrt__sequence *sequence, size_t index, uint64_t before,
                        const int32_t tokens[RRT__PAGE_TOKENS]);

#endif
