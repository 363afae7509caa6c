#include "serve/job.h"

void rrt__job_free(rrt__job *job)
{
    if (!job) return;
    for (size_t i = 0; i < job->n_choices; i++) {
        rrt__choice *c = &job->choices[i];
        rrt__free(c->prompt);
        rrt__string_free(&c->echo);
        rrt__reply_text_free(&c->text);
        json_decref(c->logprobs);
        json_decref(c->depths);
    }
    rrt__free(job->choices);
    rrt__parameters_free(&job->parameters);
    rrt__free(job);
}

// Estimated, with a margin: JSON as a tree, as text, and as a copy that is sent. Depths and text of a token,
// and what its log probabilities take for itself and for each alternative.
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

size_t rrt__job_bytes(const rrt__job *job)
{
    const rrt__parameters *p = &job->parameters;
    size_t prompt = PROMPT_TOKEN_BYTES, token = TOKEN_BYTES, bytes = sizeof *job;
    if (p->logprobs != RRT__NO_LOGPROBS)
        token += job->is_chat ? CHAT_LOGPROB_BYTES + (size_t)p->logprobs * CHAT_ALTERNATIVE_BYTES
                              : LOGPROB_BYTES + (size_t)p->logprobs * ALTERNATIVE_BYTES;
    if (p->echo) prompt += token;
    if (p->stream) token = STREAM_TOKEN_BYTES; // the rest is not kept
    for (size_t i = 0; i < job->n_choices; i++)
        bytes += sizeof *job->choices + CHOICE_BYTES + job->choices[i].prompt_tokens * prompt +
                 p->max_tokens * token;
    return bytes;
}
