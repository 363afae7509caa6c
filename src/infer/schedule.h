// Which rows run in a step: the whole of continuous batching, and nothing of models. The engine runs what it
// says, `rrt simulate` counts it, and the tests hold it to the paper's Figure 3.
//
// A request has a slot while it runs. Its tokens go through the loops in chunks: one token that is decoded,
// or a chunk of its prompt. A step runs one loop of every chunk that is not held. What is in flight goes on
// first; then tokens that wait enter at loop 1, oldest request first, then prompts, in the rows that are
// left. So a request that runs makes a token within 2 · `loops` steps, drafts aside, and one that waits
// begins at the latest when those before it have ended.
#ifndef RRT__SCHEDULE_H
#define RRT__SCHEDULE_H

#include "base/memory.h"
#include "rrt/engine.h"

typedef struct rrt__chunk {
    size_t slot;
    size_t position, count; // rows: consecutive tokens of the request
    size_t row;             // the engine's: where its first row lies
    int loop;               // that runs in this step, from 1
    bool is_held;           // waits, after some loops, for drafts to come beside it
    bool has_left;          // its token has left; it goes on for the keys and values of deeper loops
    bool leaves;            // at the end of this step
} rrt__chunk;

typedef struct rrt__batch_slot {
    bool is_taken;
    uint64_t age;   // lower is older
    size_t prompt;  // tokens
    size_t known;   // tokens: of the prompt, and those generated or drafted since
    size_t entered; // of these, how many have entered the loops
    int delay;      // steps until the next one may
} rrt__batch_slot;

typedef struct rrt__schedule {
    rrt_batching batching;
    size_t rows; // most of a step
    int loops;
    rrt__batch_slot *slots;
    size_t n_slots, n_taken;
    rrt__chunk *chunks; // in the order of a step's rows: by loop, slot and position; held ones last
    size_t n_chunks;
    size_t n_running;  // chunks that are not held
    bool is_gathering; // static: the batch has not begun yet
    uint64_t next_age;
    uint64_t refills; // chunks that entered beside others in deeper loops
    rrt__arena arena;
} rrt__schedule;

// rows ≥ slots: every request has a row for its next token.
rrt_status rrt__schedule_create(rrt__schedule *schedule, rrt_batching batching, size_t rows, size_t slots,
                                int loops, rrt_error *err);
void rrt__schedule_free(rrt__schedule *schedule);

// Whether a request may begin now; then it gets a slot. `cached` of its prompt's tokens need not run.
bool rrt__schedule_has_slot(const rrt__schedule *schedule);
size_t rrt__schedule_begin(rrt__schedule *schedule, size_t prompt, size_t cached);

// Lets in what may enter, and puts the chunks into the order of this step.
void rrt__schedule_fill(rrt__schedule *schedule);

// One more token of the request is known and may enter.
void rrt__schedule_add_token(rrt__schedule *schedule, size_t slot);

// Only so many tokens of the request stand after all, the last of them anew: it has yet to enter. Chunks of
// those that entered too soon leave.
void rrt__schedule_rewind(rrt__schedule *schedule, size_t slot, size_t known);

// How many of the request's tokens have run all their loops, without a gap; between steps.
size_t rrt__schedule_done(const rrt__schedule *schedule, size_t slot);

// After a step: chunks that leave are gone, the others come to their next loop.
void rrt__schedule_advance(rrt__schedule *schedule);

// The request is over; its chunks leave at once.
void rrt__schedule_end(rrt__schedule *schedule, size_t slot);

#endif
