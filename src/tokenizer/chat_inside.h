// Shared by chat.c, chat_learn.c and chat_messages.c.
#ifndef RRT__TOKENIZER_CHAT_INSIDE_H
#define RRT__TOKENIZER_CHAT_INSIDE_H

#include "template/template.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer_inside.h"

struct rrt_chat {
    const rrt_tokenizer *tokenizer;
    rrt__template *usual, *with_tools; // with_tools: NULL if tools need no other template
    rrt_error with_tools_error;        // why with_tools could not be compiled, if the model has one
    json_t *specials;
    bool takes_parts, needs_parts; // as a message's content
};

// Finds out which forms of content the template takes.
rrt_status rrt__chat_probe(rrt_chat *chat, rrt_error *err);
// Messages as transformers passes them to templates: without nulls, and with the assistant's thinking under
// all of its names. continues: appends a mark to the last message, at which rrt__chat_cut ends the text.
rrt_status rrt__chat_prepare(const json_t *messages, bool continues, json_t **out, rrt_error *err);
rrt_status rrt__chat_cut(const json_t *messages, rrt__rendered *rendered, rrt_error *err);
// Renders a conversation as text with marks, by the right template. Free the text also after a failure.
rrt_status rrt__chat_run(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                         rrt__rendered *out, rrt_error *err);
// Sets out->ids.
rrt_status rrt__chat_encode(const rrt_tokenizer *tokenizer, const rrt__rendered *rendered,
                            const rrt__render_options *options, rrt_chat_prompt *out, rrt_error *err);
// Sets out->replies.
rrt_status rrt__chat_find_replies(const rrt_tokenizer *tokenizer, const rrt__rendered *rendered,
                                  rrt_chat_prompt *out, rrt_error *err);

#endif
