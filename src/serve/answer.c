// Answers that are ready at once, and errors as OpenAI's clients know them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/inside.h"

void rrt__answer_json(rrt__exchange *exchange, int status, json_t *json)
{
    static const char failed[] =
        "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (text)
        rrt__exchange_reply(exchange, status, "application/json", text, strlen(text));
    else
        rrt__exchange_reply(exchange, 500, "application/json", failed, sizeof failed - 1);
    free(text);
}

json_t *rrt__error_json(const char *type, const char *param, const char *code, const char *message)
{
    return json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", message, "type", type, "param", param,
                     "code", code);
}

void rrt__answer_error(rrt__exchange *exchange, int status, const char *type, const char *param,
                       const char *code, const char *message)
{
    rrt__answer_json(exchange, status, rrt__error_json(type, param, code, message));
}

void rrt__answer_unavailable(rrt__exchange *exchange, const char *code, const char *message)
{
    rrt__exchange_set(exchange, "Retry-After", "1");
    rrt__answer_error(exchange, 503, "unavailable_error", NULL, code, message);
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
    } else if (err->status == RRT_STATUS_CANCELLED) {
        type = "unavailable_error";
        *http_status = 503;
    }
    return rrt__error_json(type, err->where[0] ? err->where : NULL, NULL, message);
}

void rrt__answer_failure(rrt__exchange *exchange, const rrt_error *err)
{
    int http_status;
    json_t *json = rrt__failure_json(err, &http_status);
    rrt__answer_json(exchange, http_status, json);
}

bool rrt__answer_unless_object(rrt__exchange *exchange, json_t **body)
{
    rrt_error err = {0};
    size_t length;
    const char *text = rrt__exchange_body(exchange, &length);
    rrt_status status = rrt__json_parse(body, text, length, &err);
    if (!status && !json_is_object(*body)) {
        json_decref(*body);
        status = rrt__fail(&err, RRT_STATUS_ARGUMENT, "the body has to be a JSON object");
    }
    if (status) rrt__answer_failure(exchange, &err);
    return !status;
}
