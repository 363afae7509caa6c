// Shared by the server's files.
#ifndef RRT__SERVER_INSIDE_H
#define RRT__SERVER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "rrt/chat.h"
#include "rrt/model.h"
#include "serve/aside.h"
#include "serve/completion.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/server.h"

// Min bytes of a body per value in it.
enum { RRT__BODY_BYTES_PER_WEIGHT = 4 };

typedef enum rrt__server_state {
    RRT__SERVER_LOADING,
    RRT__SERVER_READY,
    RRT__SERVER_DRAINING, // running requests finish, no new ones are accepted
    RRT__SERVER_FAILED,   // loading failed
} rrt__server_state;

struct rrt__server {
    rrt__server_options options;
    rrt__http *http;
    rrt__metrics metrics;
    pthread_t worker;
    bool has_worker;
    rrt__aside aside;
    char id[24]; // prefix of reply ids
    _Atomic uint64_t n_ids;
    long created; // Unix time

    pthread_mutex_t lock; // of all below
    pthread_cond_t wake;  // the worker
    rrt__server_state state;
    rrt_error error; // of loading
    bool stops;      // at once
    double drains_until;
    rrt__completion *incoming;

    // Set by the worker before the state is READY; read-only afterwards.
    rrt_model *model;
    const rrt_tokenizer *tokenizer;
    rrt_model_info info;
    rrt_chat *chat;         // NULL: no chats with this model; chat_error says why
    json_t *chat_arguments; // for every conversation; NULL: none
    rrt_error chat_error;
    size_t max_tokens;  // max per request, prompt and reply together
    char exit_rule[32]; // rule for a threshold without a rule
    char memory[256];   // the memory bound, as text

    // Used by the worker only.
    rrt_engine *engine;
    rrt__completion *completions; // unfinished, oldest first
    rrt__choice *choices;         // in the engine, oldest first: it begins them in this order
    size_t n_waiting;             // choices not yet in the engine
    size_t n_turns;               // slots given so far
    double step_began;
};

const char *rrt__server_model_name(const rrt__server *server);
rrt__server_state rrt__server_state_now(rrt__server *server);
bool rrt__server_stops(rrt__server *server); // at once
void rrt__server_log(const rrt__server *server, const char *format, ...) RRT__PRINTF(2, 3);

// --- worker.c: the thread that owns model and engine (a function for pthread_create) ---
void *rrt__worker_run(void *server);
int rrt__worker_take_token(void *choice, uint64_t request, const rrt_token *token, rrt_finish finish);
// Ends the rest of a completion, which is freed.
void rrt__completion_cancel(rrt__completion *completion);

// --- turns.c: the worker's choice of the next requests for the engine ---
void rrt__completions_take(rrt__server *server, rrt__completion *incoming);
void rrt__completions_submit(rrt__server *server);

// --- load.c: loads the model and publishes the result. False: it failed ---
bool rrt__load(rrt__server *server);

// --- bound.c: computes the memory bound once the model is loaded ---
void rrt__bound_memory(rrt__server *server);

// --- api.c: callbacks of http.h ---
void rrt__api_admit(void *server, rrt__exchange *exchange);
void rrt__api_handle(void *server, rrt__exchange *exchange);

// --- the endpoints; each answers the exchange, or arranges that it will be ---
void rrt__api_completions(rrt__server *server, rrt__exchange *exchange);
void rrt__api_chat(rrt__server *server, rrt__exchange *exchange);
void rrt__api_tokenize(rrt__server *server, rrt__exchange *exchange);
void rrt__api_detokenize(rrt__server *server, rrt__exchange *exchange);
void rrt__api_tokenizer_info(rrt__server *server, rrt__exchange *exchange);
void rrt__api_apply_template(rrt__server *server, rrt__exchange *exchange);

// --- conversation.c: renders a body's "messages" and other keys that the template reads, as text and ids ---
// A text longer than any context gets no ids.
rrt_status rrt__conversation_render(const rrt__server *server, const json_t *body, rrt_chat_prompt *out,
                                    rrt_error *err);

// --- access.c: access control. False: it has answered ---
bool rrt__access_check(const rrt__server *server, rrt__exchange *exchange, bool needs_key);

// --- answer.c ---
// Replies with JSON, which is freed; NULL gives a 500.
void rrt__respond_json(rrt__exchange *exchange, int status, json_t *json);
// Replies with an error in OpenAI's format. param, the wrong parameter, and code may be NULL.
void rrt__respond_error(rrt__exchange *exchange, int status, const char *type, const char *param,
                        const char *code, const char *message);
// The same with 503 and the advice to try again.
void rrt__respond_unavailable(rrt__exchange *exchange, const char *code, const char *message);
// The same for a failure of ours or of the request; where is the parameter.
void rrt__respond_failure(rrt__exchange *exchange, const rrt_error *err);
json_t *rrt__failure_json(const rrt_error *err, int *http_status);
json_t *rrt__error_json(const char *type, const char *param, const char *code, const char *message);
// The same for a prompt that is too long by its bytes alone.
void rrt__respond_too_long(const rrt__server *server, rrt__exchange *exchange, const char *param,
                           size_t bytes);
// The same with 429 and the advice to try again.
void rrt__respond_busy(rrt__exchange *exchange, const char *code, const char *why);
// Reads the body as an object and frees its text. False: it is not one, and was answered.
bool rrt__respond_unless_object(const rrt__server *server, rrt__exchange *exchange, json_t **body);

#endif
