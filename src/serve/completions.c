// /v1/completions and /v1/chat/completions: turns a request into a completion, and hands it to the worker.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "serve/server_inside.h"

enum {
    COMPLETION_TOKENS = 16, // default of max_tokens: OpenAI's
    CHAT_TOKENS = 1024,     // an endless reply must not hold its batch slot for ever
};

// Replies with an error if the request names another model.
static bool is_other_model(const rrt__completion *completion, const json_t *body)
{
    const json_t *model = json_object_get(body, "model");
    const char *name = json_string_value(model), *ours = rrt__server_model_name(completion->server);
    if (rrt__json_is_absent(model)) return false;
    if (name && (strcmp(name, ours) == 0 || strcmp(name, completion->server->options.model) == 0))
        return false;
    char message[512];
    snprintf(message, sizeof message, "the model '%.200s' does not exist here: this server has '%.200s'",
             name ? name : "", ours);
    rrt__respond_error(completion->exchange, 404, "not_found_error", "model", "model_not_found", message);
    return true;
}

// Replies with an error if prompt and reply exceed the limit. A missing max_tokens becomes the
// remaining length.
static bool is_too_long(rrt__completion *completion)
{
    size_t max = completion->server->max_tokens, longest = 0,
           *max_tokens = &completion->parameters.max_tokens;
    for (size_t i = 0; i < completion->n_choices; i++)
        if (completion->choices[i].prompt_tokens > longest) longest = completion->choices[i].prompt_tokens;
    size_t left = longest < max ? max - longest : 0,
           usual = completion->is_chat ? CHAT_TOKENS : COMPLETION_TOKENS;
    if (*max_tokens == SIZE_MAX && left) *max_tokens = left < usual ? left : usual;
    if (*max_tokens <= left && longest <= max) return false;
    char message[512];
    snprintf(
        message, sizeof message,
        "this model's maximum context length is %zu tokens, but the prompt has %zu and max_tokens asks for "
        "%zu more (shorten the prompt or ask for less)",
        max, longest, *max_tokens == SIZE_MAX ? 1 : *max_tokens);
    rrt__respond_error(completion->exchange, 400, "exceed_context_size_error",
                       completion->is_chat ? "messages" : "prompt", "context_length_exceeded", message);
    return true;
}

// Replies with an error if its max memory is not available, now or ever.
static bool is_too_large(rrt__completion *completion)
{
    rrt__server *server = completion->server;
    completion->bytes = rrt__completion_bytes(completion);
    if (rrt__exchange_hold(completion->exchange, completion->bytes)) return false;
    char message[256];
    bool is_ever = completion->bytes <= server->options.max_bytes / 9 * 8;
    snprintf(
        message, sizeof message,
        "this request may take %zu MB until it is answered: all together may take %zu (stream, or ask for "
        "fewer prompts, tokens or logprobs; --max-held)",
        completion->bytes / 1000000 + 1, server->options.max_bytes / 1000000);
    rrt__metrics_count(&server->metrics, &server->metrics.refused, is_ever);
    if (is_ever)
        rrt__respond_busy(completion->exchange, "no_room", "requests fill the memory set aside for them");
    else
        rrt__respond_error(completion->exchange, 413, "invalid_request_error", NULL, "request_too_large",
                           message);
    return true;
}

// --- the completion

static void log_prompt(const rrt__completion *completion)
{
    char *text;
    size_t length;
    for (size_t i = 0; i < completion->n_choices; i++) {
        const rrt__choice *c = &completion->choices[i];
        if (rrt_decode(completion->server->tokenizer, c->prompt, c->prompt_tokens, &text, &length, NULL))
            continue;
        json_t *json = rrt__json_text(text, length); // on one line, whatever it contains
        char *line = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
        if (line)
            rrt__server_log(completion->server, "%s: prompt of %zu tokens: %s", completion->id,
                            c->prompt_tokens, line);
        free(line);
        json_decref(json);
        rrt_text_free(text);
    }
}

static rrt_status read_completion(rrt__completion *completion, const json_t *body, rrt_error *err)
{
    RRT__TRY(rrt__parameters_read(&completion->parameters, body, completion->is_chat,
                                  completion->server->exit_rule, err));
    rrt_status status = completion->is_chat ? rrt__messages_read(completion, body, err)
                                            : rrt__prompts_read(completion, body, err);
    return status && !err->where[0] ? rrt__at(err, status, completion->is_chat ? "messages" : "prompt")
                                    : status;
}

// Replies with an error if the server stops.
static bool hand_over(rrt__completion *completion)
{
    rrt__server *server = completion->server;
    pthread_mutex_lock(&server->lock);
    bool stops = server->stops;
    if (!stops) {
        rrt__completion **last = &server->incoming;
        while (*last) last = &(*last)->next;
        *last = completion;
        pthread_cond_signal(&server->wake);
    }
    pthread_mutex_unlock(&server->lock);
    if (stops) rrt__respond_unavailable(completion->exchange, "draining", "the server is about to stop");
    return !stops;
}

// Reads the body; the completion keeps nothing of it. False: it was answered.
static bool read_body(rrt__completion *completion)
{
    rrt_error err = {0};
    json_t *body;
    if (!rrt__respond_unless_object(completion->server, completion->exchange, &body)) return false;
    bool is_other = is_other_model(completion, body);
    rrt_status status = is_other ? RRT_STATUS_OK : read_completion(completion, body, &err);
    json_decref(body);
    if (status) rrt__respond_failure(completion->exchange, &err);
    if (is_other || status) return false;
    if (!completion->excess_bytes) return !is_too_long(completion);
    rrt__respond_too_long(completion->server, completion->exchange,
                          completion->is_chat ? "messages" : "prompt", completion->excess_bytes);
    return false;
}

static void complete(rrt__server *server, rrt__exchange *exchange, bool is_chat)
{
    rrt_error err = {0};
    rrt__completion *completion;
    if (rrt__alloc(&completion, 1, sizeof *completion, "a request", &err)) {
        rrt__respond_failure(exchange, &err);
        return;
    }
    *completion = (rrt__completion){.server = server,
                                    .exchange = exchange,
                                    .is_chat = is_chat,
                                    .created = time(NULL),
                                    .arrived = rrt__now_seconds()};
    snprintf(completion->id, sizeof completion->id, "%s-%s%" PRIu64, is_chat ? "chatcmpl" : "cmpl",
             server->id, server->n_ids++);
    bool is_taken = read_body(completion) && !is_too_large(completion);
    if (is_taken && server->options.logs_prompts) log_prompt(completion);
    if (!is_taken || !hand_over(completion)) rrt__completion_free(completion);
}

void rrt__api_completions(rrt__server *server, rrt__exchange *exchange)
{
    complete(server, exchange, false);
}

void rrt__api_chat(rrt__server *server, rrt__exchange *exchange)
{
    complete(server, exchange, true);
}
