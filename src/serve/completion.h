// A completion: one request to make tokens, with a "choice" for each of its prompts. It is made aside,
// belongs to the worker while there are tokens to be made, and is answered and freed aside.
#ifndef RRT__SERVE_COMPLETION_H
#define RRT__SERVE_COMPLETION_H

#include "base/json.h"
#include "rrt/engine.h"
#include "serve/aside.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/parameters.h"

typedef struct rrt__choice {
    struct rrt__choice *next; // of those in the engine, the oldest first
    struct rrt__completion *completion;
    size_t index;
    uint64_t request; // its name in the engine, 0: not there
    int32_t *prompt;  // until the engine has it
    size_t prompt_tokens;
    size_t unseen;    // tokens that we put in front of the prompt's text: BOS
    rrt__string echo; // the prompt's text, where it is to come first
    rrt__reply_text text;
    // Of tokens that are not in an event yet; of all tokens in a reply in one piece. Arrays, by JSON's name.
    json_t *logprobs, *depths;
    long characters; // of all tokens so far; -1: the first is a space that is not in the text
    size_t n_tokens, depth_sum;
    rrt_request_stats stats; // this and the next: once it is over
    rrt__outcome outcome;
    bool is_over, has_begun;
    double started, first, last; // its place, its first token, its last; 0: not yet
} rrt__choice;

typedef struct rrt__completion {
    rrt__work work; // its end
    struct rrt__completion *next;
    struct rrt__server *server;
    rrt__exchange *exchange;
    rrt__parameters parameters;
    bool is_chat, has_begun; // to send events
    char id[64];
    long created; // Unix time
    double arrived;
    rrt__choice *choices;
    size_t n_choices, n_open;
    size_t n_submitted, n_running; // choices that the engine has had, and has
    size_t turn;                   // when it last got a place
    size_t bytes;                  // that it holds at most
    size_t excess_bytes;           // of a prompt that is longer than any can be
    rrt_error error;               // that ended a choice
} rrt__completion;

void rrt__completion_free(rrt__completion *completion);
// What it will hold at most until it is answered, its reply included.
size_t rrt__completion_bytes(const rrt__completion *completion);

// --- prompts.c: "prompt" or "messages" of the body become choices ---
rrt_status rrt__prompts_read(rrt__completion *completion, const json_t *body, rrt_error *err);
rrt_status rrt__messages_read(rrt__completion *completion, const json_t *body, rrt_error *err);

// --- logprobs.c: notes a token's, in choice->logprobs ---
void rrt__logprobs_note(rrt__choice *choice, const rrt_token *token);

// --- reply.c: tokens become JSON ---
// Notes what a reply says about a token, of the prompt too; its text is noted apart.
void rrt__reply_note(rrt__choice *choice, const rrt_token *token);
// Sends what can be shown by now as an event; nothing if there is nothing. False if the client is gone.
bool rrt__reply_send(rrt__choice *choice);
// Answers the exchange in one piece.
void rrt__reply_whole(rrt__completion *completion);
// Ends the events, with an error if there was one.
void rrt__reply_end(rrt__completion *completion);

#endif
