// Conversations as text and token ids, by the model's own chat template (Jinja), which is run as
// transformers' apply_chat_template runs it.
#ifndef RRT_CHAT_H
#define RRT_CHAT_H

#include "rrt/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_chat rrt_chat; // a compiled template: read-only, any number of threads may share it

// The template of a tokenizer, which has to outlive it. template_text NULL: the model's own, of several the
// one named "default", and "tool_use" where tools are given; else the text of a template, or the name of one
// of the model's. tokenizer NULL: no ids, and no special tokens for the template. UNSUPPORTED where the model
// has none, or for a construct that we lack, FORMAT for what is no Jinja: the error names line and construct.
// Free with rrt_chat_close.
RRT_API rrt_status rrt_chat_open(rrt_chat **out, const rrt_tokenizer *tokenizer, const char *template_text,
                                 rrt_error *err);
RRT_API void rrt_chat_close(rrt_chat *chat);

// JSON is text that ends with a NUL; NULL is the same as not there.
typedef struct rrt_chat_options {
    const char *tools;          // a list
    const char *documents;      // a list of objects
    const char *arguments;      // an object: more variables for the template ("enable_thinking")
    int add_generation_prompt;  // ends where the assistant's next reply begins
    int continue_final_message; // ends within the last message, for more of it
    long long now;              // the time that strftime_now tells, in seconds since 1970; 0: the clock's
} rrt_chat_options;

typedef struct rrt_chat_prompt {
    char *text; // text[0..length), and a NUL behind it
    size_t length;
    int32_t *ids; // NULL without a tokenizer
    size_t n_ids;
    // By id: whether it is of what the assistant says, the template's {% generation %}. NULL where the
    // template has none.
    unsigned char *replies;
    int has_bos; // the text begins with BOS, which the tokenizer adds: it is there once
} rrt_chat_prompt;

// Renders a conversation. messages: JSON, a list of objects with a role, and what else the template reads.
// Strings of messages, tools and documents stay text: special tokens written in them do not become ids.
// options NULL: none. ARGUMENT where the template itself refuses (its message), FORMAT for JSON that is
// damaged and where the template fails, UNSUPPORTED for what we lack. Free with rrt_chat_prompt_free.
RRT_API rrt_status rrt_chat_render(const rrt_chat *chat, const char *messages,
                                   const rrt_chat_options *options, rrt_chat_prompt *out, rrt_error *err);
RRT_API void rrt_chat_prompt_free(rrt_chat_prompt *prompt);

#ifdef __cplusplus
}
#endif
#endif
