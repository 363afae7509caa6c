// An OpenAI-compatible server. Its threads: HTTP (http.h) reads requests and sends replies; two aside threads
// (aside.h) turn requests into completions and build their replies; the worker owns model and engine and runs
// the completions; the caller of rrt__server_run watches clients and signals.
#ifndef RRT__SERVE_SERVER_H
#define RRT__SERVE_SERVER_H

#include "base/options.h"
#include "rrt/engine.h"

typedef struct rrt__server rrt__server;

// Strings must live as long as the server.
typedef struct rrt__server_options {
    const char *model, *host;
    int port;                              // 0: any free port
    const char *alias;                     // the model's name for clients; NULL: the last part of its path
    rrt__list api_keys;                    // none: no key needed
    rrt__list hosts;                       // names of the server for clients, besides localhost and addresses
    rrt__list origins;                     // of web pages that may use it, besides its own
    const char *chat_template, *exit, *kv; // NULL: the model's template, no exit, the model's policy
    const char *chat_arguments; // for the template of every conversation, a JSON object; NULL: none
    rrt_open_options open;      // how to open the model; threads are the engine's
    rrt_engine_options engine;  // requests and kv_tokens are not 0
    size_t max_waiting;         // max waiting requests; others are refused
    size_t max_body_bytes, max_connections;
    size_t max_bytes;  // max memory of all unanswered requests
    double patience_s; // time limit for a client that sends or reads too slowly
    double drain_s;    // time for replies to finish after a signal
    bool logs_prompts;
    void (*log)(const char *line); // called from any thread
} rrt__server_options;

// Starts to listen, and loads the model meanwhile. Blocks SIGTERM, SIGINT and SIGHUP in all threads. Free
// with rrt__server_close.
rrt_status rrt__server_open(rrt__server **out, const rrt__server_options *options, rrt_error *err);
int rrt__server_port(const rrt__server *server);

// Serves until a signal: running requests finish, unless a second one comes. Fails if the model cannot
// be loaded.
rrt_status rrt__server_run(rrt__server *server, rrt_error *err);
void rrt__server_close(rrt__server *server);

#endif
