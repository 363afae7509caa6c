// The engine's structures, private to its files: engine.c (submits, admits and ends requests), batch.c (the
// rows of a step), step.c (the step, run by all threads), leave.c (which tokens leave the loops),
// logits_row.c (reads logits rows and reports tokens).
#ifndef RRT__ENGINE_INSIDE_H
#define RRT__ENGINE_INSIDE_H

#include "infer/pages.h"
#include "infer/sampler.h"
#include "infer/schedule.h"
#include "pass/exit.h"
#include "pass/loop.h"

enum { RRT__MAX_TOP = 32, RRT__MAX_DRAFTS = 16, RRT__LOGIT_ROWS = 64 };

// A request, from the queue to its end.
typedef struct rrt__engine_request {
    uint64_t id;
    rrt_request spec; // the request; its arrays are our copies
    int32_t *ids;     // [prompt + max_tokens]: prompt, generated tokens, drafts
    size_t n_generated;
    size_t n_accepted; // ids that are not drafts
    int loops;         // max loops per token
    int min_loops;
    bool has_rule;
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    size_t n_reserved; // max pages that it may hold
    rrt__sequence sequence;
    uint64_t key; // of its first n_keyed pages, which were shared or published
    size_t n_keyed;
    bool is_exact;     // no token has left early: other requests can use its pages
    rrt_finish finish; // set: ends after this step
    bool is_silent;    // its callback ended it
    rrt_request_stats stats;
    struct rrt__engine_request *next; // in the queue
    rrt__arena arena;
} rrt__engine_request;

// A row whose logits are needed, and the result.
typedef struct rrt__logits_row {
    rrt__engine_request *request;
    size_t chunk, position; // of the row
    int loop;               // the loop that the row has run last
    bool is_asked;          // a rule decides by the logits whether it exits, or they propose a draft
    bool is_exit;
    bool is_finite;
    int32_t chosen;
    float logprob; // of the next token: the prompt's, or chosen
    rrt_token_logprob *top;
    size_t n_top;
} rrt__logits_row;

// Rows that run together.
typedef struct rrt__row_batch {
    rrt__span *spans; // [rows], like all of these
    size_t n_spans, n_rows;
    rrt__segment *segments;
    size_t n_segments;
    size_t *source; // per row: index of its state
} rrt__row_batch;

// A token that left after a loop in the last step. Its keys and values of deeper loops are computed beside
// the next step's rows, which read the same weights: the request's next token needs them from its second loop
// on.
typedef struct rrt__left_token {
    rrt__engine_request *request; // NULL: it has ended
    size_t position;
    int loop;
} rrt__left_token;

struct rrt_engine {
    const rrt_model *model;
    rrt_engine_options options;
    rrt__depth_range prelude_depths, coda_depths;
    int loops;             // of a token: those of the model that end in a boundary
    int layers;            // per loop, unless the options have draft_layers
    unsigned char *recent; // [requests, rrt__recent_bytes]: of a model with a K/V window
    bool is_kv_tied;       // all loops compute the same keys and values from the same state
    rrt__pages pages;
    size_t n_reserved;
    rrt__schedule schedule;
    rrt__engine_request **running;     // [slots]
    rrt__engine_request *first, *last; // the queue
    uint64_t next_id, key;
    rrt_engine_stats stats;

    // The current step.
    rrt__workspace workspace;
    size_t n_active, n_held; // rows that run, and that wait
    // [rows + requests, hidden]: at each row's boundary; from `rows` on, of the tokens that left
    float *states;
    float *before; // [rows, hidden]: before each row's current loop
    rrt__exit_state *exit_states,
        *last_exit_states; // [rows]: of this step, by a chunk's first row; of the last step
    rrt__row_batch block, coda;
    size_t n_entering; // number of entering spans, which come first in block
    int32_t *entering; // ids of their rows
    rrt__logits_row *logits_rows;
    size_t n_logits_rows;
    rrt_token_logprob *tops; // [rows, RRT__MAX_TOP]
    size_t *exits;           // chunks that left early and whose deeper keys and values are copies
    size_t n_exits;
    rrt__left_token *left; // [requests]
    size_t n_left;
    float *logits;              // [RRT__LOGIT_ROWS, vocab]
    rrt__candidate *candidates; // [threads, vocab]
    rrt__team_fit fit;
    int waited_steps; // since coda and head could have run
    double lap;       // when the current part of the step began
    rrt__arena arena;
};

// The depths of a loop, from 1.
static inline rrt__depth_range rrt__engine_loop(const rrt_engine *e, int n)
{
    int split = e->options.draft_layers;
    if (split)
        return n == 1 ? (rrt__depth_range){0, split} : (rrt__depth_range){split, e->model->plan.n_depths};
    return (rrt__depth_range){e->prelude_depths.end + (n - 1) * e->layers,
                              e->prelude_depths.end + n * e->layers};
}

static inline rrt__engine_request *rrt__chunk_request(const rrt_engine *engine, const rrt__chunk *chunk)
{
    return engine->running[chunk->slot];
}

// Index of a loop in the statistics.
static inline int rrt__counted_loop(int loop)
{
    return loop < RRT_MAX_LOOPS ? loop : RRT_MAX_LOOPS;
}

// --- engine_plan.c

// Sets the depths of loops, prelude and coda. Fails as rrt_engine_open does for draft_layers.
rrt_status rrt__engine_plan(rrt_engine *engine, rrt_error *err);

// --- engine.c

// Counts the time since the last lap, or the step's begin, as this part's. For one thread.
void rrt__engine_lap(rrt_engine *engine, rrt_engine_part part);

// --- batch.c: called by one thread before each part of the step

// The chunks that the schedule lets run, in its order.
void rrt__batch_block(rrt_engine *engine);

// The rows that run the coda: first those that need logits, then those that need only keys and values.
void rrt__batch_coda(rrt_engine *engine);

// --- leave.c

// First position of a chunk whose logits are needed, once it has run its loops; the chunk's end: none.
size_t rrt__chunk_first_logits(const rrt__engine_request *request, const rrt__chunk *chunk);

// After a loop: decides which chunks leave, first those that need no logits, then by the logits.
void rrt__leave_by_states(rrt_engine *engine);
void rrt__leave_by_logits(rrt_engine *engine);

// --- logits_row.c

// Reads one row of logits: the chosen token, log-probabilities, whether it exits. thread: selects the
// candidates buffer.
void rrt__logits_row_read(rrt_engine *engine, rrt__logits_row *row, const float *logits, int thread);

// After the step, in order: reports tokens and verifies drafts.
void rrt__logits_rows_report(rrt_engine *engine);

// --- step.c

// Run it on all threads: rrt__team_run(…, rrt__engine_run, engine).
void rrt__engine_run(rrt__team team, void *engine);

#endif
