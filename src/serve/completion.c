#include "serve/completion.h"

void rrt__completion_free(rrt__completion *completion)
{
    if (!completion) return;
    for (size_t i = 0; i < completion->n_choices; i++) {
        rrt__choice *c = &completion->choices[i];
        rrt__free(c->prompt);
        rrt__string_free(&c->echo);
        rrt__reply_text_free(&c->text);
        json_decref(c->logprobs);
        json_decref(c->depths);
    }
    rrt__free(completion->choices);
    rrt__parameters_free(&completion->parameters);
    rrt__free(completion);
}

// Estimates with a margin: JSON as a tree, as text, and as a copy to send. Depths and text of a token, and
// its log probabilities, its own and per alternative.
enum {
    TOKEN_BYTES = 160,
    LOGPROB_BYTES = 640,
    ALTERNATIVE_BYTES = 288,
    CHAT_LOGPROB_BYTES = 1600,
    CHAT_ALTERNATIVE_BYTES = 1280,
    STREAM_TOKEN_BYTES = 32, // its text
    PROMPT_TOKEN_BYTES = 16, // its ids, and as echo
    CHOICE_BYTES = 2048,
};

size_t rrt__completion_bytes(const rrt__completion *completion)
{
    const rrt__parameters *p = &completion->parameters;
    size_t prompt = PROMPT_TOKEN_BYTES, token = TOKEN_BYTES, bytes = sizeof *completion;
    if (p->logprobs != RRT__NO_LOGPROBS)
        token += completion->is_chat ? CHAT_LOGPROB_BYTES + (size_t)p->logprobs * CHAT_ALTERNATIVE_BYTES
                                     : LOGPROB_BYTES + (size_t)p->logprobs * ALTERNATIVE_BYTES;
    if (p->echo) prompt += token;
    if (p->stream) token = STREAM_TOKEN_BYTES; // only text is kept
    for (size_t i = 0; i < completion->n_choices; i++)
        bytes += sizeof *completion->choices + CHOICE_BYTES + completion->choices[i].prompt_tokens * prompt +
                 p->max_tokens * token;
    return bytes;
}
