// The worker's first task: loads the model, its chat template, the engine.
#include <stdio.h>
#include <string.h>

#include "pass/exit.h"
#include "rrt/chat.h"
#include "serve/server_inside.h"

static int asks_to_stop(void *user, const char *stage, double done, double total)
{
    (void)stage;
    (void)done;
    (void)total;
    rrt__server *server = user;
    pthread_mutex_lock(&server->lock);
    bool stops = server->stops;
    pthread_mutex_unlock(&server->lock);
    return stops;
}

static void choose_exit_rule(rrt__server *server)
{
    const char *given = server->options.exit;
    const char *rule = given ? given : server->info.params_gate ? "gate" : "confidence";
    snprintf(server->exit_rule, sizeof server->exit_rule, "%.*s", (int)strcspn(rule, ":"), rule);
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

// A model without a chat template, or with an unsupported one, serves completions only.
static rrt_status open_chat(rrt__server *server, rrt_error *err)
{
    const rrt__server_options *o = &server->options;
    if (o->chat_arguments) {
        rrt_status status =
            rrt__json_parse(&server->chat_arguments, o->chat_arguments, strlen(o->chat_arguments), err);
        if (!status && !json_is_object(server->chat_arguments))
            status = rrt__fail(err, RRT_STATUS_ARGUMENT, "a JSON object is expected");
        if (status) return rrt__at(err, status, "--chat-template-kwargs");
    }
    rrt_status status =
        rrt_chat_open(&server->chat, server->tokenizer, o->chat_template, &server->chat_error);
    if (!status || !o->chat_template) return RRT_STATUS_OK;
    *err = server->chat_error;
    return status;
}

// Better known now than at every request.
static rrt_status check_exits(const rrt__server *server, rrt_error *err)
{
    const rrt__server_options *o = &server->options;
    rrt__kv_policy policy;
    rrt__kv_types types;
    rrt__exit_rule rule;
    RRT__TRY(rrt__kv_policy_parse(&policy, o->kv, server->model, err));
    RRT__TRY(rrt__kv_types_parse(&types, o->engine.kv_type, err));
    return o->exit ? rrt__exit_rule_parse(&rule, o->exit, server->model, policy, types, err) : RRT_STATUS_OK;
}

static rrt_status load(rrt__server *server, rrt_error *err)
{
    const rrt__server_options *o = &server->options;
    const rrt_progress progress = {asks_to_stop, server};
    rrt_open_options open = o->open;
    open.progress = &progress;
    open.threads = o->engine.threads;
    RRT__TRY(rrt_model_open(&server->model, o->model, &open, err));
    RRT__TRY(rrt_model_check_tokenizer(server->model, err));
    rrt_model_describe(server->model, &server->info);
    server->tokenizer = rrt_model_tokenizer(server->model);
    RRT__TRY(open_chat(server, err));
    if (server->info.loops > server->info.trained_loops)
        rrt__server_log(server, "%d loops, more than the %d that the model was trained with",
                        server->info.loops, server->info.trained_loops);
    choose_exit_rule(server);
    RRT__TRY(check_exits(server, err));
    RRT__TRY(rrt_engine_open(&server->engine, server->model, &o->engine, err));
    server->max_tokens = min((size_t)server->info.context, o->engine.kv_tokens);
    rrt__bound_memory(server);
    return RRT_STATUS_OK;
}

bool rrt__load(rrt__server *server)
{
    rrt_error err = {0};
    rrt_status status = load(server, &err);
    pthread_mutex_lock(&server->lock);
    if (status) server->error = err;
    server->state = status ? RRT__SERVER_FAILED : RRT__SERVER_READY;
    pthread_mutex_unlock(&server->lock);
    return !status;
}
