// Bounds the bytes per token, so that a text longer than a model's context is recognised without encoding.
#include <string.h>

#include "tokenizer/tokenizer_inside.h"

// By which factor the normalizer may shorten a text; 0: unknown. NFC may compose three characters into one,
// and a three-byte character may have a one-byte small letter.
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

static bool removes(const rrt__steps *steps)
{
    for (size_t i = 0; i < steps->count; i++)
        if (steps->list[i].kind == RRT__STEP_SPLIT && steps->list[i].behavior == RRT__BEHAVIOR_REMOVED)
            return true;
    return false;
}

// The longest text of a single token; 0 if there is no limit.
static size_t longest(const rrt_tokenizer *t)
{
    size_t max = 4, times = shrinks(&t->normalizer); // an unknown character has up to 4 bytes
    if (removes(&t->steps) || (t->vocab.is_sentencepiece && !t->vocab.falls_back)) return 0;
    for (int32_t id = 0; id < t->vocab.count; id++) {
        const rrt__vocab_token *token = &t->vocab.tokens[id];
        if (token->flags & (RRT__TOKEN_LEFT | RRT__TOKEN_RIGHT)) return 0; // takes any number of spaces
        if (token->bytes_length > max) max = token->bytes_length;
    }
    return max * times;
}

bool rrt__tokenizer_exceeds(const rrt_tokenizer *t, const char *text, size_t length, size_t tokens)
{
    if (length <= tokens) return false;
    size_t max = longest(t), count = 0, left;
    if (!max || __builtin_mul_overflow(max, tokens, &left) || length <= left) return false;
    for (size_t i = 0; i < length; i++) // bytes without a token may be dropped
        count += t->merges.byte_ids[(unsigned char)text[i]] >= 0;
    return count > left;
}
