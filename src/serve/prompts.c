// Reads a request's prompts: texts, token ids, conversations (conversation.c).
#include <string.h>

#include "serve/server_inside.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"

enum { MAX_PROMPTS = 4096 }; // per request

static rrt_status take_ids(rrt__choice *c, const int32_t *ids, size_t count, rrt_error *err)
{
    if (!count) return rrt__fail(err, RRT_STATUS_ARGUMENT, "a prompt has no tokens: at least one is needed");
    RRT__TRY(rrt__alloc(&c->prompt, count, sizeof *c->prompt, "a prompt", err));
    memcpy(c->prompt, ids, count * sizeof *ids);
    c->prompt_tokens = count;
    return RRT_STATUS_OK;
}

// Special tokens written in a prompt are intended: clients render chat templates themselves, and a template's
// BOS is not added twice.
static rrt_status read_text(rrt__choice *c, const rrt__server *server, const json_t *text, rrt_error *err)
{
    const rrt_tokenizer *tokenizer = server->tokenizer;
    if (rrt__tokenizer_exceeds(tokenizer, json_string_value(text), json_string_length(text),
                               server->max_tokens)) {
        c->completion->excess_bytes = json_string_length(text);
        return RRT_STATUS_OK;
    }
    bool has_bos = rrt__chat_has_bos(tokenizer, json_string_value(text), json_string_length(text));
    const rrt_encode_options options = {.add_bos = rrt_tokenizer_adds_bos(tokenizer) && !has_bos,
                                        .parse_special = 1};
    int32_t *ids;
    size_t count;
    if (has_bos)
        rrt__server_log(server, "%s: the prompt begins with BOS: no second one is added", c->completion->id);
    RRT__TRY(rrt_encode(tokenizer, json_string_value(text), json_string_length(text), &options, &ids, &count,
                        err));
    rrt_status status = take_ids(c, ids, count, err);
    rrt_ids_free(ids);
    c->unseen = options.add_bos ? 1 : 0;
    c->characters = rrt_tokenizer_adds_space(tokenizer) ? -1 : 0;
    return status;
}

static rrt_status read_ids(rrt__choice *c, int vocab, const json_t *list, rrt_error *err)
{
    size_t count = json_array_size(list), i;
    const json_t *value;
    int32_t *ids;
    RRT__TRY(rrt__alloc(&ids, count, sizeof *ids, "a prompt", err));
    rrt_status status = RRT_STATUS_OK;
    json_array_foreach(list, i, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= vocab)
            status = rrt__fail(err, RRT_STATUS_ARGUMENT, "entry %zu of a prompt is no token id from 0 to %d",
                               i, vocab - 1);
        ids[i] = (int32_t)id;
    }
    if (!status) status = take_ids(c, ids, count, err);
    rrt__free(ids);
    return status;
}

static rrt_status read_prompt(rrt__choice *c, const rrt__server *server, const json_t *prompt, rrt_error *err)
{
    if (json_is_string(prompt)) return read_text(c, server, prompt, err);
    if (json_is_array(prompt)) return read_ids(c, server->info.vocab, prompt, err);
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "prompt has to be a string, token ids, or a list of these");
}

static rrt_status open_choices(rrt__completion *completion, size_t count, rrt_error *err)
{
    if (count > MAX_PROMPTS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu prompts: at most %d fit into one request", count,
                         MAX_PROMPTS);
    RRT__TRY(rrt__alloc(&completion->choices, count, sizeof *completion->choices, "choices", err));
    completion->n_choices = completion->n_open = count;
    for (size_t i = 0; i < count; i++) {
        completion->choices[i].completion = completion;
        completion->choices[i].index = i;
    }
    return RRT_STATUS_OK;
}

// The text of echo: the prompt's tokens, without those that we prepended.
static rrt_status make_echo(rrt__choice *c, const rrt_tokenizer *tokenizer, rrt_error *err)
{
    char *text;
    size_t length;
    RRT__TRY(rrt_decode(tokenizer, c->prompt + c->unseen, c->prompt_tokens - c->unseen, &text, &length, err));
    size_t skip = c->characters < 0 && length ? 1 : 0;
    rrt_status status = rrt__string_append(&c->echo, text + skip, length - skip, err);
    rrt_text_free(text);
    return status;
}

rrt_status rrt__prompts_read(rrt__completion *completion, const json_t *body, rrt_error *err)
{
    const rrt__server *server = completion->server;
    const json_t *prompt = json_object_get(body, "prompt");
    bool is_list = json_is_array(prompt) && !json_is_integer(json_array_get(prompt, 0));
    RRT__TRY(open_choices(completion, is_list ? json_array_size(prompt) : 1, err));
    if (!completion->n_choices) return rrt__fail(err, RRT_STATUS_ARGUMENT, "prompt is an empty list");
    for (size_t i = 0; i < completion->n_choices && !completion->excess_bytes; i++) {
        rrt__choice *c = &completion->choices[i];
        RRT__TRY(read_prompt(c, server, is_list ? json_array_get(prompt, i) : prompt, err));
        if (completion->parameters.echo && c->prompt) RRT__TRY(make_echo(c, server->tokenizer, err));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__messages_read(rrt__completion *completion, const json_t *body, rrt_error *err)
{
    rrt_chat_prompt prompt;
    RRT__TRY(open_choices(completion, 1, err));
    RRT__TRY(rrt__conversation_render(completion->server, body, &prompt, err));
    rrt_status status = RRT_STATUS_OK;
    if (!prompt.ids && prompt.length)
        completion->excess_bytes = prompt.length;
    else
        status = take_ids(completion->choices, prompt.ids, prompt.n_ids, err);
    rrt_chat_prompt_free(&prompt);
    return status;
}
