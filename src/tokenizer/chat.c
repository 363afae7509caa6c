// Renders a conversation by its template, like transformers, and encodes it.
#include "tokenizer/chat.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "template/template.h"
#include "tokenizer/chat_inside.h"

// --- opening --------------------------------------------------------------------------------------------

// The model's template of this name, or NULL. The only template of a model is named "default".
static const json_t *find_template(const rrt_tokenizer *tokenizer, const char *name)
{
    const json_t *all = tokenizer ? json_object_get(tokenizer->config, "chat_template") : NULL, *entry;
    size_t i;
    if (json_is_string(all)) return strcmp(name, "default") == 0 ? all : NULL;
    json_array_foreach(all, i, entry)
    {
        const char *own = json_string_value(json_object_get(entry, "name"));
        const json_t *text = json_object_get(entry, "template");
        if (own && strcmp(own, name) == 0 && json_is_string(text)) return text;
    }
    return NULL;
}

static rrt_status fail_missing(rrt_error *err)
{
    rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the model has no chat template");
    return rrt__hint(
        err, RRT_STATUS_UNSUPPORTED,
        "give one: chat_template.jinja in the model's folder; chat and serve take --chat-template-file");
}

static rrt_status fail_name(const rrt_tokenizer *tokenizer, const char *given, rrt_error *err)
{
    char names[160] = "";
    const json_t *all = tokenizer ? json_object_get(tokenizer->config, "chat_template") : NULL, *entry;
    size_t i;
    json_array_foreach(all, i, entry)
    {
        size_t length = strlen(names);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name) snprintf(names + length, sizeof names - length, "%s%s", length ? ", " : "", name);
    }
    rrt__fail(err, RRT_STATUS_ARGUMENT, "'%.60s' is no chat template, and none of the model's has that name",
              given);
    return rrt__hint(err, RRT_STATUS_ARGUMENT, "give the text of a template in Jinja%s%s",
                     names[0] ? ", or one of the model's: " : "", names);
}

static rrt_status compile(rrt__template **out, const json_t *text, rrt_error *err)
{
    return rrt__template_compile(out, json_string_value(text), json_string_length(text), err);
}

// bos_token and the others, as in transformers' special_tokens_map.
static rrt_status read_specials(rrt_chat *chat, rrt_error *err)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    chat->specials = json_object();
    for (size_t i = 0; chat->tokenizer && i < sizeof names / sizeof *names; i++) {
        json_t *token = json_object_get(chat->tokenizer->config, names[i]);
        if (json_is_object(token)) token = json_object_get(token, "content");
        if (json_is_string(token)) json_object_set(chat->specials, names[i], token);
    }
    return chat->specials ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a chat");
}

static rrt_status open_templates(rrt_chat *chat, const char *given, rrt_error *err)
{
    const json_t *named = find_template(chat->tokenizer, given ? given : "default");
    const json_t *with_tools = given ? NULL : find_template(chat->tokenizer, "tool_use");
    if (given && !named) {
        if (!strstr(given, "{{") && !strstr(given, "{%")) return fail_name(chat->tokenizer, given, err);
        return rrt__template_compile(&chat->usual, given, strlen(given), err);
    }
    if (!named && !with_tools) return fail_missing(err);
    if (named) RRT__TRY(compile(&chat->usual, named, err));
    // Its failure matters only if tools are given.
    if (with_tools && compile(&chat->with_tools, with_tools, &chat->with_tools_error) && !named) {
        if (err) *err = chat->with_tools_error;
        return chat->with_tools_error.status;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt_chat_open(rrt_chat **out, const rrt_tokenizer *tokenizer, const char *template_text,
                         rrt_error *err)
{
    rrt_chat *chat;
    *out = NULL;
    RRT__TRY(rrt__alloc(&chat, 1, sizeof *chat, "a chat template", err));
    chat->tokenizer = tokenizer;
    rrt_status status = read_specials(chat, err);
    if (!status) status = open_templates(chat, template_text, err);
    if (!status) status = rrt__chat_probe(chat, err);
    if (status)
        rrt_chat_close(chat);
    else
        *out = chat;
    return status;
}

void rrt_chat_close(rrt_chat *chat)
{
    if (!chat) return;
    rrt__template_free(chat->usual);
    rrt__template_free(chat->with_tools);
    json_decref(chat->specials);
    rrt__free(chat);
}

// --- rendering ------------------------------------------------------------------------------------------

static rrt_status choose(const rrt_chat *chat, const rrt__render_options *options, const rrt__template **out,
                         rrt_error *err)
{
    bool has_tools = !rrt__json_is_absent(options->tools);
    if (has_tools && chat->with_tools_error.status) {
        if (err) *err = chat->with_tools_error;
        return chat->with_tools_error.status;
    }
    *out = has_tools && chat->with_tools ? chat->with_tools : chat->usual;
    if (*out) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     "the model's chat template is for conversations with tools");
}

bool rrt__chat_has_generation(const rrt_chat *chat, const rrt__render_options *options)
{
    const rrt__template *chosen;
    return !choose(chat, options, &chosen, NULL) && rrt__template_has_generation(chosen);
}

static rrt_status check_list(const json_t *list, const char *what, bool of_objects, rrt_error *err)
{
    const json_t *item;
    size_t i;
    if (rrt__json_is_absent(list)) return RRT_STATUS_OK;
    if (!json_is_array(list))
        return rrt__at(err, rrt__fail(err, RRT_STATUS_ARGUMENT, "a list is expected"), "%s", what);
    json_array_foreach(list, i, item)
    {
        if (of_objects && !json_is_object(item))
            return rrt__at(err, rrt__fail(err, RRT_STATUS_ARGUMENT, "entry %zu is no object", i), "%s", what);
    }
    return RRT_STATUS_OK;
}

// Variables in order of precedence, later ones override: the built-in ones, then the caller's.
static rrt_status run(const rrt_chat *chat, const json_t *messages, const rrt__render_options *o,
                      rrt__rendered *out, rrt_error *err)
{
    enum { FIXED = 4 };
    const rrt__template *chosen;
    rrt__template_input *inputs;
    const char *name;
    json_t *value, *more = (json_t *)o->arguments, *null = json_null();
    size_t n = 0;
    RRT__TRY(choose(chat, o, &chosen, err));
    size_t max_inputs = FIXED + json_object_size(chat->specials) + json_object_size(more);
    RRT__TRY(rrt__alloc(&inputs, max_inputs, sizeof *inputs, "a chat template's variables", err));
    json_object_foreach(chat->specials, name, value) inputs[n++] =
        (rrt__template_input){name, value, .is_trusted = true};
    // A role is trusted: templates write control tokens around it.
    inputs[n++] = (rrt__template_input){"messages", messages, .word_key = "role"};
    inputs[n++] = (rrt__template_input){"tools", o->tools ? o->tools : null};
    inputs[n++] = (rrt__template_input){"documents", o->documents ? o->documents : null};
    inputs[n++] = (rrt__template_input){"add_generation_prompt", json_boolean(o->add_generation_prompt),
                                        .is_trusted = true};
    json_object_foreach(more, name, value) inputs[n++] =
        (rrt__template_input){name, value, .is_trusted = true};
    time_t now = o->now ? (time_t)o->now : time(NULL);
    rrt_status status = rrt__template_render(chosen, inputs, n, now, out, err);
    rrt__free(inputs);
    return status;
}

// --- to ids ---------------------------------------------------------------------------------------------

// The ranges of bytes with this mark.
static rrt_status ranges_of(const rrt__rendered *r, unsigned char mark, rrt__range **out, size_t *count,
                            rrt_error *err)
{
    size_t capacity = 0;
    *out = NULL;
    *count = 0;
    for (size_t at = 0, end; at < r->text.length; at = end) {
        bool is = (unsigned char)r->marks.data[at] & mark;
        for (end = at; end < r->text.length && (bool)((unsigned char)r->marks.data[end] & mark) == is;) end++;
        if (!is) continue;
        rrt_status status = rrt__array_reserve(out, &capacity, *count + 1, sizeof **out, err);
        if (status) {
            rrt__free(*out);
            *out = NULL;
            return status;
        }
        (*out)[(*count)++] = (rrt__range){at, end};
    }
    return RRT_STATUS_OK;
}

bool rrt__chat_has_bos(const rrt_tokenizer *tokenizer, const char *text, size_t length)
{
    if (!tokenizer->adds_bos) return false;
    rrt__slice bos = rrt__vocab_text(&tokenizer->vocab, tokenizer->bos);
    return bos.length && length >= bos.length && !memcmp(text, bos.data, bos.length);
}

rrt_status rrt__chat_encode(const rrt_tokenizer *tokenizer, const rrt__rendered *r,
                            const rrt__render_options *o, rrt_chat_prompt *out, rrt_error *err)
{
    rrt__range *plain;
    size_t n_plain;
    out->has_bos = rrt__chat_has_bos(tokenizer, r->text.data, r->text.length);
    const rrt_encode_options options = {.add_bos = tokenizer->adds_bos && !out->has_bos && !o->no_bos,
                                        .parse_special = 1};
    RRT__TRY(ranges_of(r, RRT__MARK_INPUT, &plain, &n_plain, err));
    rrt_status status = rrt__encode_text(tokenizer, r->text.data, r->text.length, &options, plain, n_plain,
                                         &out->ids, &out->n_ids, err);
    rrt__free(plain);
    return status;
}

static rrt_status check_options(const json_t *messages, const rrt__render_options *o, rrt_error *err)
{
    if (!json_is_array(messages) || !json_array_size(messages))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "messages has to be a list that is not empty");
    RRT__TRY(check_list(messages, "messages", true, err));
    RRT__TRY(check_list(o->tools, "tools", true, err));
    RRT__TRY(check_list(o->documents, "documents", true, err));
    if (!rrt__json_is_absent(o->arguments) && !json_is_object(o->arguments))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the chat template's arguments have to be an object");
    if (o->continue_final_message && o->add_generation_prompt)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "continue_final_message and add_generation_prompt exclude each other");
    return RRT_STATUS_OK;
}

rrt_status rrt__chat_run(const rrt_chat *chat, const json_t *messages, const rrt__render_options *o,
                         rrt__rendered *out, rrt_error *err)
{
    json_t *prepared;
    *out = (rrt__rendered){0};
    RRT__TRY(check_options(messages, o, err));
    RRT__TRY(rrt__chat_prepare(messages, o->continue_final_message, &prepared, err));
    rrt_status status = run(chat, prepared, o, out, err);
    if (!status && o->continue_final_message) status = rrt__chat_cut(messages, out, err);
    json_decref(prepared);
    return status;
}

static rrt_status make_ids(const rrt_chat *chat, const rrt__rendered *r, const rrt__render_options *o,
                           rrt_chat_prompt *out, rrt_error *err)
{
    if (!chat->tokenizer || o->text_only || (o->max_bytes && r->text.length > o->max_bytes) ||
        (o->max_tokens &&
         rrt__tokenizer_exceeds(chat->tokenizer, r->text.data, r->text.length, o->max_tokens)))
        return RRT_STATUS_OK;
    RRT__TRY(rrt__chat_encode(chat->tokenizer, r, o, out, err));
    if (!rrt__chat_has_generation(chat, o)) return RRT_STATUS_OK;
    return rrt__chat_find_replies(chat->tokenizer, r, out, err);
}

rrt_status rrt__chat_to_text(const rrt_chat *chat, const json_t *messages, const rrt__render_options *options,
                             rrt_chat_prompt *out, rrt_error *err)
{
    rrt__rendered r = {0};
    *out = (rrt_chat_prompt){0};
    rrt_status status = rrt__chat_run(chat, messages, options, &r, err);
    if (!status) status = make_ids(chat, &r, options, out, err);
    if (status) {
        rrt_chat_prompt_free(out);
    } else {
        out->text = r.text.data;
        out->length = r.text.length;
        r.text.data = NULL;
    }
    rrt__rendered_free(&r);
    return status;
}

void rrt_chat_prompt_free(rrt_chat_prompt *prompt)
{
    rrt__free(prompt->text);
    rrt_ids_free(prompt->ids);
    rrt__free(prompt->replies);
    *prompt = (rrt_chat_prompt){0};
}

// --- JSON as text ---------------------------------------------------------------------------------------

static rrt_status parse(const char *text, const char *what, json_t **out, rrt_error *err)
{
    *out = NULL;
    if (!text) return RRT_STATUS_OK;
    rrt_status status = rrt__json_parse(out, text, strlen(text), err);
    return status ? rrt__at(err, status, "%s", what) : RRT_STATUS_OK;
}

rrt_status rrt_chat_render(const rrt_chat *chat, const char *messages, const rrt_chat_options *options,
                           rrt_chat_prompt *out, rrt_error *err)
{
    static const rrt_chat_options none;
    const rrt_chat_options *o = options ? options : &none;
    json_t *list = NULL, *tools = NULL, *documents = NULL, *arguments = NULL;
    rrt_status status;
    *out = (rrt_chat_prompt){0};
    RRT__GOTO(parse(messages, "messages", &list, err));
    RRT__GOTO(parse(o->tools, "tools", &tools, err));
    RRT__GOTO(parse(o->documents, "documents", &documents, err));
    RRT__GOTO(parse(o->arguments, "the chat template's arguments", &arguments, err));
    const rrt__render_options inside = {.tools = tools,
                                        .documents = documents,
                                        .arguments = arguments,
                                        .add_generation_prompt = o->add_generation_prompt,
                                        .continue_final_message = o->continue_final_message,
                                        .now = o->now};
    status = rrt__chat_to_text(chat, list, &inside, out, err);
done:
    json_decref(list);
    json_decref(tools);
    json_decref(documents);
    json_decref(arguments);
    return status;
}
