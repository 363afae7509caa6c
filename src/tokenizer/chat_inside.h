// What chat.c and chat_messages.c share.
#ifndef RRT__TOKENIZER_CHAT_INSIDE_H
#define RRT__TOKENIZER_CHAT_INSIDE_H

#include "template/template.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer_inside.h"

struct rrt_chat {
    const rrt_tokenizer *tokenizer;
    rrt__template *usual, *with_tools; // with_tools: NULL where tools need no other
    rrt_error with_tools_error;        // why there is none, if the model has one
    json_t *specials;
    bool takes_parts, needs_parts; // of a message's content
};

// Finds out which shapes of content the template takes.
rrt_status rrt__chat_probe(rrt_chat *chat, rrt_error *err);
// Messages as transformers hands them on: nothing that is null, what the assistant thought under all its
// names. continues: the last message gets a mark at its end, at which rrt__chat_cut ends the text.
rrt_status rrt__chat_prepare(const json_t *messages, bool continues, json_t **out, rrt_error *err);
rrt_status rrt__chat_cut(const json_t *messages, rrt__rendered *rendered, rrt_error *err);
// A conversation as text with its marks, by the template that fits. Free the text also after a failure.
rrt_status rrt__chat_run(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                         rrt__rendered *out, rrt_error *err);
// Fills out->ids.
rrt_status rrt__chat_encode(const rrt_tokenizer *tokenizer, const rrt__rendered *rendered,
                            const rrt__render_options *options, rrt_chat_prompt *out, rrt_error *err);
// Fills out->replies.
rrt_status rrt__chat_find_replies(const rrt_tokenizer *tokenizer, const rrt__rendered *rendered,
                                  rrt_chat_prompt *out, rrt_error *err);

#endif
