// Inside of rrt/chat.h, for who has JSON as a tree.
#ifndef RRT__TOKENIZER_CHAT_H
#define RRT__TOKENIZER_CHAT_H

#include "base/json.h"
#include "rrt/chat.h"

// As rrt_chat_options; NULL is the same as null.
typedef struct rrt__chat_options {
    const json_t *tools, *documents, *arguments;
    bool add_generation_prompt, continue_final_message;
    bool text_only; // no ids
    long long now;
} rrt__chat_options;

rrt_status rrt__chat_render(const rrt_chat *chat, const json_t *messages, const rrt__chat_options *options,
                            rrt_chat_prompt *out, rrt_error *err);

// Messages as OpenAI's clients send them, in the shape that this template takes: a content of text parts
// becomes a string where the template takes no parts, and the other way round; with opens_arguments a tool
// call's arguments, which are JSON in a string, become an object. *out is new. UNSUPPORTED for parts that are
// not text.
rrt_status rrt__chat_adapt(const rrt_chat *chat, const json_t *messages, bool opens_arguments, json_t **out,
                           rrt_error *err);

// Whether a text begins with the BOS that the tokenizer would put in front of it.
bool rrt__chat_has_bos(const rrt_tokenizer *tokenizer, const char *text, size_t length);

bool rrt__chat_has_generation(const rrt_chat *chat); // {% generation %}

#endif
