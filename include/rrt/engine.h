// An engine: many requests through one model at a time, by continuous batching. Requests come and go at any
// step; tokens at different loops share one batch (depth-wise batching, paper §2.4), and one that leaves the
// loops early frees its place at once.
//
// What a request gets does not depend on the requests beside it, on how its prompt was cut into chunks, or on
// the number of threads, bit for bit.
//
// One thread uses an engine at a time.
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

// How rows are put into a step. A step runs the block once: one loop of every row in it.
typedef enum rrt_batching {
    RRT_BATCHING_DEPTH,         // any loop beside any other; places that fall free are filled at once
    RRT_BATCHING_SEQUENCE_EXIT, // all begin the loops together; who leaves early leaves a gap
    RRT_BATCHING_SEQUENCE,      // all run all loops together; nobody leaves early
    RRT_BATCHING_STATIC,        // the same, and requests begin only when all that run have ended
} rrt_batching;

typedef struct rrt_engine_options {
    int threads;        // 0: one per core
    size_t requests;    // that run at a time, 0: 32; further ones wait in the order they came
    size_t rows;        // of a step, 0: requests + 128; prompts get what running tokens leave
    size_t kv_tokens;   // that keys and values have room for, in pages of 16; 0: requests × 1,024
    size_t max_waiting; // 0: no limit
    rrt_batching batching;
    bool no_prefix_reuse; // run every prompt anew
    const char *kv_type;  // as in rrt_session_options
} rrt_engine_options;

// The most tokens whose keys and values of kv_type take at most nine tenths of the memory that is free now,
// never more than the model's context. ARGUMENT if kv_type is not known.
RRT_API rrt_status rrt_engine_tokens_that_fit(size_t *tokens, const rrt_model *model, const char *kv_type,
                                              rrt_error *err);

// The model has to outlive the engine. options NULL: all zero. ARGUMENT if no request could run with these
// sizes, or kv_type is not known; MEMORY if keys and values take more than is free. Free with
// rrt_engine_close, which ends all requests without a word.
RRT_API rrt_status rrt_engine_open(rrt_engine **out, const rrt_model *model,
                                   const rrt_engine_options *options, rrt_error *err);
RRT_API void rrt_engine_close(rrt_engine *engine);

typedef enum rrt_finish {
    RRT_FINISH_NONE,      // it goes on
    RRT_FINISH_STOP,      // an end token, which is the last token reported
    RRT_FINISH_LENGTH,    // max_tokens, or the model's context is full
    RRT_FINISH_CANCELLED, // rrt_engine_cancel
    RRT_FINISH_ERROR,     // logits that are not numbers
} rrt_finish;

// A token and how likely it was: ln of its probability by the plain softmax of the logits, whatever the
// sampling. top: the most likely tokens, best first.
typedef struct rrt_token_logprob {
    int32_t id;
    float logprob;
} rrt_token_logprob;

typedef struct rrt_token {
    int32_t id;
    size_t index;   // counted from the prompt's first token
    bool is_prompt; // reported where a request asks for prompt_logprobs
    int loops;      // after which it left; of a token of the prompt: of the one before it, 0 for the first
    float logprob;  // where it asks for logprobs; of the prompt's first token NaN
    const rrt_token_logprob *top; // [n_top]; valid in the callback
    size_t n_top;
} rrt_token;

// Called in rrt_engine_step, in the order of the tokens; token NULL: the request is over and `finish` says
// why. Return 0; anything else after a token ends the request there, without another call (a stop string was
// found, the client is gone). It may submit other requests, but not cancel any.
typedef int rrt_request_callback(void *user, uint64_t request, const rrt_token *token, rrt_finish finish);

typedef struct rrt_request {
    const int32_t *prompt; // [prompt_tokens], at least one; copied
    size_t prompt_tokens;
    size_t max_tokens;     // 0: only the prompt is run (for its logprobs)
    rrt_sampling sampling; // keyed by seed and position, so that a request can be repeated
    bool ignore_end;       // go on after an end token
    bool wants_logprobs;   // of tokens made
    bool wants_prompt_logprobs;
    int top_logprobs; // how many alternatives come with each token, at most 32
    int loops;        // run prelude, so many loops, coda; 0: all
    int min_loops;    // nobody leaves before; 0: 1
    const char *exit; // rule ("gate:0.9", "confidence:0.8" …) by which a token made leaves earlier; NULL:
                      // none. The prompt runs all loops
    const char *kv;   // "propagate", "copy", "recompute", "shared"; NULL: the model's default
    int draft_loops;  // self-speculation: so many loops draft tokens, all loops verify them; 0: no
    int draft_tokens; // at a time, 1 to 16
    const unsigned char *exit_trace; // [max_tokens], 1 … loops: leave there, whatever the rule; NULL: none
    rrt_request_callback *callback;
    void *user;
} rrt_request;

// Puts a request into the queue; *id names it (0 where it was not taken: the queue is full, try again later).
// ARGUMENT or UNSUPPORTED, and nothing is queued, if it can never run: an id that is not of the vocabulary,
// more tokens than the context or the pages hold, a rule that the model cannot follow.
RRT_API rrt_status rrt_engine_submit(rrt_engine *engine, const rrt_request *request, uint64_t *id,
                                     rrt_error *err);

// Ends a request that waits or runs, at once; its callback is called from here. Nothing happens if it is
// over.
RRT_API void rrt_engine_cancel(rrt_engine *engine, uint64_t id);

// Runs one step. *busy: whether there is more to do. All memory was taken before: at present it cannot fail.
RRT_API rrt_status rrt_engine_step(rrt_engine *engine, bool *busy, rrt_error *err);

enum { RRT_MAX_LOOPS = 64 }; // that statistics tell apart

// Counters since the engine was opened, and how it stands now.
typedef struct rrt_engine_stats {
    uint64_t steps, prompt_tokens, generated_tokens, cached_tokens; // cached: prompt tokens taken from pages
    uint64_t drafted, accepted;        // tokens by few loops, and those of them that all loops agreed with
    uint64_t rows[RRT_MAX_LOOPS + 1];  // that ran each loop
    uint64_t exits[RRT_MAX_LOOPS + 1]; // tokens made that left after each loop
    uint64_t kv_filled[4];             // tokens whose deeper keys and values were made, by policy
    uint64_t refills;                  // tokens that entered the loops beside others in deeper ones
    size_t running, waiting, occupancy[RRT_MAX_LOOPS + 1]; // rows of the last step, by loop
    size_t pages, pages_used;                              // used: by requests that run
    size_t kv_bytes_per_token;                             // of keys and values, at all depths
} rrt_engine_stats;

RRT_API void rrt_engine_describe(const rrt_engine *engine, rrt_engine_stats *stats);

// The same counters of one request, so far.
typedef struct rrt_request_stats {
    size_t cached_tokens; // of its prompt, that were taken from pages: none with wants_prompt_logprobs
    size_t drafted, accepted;
} rrt_request_stats;

// For a request that runs; until its callback has heard of its end, or has ended it. Zeros for any other.
RRT_API void rrt_engine_describe_request(const rrt_engine *engine, uint64_t id, rrt_request_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
