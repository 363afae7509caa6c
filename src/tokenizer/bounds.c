// How much text a token can stand for: what is longer than a model's context need not be encoded to know it.
#include <string.h>

#include "tokenizer/parts.h"

// How much shorter a text may become, 0 where there is no saying: three characters may be composed to one,
// and one of three bytes have a small letter of one.
static size_t shrinks(const rrt__normalizer *normalizer)
{
    size_t times = 1;
    for (size_t i = 0; i < normalizer->count; i++) {
        const rrt__normal *n = &normalizer->list[i];
        bool is_longer = n->kind == RRT__NORMAL_REPLACE && !n->pattern.code &&
                         strlen(n->content) >= strlen(n->pattern.text);
        if (n->kind == RRT__NORMAL_NFC || n->kind == RRT__NORMAL_LOWERCASE)
            times *= 3;
        else if (n->kind != RRT__NORMAL_PREPEND && !is_longer)
            return 0;
    }
    return times;
}

static bool removes(const rrt_tokenizer *t)
{
    for (size_t i = 0; i < t->steps.count; i++)
        if (t->steps.list[i].kind == RRT__STEP_SPLIT && t->steps.list[i].behavior == RRT__BEHAVIOR_REMOVED)
            return true;
    for (int byte = 0; byte < 256; byte++)
        if (t->merges.byte_ids[byte] < 0 && (t->merges.unknown < 0 || t->merges.fuses_unknown)) return true;
    return false;
}

size_t rrt__tokenizer_most_bytes(const rrt_tokenizer *t)
{
    size_t longest = 4, times = shrinks(&t->normalizer); // an unknown character has up to 4
    if (!times || removes(t)) return SIZE_MAX;
    for (int32_t id = 0; id < t->vocab.count; id++) {
        const rrt__token *token = &t->vocab.tokens[id];
        if (token->flags & (RRT__TOKEN_LEFT | RRT__TOKEN_RIGHT)) return SIZE_MAX; // any number of spaces
        if (token->bytes_length > longest) longest = token->bytes_length;
    }
    return longest * times;
}
