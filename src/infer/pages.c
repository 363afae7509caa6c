#include "infer/pages.h"

#include <string.h>

#include "base/hash.h"

static const uint32_t NONE = UINT32_MAX;

// --- pages without holders, in the order of their release

static void unlink_page(rrt__pages *p, uint32_t i)
{
    rrt__page *page = &p->page[i];
    *(page->older == NONE ? &p->oldest : &p->page[page->older].newer) = page->newer;
    *(page->newer == NONE ? &p->newest : &p->page[page->newer].older) = page->older;
    p->n_free--;
}

// Pages without a key cannot be found again and are reused first.
static void link_page(rrt__pages *p, uint32_t i)
{
    rrt__page *page = &p->page[i];
    bool first = !page->has_key;
    page->older = first ? NONE : p->newest;
    page->newer = first ? p->oldest : NONE;
    *(page->older == NONE ? &p->oldest : &p->page[page->older].newer) = i;
    *(page->newer == NONE ? &p->newest : &p->page[page->newer].older) = i;
    p->n_free++;
}

// --- finding pages

uint64_t rrt__pages_key(uint64_t before, const int32_t tokens[RRT__PAGE_TOKENS])
{
    return rrt__hash(before, tokens, RRT__PAGE_TOKENS * sizeof *tokens);
}

static uint32_t find(const rrt__pages *p, uint64_t key, uint64_t before, const int32_t *tokens)
{
    uint32_t i = p->bucket[key % p->n_buckets];
    while (i != NONE && !(p->page[i].key == key && p->page[i].before == before &&
                          memcmp(p->page[i].tokens, tokens, sizeof p->page[i].tokens) == 0))
        i = p->page[i].next;
    return i;
}

static void forget(rrt__pages *p, uint32_t i)
{
    if (!p->page[i].has_key) return;
    uint32_t *link = &p->bucket[p->page[i].key % p->n_buckets];
    while (*link != i) link = &p->page[*link].next;
    *link = p->page[i].next;
    p->page[i].has_key = false;
}

// --- the interface

rrt_status rrt__pages_create(rrt__pages *p, const rrt_model *model, rrt__kv_types type, size_t count,
                             rrt_error *err)
{
    *p = (rrt__pages){.count = count,
                      .type = type,
                      .page_bytes = rrt__page_bytes(model, type),
                      .n_buckets = count,
                      .oldest = NONE,
                      .newest = NONE};
    const char *what = "keys and values";
    rrt_status status;
    size_t bytes;
    if (count >= NONE)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu pages of keys and values are too many", count);
    RRT__GOTO(rrt__arena_alloc(&p->arena, &p->page, count, sizeof *p->page, what, err));
    RRT__GOTO(rrt__arena_alloc(&p->arena, &p->bucket, count, sizeof *p->bucket, what, err));
    // Not zeroed: a page takes memory at its first use.
    if (!rrt__size_mul(count, p->page_bytes, &bytes) || !(p->memory = rrt__malloc(bytes)))
        RRT__GOTO(rrt__fail(err, RRT_STATUS_MEMORY, "no memory for %zu pages of keys and values", count));
    rrt__use_huge_pages(p->memory, bytes);
    memset(p->bucket, 0xff, count * sizeof *p->bucket);
    for (uint32_t i = 0; i < count; i++) link_page(p, i);
done:
    if (status) rrt__pages_free(p);
    return status;
}

void rrt__pages_free(rrt__pages *p)
{
    rrt__free(p->memory);
    rrt__arena_free(&p->arena);
    *p = (rrt__pages){0};
}

static void hold(rrt__pages *p, rrt__sequence *sequence, uint32_t i)
{
    if (!p->page[i].holders++) unlink_page(p, i);
    sequence->pages[sequence->n_pages++] = p->memory + i * p->page_bytes;
}

static uint32_t index_of(const rrt__pages *p, const unsigned char *page)
{
    return (uint32_t)((size_t)(page - p->memory) / p->page_bytes);
}

void rrt__pages_append(rrt__pages *p, rrt__sequence *sequence)
{
    uint32_t i = p->oldest;
    forget(p, i);
    hold(p, sequence, i);
}

void rrt__pages_release(rrt__pages *p, rrt__sequence *sequence, size_t begin)
{
    while (sequence->n_pages > begin) {
        uint32_t i = index_of(p, sequence->pages[--sequence->n_pages]);
        if (!--p->page[i].holders) link_page(p, i);
    }
}

bool rrt__pages_share(rrt__pages *p, rrt__sequence *sequence, uint64_t before,
                      const int32_t tokens[RRT__PAGE_TOKENS])
{
    uint32_t i = find(p, rrt__pages_key(before, tokens), before, tokens);
    if (i == NONE) return false;
    hold(p, sequence, i);
    return true;
}

void rrt__pages_publish(rrt__pages *p, const rrt__sequence *sequence, size_t index, uint64_t before,
                        const int32_t tokens[RRT__PAGE_TOKENS])
{
    uint64_t key = rrt__pages_key(before, tokens);
    uint32_t i = index_of(p, sequence->pages[index]);
    if (p->page[i].has_key || find(p, key, before, tokens) != NONE) return;
    p->page[i].has_key = true;
    p->page[i].key = key;
    p->page[i].before = before;
    memcpy(p->page[i].tokens, tokens, sizeof p->page[i].tokens);
    p->page[i].next = p->bucket[key % p->n_buckets];
    p->bucket[key % p->n_buckets] = i;
}
