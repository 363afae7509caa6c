// Decides which rows run in a step: all of continuous batching, without a model. The engine runs its
// decisions, `rrt simulate` counts them, and the tests compare them with the paper's Figure 3.
//
// A request has a batch slot while it runs. Its tokens go through the loops in chunks: one decoded token, or
// a part of the prompt. A step runs one loop of every chunk that is not held. Chunks in flight go on first;
// in the remaining rows waiting tokens enter at loop 1, oldest request first, then prompts. So a running
// request generates a token within 2 · `loops` steps, apart from drafts and from waiting for coda and head,
// and a waiting one begins at the latest when those before it have ended.
#ifndef RRT__SCHEDULE_H
#define RRT__SCHEDULE_H

#include "base/memory.h"
#include "rrt/engine.h"

// At a boundary, waiting for others with which to run coda and head.
typedef enum rrt__wait { RRT__WAIT_NONE, RRT__WAIT_TO_LEAVE, RRT__WAIT_TO_BE_ASKED } rrt__wait;

typedef struct rrt__chunk {
    size_t slot;
    size_t position, count; // rows: consecutive tokens of the request
    size_t row;             // for the engine: index of its first row
    int loop;               // runs in this step, from 1
    bool is_held;           // has run the draft loops and waits for more drafts to join it
    rrt__wait waits;        // after this loop
    bool waited;            // until this step: goes on, or leaves
    bool has_left;          // its token has left; it runs on for the keys and values of deeper loops
    bool leaves;            // at the end of this step
} rrt__chunk;

typedef struct rrt__batch_slot {
    bool is_taken;
    uint64_t age;   // lower is older
    size_t prompt;  // tokens
    bool is_whole;  // the prompt enters in one step
    size_t known;   // tokens: of the prompt, and those generated or drafted since
    size_t entered; // how many of them have entered the loops
    int delay;      // steps until the next one may enter
} rrt__batch_slot;

typedef struct rrt__schedule {
    rrt_batching batching;
    size_t rows; // max per step
    int loops;
    size_t
        window; // a chunk lies within a block of so many tokens, and begins when those before have left the
                // loops; 0: no such rule
    rrt__batch_slot *slots;
    size_t n_slots, n_taken;
    rrt__chunk *chunks; // in the order of a step's rows: by loop, slot and position; held ones last
    size_t n_chunks;
    size_t n_running;  // chunks that are neither held nor waiting
    bool is_gathering; // static batching: the batch has not begun
    uint64_t next_age;
    uint64_t refills; // chunks that entered while others were in deeper loops
    rrt__arena arena;
} rrt__schedule;

// rows ≥ slots, so that every request has a row for its next token.
rrt_status rrt__schedule_create(rrt__schedule *schedule, rrt_batching batching, size_t rows, size_t slots,
                                int loops, rrt_error *err);
void rrt__schedule_free(rrt__schedule *schedule);

// Whether a request can begin; begin gives it a slot. `cached` tokens of its prompt need not run.
// is_whole: the prompt enters in one step.
bool rrt__schedule_has_slot(const rrt__schedule *schedule);
size_t rrt__schedule_begin(rrt__schedule *schedule, size_t prompt, size_t cached, bool is_whole);

// Lets waiting tokens enter, and sorts the chunks for this step.
void rrt__schedule_fill(rrt__schedule *schedule);

// Makes one more token of the request known, so that it may enter.
void rrt__schedule_add_token(rrt__schedule *schedule, size_t slot);

// Keeps only the first `known` tokens of the request; the last of them is new and has yet to enter. Chunks of
// dropped tokens leave.
void rrt__schedule_rewind(rrt__schedule *schedule, size_t slot, size_t known);

// How many of the request's tokens have run all their loops, without a gap. Call between steps.
size_t rrt__schedule_done(const rrt__schedule *schedule, size_t slot);

// After a step: removes the chunks that leave, moves the others to their next loop.
void rrt__schedule_advance(rrt__schedule *schedule);

// Ends the request and removes its chunks at once.
void rrt__schedule_end(rrt__schedule *schedule, size_t slot);

#endif
