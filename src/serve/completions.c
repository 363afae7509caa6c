// /v1/completions and /v1/chat/completions: a request becomes a job, and goes to the worker.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "serve/server_inside.h"

enum {
    COMPLETION_TOKENS = 16, // where max_tokens is not said: OpenAI's number
    CHAT_TOKENS = 1024,     // a reply that goes on and on should not hold its place for ever
};

// Answers if the request asks for another model than the one we have.
static bool is_other_model(const rrt__job *job, const json_t *body)
{
    const json_t *model = json_object_get(body, "model");
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

// Answers if there is not as much memory as it may take until it is answered, now or ever.
static bool is_too_large(rrt__job *job)
{
    rrt__server *server = job->server;
    job->bytes = rrt__job_bytes(job);
    if (rrt__exchange_hold(job->exchange, job->bytes)) return false;
    char message[256];
    bool is_ever = job->bytes <= server->options.most_bytes / 9 * 8;
    snprintf(
        message, sizeof message,
        "this request may take %zu MB until it is answered: all together may take %zu (stream, or ask for "
        "fewer prompts, tokens or logprobs; --max-held)",
        job->bytes / 1000000 + 1, server->options.most_bytes / 1000000);
    rrt__metrics_count(&server->metrics, &server->metrics.refused, is_ever);
    if (is_ever)
        rrt__answer_busy(job->exchange, "no_room", "requests fill the memory set aside for them");
    else
        rrt__answer_error(job->exchange, 413, "invalid_request_error", NULL, "request_too_large", message);
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

static rrt_status read_job(rrt__job *job, const json_t *body, rrt_error *err)
{
    RRT__TRY(rrt__parameters_read(&job->parameters, body, job->is_chat, job->server->exit_rule, err));
    rrt_status status = job->is_chat ? rrt__messages_read(job, body, err) : rrt__prompts_read(job, body, err);
    return status && !err->where[0] ? rrt__at(err, status, job->is_chat ? "messages" : "prompt") : status;
}

// Answers if there is nobody to take it any more.
static bool hand_over(rrt__job *job)
{
    rrt__server *server = job->server;
    pthread_mutex_lock(&server->lock);
    bool stops = server->stops;
    if (!stops) {
        rrt__job **last = &server->incoming;
        while (*last) last = &(*last)->next;
        *last = job;
        pthread_cond_signal(&server->wake);
    }
    pthread_mutex_unlock(&server->lock);
    if (stops) rrt__answer_unavailable(job->exchange, "draining", "the server is about to stop");
    return !stops;
}

// Nothing of the body is left in the job that comes of it. False: it was answered.
static bool read_body(rrt__job *job)
{
    rrt_error err = {0};
    json_t *body;
    if (!rrt__answer_unless_object(job->server, job->exchange, &body)) return false;
    bool is_other = is_other_model(job, body);
    rrt_status status = is_other ? RRT_STATUS_OK : read_job(job, body, &err);
    json_decref(body);
    if (status) rrt__answer_failure(job->exchange, &err);
    if (is_other || status) return false;
    if (!job->excess_bytes) return !is_too_long(job);
    rrt__answer_too_long(job->server, job->exchange, job->is_chat ? "messages" : "prompt", job->excess_bytes);
    return false;
}

static void complete(rrt__server *server, rrt__exchange *exchange, bool is_chat)
{
    rrt_error err = {0};
    rrt__job *job;
    if (rrt__alloc(&job, 1, sizeof *job, "a request", &err)) {
        rrt__answer_failure(exchange, &err);
        return;
    }
    *job = (rrt__job){.server = server,
                      .exchange = exchange,
                      .is_chat = is_chat,
                      .created = time(NULL),
                      .arrived = rrt__now_seconds()};
    snprintf(job->id, sizeof job->id, "%s-%s%" PRIu64, is_chat ? "chatcmpl" : "cmpl", server->id,
             server->n_ids++);
    bool is_taken = read_body(job) && !is_too_large(job);
    if (is_taken && server->options.logs_prompts) log_prompt(job);
    if (!is_taken || !hand_over(job)) rrt__job_free(job);
}

void rrt__api_completions(rrt__server *server, rrt__exchange *exchange)
{
    complete(server, exchange, false);
}

void rrt__api_chat(rrt__server *server, rrt__exchange *exchange)
{
    complete(server, exchange, true);
}
