// Internals of rrt/chat.h, for callers that have parsed JSON.
#ifndef RRT__TOKENIZER_CHAT_H
#define RRT__TOKENIZER_CHAT_H

#include "base/json.h"
#include "rrt/chat.h"

// Like rrt_chat_options; NULL is equivalent to null.
typedef struct rrt__render_options {
    const json_t *tools, *documents, *arguments;
    bool add_generation_prompt, continue_final_message;
    bool text_only;               // no ids
    bool no_bos;                  // add no BOS that the template does not write itself
    size_t max_bytes, max_tokens; // no ids for a text that certainly has more; 0: no limit
    long long now;
} rrt__render_options;

rrt_status rrt__chat_to_text(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                             rrt_chat_prompt *out, rrt_error *err);

// Converts messages of OpenAI's clients to the form that this template takes: a content of text parts becomes
// a string if the template does not take parts, and vice versa; with opens_arguments a tool call's arguments,
// JSON in a string, become an object. *out is new. UNSUPPORTED for parts other than text.
rrt_status rrt__chat_adapt(const rrt_chat *chat, const json_t *messages, bool opens_arguments, json_t **out,
                           rrt_error *err);

// Converts a conversation to training data: calls take with ids and, in replies, which of them are the
// assistant's. These are the tokens in {% generation %} or, if the template has none, those that a turn adds
// to the conversation before it with the generation prompt. If a template renders an earlier turn differently
// from the last one (most drop its thinking), this turn gets a document of its own, rendered as the last one.
// UNSUPPORTED if the template begins a reply differently from its generation prompt.
typedef rrt_status rrt__chat_taker(void *user, const rrt_chat_prompt *document, rrt_error *err);
rrt_status rrt__chat_learn(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                           rrt__chat_taker *take, void *user, rrt_error *err);

// Whether a text begins with the BOS that the tokenizer would prepend.
bool rrt__chat_has_bos(const rrt_tokenizer *tokenizer, const char *text, size_t length);

bool rrt__chat_has_generation(const rrt_chat *chat, const rrt__render_options *options); // {% generation %}

#endif
