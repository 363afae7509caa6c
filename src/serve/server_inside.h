// What the files of the server share.
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

// Of a body's bytes, how many there are at least for each value in it.
enum { RRT__BODY_BYTES_PER_WEIGHT = 4 };

typedef enum rrt__server_state {
    RRT__SERVER_LOADING,
    RRT__SERVER_READY,
    RRT__SERVER_DRAINING, // what is there is finished, nothing new taken
    RRT__SERVER_FAILED,   // to load
} rrt__server_state;

struct rrt__server {
    rrt__server_options options;
    rrt__http *http;
    rrt__metrics metrics;
    pthread_t worker;
    bool has_worker;
    rrt__aside aside;
    char id[24]; // begins the ids of replies
    _Atomic uint64_t n_ids;
    long created; // Unix time

    pthread_mutex_t lock; // of all that follows
    pthread_cond_t wake;  // the worker
    rrt__server_state state;
    rrt_error error; // of loading
    bool stops;      // at once
    double drains_until;
    rrt__completion *incoming;

    // Set by the worker before the state is READY, and read-only from then on.
    rrt_model *model;
    const rrt_tokenizer *tokenizer;
    rrt_model_info info;
    rrt_chat *chat;         // NULL: the model is not for chats, and chat_error says why
    json_t *chat_arguments; // of every conversation; NULL: none
    rrt_error chat_error;
    size_t max_tokens;  // of a request, prompt and reply together
    char exit_rule[32]; // that a threshold alone is for
    char memory[256];   // how much all may take, in words

    // The worker's own.
    rrt_engine *engine;
    rrt__completion *completions; // that are not over, the oldest first
    rrt__choice *choices;         // in the engine, the oldest first: it begins them in this order
    size_t n_waiting;             // choices that are not in the engine yet
    size_t n_turns;               // places given
    double step_began;
};

const char *rrt__server_model_name(const rrt__server *server);
rrt__server_state rrt__server_state_now(rrt__server *server);
bool rrt__server_stops(rrt__server *server); // at once
void rrt__server_log(const rrt__server *server, const char *format, ...) RRT__PRINTF(2, 3);

// --- worker.c: the thread that owns model and engine (pthread_create's kind of function) ---
void *rrt__worker_run(void *server);
int rrt__worker_take_token(void *choice, uint64_t request, const rrt_token *token, rrt_finish finish);
// Ends what is left of a completion, which with that is gone.
void rrt__completion_cancel(rrt__completion *completion);

// --- turns.c: the worker's choice of what goes into the engine ---
void rrt__completions_take(rrt__server *server, rrt__completion *incoming);
void rrt__completions_submit(rrt__server *server);

// --- load.c: loads, and tells the others how that went. False: it failed ---
bool rrt__load(rrt__server *server);

// --- bound.c: how much memory all may take, once the model is there ---
void rrt__bound_memory(rrt__server *server);

// --- api.c: what http.h calls ---
void rrt__api_admit(void *server, rrt__exchange *exchange);
void rrt__api_handle(void *server, rrt__exchange *exchange);

// --- the endpoints; each answers the exchange, or sees to it that it will be ---
void rrt__api_completions(rrt__server *server, rrt__exchange *exchange);
void rrt__api_chat(rrt__server *server, rrt__exchange *exchange);
void rrt__api_tokenize(rrt__server *server, rrt__exchange *exchange);
void rrt__api_detokenize(rrt__server *server, rrt__exchange *exchange);
void rrt__api_tokenizer_info(rrt__server *server, rrt__exchange *exchange);
void rrt__api_apply_template(rrt__server *server, rrt__exchange *exchange);

// --- conversation.c: "messages" of a body, and what else the chat template reads, as text and ids ---
// A text that is longer than the context can be gets no ids.
rrt_status rrt__conversation_render(const rrt__server *server, const json_t *body, rrt_chat_prompt *out,
                                    rrt_error *err);

// --- access.c: who may ask. False: it has answered ---
bool rrt__access_check(const rrt__server *server, rrt__exchange *exchange, bool needs_key);

// --- answer.c ---
// Answers with JSON, which is freed; NULL is an answer of 500.
void rrt__respond_json(rrt__exchange *exchange, int status, json_t *json);
// Answers with an error as OpenAI writes it. param, the parameter at fault, and code may be NULL.
void rrt__respond_error(rrt__exchange *exchange, int status, const char *type, const char *param,
                        const char *code, const char *message);
// The same with 503 and the advice to try again.
void rrt__respond_unavailable(rrt__exchange *exchange, const char *code, const char *message);
// The same for a failure of ours or of the request; where is the parameter.
void rrt__respond_failure(rrt__exchange *exchange, const rrt_error *err);
json_t *rrt__failure_json(const rrt_error *err, int *http_status);
json_t *rrt__error_json(const char *type, const char *param, const char *code, const char *message);
// The same for a prompt whose bytes alone are too many.
void rrt__respond_too_long(const rrt__server *server, rrt__exchange *exchange, const char *param,
                           size_t bytes);
// The same with 429 and the advice to try again.
void rrt__respond_busy(rrt__exchange *exchange, const char *code, const char *why);
// The body as an object; its text is forgotten. False: it was none, and that is answered.
bool rrt__respond_unless_object(const rrt__server *server, rrt__exchange *exchange, json_t **body);

#endif
