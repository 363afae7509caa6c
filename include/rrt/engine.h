// An engine: runs many requests through one model, by continuous batching. Requests start and end at any
// step; tokens at different loops share one batch (depth-wise batching, paper §2.4), and a token that leaves
// the loops early frees its row at once.
//
// A request's result does not depend on other requests, on how its prompt is split into chunks, or on the
// number of threads, bit for bit.
//
// Only one thread at a time may use an engine.
#ifndef RRT_ENGINE_H
#define RRT_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"
#include "rrt/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_engine rrt_engine;

// How a step's rows are chosen. A step runs the block once: one loop of every row in it.
typedef enum rrt_batching {
    RRT_BATCHING_DEPTH,         // any loop beside any other; free rows are filled at once
    RRT_BATCHING_SEQUENCE_EXIT, // all begin the loops together; an early exit leaves its row empty
    RRT_BATCHING_SEQUENCE,      // all run all loops together; no early exits
    RRT_BATCHING_STATIC,        // the same, and requests begin only when all running ones have ended
} rrt_batching;

typedef struct rrt_engine_options {
    int threads;        // 0: one per core
    size_t requests;    // max running at a time, 0: 32; others wait in order of arrival
    size_t rows;        // per step, 0: requests + 128, or + the context of a model trained with prefix_lm;
                        // prompts get the rows that running tokens leave
    size_t kv_tokens;   // capacity of keys and values, in pages of 16; 0: requests × 1,024
    size_t max_waiting; // length of the queue; 0: no limit
    rrt_batching batching;
    // With batching by depth, rows that need coda and head wait up to so many steps - 1 for others, while any
    // row runs: 1 is never. 0: chosen by the model's weights; more than 1 where coda and head are most of
    // them
    int coda_steps;
    bool no_prefix_reuse; // run every prompt from the start
    // An ordinary model runs in two steps, as if it had two loops: its first so many layers, and the others.
    // So requests can have draft_loops = 1: the first layers draft (LayerSkip's early exit). 0: in one
    int draft_layers;
    const char *kv_type; // as in rrt_session_options
} rrt_engine_options;

// The max number of tokens whose keys and values of kv_type fit into nine tenths of the free memory, at most
// the model's context. ARGUMENT for an unknown kv_type.
RRT_API rrt_status rrt_engine_tokens_that_fit(size_t *tokens, const rrt_model *model, const char *kv_type,
                                              rrt_error *err);

// The model must outlive the engine. options NULL: all zero. ARGUMENT if no request could run with these
// sizes, or for an unknown kv_type or impossible draft_layers, UNSUPPORTED for draft_layers of a model that
// has loop boundaries; MEMORY if keys and values exceed the free memory. Free with rrt_engine_close, which
// ends all requests without callbacks.
RRT_API rrt_status rrt_engine_open(rrt_engine **out, const rrt_model *model,
                                   const rrt_engine_options *options, rrt_error *err);
RRT_API void rrt_engine_close(rrt_engine *engine);

typedef enum rrt_finish {
    RRT_FINISH_NONE,      // not finished
    RRT_FINISH_STOP,      // an end token, which is reported last
    RRT_FINISH_LENGTH,    // max_tokens, or the model's context is full
    RRT_FINISH_CANCELLED, // rrt_engine_cancel
    RRT_FINISH_ERROR,     // the logits are not finite
} rrt_finish;

// A token and ln of its probability by the plain softmax of the logits, whatever the sampling. top: the most
// likely tokens, best first.
typedef struct rrt_token_logprob {
    int32_t id;
    float logprob;
} rrt_token_logprob;

typedef struct rrt_token {
    int32_t id;
    size_t index;   // position, from the prompt's first token
    bool is_prompt; // a prompt token, reported if the request wants prompt logprobs
    int loops;      // loops that it ran; prompt token: those of the token before it, 0 for the first
    float logprob;  // if requested; NaN for the prompt's first token
    const rrt_token_logprob *top; // [n_top]; valid in the callback
    size_t n_top;
} rrt_token;

// Called in rrt_engine_step, in the order of the tokens; token NULL: the request has ended, `finish` says
// why. Return 0; anything else after a token ends the request, without another call (a stop string was found,
// the client is gone). May submit other requests, but not cancel any.
typedef int rrt_request_callback(void *user, uint64_t request, const rrt_token *token, rrt_finish finish);

typedef struct rrt_request {
    const int32_t *prompt; // [prompt_tokens], at least one; copied
    size_t prompt_tokens;
    size_t max_tokens;     // 0: only run the prompt (for its logprobs)
    rrt_sampling sampling; // keyed by seed and position, so that a request can be repeated
    bool ignore_end;       // continue after an end token
    bool prefix_lm; // the prompt's tokens attend to each other both ways: it runs whole, in one step, and
                    // shares no pages. ARGUMENT if it exceeds the engine's rows less its requests
    bool wants_logprobs; // of generated tokens
    bool wants_prompt_logprobs;
    int top_logprobs; // alternatives per token, at most 32
    int loops;        // run prelude, this many loops, coda; 0: all
    int min_loops;    // no token leaves earlier; 0: 1
    const char *exit; // exit rule of generated tokens ("gate:0.9", "confidence:0.8" …); NULL: none. The
                      // prompt runs all loops
    const char *kv;   // "propagate", "copy", "recompute", "shared"; NULL: the model's default
    int draft_loops;  // self-speculation: this many loops draft tokens, all loops verify them; 0: none. 1 for
                      // an engine with draft_layers
    int draft_tokens; // drafts at a time, 1 to 16
    const unsigned char *exit_trace; // [max_tokens], 1 … loops: exits that override the rule; NULL: none
    rrt_request_callback *callback;
    void *user;
} rrt_request;

// Queues a request; *id identifies it (0: not queued since the queue is full, try again later). ARGUMENT or
// UNSUPPORTED, and nothing is queued, if it can never run: an id outside the vocabulary, more tokens than the
// context or the pages hold, a rule that the model cannot follow.
RRT_API rrt_status rrt_engine_submit(rrt_engine *engine, const rrt_request *request, uint64_t *id,
                                     rrt_error *err);

// Ends a waiting or running request at once and calls its callback. Does nothing if it has ended.
RRT_API void rrt_engine_cancel(rrt_engine *engine, uint64_t id);

// Runs one step. *busy: whether there is more to do. All memory is allocated before: at present it
// cannot fail.
RRT_API rrt_status rrt_engine_step(rrt_engine *engine, bool *busy, rrt_error *err);

enum { RRT_MAX_LOOPS = 64 }; // that statistics distinguish

// What a step's time goes to.
typedef enum rrt_engine_part {
    RRT_ENGINE_PRELUDE,  // with the embedding
    RRT_ENGINE_LOOPS,    // the block; keys and values that propagate computes run beside the next step's rows
    RRT_ENGINE_BOUNDARY, // exit rules; coda and head where they only say that a token stays
    RRT_ENGINE_HEAD,     // coda and head of tokens that leave, and sampling
    RRT_ENGINE_KV,       // copies of keys and values, for loops that did not run
    RRT_ENGINE_REST,     // scheduling, callbacks
    RRT_ENGINE_PARTS
} rrt_engine_part;

// Counters since the engine was opened, and its current state.
typedef struct rrt_engine_stats {
    uint64_t steps, prompt_tokens, generated_tokens, cached_tokens; // cached: prompt tokens found in pages
    uint64_t drafted, accepted;        // tokens proposed by few loops, and those that all loops confirmed
    uint64_t rows[RRT_MAX_LOOPS + 1];  // that ran each loop
    uint64_t exits[RRT_MAX_LOOPS + 1]; // generated tokens that left after each loop
    uint64_t kv_filled[5];             // tokens whose deeper keys and values were computed, by policy
    uint64_t boundary_rows;            // rows that ran coda and head, and stayed
    double seconds[RRT_ENGINE_PARTS];
    uint64_t refills; // tokens that entered while others were in deeper loops
    size_t running, waiting, occupancy[RRT_MAX_LOOPS + 1]; // rows of the last step, by loop
    size_t pages, pages_used;                              // used: by running requests
    size_t kv_bytes_per_token;                             // of keys and values, at all depths
    size_t kv_bytes_of_windows;                            // of all slots, for a model opened with kv "last"
} rrt_engine_stats;

RRT_API void rrt_engine_describe(const rrt_engine *engine, rrt_engine_stats *stats);

// The same counters of one request so far.
typedef struct rrt_request_stats {
    size_t cached_tokens; // prompt tokens found in pages: none with wants_prompt_logprobs
    size_t drafted, accepted;
} rrt_request_stats;

// For a running request, until its callback has reported or caused its end. Zeros for any other.
RRT_API void rrt_engine_describe_request(const rrt_engine *engine, uint64_t id, rrt_request_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
