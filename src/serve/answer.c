// Immediate replies, and errors in OpenAI's format.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/server_inside.h"

void rrt__respond_json(rrt__exchange *exchange, int status, json_t *json)
{
    static const char failed[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"unavailable_error\","
                                 "\"param\":null,\"code\":\"no_room\"}}";
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (text)
        rrt__exchange_reply(exchange, status, "application/json", text, strlen(text));
    else
        rrt__exchange_reply(exchange, 503, "application/json", failed, sizeof failed - 1);
    free(text);
}

json_t *rrt__error_json(const char *type, const char *param, const char *code, const char *message)
{
    return json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", message, "type", type, "param", param,
                     "code", code);
}

void rrt__respond_error(rrt__exchange *exchange, int status, const char *type, const char *param,
                        const char *code, const char *message)
{
    rrt__respond_json(exchange, status, rrt__error_json(type, param, code, message));
}

void rrt__respond_unavailable(rrt__exchange *exchange, const char *code, const char *message)
{
    rrt__exchange_set(exchange, "Retry-After", "1");
    rrt__respond_error(exchange, 503, "unavailable_error", NULL, code, message);
}

void rrt__respond_busy(rrt__exchange *exchange, const char *code, const char *why)
{
    char message[128];
    snprintf(message, sizeof message, "%s: try again in a second", why);
    rrt__exchange_set(exchange, "Retry-After", "1");
    rrt__respond_error(exchange, 429, "rate_limit_error", NULL, code, message);
}

void rrt__respond_too_long(const rrt__server *server, rrt__exchange *exchange, const char *param,
                           size_t bytes)
{
    char message[256];
    snprintf(message, sizeof message,
             "this model's maximum context length is %zu tokens, and the prompt's %zu bytes are more than so "
             "many can be (shorten the prompt)",
             server->max_tokens, bytes);
    rrt__respond_error(exchange, 400, "exceed_context_size_error", param, "context_length_exceeded", message);
}

json_t *rrt__failure_json(const rrt_error *err, int *http_status)
{
    char message[sizeof err->message + sizeof err->hint + 8];
    snprintf(message, sizeof message, "%s%s%s%s", err->message, err->hint[0] ? " (" : "", err->hint,
             err->hint[0] ? ")" : "");
    const char *type = "server_error";
    *http_status = 500;
    if (err->status == RRT_STATUS_UNSUPPORTED) {
        type = "not_supported_error";
        *http_status = 400;
    } else if (err->status == RRT_STATUS_ARGUMENT || err->status == RRT_STATUS_FORMAT) {
        type = "invalid_request_error";
        *http_status = 400;
    } else if (err->status == RRT_STATUS_CANCELLED || err->status == RRT_STATUS_MEMORY) {
        type = "unavailable_error";
        *http_status = 503;
    }
    return rrt__error_json(type, err->where[0] ? err->where : NULL, NULL, message);
}

void rrt__respond_failure(rrt__exchange *exchange, const rrt_error *err)
{
    int http_status;
    json_t *json = rrt__failure_json(err, &http_status);
    rrt__respond_json(exchange, http_status, json);
}

// The memory of a JSON tree depends on its content, from one to seventy bytes per byte of text: refuses
// bodies with many small values before parsing. A list or an object counts as 8 numbers.
static rrt_status check_weight(const char *text, size_t length, size_t max_body_bytes, rrt_error *err)
{
    enum { CONTAINER = 8 };
    size_t weight = 0, max_weight = max_body_bytes / RRT__BODY_BYTES_PER_WEIGHT;
    bool is_string = false;
    for (size_t i = 0; i < length; i++) {
        if (is_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            is_string = !is_string;
        else if (!is_string && text[i] == ',')
            weight++;
        else if (!is_string && (text[i] == '{' || text[i] == '['))
            weight += CONTAINER;
    }
    if (weight <= max_weight) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "the body holds too many values (--max-body says how many)");
}

bool rrt__respond_unless_object(const rrt__server *server, rrt__exchange *exchange, json_t **body)
{
    rrt_error err = {0};
    size_t length;
    const char *text = rrt__exchange_body(exchange, &length);
    rrt_status status = check_weight(text, length, server->options.max_body_bytes, &err);
    if (!status) status = rrt__json_parse(body, text, length, &err);
    if (!status && !json_is_object(*body)) {
        json_decref(*body);
        status = rrt__fail(&err, RRT_STATUS_ARGUMENT, "the body has to be a JSON object");
    }
    rrt__exchange_drop_body(exchange);
    if (status) rrt__respond_failure(exchange, &err);
    return !status;
}
