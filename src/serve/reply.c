// Turns tokens into JSON: whole replies, and events.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/server_inside.h"

void rrt__reply_note(rrt__choice *c, const rrt_token *token)
{
    if (!token->is_prompt) {
        c->n_tokens++;
        c->depth_sum += (size_t)token->loops;
        if (!c->depths) c->depths = json_array();
        json_array_append_new(c->depths, json_integer(token->loops));
    }
    if (c->completion->parameters.logprobs != RRT__NO_LOGPROBS) rrt__logprobs_note(c, token);
}

// --- parts of replies -----------------------------------------------------------------------------------

// Moves recorded values out; null if there are none.
static json_t *take(json_t **noted)
{
    json_t *json = *noted ? *noted : json_null();
    *noted = NULL;
    return json;
}

static json_t *frame(const rrt__completion *completion, const char *object, json_t *choices)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", completion->id, "object", object, "created",
                     (json_int_t)completion->created, "model", rrt__server_model_name(completion->server),
                     "choices", choices);
}

static json_t *usage(const rrt__completion *completion)
{
    json_int_t prompt = 0, cached = 0, generated = 0;
    for (size_t i = 0; i < completion->n_choices; i++) {
        prompt += (json_int_t)completion->choices[i].prompt_tokens;
        cached += (json_int_t)completion->choices[i].stats.cached_tokens;
        generated += (json_int_t)completion->choices[i].n_tokens;
    }
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", prompt, "completion_tokens", generated,
                     "total_tokens", prompt + generated, "prompt_tokens_details", "cached_tokens", cached);
}

// To the microsecond.
static json_t *milliseconds(double seconds)
{
    return json_real(round(seconds * 1e6) / 1e3);
}

static json_t *rate(size_t count, double seconds)
{
    return json_real(seconds > 0 ? round((double)count / seconds * 1e3) / 1e3 : 0);
}

// In llama-server's format.
static json_t *timings(const rrt__choice *c)
{
    double prompt = c->n_tokens ? c->first - c->started : 0, generated = c->n_tokens ? c->last - c->first : 0;
    size_t after_first = c->n_tokens ? c->n_tokens - 1 : 0, cached = c->stats.cached_tokens;
    size_t run = c->prompt_tokens - cached;
    return json_pack("{s:I, s:I, s:o, s:o, s:I, s:o, s:o}", "cache_n", (json_int_t)cached, "prompt_n",
                     (json_int_t)run, "prompt_ms", milliseconds(prompt), "prompt_per_second",
                     rate(run, prompt), "predicted_n", (json_int_t)c->n_tokens, "predicted_ms",
                     milliseconds(generated), "predicted_per_second", rate(after_first, generated));
}

static json_t *mean_depth(const rrt__choice *c)
{
    return c->n_tokens ? json_real((double)c->depth_sum / (double)c->n_tokens) : json_null();
}

static json_t *depths_json(rrt__choice *c)
{
    json_t *depths = c->depths ? c->depths : json_array();
    c->depths = NULL;
    return depths;
}

// Our own fields: for tokens not yet sent in an event, and at the end for the whole reply.
static json_t *recursion(rrt__choice *c)
{
    json_t *json = json_pack("{s:o}", "exit_depths", depths_json(c));
    if (!c->is_over) return json;
    json_object_set_new(json, "mean_depth", mean_depth(c));
    if (!c->completion->parameters.draft_loops && !c->stats.drafted) return json;
    json_object_set_new(json, "drafted", json_integer((json_int_t)c->stats.drafted));
    json_object_set_new(json, "accepted", json_integer((json_int_t)c->stats.accepted));
    return json;
}

static json_t *finish_reason(const rrt__choice *c)
{
    return c->is_over ? json_string(rrt__outcome_names[c->outcome]) : json_null();
}

// The text that may be shown so far, starting with the prompt's.
static json_t *text_json(rrt__choice *c)
{
    const char *bytes;
    size_t length = rrt__reply_text_take(&c->text, &c->completion->parameters.stops, c->is_over, &bytes);
    if (!c->echo.length) return rrt__json_text(bytes, length);
    json_t *json = rrt__string_append(&c->echo, bytes, length, NULL)
                       ? NULL
                       : rrt__json_text(c->echo.data, c->echo.length);
    c->echo.length = 0;
    return json;
}

// --- whole replies --------------------------------------------------------------------------------------

static json_t *choice_json(rrt__choice *c)
{
    json_t *json = json_pack("{s:I, s:o, s:o}", "index", (json_int_t)c->index, "logprobs", take(&c->logprobs),
                             "finish_reason", finish_reason(c));
    json_t *text = text_json(c);
    if (c->completion->is_chat)
        json_object_set_new(json, "message", json_pack("{s:s, s:o}", "role", "assistant", "content", text));
    else
        json_object_set_new(json, "text", text);
    json_object_set_new(json, "rrt", recursion(c));
    return json;
}

void rrt__reply_whole(rrt__completion *completion)
{
    if (completion->error.status) {
        rrt__respond_failure(completion->exchange, &completion->error);
        return;
    }
    if (rrt__exchange_is_gone(completion->exchange)) {
        rrt__respond_unavailable(completion->exchange, "gone", "nobody waits for this");
        return;
    }
    json_t *choices = json_array();
    for (size_t i = 0; i < completion->n_choices; i++)
        json_array_append_new(choices, choice_json(&completion->choices[i]));
    json_t *json = frame(completion, completion->is_chat ? "chat.completion" : "text_completion", choices);
    json_object_set_new(json, "usage", usage(completion));
    json_object_set_new(json, "timings", timings(&completion->choices[0]));
    if (completion->n_choices == 1) // the request has the same fields
        json_object_set(json, "rrt", json_object_get(json_array_get(choices, 0), "rrt"));
    rrt__respond_json(completion->exchange, 200, json);
}

// --- events ---------------------------------------------------------------------------------------------

static bool send_event(rrt__exchange *exchange, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    rrt__string event = {0};
    bool is_sent = text && !rrt__string_append(&event, "data: ", 6, NULL) &&
                   !rrt__string_append(&event, text, strlen(text), NULL) &&
                   !rrt__string_append(&event, "\n\n", 2, NULL) &&
                   rrt__exchange_write(exchange, event.data, event.length);
    rrt__string_free(&event);
    free(text);
    return is_sent;
}

// Called with the first event: until then a failure has its own status, and a lost client is detected.
static void begin(rrt__completion *completion)
{
    if (completion->has_begun) return;
    completion->has_begun = true;
    rrt__exchange_set(completion->exchange, "Cache-Control", "no-store");
    rrt__exchange_set(completion->exchange, "X-Accel-Buffering", "no"); // otherwise nginx buffers the events
    rrt__exchange_begin(completion->exchange, "text/event-stream; charset=utf-8");
}

static json_t *delta(rrt__choice *c, json_t *text)
{
    json_t *json = json_pack("{s:o}", "content", text);
    if (!c->has_begun) json_object_set_new(json, "role", json_string("assistant"));
    return json;
}

bool rrt__reply_send(rrt__choice *c)
{
    rrt__completion *completion = c->completion;
    json_t *text = text_json(c);
    if (!c->is_over && json_string_length(text) == 0) {
        json_decref(text);
        return true;
    }
    json_t *choice =
        json_pack("{s:I, s:o, s:o, s:o}", "index", (json_int_t)c->index,
                  completion->is_chat ? "delta" : "text", completion->is_chat ? delta(c, text) : text,
                  "logprobs", take(&c->logprobs), "finish_reason", finish_reason(c));
    json_t *json = frame(completion, completion->is_chat ? "chat.completion.chunk" : "text_completion",
                         json_pack("[o]", choice));
    if (c->is_over) json_object_set_new(json, "timings", timings(c));
    json_object_set_new(json, "rrt", recursion(c));
    c->has_begun = true;
    begin(completion);
    return send_event(completion->exchange, json);
}

void rrt__reply_end(rrt__completion *completion)
{
    if (completion->error.status) {
        int http_status;
        send_event(completion->exchange, rrt__failure_json(&completion->error, &http_status));
    } else if (completion->parameters.include_usage) {
        json_t *json = frame(completion, completion->is_chat ? "chat.completion.chunk" : "text_completion",
                             json_array());
        json_object_set_new(json, "usage", usage(completion));
        send_event(completion->exchange, json);
    }
    static const char done[] = "data: [DONE]\n\n";
    rrt__exchange_write(completion->exchange, done, sizeof done - 1);
    rrt__exchange_end(completion->exchange);
}
