// Finds added tokens in a text: the sorted list of their texts serves as a trie, narrowed byte by byte.
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

typedef struct rrt__added_token {
    const unsigned char *text;
    size_t length;
    int32_t id;
    bool is_special;
} rrt__added_token;

static int compare(const void *a_pointer, const void *b_pointer)
{
    const rrt__added_token *a = a_pointer, *b = b_pointer;
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

// The same; of equal texts the one that takes precedence first.
static int compare_all(const void *a_pointer, const void *b_pointer)
{
    const rrt__added_token *a = a_pointer, *b = b_pointer;
    int order = compare(a, b);
    if (order) return order;
    return a->is_special != b->is_special ? (a->is_special ? -1 : 1) : (a->id > b->id) - (a->id < b->id);
}

// Collects the texts in one pool first, since it may move; then sets the pointers.
static rrt_status collect(rrt__added *added, const rrt__vocab *vocab, const rrt__normalizer *normalizer,
                          const rrt__matcher *matcher, rrt_error *err)
{
    for (int32_t id = 0; id < vocab->count; id++) {
        unsigned flags = vocab->tokens[id].flags;
        if (!(flags & RRT__TOKEN_ADDED) || !(flags & RRT__TOKEN_NORMALIZED) != !normalizer) continue;
        rrt__slice text = rrt__vocab_text(vocab, id);
        size_t start = added->pool.length;
        if (normalizer)
            RRT__TRY(rrt__normalize(normalizer, matcher, &added->pool, text.data, text.length, err));
        else
            RRT__TRY(rrt__string_append(&added->pool, text.data, text.length, err));
        if (added->pool.length == start) continue; // nothing is left of it that a text could contain
        added->tokens[added->count++] =
            (rrt__added_token){NULL, added->pool.length - start, id, flags & RRT__TOKEN_SPECIAL};
    }
    const unsigned char *text = (const unsigned char *)added->pool.data;
    for (size_t i = 0; i < added->count; i++) {
        added->tokens[i].text = text;
        text += added->tokens[i].length;
    }
    return RRT_STATUS_OK;
}

static void sort(rrt__added *added)
{
    size_t count = 0;
    if (added->count) qsort(added->tokens, added->count, sizeof *added->tokens, compare_all);
    for (size_t i = 0; i < added->count; i++)
        if (i == 0 || compare(&added->tokens[count - 1], &added->tokens[i]) != 0)
            added->tokens[count++] = added->tokens[i];
    added->count = count;
    for (size_t i = 0; i < count; i++) added->first[added->tokens[i].text[0] + 1]++;
    for (size_t b = 0; b < 256; b++) added->first[b + 1] += added->first[b];
}

rrt_status rrt__added_open(rrt__added *added, const rrt__vocab *vocab, const rrt__normalizer *normalizer,
                           rrt_error *err)
{
    size_t count = 0;
    rrt__matcher matcher;
    for (int32_t id = 0; id < vocab->count; id++) count += (vocab->tokens[id].flags & RRT__TOKEN_ADDED) != 0;
    if (count == 0) return RRT_STATUS_OK;
    RRT__TRY(rrt__alloc(&added->tokens, count, sizeof *added->tokens, "the added tokens", err));
    rrt_status status = rrt__matcher_open(&matcher, err);
    if (!status) status = collect(added, vocab, normalizer, &matcher, err);
    rrt__matcher_close(&matcher);
    if (!status) sort(added);
    return status;
}

void rrt__added_close(rrt__added *added)
{
    rrt__free(added->tokens);
    rrt__string_free(&added->pool);
}

// The first of tokens[low..high), all longer than depth, whose byte at depth is at least `byte`.
static size_t lower_bound(const rrt__added *added, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (added->tokens[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The longest token at the beginning of text[0..length); NULL if there is none.
static const rrt__added_token *longest(const rrt__added *added, const unsigned char *text, size_t length)
{
    const rrt__added_token *best = NULL;
    size_t low = added->first[text[0]], high = added->first[text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (added->tokens[low].length == depth) best = &added->tokens[low++];
        if (depth == length) break;
        low = lower_bound(added, low, high, depth, text[depth]);
        high = lower_bound(added, low, high, depth, text[depth] + 1u);
    }
    return best;
}

int32_t rrt__added_find(const rrt__added *added, const char *text, size_t text_length, size_t *at,
                        size_t *length)
{
    if (added->count == 0) return -1;
    for (; *at < text_length; ++*at) {
        const rrt__added_token *token = longest(added, (const unsigned char *)text + *at, text_length - *at);
        if (!token) continue;
        *length = token->length;
        return token->id;
    }
    return -1;
}

// The character that ends at `end`, and its start.
static size_t character_before(const char *text, size_t end, uint32_t *c)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    *c = 0;
    rrt__utf8_decode(text + at, end - at, c);
    return at;
}

bool rrt__added_extent(rrt__extent *extent, unsigned flags, const char *text, size_t length, size_t begin,
                       size_t end)
{
    uint32_t c;
    size_t n, at;
    if (flags & RRT__TOKEN_WORD) {
        if (begin > 0 && (character_before(text, begin, &c), rrt__is_word(c))) return false;
        if (end < length && rrt__utf8_decode(text + end, length - end, &c) && rrt__is_word(c)) return false;
    }
    extent->left = begin;
    extent->right = end;
    if (flags & RRT__TOKEN_LEFT) {
        while (extent->left > extent->done &&
               (at = character_before(text, extent->left, &c), rrt__is_space(c)))
            extent->left = at;
        if (extent->left < extent->done) extent->left = extent->done;
    }
    if (!(flags & RRT__TOKEN_RIGHT)) return true;
    if (extent->right < extent->spaces_end) extent->right = extent->spaces_end;
    while (extent->right < length &&
           (n = rrt__utf8_decode(text + extent->right, length - extent->right, &c)) && rrt__is_space(c))
        extent->right += n;
    extent->spaces_end = extent->right;
    return true;
}
