// Routes requests to the endpoints.
#include <stdio.h>
#include <string.h>

#include "serve/page.h"
#include "serve/server_inside.h"

static const char *const state_names[] = {"loading model", "ok", "draining", "error"};

static bool has_model(rrt__server_state state)
{
    return state == RRT__SERVER_READY || state == RRT__SERVER_DRAINING;
}

static void health(rrt__server *server, rrt__exchange *exchange)
{
    rrt__server_state state = rrt__server_state_now(server);
    rrt__respond_json(exchange, state == RRT__SERVER_READY ? 200 : 503,
                      json_pack("{s:s}", "status", state_names[state]));
}

static void metrics(rrt__server *server, rrt__exchange *exchange)
{
    rrt_error err = {0};
    rrt__string text = {0};
    int loops = has_model(rrt__server_state_now(server)) ? server->info.loops : 0;
    rrt_status status =
        rrt__metrics_print(&server->metrics, rrt__server_model_name(server), loops, &text, &err);
    if (status)
        rrt__respond_failure(exchange, &err);
    else
        rrt__exchange_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", text.data,
                            text.length);
    rrt__string_free(&text);
}

static void models(rrt__server *server, rrt__exchange *exchange)
{
    const rrt_model_info *info = &server->info;
    json_t *ours = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:I, s:b, s:b, s:s?, s:s}", "family", info->family, "layers", info->layers,
        "loops", info->loops, "layers_per_block", info->layers_per_block, "vocab", info->vocab,
        "params_total", (json_int_t)info->params_total, "chat", server->chat != NULL, "gate",
        info->params_gate != 0, "exit", server->options.exit, "exit_rule", server->exit_rule);
    json_t *model = json_pack("{s:s, s:s, s:I, s:s, s:I, s:o}", "id", rrt__server_model_name(server),
                              "object", "model", "created", (json_int_t)server->created, "owned_by", "rrt",
                              "max_model_len", (json_int_t)server->max_tokens, "rrt", ours);
    rrt__respond_json(exchange, 200, json_pack("{s:s, s:[o]}", "object", "list", "data", model));
}

static void page(rrt__server *server, rrt__exchange *exchange)
{
    (void)server;
    // No external resources, and no framing.
    rrt__exchange_set(exchange, "Content-Security-Policy",
                      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                      "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'");
    rrt__exchange_set(exchange, "X-Content-Type-Options", "nosniff");
    rrt__exchange_reply(exchange, 200, "text/html; charset=utf-8", (const char *)rrt__serve_page,
                        rrt__serve_page_bytes);
}

typedef struct endpoint {
    const char *method, *path;
    void (*answer)(rrt__server *server, rrt__exchange *exchange);
    bool is_open;     // no key needed
    bool needs_model; // 503 until it is loaded
    bool is_work;     // 503 while draining
    bool has_body;    // it is read aside, and needs a slot
} endpoint;

static const endpoint routes[] = {
    {"GET", "/", page, .is_open = true},
    {"GET", "/health", health, .is_open = true},
    {"GET", "/metrics", metrics},
    {"GET", "/v1/models", models, .needs_model = true},
    {"GET", "/tokenizer_info", rrt__api_tokenizer_info, .needs_model = true},
    {"POST", "/tokenize", rrt__api_tokenize, .needs_model = true, .has_body = true},
    {"POST", "/detokenize", rrt__api_detokenize, .needs_model = true, .has_body = true},
    {"POST", "/apply-template", rrt__api_apply_template, .needs_model = true, .has_body = true},
    {"POST", "/v1/completions", rrt__api_completions, .needs_model = true, .is_work = true, .has_body = true},
    {"POST", "/v1/chat/completions", rrt__api_chat, .needs_model = true, .is_work = true, .has_body = true},
};

// The route, or NULL; then *path_exists tells whether only the method is wrong.
static const endpoint *find(const rrt__exchange *exchange, bool *path_exists)
{
    const char *method = rrt__exchange_method(exchange), *path = rrt__exchange_path(exchange);
    if (strcmp(method, "HEAD") == 0) method = "GET"; // libmicrohttpd omits the body
    *path_exists = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, path) != 0) continue;
        *path_exists = true;
        if (strcmp(routes[i].method, method) == 0) return &routes[i];
    }
    return NULL;
}

// Whether the text may be sent back and logged.
static bool is_plain(const char *text)
{
    size_t length = 0;
    while (text[length] > ' ' && text[length] <= '~') length++;
    return length && length <= 128 && !text[length];
}

static void name_request(rrt__server *server, rrt__exchange *exchange)
{
    char made[64];
    const char *given = rrt__exchange_header(exchange, "X-Request-Id");
    snprintf(made, sizeof made, "%s%llu", server->id, (unsigned long long)server->n_ids++);
    rrt__exchange_set(exchange, "X-Request-Id", given && is_plain(given) ? given : made);
}

static bool answers_missing(rrt__exchange *exchange, const endpoint *route, bool path_exists)
{
    if (route) return false;
    if (path_exists)
        rrt__respond_error(exchange, 405, "invalid_request_error", NULL, "method_not_allowed",
                           "this method is not for this path");
    else
        rrt__respond_error(exchange, 404, "not_found_error", NULL, "not_found",
                           "there is nothing at this path");
    return true;
}

static bool answers_body(rrt__exchange *exchange)
{
    rrt__body_state state = rrt__exchange_body_state(exchange);
    if (state == RRT__BODY_OK) return false;
    if (state == RRT__BODY_AMBIGUOUS) {
        rrt__exchange_set(exchange, "Connection", "close"); // what follows may be meant as its body
        rrt__respond_error(exchange, 400, "invalid_request_error", NULL, "ambiguous_length",
                           "the length of the body is said twice (Content-Length, Transfer-Encoding)");
        return true;
    }
    if (state == RRT__BODY_TOO_LARGE)
        rrt__respond_error(exchange, 413, "invalid_request_error", NULL, "body_too_large",
                           "the body is larger than this server takes (--max-body says how much that is)");
    else
        rrt__respond_busy(exchange, "no_room", "requests fill the memory set aside for them");
    return true;
}

static bool answers_unavailable(rrt__server *server, rrt__exchange *exchange, const endpoint *route)
{
    rrt__server_state state = rrt__server_state_now(server);
    bool lacks = route->needs_model && !has_model(state);
    if (!lacks && !(route->is_work && state == RRT__SERVER_DRAINING)) return false;
    if (lacks)
        rrt__respond_unavailable(exchange, "loading", "the model is being loaded");
    else
        rrt__respond_unavailable(exchange, "draining", "the server is about to stop");
    return true;
}

// Answers a preflight request for a page of another origin.
static bool answers_preflight(rrt__exchange *exchange)
{
    if (strcmp(rrt__exchange_method(exchange), "OPTIONS") != 0) return false;
    rrt__exchange_set(exchange, "Access-Control-Allow-Methods", "GET, POST");
    rrt__exchange_reply(exchange, 204, "text/plain", "", 0);
    return true;
}

void rrt__api_admit(void *user, rrt__exchange *exchange)
{
    rrt__server *server = user;
    bool path_exists, asks = strcmp(rrt__exchange_method(exchange), "OPTIONS") == 0;
    const endpoint *route = find(exchange, &path_exists);
    name_request(server, exchange);
    // First of all: a proxy in front may see two requests here.
    if (rrt__exchange_body_state(exchange) == RRT__BODY_AMBIGUOUS && answers_body(exchange)) return;
    if (!rrt__access_check(server, exchange, !asks && !(route && route->is_open))) return;
    if (answers_preflight(exchange) || answers_missing(exchange, route, path_exists)) return;
    if (!answers_body(exchange)) answers_unavailable(server, exchange, route);
}

// --- bodies are read aside ------------------------------------------------------------------------------

typedef struct reading {
    rrt__work work;
    rrt__server *server;
    rrt__exchange *exchange;
    const endpoint *route;
} reading;

static void read_aside(rrt__work *work)
{
    reading r = *(reading *)work;
    rrt__free(work);
    if (rrt__exchange_is_gone(r.exchange))
        rrt__respond_unavailable(r.exchange, "gone", "nobody waits for this");
    else if (rrt__server_stops(r.server))
        rrt__respond_unavailable(r.exchange, "draining", "the server is about to stop");
    else
        r.route->answer(r.server, r.exchange);
}

static void put_aside(rrt__server *server, rrt__exchange *exchange, const endpoint *route)
{
    enum { LONG_BYTES = 64 << 10 };
    size_t length;
    reading *r;
    rrt_error err = {0};
    if (!rrt__exchange_take_slot(exchange)) {
        rrt__metrics_count(&server->metrics, &server->metrics.refused, 1);
        rrt__respond_busy(exchange, "queue_full", "too many requests are waiting");
        return;
    }
    if (rrt__alloc(&r, 1, sizeof *r, "a request", &err)) {
        rrt__respond_failure(exchange, &err);
        return;
    }
    *r = (reading){{.run = read_aside}, server, exchange, route};
    rrt__exchange_body(exchange, &length);
    if (rrt__aside_put(&server->aside, length > LONG_BYTES ? RRT__LANE_LONG : RRT__LANE_SHORT, &r->work))
        return;
    rrt__free(r);
    rrt__respond_unavailable(exchange, "draining", "the server is about to stop");
}

void rrt__api_handle(void *user, rrt__exchange *exchange)
{
    rrt__server *server = user;
    bool path_exists;
    const endpoint *route = find(exchange, &path_exists); // not NULL: admit has checked
    if (answers_body(exchange) || answers_unavailable(server, exchange, route)) return;
    if (route->has_body)
        put_aside(server, exchange, route);
    else
        route->answer(server, exchange);
}
