// rrt serve: an OpenAI-compatible server.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "serve/server.h"

typedef struct arguments {
    rrt__cli_common common;
    rrt__cli_model model;
    rrt__cli_kv kv;
    rrt__server_options server;
    rrt__arena arena; // of what comes from the environment
    const char *template_file;
    rrt__string template_text;
} arguments;

enum { MAX_OPTIONS = 40 };

static int list_options(rrt__option out[MAX_OPTIONS], arguments *a)
{
    rrt__server_options *s = &a->server;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Model and address"),
        RRT__CLI_MODEL_ROW(&a->model),
        {0, "host", "ADDRESS", RRT__OPTION_STRING, &s->host, 0, 0,
         "listen at this address (default 127.0.0.1: this machine only)"},
        {0, "port", "N", RRT__OPTION_INT, &s->port, 0, 65535,
         "listen at this port (default 8080; 0: any that is free)"},
        {0, "alias", "NAME", RRT__OPTION_STRING, &s->alias, 0, 0,
         "the model's name for clients (default: the file's name)"},
        RRT__OPTION_GROUP("Access"),
        {0, "api-key", "KEY", RRT__OPTION_LIST, &s->api_keys, 0, 0,
         "keys of which clients send one (or RRT_API_KEY, out of others' sight)"},
        {0, "allow-host", "NAME", RRT__OPTION_LIST, &s->hosts, 0, 0,
         "names of this server, beside localhost and addresses"},
        {0, "allow-origin", "ORIGIN", RRT__OPTION_LIST, &s->origins, 0, 0,
         "other web pages that may use the server (https://example.org)"},
        {0, "log-prompts", NULL, RRT__OPTION_FLAG, &s->logs_prompts, 0, 0, "write prompts to the log"},
        RRT__OPTION_GROUP("Batching and memory"),
        {0, "parallel", "N", RRT__OPTION_SIZE, &s->engine.requests, 1, 4096,
         "requests that run at a time (default 32)"},
        {0, "kv-tokens", "N", RRT__OPTION_SIZE, &s->engine.kv_tokens, 16, 1e9,
         "keys and values for N tokens of all requests (default 1024 for each)"},
        RRT__CLI_KV_ROWS(&a->kv, "f16"),
        {0, "queue", "N", RRT__OPTION_SIZE, &s->max_waiting, 0, 1e6,
         "requests that may wait for a batch slot (default 256)"},
        {0, "exit", "RULE:T", RRT__OPTION_STRING, &s->exit, 0, 0, RRT__CLI_EXIT_RULES " (default: no exits)"},
        {0, "kv", "POLICY", RRT__OPTION_STRING, &s->kv, 0, 0, RRT__CLI_KV_POLICIES " (default: the model's)"},
        {0, "coda-steps", "N", RRT__OPTION_INT, &s->engine.coda_steps, 1, 1024,
         "let rows wait up to N - 1 steps, to run coda and head together (default: by the model's weights)"},
        {0, "draft-layers", "N", RRT__OPTION_INT, &s->engine.draft_layers, 1, 1024,
         "the first N layers of a model without loops draft tokens, 4 at a time, all verify them"},
        RRT__CLI_LOOPS_ROWS(&a->model),
        RRT__CLI_WEIGHTS_ROWS(&a->model),
        RRT__OPTION_GROUP("Chat template"),
        RRT__CLI_TEMPLATE_ROWS(&s->chat_template, &a->template_file, &s->chat_arguments),
        RRT__OPTION_GROUP("Limits"),
        {0, "max-body", "BYTES", RRT__OPTION_SIZE, &s->max_body_bytes, 1024, 1e9,
         "size of a request's body at most (default 4M)"},
        {0, "max-held", "BYTES", RRT__OPTION_SIZE, &s->max_bytes, 1e6, 1e12,
         "memory for bodies and replies of all requests (default 256M)"},
        {0, "connections", "N", RRT__OPTION_SIZE, &s->max_connections, 1, 1e5,
         "clients at a time (default 4096, or as many as open files allow)"},
        {0, "timeout", "SECONDS", RRT__OPTION_REAL, &s->patience_s, 1, 86400,
         "patience with slow clients (default 60)"},
        {0, "drain-timeout", "SECONDS", RRT__OPTION_REAL, &s->drain_s, 0, 86400,
         "time to finish replies after SIGTERM (default 600)"},
    };
    memcpy(out, options, sizeof options);
    return sizeof options / sizeof *options;
}

// "--api-key=K" for RRT_API_KEY=K; NULL if that is not set.
static rrt_status from_environment(const rrt__option *option, rrt__arena *arena, char **out, rrt_error *err)
{
    char name[64], text[4096];
    int length = snprintf(name, sizeof name, "RRT_%s", option->name);
    for (int i = 0; i < length; i++) name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    const char *value = getenv(name);
    *out = NULL;
    if (!value || !*value || (!option->argument && strcmp(value, "0") == 0)) return RRT_STATUS_OK;
    length = option->argument ? snprintf(text, sizeof text, "--%s=%s", option->name, value)
                              : snprintf(text, sizeof text, "--%s", option->name);
    if (length >= (int)sizeof text) return rrt__fail(err, RRT_STATUS_ARGUMENT, "%s is too long", name);
    return rrt__arena_copy(arena, out, text, (size_t)length, err);
}

// Parses the environment before the arguments, which so have the last word.
static rrt_status parse(arguments *a, int argc, char **argv, rrt_error *err)
{
    rrt__option options[MAX_OPTIONS];
    int count = 1, n_options = list_options(options, a);
    char **all;
    RRT__TRY(rrt__arena_alloc(&a->arena, &all, (size_t)(argc + n_options), sizeof *all, "arguments", err));
    all[0] = argv[0];
    for (int i = 0; i < n_options; i++) {
        if (options[i].name) RRT__TRY(from_environment(&options[i], &a->arena, &all[count], err));
        if (all[count]) count++;
    }
    memcpy(all + count, argv + 1, (size_t)(argc - 1) * sizeof *all);
    const rrt__cli_usage usage = {
        .line = "rrt serve -m MODEL [--port N]",
        .about =
            "Serves OpenAI's API (/v1/completions, /v1/chat/completions), /metrics, and a page at /, until "
            "SIGTERM or SIGINT; then it finishes the requests that run. An option may also come from the "
            "environment: RRT_PORT for --port. docs/SERVER.md has the details.",
        .examples = "rrt serve -m model.gguf --port 8080\n"
                    "RRT_API_KEY=secret rrt serve -m recursive.gguf --host 0.0.0.0 --exit gate:0.5",
        .options = options,
        .n_options = n_options,
        .no_json = true};
    RRT__TRY(rrt__cli_parse(&usage, count + argc - 1, all, &a->common, NULL, err));
    rrt__cli_take_kv(&a->model, &a->server.kv);
    a->server.model = a->model.path;
    a->server.open = rrt__cli_open_options(&a->model);
    if (!a->server.model) return rrt__fail(err, RRT_STATUS_ARGUMENT, "-m MODEL is missing");
    RRT__TRY(rrt__cli_kv_type(&a->kv, &a->server.engine.kv_type, err));
    RRT__TRY(rrt__cli_read_template(&a->template_text, a->template_file, &a->server.chat_template, err));
    a->server.engine.threads = a->common.threads;
    if (!a->server.engine.kv_tokens) a->server.engine.kv_tokens = a->server.engine.requests * 1024;
    return RRT_STATUS_OK;
}

static void log_line(const char *line)
{
    char text[32];
    struct tm tm;
    time_t now = time(NULL);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &tm));
    fprintf(stderr, "%s %s\n", text, line);
}

static void log_address(const rrt__server_options *options, int port)
{
    bool is_v6 = strchr(options->host, ':') != NULL;
    fprintf(stderr, "listening at http://%s%s%s:%d\n", is_v6 ? "[" : "", options->host, is_v6 ? "]" : "",
            port);
}

const char *rrt__cli_server_name(void)
{
    return "libmicrohttpd";
}

int rrt__cli_serve(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {.server = {.host = "127.0.0.1",
                              .port = 8080,
                              .engine.requests = 32,
                              .max_waiting = 256,
                              .max_body_bytes = 4000000,
                              .max_bytes = 256000000,
                              .max_connections = 4096,
                              .patience_s = 60,
                              .drain_s = 600,
                              .log = log_line}};
    rrt__server *server = NULL;
    rrt_status status;

    RRT__GOTO(parse(&a, argc, argv, &err));
    RRT__GOTO(rrt__server_open(&server, &a.server, &err));
    log_address(&a.server, rrt__server_port(server));
    RRT__GOTO(rrt__server_run(server, &err));
done:
    rrt__server_close(server);
    rrt__list_free(&a.model.loras);
    rrt__list_free(&a.server.api_keys);
    rrt__list_free(&a.server.hosts);
    rrt__list_free(&a.server.origins);
    rrt__arena_free(&a.arena);
    rrt__string_free(&a.template_text);
    return rrt__cli_finish(status, &err);
}
