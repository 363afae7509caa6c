// A completion: one request to generate tokens, with a "choice" per prompt. It is created aside, belongs to
// the worker while tokens are generated, and is answered and freed aside.
#ifndef RRT__SERVE_COMPLETION_H
#define RRT__SERVE_COMPLETION_H

#include "base/json.h"
#include "rrt/engine.h"
#include "serve/aside.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/parameters.h"

typedef struct rrt__choice {
    struct rrt__choice *next; // in the engine's list, oldest first
    struct rrt__completion *completion;
    size_t index;
    uint64_t request; // its id in the engine, 0: not there
    int32_t *prompt;  // freed once the engine has it
    size_t prompt_tokens;
    size_t unseen;    // tokens that we prepend to the prompt's text: BOS
    rrt__string echo; // the prompt's text, if the reply starts with it
    rrt__reply_text text;
    // Of tokens not yet sent in an event; of all tokens in a single reply. Arrays, by JSON's name.
    json_t *logprobs, *depths;
    long characters; // of all tokens so far; -1: the first is a space outside the text
    size_t n_tokens, depth_sum;
    rrt_request_stats stats; // this and the next: set at the end
    rrt__outcome outcome;
    bool is_over, has_begun;
    double started, first, last; // times of its slot, its first and its last token; 0: not yet
} rrt__choice;

typedef struct rrt__completion {
    rrt__work work; // used when it ends
    struct rrt__completion *next;
    struct rrt__server *server;
    rrt__exchange *exchange;
    rrt__parameters parameters;
    bool is_chat, has_begun; // begun to send events
    char id[64];
    long created; // Unix time
    double arrived;
    rrt__choice *choices;
    size_t n_choices, n_open;
    size_t n_submitted, n_running; // choices passed to the engine, and running in it
    size_t turn;                   // when it last got a slot
    size_t bytes;                  // max that it holds
    size_t excess_bytes;           // of a prompt longer than any allowed
    rrt_error error;               // the error that ended a choice
} rrt__completion;

void rrt__completion_free(rrt__completion *completion);
// Max memory until it is answered, its reply included.
size_t rrt__completion_bytes(const rrt__completion *completion);

// --- prompts.c: turns the body's "prompt" or "messages" into choices ---
rrt_status rrt__prompts_read(rrt__completion *completion, const json_t *body, rrt_error *err);
rrt_status rrt__messages_read(rrt__completion *completion, const json_t *body, rrt_error *err);

// --- logprobs.c: records a token's in choice->logprobs ---
void rrt__logprobs_note(rrt__choice *choice, const rrt_token *token);

// --- reply.c: turns tokens into JSON ---
// Records the reply's data on a token, of the prompt, too; its text is recorded separately.
void rrt__reply_note(rrt__choice *choice, const rrt_token *token);
// Sends an event with the text that can be shown so far, if any. False if the client is gone.
bool rrt__reply_send(rrt__choice *choice);
// Sends the reply to the exchange as a whole.
void rrt__reply_whole(rrt__completion *completion);
// Ends the events, with an error if there was one.
void rrt__reply_end(rrt__completion *completion);

#endif
