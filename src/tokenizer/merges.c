// Byte-pair encoding of one pre-token: symbols in a linked list, possible merges in a priority queue.
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

rrt_status rrt__merges_open(rrt__merges *merges, const rrt__vocab *vocab, int32_t unknown, size_t capacity,
                            rrt_error *err)
{
    if (capacity > RRT__MAX_MERGES)
        return rrt__fail(err, RRT_STATUS_FORMAT, "there are %zu merges: at most %d are possible", capacity,
                         RRT__MAX_MERGES);
    merges->seed = vocab->seed;
    merges->unknown = unknown;
    merges->characters = vocab->is_sentencepiece ? vocab : NULL;
    merges->capacity = capacity;
    merges->n_slots = 16;
    while (merges->n_slots < 2 * capacity) merges->n_slots *= 2;
    RRT__TRY(rrt__alloc(&merges->by_rank, capacity, sizeof *merges->by_rank, "the merges", err));
    RRT__TRY(rrt__alloc(&merges->slots, merges->n_slots, sizeof *merges->slots, "the merges' index", err));
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        size_t length = rrt__byte_text(vocab, (unsigned char)byte, text);
        bool has_bytes = vocab->falls_back || !vocab->is_sentencepiece;
        merges->byte_ids[byte] = has_bytes ? rrt__vocab_find(vocab, (rrt__slice){text, length}) : -1;
    }
    return RRT_STATUS_OK;
}

void rrt__merges_close(rrt__merges *merges)
{
    rrt__free(merges->by_rank);
    rrt__free(merges->slots);
}

static uint32_t *find_slot(const rrt__merges *merges, int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ merges->seed;
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9u;
    for (size_t at = hash >> 32;; at++) {
        uint32_t *slot = &merges->slots[at & (merges->n_slots - 1)];
        if (*slot == 0) return slot;
        const rrt__merge *merge = &merges->by_rank[*slot - 1];
        if (merge->left == left && merge->right == right) return slot;
    }
}

static rrt_status find_token(const rrt__vocab *vocab, rrt__slice text, int32_t *id, rrt_error *err)
{
    *id = rrt__vocab_find(vocab, text);
    if (*id >= 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "a merge names '%.*s', which is not in the vocabulary",
                     (int)(text.length < 100 ? text.length : 100), text.data);
}

rrt_status rrt__merges_put(rrt__merges *merges, const rrt__vocab *vocab, rrt__slice left, rrt__slice right,
                           rrt_error *err)
{
    rrt__merge merge;
    rrt__string both = {0};
    rrt_status status = RRT_STATUS_OK;
    RRT__GOTO(find_token(vocab, left, &merge.left, err));
    RRT__GOTO(find_token(vocab, right, &merge.right, err));
    RRT__GOTO(rrt__string_append(&both, left.data, left.length, err));
    RRT__GOTO(rrt__string_append(&both, right.data, right.length, err));
    RRT__GOTO(find_token(vocab, (rrt__slice){both.data, both.length}, &merge.result, err));
    uint32_t *slot = find_slot(merges, merge.left, merge.right);
    if (*slot) {
        status = rrt__fail(err, RRT_STATUS_FORMAT, "merge %u has the same pair", *slot - 1);
        goto done;
    }
    merges->by_rank[merges->count++] = merge;
    *slot = (uint32_t)merges->count;
done:
    rrt__string_free(&both);
    return status;
}

rrt_status rrt__merges_put_line(rrt__merges *merges, const rrt__vocab *vocab, rrt__slice line, rrt_error *err)
{
    const char *space = line.length ? memchr(line.data, ' ', line.length) : NULL;
    if (!space || memchr(space + 1, ' ', line.length - (size_t)(space + 1 - line.data)))
        return rrt__fail(err, RRT_STATUS_FORMAT, "a merge is not two tokens with a space between");
    rrt__slice left = {line.data, (size_t)(space - line.data)};
    rrt__slice right = {space + 1, line.length - left.length - 1};
    return rrt__merges_put(merges, vocab, left, right, err);
}

rrt_status rrt__ids_append(rrt__ids *ids, int32_t id, rrt_error *err)
{
    RRT__TRY(rrt__array_reserve(&ids->data, &ids->capacity, ids->count + 1, sizeof *ids->data, err));
    ids->data[ids->count++] = id;
    return RRT_STATUS_OK;
}

static const uint32_t NONE = UINT32_MAX;

// rank: of the merge with the next symbol; NONE: there is none.
typedef struct rrt__symbol {
    int32_t id; // -1: merged into the previous symbol
    uint32_t previous, next, rank;
} rrt__symbol;

// The queue is a binary min-heap of rank << 32 | position: lowest rank first, then leftmost.
static void queue_push(rrt__bpe *bpe, uint64_t item)
{
    size_t at = bpe->n_queue++;
    while (at > 0 && bpe->queue[(at - 1) / 2] > item) {
        bpe->queue[at] = bpe->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    bpe->queue[at] = item;
}

static uint64_t queue_pop(rrt__bpe *bpe)
{
    uint64_t min = bpe->queue[0], last = bpe->queue[--bpe->n_queue];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < bpe->n_queue; at = child) {
        if (child + 1 < bpe->n_queue && bpe->queue[child + 1] < bpe->queue[child]) child++;
        if (bpe->queue[child] >= last) break;
        bpe->queue[at] = bpe->queue[child];
    }
    bpe->queue[at] = last;
    return min;
}

// Looks up the merge of the symbol and the next one, and queues it.
static void queue_pair(rrt__bpe *bpe, const rrt__merges *merges, uint32_t position)
{
    rrt__symbol *symbol = &bpe->symbols[position];
    symbol->rank = NONE;
    if (symbol->next == NONE) return;
    uint32_t slot = *find_slot(merges, symbol->id, bpe->symbols[symbol->next].id);
    if (slot == 0) return;
    symbol->rank = slot - 1;
    queue_push(bpe, (uint64_t)symbol->rank << 32 | position);
}

static void add_symbol(rrt__bpe *bpe, uint32_t *count, int32_t id)
{
    bpe->symbols[*count] = (rrt__symbol){id, *count - 1, *count + 1, NONE}; // 0 - 1 is NONE
    ++*count;
}

static void add_unknown(rrt__bpe *bpe, uint32_t *count, const rrt__merges *merges)
{
    bool follows = *count && bpe->symbols[*count - 1].id == merges->unknown;
    if (merges->unknown >= 0 && !(merges->fuses_unknown && follows)) add_symbol(bpe, count, merges->unknown);
}

// One symbol per byte with a token, else the unknown token.
static void add_bytes(rrt__bpe *bpe, uint32_t *count, const rrt__merges *merges, const char *text,
                      size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int32_t id = merges->byte_ids[(unsigned char)text[i]];
        if (id >= 0)
            add_symbol(bpe, count, id);
        else
            add_unknown(bpe, count, merges);
    }
}

static bool has_bytes(const rrt__merges *merges, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (merges->byte_ids[(unsigned char)text[i]] < 0) return false;
    return true;
}

// One symbol per character with a token, else one per byte, else the unknown token.
static void add_characters(rrt__bpe *bpe, uint32_t *count, const rrt__merges *merges, const char *text,
                           size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t codepoint;
        n = rrt__utf8_decode(text + at, length - at, &codepoint);
        int32_t id = rrt__vocab_find(merges->characters, (rrt__slice){text + at, n});
        if (id >= 0)
            add_symbol(bpe, count, id);
        else if (has_bytes(merges, text + at, n))
            add_bytes(bpe, count, merges, text + at, n);
        else
            add_unknown(bpe, count, merges);
    }
}

// Returns the number of symbols.
static uint32_t start_symbols(rrt__bpe *bpe, const rrt__merges *merges, const char *text, size_t length)
{
    uint32_t count = 0;
    if (merges->characters)
        add_characters(bpe, &count, merges, text, length);
    else
        add_bytes(bpe, &count, merges, text, length);
    if (count) bpe->symbols[count - 1].next = NONE;
    return count;
}

static void merge_next(rrt__bpe *bpe, const rrt__merges *merges, uint32_t position)
{
    rrt__symbol *symbol = &bpe->symbols[position], *next = &bpe->symbols[symbol->next];
    symbol->id = merges->by_rank[symbol->rank].result;
    symbol->next = next->next;
    next->rank = NONE; // invalidates its queue entry
    next->id = -1;
    if (symbol->next != NONE) bpe->symbols[symbol->next].previous = position;
    if (symbol->previous != NONE) queue_pair(bpe, merges, symbol->previous);
    queue_pair(bpe, merges, position);
}

rrt_status rrt__bpe_encode(rrt__bpe *bpe, const rrt__merges *merges, const char *text, size_t length,
                           rrt__ids *ids, rrt_error *err)
{
    // At most length - 1 pairs at the start; each merge removes one from the queue and adds at most two.
    RRT__TRY(rrt__array_reserve(&bpe->symbols, &bpe->symbols_capacity, length, sizeof *bpe->symbols, err));
    RRT__TRY(rrt__array_reserve(&bpe->queue, &bpe->queue_capacity, 2 * length, sizeof *bpe->queue, err));
    uint32_t count = start_symbols(bpe, merges, text, length);
    bpe->n_queue = 0;
    for (uint32_t i = 0; i < count; i++) queue_pair(bpe, merges, i);
    while (bpe->n_queue) {
        uint64_t item = queue_pop(bpe);
        uint32_t position = (uint32_t)item, rank = (uint32_t)(item >> 32);
        if (bpe->symbols[position].rank == rank) merge_next(bpe, merges, position); // else an outdated entry
    }
    for (uint32_t i = 0; i < count; i++)
        if (bpe->symbols[i].id >= 0) RRT__TRY(rrt__ids_append(ids, bpe->symbols[i].id, err));
    return RRT_STATUS_OK;
}

void rrt__bpe_close(rrt__bpe *bpe)
{
    rrt__free(bpe->symbols);
    rrt__free(bpe->queue);
}
