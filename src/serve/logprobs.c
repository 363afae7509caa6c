// Log probabilities of tokens, in the formats of completions and chats.
#include <math.h>
#include <stdio.h>

#include "base/utf8.h"
#include "serve/server_inside.h"

// A unique name for a token's bytes: text, or, for a part of a character, "bytes:\xe2\x82", as OpenAI
// writes it.
static json_t *token_name(const char *bytes, size_t length)
{
    if (rrt__utf8_first_invalid(bytes, length) == length) return json_stringn(bytes, length);
    rrt__string name = {0};
    char escaped[8];
    rrt_status status = rrt__string_append(&name, "bytes:", 6, NULL);
    for (size_t i = 0; !status && i < length; i++) {
        snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned char)bytes[i]);
        status = rrt__string_append(&name, escaped, 4, NULL);
    }
    json_t *json = status ? NULL : json_stringn(name.data, name.length);
    rrt__string_free(&name);
    return json;
}

// JSON has no infinity: an impossible token gets vLLM's value.
static json_t *logprob_json(float logprob)
{
    return isnan(logprob) ? json_null() : json_real(logprob > -9999 ? (double)logprob : -9999);
}

static const char *bytes_of(const rrt__choice *c, int32_t id, size_t *length)
{
    const char *bytes = rrt_token_bytes(c->completion->server->tokenizer, id, length);
    if (!bytes) *length = 0; // of a padded vocabulary
    return bytes ? bytes : "";
}

static long count_characters(const char *bytes, size_t length)
{
    long count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return count;
}

static void append(json_t *arrays, const char *name, json_t *value)
{
    json_t *array = json_object_get(arrays, name);
    if (!array) {
        array = json_array();
        json_object_set_new(arrays, name, array);
    }
    json_array_append_new(array, value);
}

// {name: logprob}, the most likely first, and the token itself: the same number as in token_logprobs.
static json_t *alternatives(const rrt__choice *c, const rrt_token *token)
{
    if (isnan(token->logprob)) return json_null();
    json_t *object = json_object();
    for (size_t i = 0; i <= token->n_top; i++) {
        bool is_own = i == token->n_top;
        size_t length;
        const char *bytes = bytes_of(c, is_own ? token->id : token->top[i].id, &length);
        json_t *name = token_name(bytes, length);
        const char *key = json_string_value(name);
        if (key && !json_object_getn(object, key, json_string_length(name)))
            json_object_setn_new_nocheck(object, key, json_string_length(name),
                                         logprob_json(is_own ? token->logprob : token->top[i].logprob));
        json_decref(name);
    }
    return object;
}

static json_t *chat_logprob(const rrt__choice *c, int32_t id, float logprob)
{
    size_t length;
    const char *bytes = bytes_of(c, id, &length);
    json_t *numbers = json_array();
    for (size_t i = 0; i < length; i++) json_array_append_new(numbers, json_integer((unsigned char)bytes[i]));
    return json_pack("{s:o, s:o, s:o}", "token", rrt__json_text(bytes, length), "logprob",
                     logprob_json(logprob), "bytes", numbers);
}

static void note_chat_logprobs(rrt__choice *c, const rrt_token *token)
{
    json_t *entry = chat_logprob(c, token->id, token->logprob), *top = json_array();
    for (size_t i = 0; i < token->n_top; i++)
        json_array_append_new(top, chat_logprob(c, token->top[i].id, token->top[i].logprob));
    json_object_set_new(entry, "top_logprobs", top);
    append(c->logprobs, "content", entry);
}

static void note_logprobs(rrt__choice *c, const rrt_token *token)
{
    size_t length;
    const char *bytes = bytes_of(c, token->id, &length);
    append(c->logprobs, "tokens", token_name(bytes, length));
    append(c->logprobs, "token_logprobs", logprob_json(token->logprob));
    append(c->logprobs, "top_logprobs", alternatives(c, token));
    append(c->logprobs, "text_offset", json_integer(c->characters > 0 ? c->characters : 0));
    if (token->index >= c->unseen) c->characters += count_characters(bytes, length);
}

void rrt__logprobs_note(rrt__choice *c, const rrt_token *token)
{
    if (!c->logprobs) c->logprobs = json_object();
    if (c->completion->is_chat)
        note_chat_logprobs(c, token);
    else
        note_logprobs(c, token);
}
