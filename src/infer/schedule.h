// Which rows run in a step: the whole of continuous batching, and nothing of models. The engine runs what it
// says, `rrt simulate` counts it, and the tests hold it to the paper's Figure 3.
//
// A request has a place while it runs. Its tokens go through the loops in flights: one token that is decoded,
// or a chunk of its prompt. A step runs one loop of every flight that is not held. What is in flight goes on
// first; then tokens that wait enter at loop 1, oldest request first, then prompts, in the rows that are
// left. So a request that runs makes a token within 2 · `loops` steps, drafts aside, and one that waits
// begins at the latest when those before it have ended.
#ifndef RRT__SCHEDULE_H
#define RRT__SCHEDULE_H

#include "base/memory.h"
#include "rrt/engine.h"

typedef struct rrt__flight {
    size_t place;
    size_t position, count; // rows: consecutive tokens of the request
    size_t row;             // the engine's: where its first row lies
    int loop;               // that runs in this step, from 1
    bool is_held;           // waits, after some loops, for drafts to come beside it
    bool is_answered;       // its token has left; it goes on for the keys and values of deeper loops
    bool leaves;            // at the end of this step
} rrt__flight;

typedef struct rrt__place {
    bool is_taken;
    uint64_t age;   // lower is older
    size_t prompt;  // tokens
    size_t known;   // tokens: of the prompt, and those made or drafted since
    size_t entered; // of these, how many have entered the loops
    int delay;      // steps until the next one may
} rrt__place;

typedef struct rrt__schedule {
    rrt_batching batching;
    size_t rows; // most of a step
    int loops;
    rrt__place *places;
    size_t n_places, n_taken;
    rrt__flight *flights; // in the order of a step's rows: by loop, place and position; held ones last
    size_t n_flights;
    size_t n_running;  // flights that are not held
    bool is_gathering; // static: the batch has not begun yet
    uint64_t next_age;
    uint64_t refills; // flights that entered beside others in deeper loops
    rrt__arena arena;
} rrt__schedule;

// rows ≥ places: every request has a row for its next token.
rrt_status rrt__schedule_create(rrt__schedule *schedule, rrt_batching batching, size_t rows, size_t places,
                                int loops, rrt_error *err);
void rrt__schedule_free(rrt__schedule *schedule);

// Whether a request may begin now; then it gets a place. `cached` of its prompt's tokens need not run.
bool rrt__schedule_has_place(const rrt__schedule *schedule);
size_t rrt__schedule_begin(rrt__schedule *schedule, size_t prompt, size_t cached);

// Lets in what may enter, and puts the flights into the order of this step.
void rrt__schedule_fill(rrt__schedule *schedule);

// One more token of the request is known and may enter.
void rrt__schedule_add_token(rrt__schedule *schedule, size_t place);

// Only so many tokens of the request stand after all, the last of them anew: it has yet to enter. Flights of
// those that entered too soon leave.
void rrt__schedule_rewind(rrt__schedule *schedule, size_t place, size_t known);

// How many of the request's tokens have run all their loops, without a gap; between steps.
size_t rrt__schedule_done(const rrt__schedule *schedule, size_t place);

// After a step: flights that leave are gone, the others come to their next loop.
void rrt__schedule_advance(rrt__schedule *schedule);

// The request is over; its flights leave at once.
void rrt__schedule_end(rrt__schedule *schedule, size_t place);

#endif
