// Training data from a conversation: see rrt__chat_learn.
#include <string.h>

#include "tokenizer/chat_inside.h"

typedef struct learning {
    const rrt_chat *chat;
    const json_t *messages;
    const rrt__render_options *options;
    rrt__chat_taker *take;
    void *user;
} learning;

static rrt_status hand_out(const learning *l, const rrt__rendered *text, rrt_error *err)
{
    rrt_chat_prompt document = {.text = text->text.data, .length = text->text.length};
    rrt_status status = rrt__chat_encode(l->chat->tokenizer, text, l->options, &document, err);
    if (!status) status = rrt__chat_find_replies(l->chat->tokenizer, text, &document, err);
    if (!status) status = l->take(l->user, &document, err);
    document.text = NULL; // owned by the rendering
    rrt_chat_prompt_free(&document);
    return status;
}

// Renders the first `count` messages, with or without the generation prompt.
static rrt_status render(const learning *l, size_t count, bool asks, rrt__rendered *out, rrt_error *err)
{
    json_t *some = json_array();
    rrt__render_options options = *l->options;
    options.add_generation_prompt = asks;
    for (size_t i = 0; i < count; i++) json_array_append(some, json_array_get(l->messages, i));
    rrt_status status = rrt__chat_run(l->chat, some, &options, out, err);
    json_decref(some);
    return status;
}

static bool begins_with(const rrt__string *text, const rrt__string *start)
{
    if (!start->length) return true; // an empty string has no bytes to point at
    return text->length >= start->length && memcmp(text->data, start->data, start->length) == 0;
}

static bool is_assistant(const json_t *messages, size_t i)
{
    const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
    return role && strcmp(role, "assistant") == 0;
}

static void mark(rrt__rendered *text, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        text->marks.data[i] = (char)((unsigned char)text->marks.data[i] | RRT__MARK_REPLY);
}

// Marks the turn of message i in the document; *fits is false if the document has it differently. Then *own
// is marked, a document for this turn alone.
static rrt_status mark_turn(const learning *l, size_t i, rrt__rendered *document, bool *fits,
                            rrt__rendered *own, rrt_error *err)
{
    rrt__rendered before;
    rrt_status status = i ? render(l, i, true, &before, err) : RRT_STATUS_OK;
    if (!i) before = (rrt__rendered){0}; // without a prompt: all of it is the reply
    if (!status) status = render(l, i + 1, false, own, err);
    if (!status && !begins_with(&own->text, &before.text))
        status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                           "message %zu: the chat template begins a reply otherwise than its generation "
                           "prompt, and has no {%% generation %%} that says what is the assistant's",
                           i);
    *fits = !status && begins_with(&document->text, &own->text);
    if (!status) mark(*fits ? document : own, before.text.length, own->text.length);
    rrt__rendered_free(&before);
    return status;
}

static rrt_status learn_turns(const learning *l, rrt__rendered *document, rrt_error *err)
{
    size_t count = json_array_size(l->messages);
    for (size_t i = 0; i < count; i++) {
        rrt__rendered own = {0};
        bool fits = true;
        if (!is_assistant(l->messages, i)) continue;
        rrt_status status = mark_turn(l, i, document, &fits, &own, err);
        if (!status && !fits) status = hand_out(l, &own, err);
        rrt__rendered_free(&own);
        RRT__TRY(status);
    }
    return hand_out(l, document, err);
}

rrt_status rrt__chat_learn(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                           rrt__chat_taker *take, void *user, rrt_error *err)
{
    const learning l = {chat, messages, options, take, user};
    rrt__rendered document;
    rrt_status status = rrt__chat_run(chat, messages, options, &document, err);
    if (!status)
        status = rrt__chat_has_generation(chat, options) ? hand_out(&l, &document, err)
                                                         : learn_turns(&l, &document, err);
    rrt__rendered_free(&document);
    return status;
}
