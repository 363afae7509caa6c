// What an engine is made of, for the files that are it: engine.c (requests come and go), batch.c (the rows of
// a step), step.c (the step itself, by all threads), leave.c (who leaves the loops), logits_row.c (what
// logits say, and what becomes of it).
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
    rrt_request spec; // what was asked for; its memory is ours
    int32_t *ids;     // [prompt + max_tokens]: prompt, tokens made, drafts
    size_t n_generated;
    size_t n_accepted; // ids that are no drafts
    int loops;         // that a token runs at most
    int min_loops;
    bool has_rule;
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    size_t n_reserved; // pages that it may come to hold
    rrt__sequence sequence;
    uint64_t key; // of its first n_keyed pages, which were shared or published
    size_t n_keyed;
    bool is_exact;     // no token left early so far: its pages can serve others
    rrt_finish finish; // it is over: taken out at the end of the step
    bool is_silent;    // its callback ended it
    rrt_request_stats stats;
    struct rrt__engine_request *next; // in the queue
    rrt__arena arena;
} rrt__engine_request;

// A row whose logits are needed, and what they say.
typedef struct rrt__logits_row {
    rrt__engine_request *request;
    size_t chunk, position; // of the row
    int loop;               // after which it stands
    bool is_asked;          // a rule asks whether it is an exit, or a draft is proposed
    bool is_exit;
    bool is_finite;
    int32_t chosen;
    float logprob; // of the token that follows: the prompt's next one, or chosen
    rrt_token_logprob *top;
    size_t n_top;
} rrt__logits_row;

// Rows that run together.
typedef struct rrt__row_batch {
    rrt__span *spans; // [rows], as all of these
    size_t n_spans, n_rows;
    rrt__segment *segments;
    size_t n_segments;
    size_t *source; // of each row: which of the states it is
} rrt__row_batch;

struct rrt_engine {
    const rrt_model *model;
    rrt_engine_options options;
    int layers;      // of a loop
    bool is_kv_tied; // all loops make the same keys and values of the same state
    rrt__pages pages;
    size_t n_reserved;
    rrt__schedule schedule;
    rrt__engine_request **running;     // [slots]
    rrt__engine_request *first, *last; // of the queue
    uint64_t next_id, key;
    rrt_engine_stats stats;

    // The step.
    rrt__workspace workspace;
    size_t n_states;        // rows of all chunks
    float *states, *before; // [rows, hidden]: at each row's boundary, and before the loop that it runs
    rrt__exit_state *exit_states,
        *last_exit_states; // [rows]: of this step, by a chunk's first row; of the last
    rrt__row_batch block, coda, fill;
    size_t n_entering; // spans of block, the first
    int32_t *entering; // ids of their rows
    rrt__logits_row *logits_rows;
    size_t n_logits_rows;
    rrt_token_logprob *tops; // [rows, RRT__MAX_TOP]
    size_t *exits;           // chunks that have left early and whose deeper keys and values are to be made
    size_t n_exits, n_filled;
    float *logits;              // [RRT__LOGIT_ROWS, vocab]
    rrt__candidate *candidates; // [threads, vocab]
    rrt__team_fit fit;
    rrt__arena arena;
};

static inline rrt__engine_request *rrt__chunk_request(const rrt_engine *engine, const rrt__chunk *chunk)
{
    return engine->running[chunk->slot];
}

// Where statistics count a loop.
static inline int rrt__counted_loop(int loop)
{
    return loop < RRT_MAX_LOOPS ? loop : RRT_MAX_LOOPS;
}

// --- batch.c: before a part of the step, by one thread

// What the schedule let in, in its order.
void rrt__batch_block(rrt_engine *engine);

// Rows that run the coda: those with logits wanted first, then those of which only keys and values are
// wanted.
void rrt__batch_coda(rrt_engine *engine);

// Deeper loops of as many of the exits as fit.
void rrt__batch_fill(rrt_engine *engine);

// --- leave.c

// Of a chunk that has run its loops, the first position whose logits are needed; its end: none is.
size_t rrt__chunk_first_logits(const rrt__engine_request *request, const rrt__chunk *chunk);

// After a loop: who leaves, who is asked, by what needs no logits; then by the logits.
void rrt__leave_by_states(rrt_engine *engine);
void rrt__leave_by_logits(rrt_engine *engine);

// --- logits_row.c

// What a row of logits says. thread: whose room to sample in.
void rrt__logits_row_read(rrt_engine *engine, rrt__logits_row *row, const float *logits, int thread);

// After the step, in order: tokens are reported, drafts are judged.
void rrt__logits_rows_report(rrt_engine *engine);

// --- step.c

// All threads run it: rrt__team_run(…, rrt__engine_run, engine).
void rrt__engine_run(rrt__team team, void *engine);

#endif
