// Inside of rrt/chat.h, for who has JSON as a tree.
#ifndef RRT__TOKENIZER_CHAT_H
#define RRT__TOKENIZER_CHAT_H

#include "base/json.h"
#include "rrt/chat.h"

// As rrt_chat_options; NULL is the same as null.
typedef struct rrt__render_options {
    const json_t *tools, *documents, *arguments;
    bool add_generation_prompt, continue_final_message;
    bool text_only;               // no ids
    bool no_bos;                  // none in front that the template does not write itself
    size_t max_bytes, max_tokens; // a text that certainly has more gets no ids; 0: any does
    long long now;
} rrt__render_options;

rrt_status rrt__chat_to_text(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                             rrt_chat_prompt *out, rrt_error *err);

// Messages as OpenAI's clients send them, in the shape that this template takes: a content of text parts
// becomes a string where the template takes no parts, and the other way round; with opens_arguments a tool
// call's arguments, which are JSON in a string, become an object. *out is new. UNSUPPORTED for parts that are
// not text.
rrt_status rrt__chat_adapt(const rrt_chat *chat, const json_t *messages, bool opens_arguments, json_t **out,
                           rrt_error *err);

// A conversation as what is learnt from it: calls take with ids and, in replies, which of them are the
// assistant's. Those are what {% generation %} says or, where the template has none, what a turn adds to the
// conversation before it with the generation prompt. Where a template writes an earlier turn otherwise than
// the last one (most take out what was thought), that turn comes in a document of its own, as it is said.
// UNSUPPORTED if the template begins a reply otherwise than its generation prompt.
typedef rrt_status rrt__chat_taker(void *user, const rrt_chat_prompt *document, rrt_error *err);
rrt_status rrt__chat_learn(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                           rrt__chat_taker *take, void *user, rrt_error *err);

// Whether a text begins with the BOS that the tokenizer would put in front of it.
bool rrt__chat_has_bos(const rrt_tokenizer *tokenizer, const char *text, size_t length);

bool rrt__chat_has_generation(const rrt_chat *chat, const rrt__render_options *options); // {% generation %}

#endif
