// /v1/completions and /v1/chat/completions: a request becomes a job, and goes to the worker.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "rrt/chat.h"
#include "serve/inside.h"

enum {
    MOST_PROMPTS = 4096,    // in one request
    COMPLETION_TOKENS = 16, // where max_tokens is not said: OpenAI's number
    CHAT_TOKENS = 1024,     // a reply that goes on and on should not hold its place for ever
};

// --- prompts --------------------------------------------------------------------------------------------

static rrt_status take_ids(rrt__choice *c, const int32_t *ids, size_t count, rrt_error *err)
{
    if (!count) return rrt__fail(err, RRT_STATUS_ARGUMENT, "a prompt has no tokens: at least one is needed");
    RRT__TRY(rrt__alloc(&c->prompt, count, sizeof *c->prompt, "a prompt", err));
    memcpy(c->prompt, ids, count * sizeof *ids);
    c->prompt_tokens = count;
    return RRT_STATUS_OK;
}

// Special tokens written in a prompt are meant: clients render chat templates themselves.
static rrt_status read_text(rrt__choice *c, const rrt_tokenizer *tokenizer, const json_t *text,
                            rrt_error *err)
{
    const rrt_encode_options options = {.add_bos = rrt_tokenizer_adds_bos(tokenizer), .parse_special = 1};
    int32_t *ids;
    size_t count;
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
    if (json_is_string(prompt)) return read_text(c, server->tokenizer, prompt, err);
    if (json_is_array(prompt)) return read_ids(c, server->info.vocab, prompt, err);
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "prompt has to be a string, token ids, or a list of these");
}

static rrt_status open_choices(rrt__job *job, size_t count, rrt_error *err)
{
    if (count > MOST_PROMPTS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu prompts: at most %d fit into one request", count,
                         MOST_PROMPTS);
    RRT__TRY(rrt__alloc(&job->choices, count, sizeof *job->choices, "choices", err));
    job->n_choices = job->n_open = count;
    for (size_t i = 0; i < count; i++) {
        job->choices[i].job = job;
        job->choices[i].index = i;
    }
    return RRT_STATUS_OK;
}

// What echo shows: the prompt's tokens as text, without what we put in front.
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

static rrt_status read_prompts(rrt__job *job, rrt_error *err)
{
    const rrt__server *server = job->server;
    const json_t *prompt = json_object_get(job->body, "prompt");
    bool is_list = json_is_array(prompt) && !json_is_integer(json_array_get(prompt, 0));
    RRT__TRY(open_choices(job, is_list ? json_array_size(prompt) : 1, err));
    if (!job->n_choices) return rrt__fail(err, RRT_STATUS_ARGUMENT, "prompt is an empty list");
    for (size_t i = 0; i < job->n_choices; i++) {
        rrt__choice *c = &job->choices[i];
        RRT__TRY(read_prompt(c, server, is_list ? json_array_get(prompt, i) : prompt, err));
        if (job->parameters.echo) RRT__TRY(make_echo(c, server->tokenizer, err));
    }
    return RRT_STATUS_OK;
}

// --- conversations --------------------------------------------------------------------------------------

// A message's text: a string, or parts of type "text". *joined is what has to be freed.
static rrt_status read_content(const json_t *content, rrt__string *joined, const char **out, rrt_error *err)
{
    const json_t *part;
    size_t i;
    RRT__TRY(rrt__string_append(joined, "", 0, err));
    if (json_is_string(content))
        RRT__TRY(rrt__string_append(joined, json_string_value(content), json_string_length(content), err));
    else if (!json_is_array(content))
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a message's content has to be a string or a list of parts");
    json_array_foreach(content, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "parts of a message that are not text");
        RRT__TRY(rrt__string_append(joined, json_string_value(text), json_string_length(text), err));
    }
    if (memchr(joined->data, '\0', joined->length))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "a message's content has a NUL character in it");
    *out = joined->data;
    return RRT_STATUS_OK;
}

static rrt_status encode_messages(rrt__choice *c, const rrt__server *server, const rrt_chat_message *messages,
                                  size_t count, rrt_error *err)
{
    int32_t *ids;
    size_t n_ids;
    RRT__TRY(rrt_chat_encode(server->tokenizer, server->chat_form, messages, count, 0, &ids, &n_ids, err));
    rrt_status status = take_ids(c, ids, n_ids, err);
    rrt_ids_free(ids);
    return status;
}

static rrt_status read_messages(rrt__job *job, rrt_error *err)
{
    const json_t *list = json_object_get(job->body, "messages");
    size_t count = json_array_size(list), i;
    const json_t *entry;
    rrt_chat_message *messages;
    rrt__string *texts;
    if (job->server->chat_error.status) {
        *err = job->server->chat_error;
        return err->status;
    }
    if (!count) return rrt__fail(err, RRT_STATUS_ARGUMENT, "messages has to be a list that is not empty");
    RRT__TRY(open_choices(job, 1, err));
    RRT__TRY(rrt__alloc(&messages, count, sizeof *messages, "messages", err));
    rrt_status status = rrt__alloc(&texts, count, sizeof *texts, "messages", err);
    for (i = 0; !status && (entry = json_array_get(list, i)); i++) {
        const char *role = json_string_value(json_object_get(entry, "role"));
        if (!role) status = rrt__fail(err, RRT_STATUS_ARGUMENT, "messages: entry %zu has no role", i);
        // OpenAI's newer word for it
        messages[i].role = role && strcmp(role, "developer") == 0 ? "system" : role;
        if (!status)
            status = read_content(json_object_get(entry, "content"), &texts[i], &messages[i].content, err);
    }
    if (!status) status = encode_messages(job->choices, job->server, messages, count, err);
    for (i = 0; texts && i < count; i++) rrt__string_free(&texts[i]);
    rrt__free(texts);
    rrt__free(messages);
    return status;
}

// --- limits ---------------------------------------------------------------------------------------------

// Answers if the request asks for another model than the one we have.
static bool is_other_model(const rrt__job *job)
{
    const json_t *model = json_object_get(job->body, "model");
    const char *name = json_string_value(model), *ours = rrt__server_model_name(job->server);
    if (rrt__json_is_absent(model)) return false;
    if (name && (strcmp(name, ours) == 0 || strcmp(name, job->server->options.model) == 0)) return false;
    char message[512];
    snprintf(message, sizeof message, "the model '%.200s' does not exist here: this server has '%.200s'",
             name ? name : "", ours);
    rrt__answer_error(job->exchange, 404, "not_found_error", "model", "model_not_found", message);
    return true;
}

// Answers if a prompt and its reply are longer than can be. What was not said becomes what is left.
static bool is_too_long(rrt__job *job)
{
    size_t most = job->server->most_tokens, longest = 0, *max_tokens = &job->parameters.max_tokens;
    for (size_t i = 0; i < job->n_choices; i++)
        if (job->choices[i].prompt_tokens > longest) longest = job->choices[i].prompt_tokens;
    size_t left = longest < most ? most - longest : 0, usual = job->is_chat ? CHAT_TOKENS : COMPLETION_TOKENS;
    if (*max_tokens == SIZE_MAX && left) *max_tokens = left < usual ? left : usual;
    if (*max_tokens <= left && longest <= most) return false;
    char message[512];
    snprintf(
        message, sizeof message,
        "this model's maximum context length is %zu tokens, but the prompt has %zu and max_tokens asks for "
        "%zu more (shorten the prompt or ask for less)",
        most, longest, *max_tokens == SIZE_MAX ? 1 : *max_tokens);
    rrt__answer_error(job->exchange, 400, "exceed_context_size_error", job->is_chat ? "messages" : "prompt",
                      "context_length_exceeded", message);
    return true;
}

// Answers if too much waits already. A request may have many prompts: it is let in as a whole.
static bool is_full(rrt__server *server, rrt__exchange *exchange)
{
    pthread_mutex_lock(&server->lock);
    bool full = server->n_open >= server->options.engine.requests + server->options.most_waiting;
    pthread_mutex_unlock(&server->lock);
    if (!full) return false;
    rrt__metrics_count(&server->metrics, &server->metrics.refused, 1);
    rrt__exchange_set(exchange, "Retry-After", "1");
    rrt__answer_error(exchange, 429, "rate_limit_error", NULL, "queue_full",
                      "too many requests are waiting: try again in a second");
    return true;
}

// --- the job --------------------------------------------------------------------------------------------

static void log_prompt(const rrt__job *job)
{
    char *text;
    size_t length;
    for (size_t i = 0; i < job->n_choices; i++) {
        const rrt__choice *c = &job->choices[i];
        if (rrt_decode(job->server->tokenizer, c->prompt, c->prompt_tokens, &text, &length, NULL)) continue;
        json_t *json = rrt__json_text(text, length); // one line, whatever is in it
        char *line = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
        if (line)
            rrt__server_log(job->server, "%s: prompt of %zu tokens: %s", job->id, c->prompt_tokens, line);
        free(line);
        json_decref(json);
        rrt_text_free(text);
    }
}

static rrt_status read_job(rrt__job *job, rrt_error *err)
{
    RRT__TRY(rrt__parameters_read(&job->parameters, job->body, job->is_chat, job->server->exit_rule, err));
    rrt_status status = job->is_chat ? read_messages(job, err) : read_prompts(job, err);
    return status && !err->where[0] ? rrt__at(err, status, job->is_chat ? "messages" : "prompt") : status;
}

// False if there is nobody to take it any more.
static bool hand_over(rrt__job *job)
{
    rrt__server *server = job->server;
    pthread_mutex_lock(&server->lock);
    bool stops = server->stops;
    if (!stops) {
        rrt__job **last = &server->incoming;
        while (*last) last = &(*last)->next;
        *last = job;
        server->n_open += job->n_choices;
        pthread_cond_signal(&server->wake);
    }
    pthread_mutex_unlock(&server->lock);
    return !stops;
}

static void complete(rrt__server *server, rrt__exchange *exchange, bool is_chat)
{
    rrt_error err = {0};
    rrt__job *job;
    json_t *body;
    if (is_full(server, exchange) || !rrt__answer_unless_object(exchange, &body)) return;
    rrt_status status = rrt__alloc(&job, 1, sizeof *job, "a request", &err);
    if (status) {
        json_decref(body);
        rrt__answer_failure(exchange, &err);
        return;
    }
    *job = (rrt__job){.server = server,
                      .exchange = exchange,
                      .body = body,
                      .is_chat = is_chat,
                      .created = time(NULL),
                      .arrived = rrt__now_seconds()};
    snprintf(job->id, sizeof job->id, "%s-%s%" PRIu64, is_chat ? "chatcmpl" : "cmpl", server->id,
             server->n_ids++);
    bool is_answered = is_other_model(job);
    if (!is_answered && (status = read_job(job, &err))) {
        rrt__answer_failure(exchange, &err);
        is_answered = true;
    }
    is_answered = is_answered || is_too_long(job);
    if (!is_answered && server->options.logs_prompts) log_prompt(job);
    if (!is_answered && hand_over(job)) return;
    if (!is_answered) rrt__answer_unavailable(exchange, "draining", "the server is about to stop");
    rrt__job_free(job);
}

void rrt__api_completions(rrt__server *server, rrt__exchange *exchange)
{
    complete(server, exchange, false);
}

void rrt__api_chat(rrt__server *server, rrt__exchange *exchange)
{
    complete(server, exchange, true);
}
