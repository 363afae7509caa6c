// An OpenAI-compatible server. Its threads: HTTP (http.h) takes requests and sends replies; two aside
// (aside.h) turn requests into completions and make replies of them; the worker owns model and engine and
// runs the completions; who calls rrt__server_run watches clients and signals.
#ifndef RRT__SERVE_SERVER_H
#define RRT__SERVE_SERVER_H

#include "base/options.h"
#include "rrt/engine.h"

typedef struct rrt__server rrt__server;

// Strings have to live as long as the server.
typedef struct rrt__server_options {
    const char *model, *host;
    int port;           // 0: any that is free
    const char *alias;  // the model's name for clients; NULL: the last part of its path
    rrt__list api_keys; // none: everybody may
    rrt__list hosts;    // names that clients may know the server by, beside localhost and addresses
    rrt__list origins;  // of web pages that may use it, beside its own
    const char *chat_template, *exit, *kv; // NULL: the model's template, no exit, the model's policy
    const char *chat_arguments; // for the template of every conversation, a JSON object; NULL: none
    rrt_open_options open;      // how the model is read; threads are the engine's
    rrt_engine_options engine;  // requests and kv_tokens are not 0
    size_t max_waiting;         // requests; further ones are refused
    size_t max_body_bytes, max_connections;
    size_t max_bytes;  // that requests hold together until they are answered
    double patience_s; // for a client that sends or reads too slowly
    double drain_s;    // that replies get to be finished in after a signal
    bool logs_prompts;
    void (*log)(const char *line); // from any thread
} rrt__server_options;

// Listens from here on, and loads the model meanwhile. SIGTERM, SIGINT and SIGHUP are blocked from here on,
// in all threads. Free with rrt__server_close.
rrt_status rrt__server_open(rrt__server **out, const rrt__server_options *options, rrt_error *err);
int rrt__server_port(const rrt__server *server);

// Serves until a signal says to stop: what is under way is finished, unless a second one comes. Fails if the
// model cannot be loaded.
rrt_status rrt__server_run(rrt__server *server, rrt_error *err);
void rrt__server_close(rrt__server *server);

#endif
