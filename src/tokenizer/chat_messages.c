// Prepares messages for rendering, and maps the rendered text to tokens.
#include <string.h>

#include "tokenizer/chat_inside.h"

static const char end_mark[] = "CONTINUE_FINAL_MESSAGE_TAG "; // transformers' own

static rrt_status fail_memory(rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a conversation");
}

// --- in transformers' form ------------------------------------------------------------------------------

static json_t *prepare_message(const json_t *message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *out = json_object(), *value, *thought = NULL, *in = (json_t *)message;
    const char *key;
    for (int i = 0; i < 3 && !thought; i++) {
        thought = json_object_get(in, names[i]);
        if (rrt__json_is_absent(thought)) thought = NULL;
    }
    if (thought) json_object_set(out, "thinking", thought);
    json_object_foreach(in, key, value) if (!json_is_null(value)) json_object_set(out, key, value);
    if (thought) json_object_set(out, "reasoning_content", thought);
    return out;
}

static json_t *with_mark(const json_t *text)
{
    rrt__string marked = {0};
    json_t *out = NULL;
    if (!rrt__string_append(&marked, json_string_value(text), json_string_length(text), NULL) &&
        !rrt__string_append(&marked, end_mark, sizeof end_mark - 1, NULL))
        out = json_stringn(marked.data, marked.length);
    rrt__string_free(&marked);
    return out;
}

// The text to be continued: the content, or its last part with text. *part: its index.
static const json_t *final_text(const json_t *message, size_t *part)
{
    const json_t *content = json_object_get(message, "content");
    *part = SIZE_MAX;
    if (json_is_string(content)) return content;
    for (size_t i = json_array_size(content); i-- > 0;) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        *part = i;
        if (json_is_string(text)) return text;
    }
    return NULL;
}

static rrt_status mark_end(json_t *message, rrt_error *err)
{
    size_t part;
    const json_t *text = final_text(message, &part);
    if (!text)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the last message has no content that could be continued");
    if (part == SIZE_MAX)
        return json_object_set_new(message, "content", with_mark(text)) ? fail_memory(err) : RRT_STATUS_OK;
    json_t *content = json_deep_copy(json_object_get(message, "content"));
    if (json_object_set_new(json_array_get(content, part), "text", with_mark(text)) ||
        json_object_set_new(message, "content", content))
        return fail_memory(err);
    return RRT_STATUS_OK;
}

rrt_status rrt__chat_prepare(const json_t *messages, bool continues, json_t **out, rrt_error *err)
{
    size_t i, count = json_array_size(messages);
    const json_t *message;
    *out = json_array();
    json_array_foreach(messages, i, message) if (json_array_append_new(
                                                     *out, prepare_message(message))) return fail_memory(err);
    rrt_status status = continues ? mark_end(json_array_get(*out, count - 1), err) : RRT_STATUS_OK;
    if (status) json_decref(*out);
    return status;
}

static size_t find_last(const rrt__string *text, const char *what, size_t length)
{
    for (size_t at = text->length >= length ? text->length - length + 1 : 0; at-- > 0;)
        if (memcmp(text->data + at, what, length) == 0) return at;
    return SIZE_MAX;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// If the template strips the mark's last space, it trims: then this trims, too.
rrt_status rrt__chat_cut(const json_t *messages, rrt__rendered *r, rrt_error *err)
{
    size_t length = sizeof end_mark - 1, part;
    const json_t *text = final_text(json_array_get(messages, json_array_size(messages) - 1), &part);
    const char *begin = json_string_value(text), *end = begin + json_string_length(text);
    while (begin < end && is_space(*begin)) begin++;
    while (end > begin && is_space(end[-1])) end--;
    size_t at = find_last(&r->text, end_mark, length - 1);
    bool has_text = begin == end || memmem(r->text.data, r->text.length, begin, (size_t)(end - begin));
    if (at == SIZE_MAX || !has_text)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the last message cannot be continued: the chat template changes it");
    bool keeps_space = at + length <= r->text.length && r->text.data[at + length - 1] == ' ';
    while (!keeps_space && at && is_space(r->text.data[at - 1])) at--;
    r->text.length = r->marks.length = at;
    r->text.data[at] = '\0';
    return RRT_STATUS_OK;
}

// --- which tokens are a reply's -------------------------------------------------------------------------

// How many bytes of the text a token covers. SentencePiece adds spaces that the text does not have.
static size_t match(const rrt__string *text, size_t at, const char *bytes, size_t length)
{
    size_t left = text->length - at;
    if (length <= left && memcmp(text->data + at, bytes, length) == 0) return length;
    if (length && bytes[0] == ' ' && length - 1 <= left &&
        memcmp(text->data + at, bytes + 1, length - 1) == 0)
        return length - 1;
    return SIZE_MAX;
}

rrt_status rrt__chat_find_replies(const rrt_tokenizer *tokenizer, const rrt__rendered *r,
                                  rrt_chat_prompt *out, rrt_error *err)
{
    size_t at = 0, first = 0;
    RRT__TRY(rrt__alloc(&out->replies, out->n_ids, 1, "a conversation", err));
    // A BOS that the tokenizer added is not in the text.
    if (out->n_ids && tokenizer->adds_bos && !out->has_bos && out->ids[0] == tokenizer->bos) first = 1;
    for (size_t i = first; i < out->n_ids; i++) {
        size_t length, n;
        const char *bytes = rrt_token_bytes(tokenizer, out->ids[i], &length);
        n = match(&r->text, at, bytes, length);
        if (n == SIZE_MAX)
            return rrt__fail(
                err, RRT_STATUS_UNSUPPORTED,
                "the tokenizer changes the text at byte %zu: which tokens are the assistant's is "
                "not known",
                at);
        for (size_t k = at; k < at + n; k++)
            out->replies[i] |= ((unsigned char)r->marks.data[k] & RRT__MARK_REPLY) != 0;
        at += n;
    }
    return RRT_STATUS_OK;
}

// --- in the form of OpenAI's clients --------------------------------------------------------------------

// Whether a rendered probe has the text as a string, not as a list or character by character.
static bool renders(const rrt_chat *chat, json_t *content)
{
    rrt_chat_prompt prompt;
    json_t *messages = json_pack("[{s:s, s:o}]", "role", "user", "content", content);
    const rrt__render_options options = {.add_generation_prompt = true, .text_only = true, .now = 1};
    bool does = messages && !rrt__chat_to_text(chat, messages, &options, &prompt, NULL);
    json_decref(messages);
    if (!does) return false;
    does = strstr(prompt.text, "PROBE OF TEXT") && !strstr(prompt.text, "'type'") &&
           !strstr(prompt.text, "\"type\"");
    rrt_chat_prompt_free(&prompt);
    return does;
}

rrt_status rrt__chat_probe(rrt_chat *chat, rrt_error *err)
{
    json_t *text = json_string("PROBE OF TEXT");
    json_t *parts = json_pack("[{s:s, s:O}]", "type", "text", "text", text);
    if (!text || !parts) {
        json_decref(text);
        json_decref(parts);
        return fail_memory(err);
    }
    if (!chat->usual) {
        json_decref(text);
        json_decref(parts);
        return RRT_STATUS_OK;
    }
    chat->takes_parts = renders(chat, parts);
    chat->needs_parts = !renders(chat, text) && chat->takes_parts;
    return RRT_STATUS_OK;
}

// Joins text parts to one string with line breaks, like vLLM and llama.cpp.
static rrt_status join_parts(const json_t *parts, json_t **out, rrt_error *err)
{
    rrt__string joined = {0};
    const json_t *part;
    size_t i;
    rrt_status status = rrt__string_append(&joined, "", 0, err);
    json_array_foreach(parts, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (!status && i) status = rrt__string_append(&joined, "\n", 1, err);
        if (!status)
            status = rrt__string_append(&joined, json_string_value(text), json_string_length(text), err);
    }
    *out = status ? NULL : json_stringn(joined.data, joined.length);
    rrt__string_free(&joined);
    return status ? status : *out ? RRT_STATUS_OK : fail_memory(err);
}

static rrt_status check_parts(const json_t *parts, rrt_error *err)
{
    const json_t *part;
    size_t i;
    json_array_foreach(parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") != 0 || !json_is_string(json_object_get(part, "text")))
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "parts of a message that are not text");
    }
    return RRT_STATUS_OK;
}

static rrt_status adapt_content(const rrt_chat *chat, json_t *message, rrt_error *err)
{
    json_t *content = json_object_get(message, "content"), *adapted = NULL;
    if (rrt__json_is_absent(content)) return RRT_STATUS_OK;
    if (!json_is_string(content) && !json_is_array(content))
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a message's content has to be a string or a list of parts");
    if (json_is_array(content)) RRT__TRY(check_parts(content, err));
    if (json_is_array(content) && !chat->takes_parts) RRT__TRY(join_parts(content, &adapted, err));
    if (json_is_string(content) && chat->needs_parts)
        adapted = json_pack("[{s:s, s:O}]", "type", "text", "text", content);
    if (adapted && json_object_set_new(message, "content", adapted)) return fail_memory(err);
    return RRT_STATUS_OK;
}

static void adapt_calls(json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    json_array_foreach(calls, i, call)
    {
        json_t *function = json_object_get(call, "function"), *object;
        const json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(arguments)) continue;
        if (rrt__json_parse(&object, json_string_value(arguments), json_string_length(arguments), NULL))
            continue;
        if (json_is_object(object))
            json_object_set_new(function, "arguments", object);
        else
            json_decref(object);
    }
}

rrt_status rrt__chat_adapt(const rrt_chat *chat, const json_t *messages, bool opens_arguments, json_t **out,
                           rrt_error *err)
{
    size_t i;
    json_t *message;
    rrt_status status = RRT_STATUS_OK;
    *out = json_deep_copy(messages);
    if (!*out) return fail_memory(err);
    json_array_foreach(*out, i, message)
    {
        if (opens_arguments) adapt_calls(message);
        if (!status && !json_is_string(json_object_get(message, "role")))
            status = rrt__fail(err, RRT_STATUS_ARGUMENT, "messages: entry %zu has no role", i);
        if (!status) status = adapt_content(chat, message, err);
    }
    if (status) json_decref(*out);
    return status;
}
