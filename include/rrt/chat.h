// Conversations as text and token ids, by the model's own chat template (Jinja), with the result of
// transformers' apply_chat_template.
#ifndef RRT_CHAT_H
#define RRT_CHAT_H

#include "rrt/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_chat rrt_chat; // a compiled template: read-only, any number of threads may share it

// Opens a template. The tokenizer must outlive it. template_text NULL: the model's own; if it has several,
// the one named "default", or "tool_use" if tools are given; else the text of a template, or the name of one
// of the model's. tokenizer NULL: no ids, and no special tokens for the template. UNSUPPORTED if the model
// has none, or for a Jinja construct that rrt lacks, FORMAT for invalid Jinja: the error names line and
// construct. Free with rrt_chat_close.
RRT_API rrt_status rrt_chat_open(rrt_chat **out, const rrt_tokenizer *tokenizer, const char *template_text,
                                 rrt_error *err);
RRT_API void rrt_chat_close(rrt_chat *chat);

// JSON strings are NUL-terminated; NULL means absent.
typedef struct rrt_chat_options {
    const char *tools;          // a list
    const char *documents;      // a list of objects
    const char *arguments;      // an object: more variables for the template ("enable_thinking")
    int add_generation_prompt;  // end where the assistant's next reply begins
    int continue_final_message; // end within the last message, to be continued
    long long now;              // time of strftime_now, in seconds since 1970; 0: the clock's
} rrt_chat_options;

typedef struct rrt_chat_prompt {
    char *text; // text[0..length), then a NUL
    size_t length;
    int32_t *ids; // NULL without a tokenizer
    size_t n_ids;
    // By id: whether it is the assistant's text, by the template's {% generation %}. NULL if the template
    // has none.
    unsigned char *replies;
    int has_bos; // the text begins with BOS, which the tokenizer adds: ids have it once
} rrt_chat_prompt;

// Renders a conversation. messages: JSON, a list of objects with a role and other keys that the template
// reads. Strings of messages, tools and documents stay text: special tokens written in them do not become
// ids. options NULL: none. ARGUMENT if the template itself refuses (with its message), FORMAT for damaged
// JSON and if the template fails, UNSUPPORTED for constructs that rrt lacks. Free with rrt_chat_prompt_free.
RRT_API rrt_status rrt_chat_render(const rrt_chat *chat, const char *messages,
                                   const rrt_chat_options *options, rrt_chat_prompt *out, rrt_error *err);
RRT_API void rrt_chat_prompt_free(rrt_chat_prompt *prompt);

#ifdef __cplusplus
}
#endif
#endif
