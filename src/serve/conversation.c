// Renders a request's conversation with the model's chat template.
#include <string.h>

#include "serve/server_inside.h"
#include "tokenizer/chat.h"

static rrt_status wrong(const char *name, const char *kind, rrt_error *err)
{
    return rrt__at(err, rrt__fail(err, RRT_STATUS_ARGUMENT, "%s has to be %s", name, kind), "%s", name);
}

// The server's arguments, overridden by the request's. *out is new, or NULL.
static rrt_status read_arguments(const rrt__server *server, const json_t *body, json_t **out, rrt_error *err)
{
    json_t *own = json_object_get(body, "chat_template_kwargs");
    *out = NULL;
    if (!rrt__json_is_absent(own) && !json_is_object(own))
        return wrong("chat_template_kwargs", "an object", err);
    *out = server->chat_arguments ? json_copy(server->chat_arguments) : json_object();
    if (!*out || (json_is_object(own) && json_object_update(*out, own)))
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a conversation");
    return RRT_STATUS_OK;
}

static rrt_status read_flag(const json_t *body, const char *name, bool *out, rrt_error *err)
{
    const json_t *value = json_object_get(body, name);
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    if (!json_is_boolean(value)) return wrong(name, "true or false", err);
    *out = json_is_true(value);
    return RRT_STATUS_OK;
}

// "none" omits the tools; otherwise the model decides. Forcing a call is not possible here.
static rrt_status read_tools(const json_t *body, const json_t **out, rrt_error *err)
{
    const json_t *choice = json_object_get(body, "tool_choice"), *tools = json_object_get(body, "tools");
    const char *name = json_string_value(choice);
    bool is_none = name && strcmp(name, "none") == 0;
    *out = NULL;
    if (!rrt__json_is_absent(tools) && !json_is_array(tools)) return wrong("tools", "a list", err);
    if (!rrt__json_is_absent(choice) && !is_none && (!name || strcmp(name, "auto") != 0))
        return rrt__at(err, rrt__fail(err, RRT_STATUS_UNSUPPORTED, "tool_choice can be none or auto"),
                       "tool_choice");
    if (!is_none && json_array_size(tools)) *out = tools;
    return RRT_STATUS_OK;
}

static rrt_status read_options(const json_t *body, rrt__render_options *o, rrt_error *err)
{
    RRT__TRY(read_tools(body, &o->tools, err));
    o->documents = json_object_get(body, "documents");
    RRT__TRY(read_flag(body, "continue_final_message", &o->continue_final_message, err));
    o->add_generation_prompt = !o->continue_final_message;
    return read_flag(body, "add_generation_prompt", &o->add_generation_prompt, err);
}

// Some templates need a tool call's arguments as a string, the form that OpenAI's clients send.
static rrt_status render(const rrt__server *server, const json_t *messages, const rrt__render_options *o,
                         rrt_chat_prompt *out, rrt_error *err)
{
    json_t *adapted;
    RRT__TRY(rrt__chat_adapt(server->chat, messages, true, &adapted, err));
    rrt_status status = rrt__chat_to_text(server->chat, adapted, o, out, err);
    json_decref(adapted);
    if (status != RRT_STATUS_FORMAT) return status;
    RRT__TRY(rrt__chat_adapt(server->chat, messages, false, &adapted, err));
    status = rrt__chat_to_text(server->chat, adapted, o, out, err);
    json_decref(adapted);
    return status;
}

rrt_status rrt__conversation_render(const rrt__server *server, const json_t *body, rrt_chat_prompt *out,
                                    rrt_error *err)
{
    const json_t *messages = json_object_get(body, "messages");
    rrt__render_options options = {.max_bytes = server->options.max_body_bytes,
                                   .max_tokens = server->max_tokens};
    json_t *arguments = NULL;
    *out = (rrt_chat_prompt){0};
    if (!server->chat) {
        *err = server->chat_error;
        return err->status;
    }
    if (!json_is_array(messages) || !json_array_size(messages))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "messages has to be a list that is not empty");
    rrt_status status = read_options(body, &options, err);
    if (!status) status = read_arguments(server, body, &arguments, err);
    options.arguments = arguments;
    if (!status) status = render(server, messages, &options, out, err);
    json_decref(arguments);
    return status;
}

static json_t *reply_of(const rrt_chat_prompt *prompt)
{
    json_t *tokens = json_array();
    for (size_t i = 0; i < prompt->n_ids; i++) json_array_append_new(tokens, json_integer(prompt->ids[i]));
    return json_pack("{s:o, s:o}", "prompt", json_stringn(prompt->text, prompt->length), "tokens", tokens);
}

void rrt__api_apply_template(rrt__server *server, rrt__exchange *exchange)
{
    rrt_error err = {0};
    rrt_chat_prompt prompt;
    json_t *body;
    if (!rrt__respond_unless_object(server, exchange, &body)) return;
    rrt_status status = rrt__conversation_render(server, body, &prompt, &err);
    if (status && !err.where[0]) rrt__at(&err, status, "messages");
    if (status)
        rrt__respond_failure(exchange, &err);
    else if (!prompt.ids && prompt.length)
        rrt__respond_too_long(server, exchange, "messages", prompt.length);
    else
        rrt__respond_json(exchange, 200, reply_of(&prompt));
    rrt_chat_prompt_free(&prompt);
    json_decref(body);
}
