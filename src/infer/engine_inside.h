// What an engine is made of, for the files that are it: engine.c (requests come and go), batch.c (the rows of
// a step), step.c (the step itself, by all threads), leave.c (who leaves the loops), answer.c (what logits
// say, and what becomes of it).
#ifndef RRT__ENGINE_INSIDE_H
#define RRT__ENGINE_INSIDE_H

#include "infer/pages.h"
#include "infer/sampler.h"
#include "infer/schedule.h"
#include "pass/exit.h"
#include "pass/loop.h"

enum { RRT__MOST_TOP = 32, RRT__MOST_DRAFTS = 16, RRT__LOGIT_ROWS = 64 };

// A request, from the queue to its end.
typedef struct rrt__task {
    uint64_t id;
    rrt_request request;
    int32_t *ids; // [prompt + max_tokens]: prompt, tokens made, drafts
    size_t n_made;
    size_t n_sure; // ids that are no drafts
    int loops;     // that a token runs at most
    int least_loops;
    bool has_rule;
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    size_t n_promised; // pages that it may come to hold
    rrt__sequence sequence;
    uint64_t key; // of its first n_keyed pages, which were shared or published
    size_t n_keyed;
    bool is_exact;     // no token left early so far: its pages can serve others
    rrt_finish finish; // it is over: taken out at the end of the step
    bool is_silent;    // its callback ended it
    rrt_request_stats stats;
    struct rrt__task *next; // in the queue
    rrt__arena arena;
} rrt__task;

// A row whose logits are needed, and what they say.
typedef struct rrt__answer {
    rrt__task *task;
    size_t flight, position; // of the row
    int loop;                // after which it stands
    bool is_asked;           // a rule asks whether it is an exit, or a draft is made
    bool is_exit;
    bool is_finite;
    int32_t chosen;
    float logprob; // of the token that follows: the prompt's next one, or chosen
    rrt_token_logprob *top;
    size_t n_top;
} rrt__answer;

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
    size_t n_promised;
    rrt__schedule schedule;
    rrt__task **running;     // [places]
    rrt__task *first, *last; // of the queue
    uint64_t next_id, key;
    rrt_engine_stats stats;

    // The step.
    rrt__workspace workspace;
    size_t n_states;        // rows of all flights
    float *states, *before; // [rows, hidden]: at each row's boundary, and before the loop that it runs
    rrt__exit_state *exit_states,
        *last_exit_states; // [rows]: of this step, by a flight's first row; of the last
    rrt__row_batch block, coda, fill;
    size_t n_entering; // spans of block, the first
    int32_t *entering; // ids of their rows
    rrt__answer *answers;
    size_t n_answers;
    rrt_token_logprob *tops; // [rows, RRT__MOST_TOP]
    size_t *exits;           // flights that have left early and whose deeper keys and values are to be made
    size_t n_exits, n_filled;
    float *logits;              // [RRT__LOGIT_ROWS, vocab]
    rrt__candidate *candidates; // [threads, vocab]
    rrt__arena arena;
};

static inline rrt__task *rrt__flight_task(const rrt_engine *engine, const rrt__flight *flight)
{
    return engine->running[flight->place];
}

// Where statistics count a loop.
static inline int rrt__counted_loop(int loop)
{
    return loop < RRT_MOST_LOOPS ? loop : RRT_MOST_LOOPS;
}

// --- batch.c: before a part of the step, by one thread

// What the schedule let in, in its order.
void rrt__batch_block(rrt_engine *engine);

// Rows that run the coda: those with answers first, then those of which only keys and values are wanted.
void rrt__batch_coda(rrt_engine *engine);

// Deeper loops of as many of the exits as fit.
void rrt__batch_fill(rrt_engine *engine);

// --- leave.c

// Of a flight that has run its loops, the first position whose logits are needed; its end: none is.
size_t rrt__flight_first_answer(const rrt__task *task, const rrt__flight *flight);

// After a loop: who leaves, who is asked, by what needs no logits; then by the answers.
void rrt__leave_by_states(rrt_engine *engine);
void rrt__leave_by_answers(rrt_engine *engine);

// --- answer.c

// What a row of logits says. thread: whose room to sample in.
void rrt__answer_read(rrt_engine *engine, rrt__answer *answer, const float *logits, int thread);

// After the step, in order: tokens are reported, drafts are judged.
void rrt__answers_report(rrt_engine *engine);

// --- step.c

// All threads run it: rrt__team_run(…, rrt__engine_run, engine).
void rrt__engine_run(rrt__team team, void *engine);

#endif
