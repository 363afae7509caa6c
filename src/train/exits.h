// Training the exits: the model can be left at every loop boundary, through coda, final norm and head, and
// each of these exits can have a loss of its own (paper §2.4, App. E, Table J.1). Gates learn on the way
// which tokens may leave.
#ifndef RRT__EXITS_H
#define RRT__EXITS_H

#include "rrt/train.h"
#include "train/head.h"

typedef struct rrt__exit_training {
    rrt_exit_loss loss;
    float early; // aggressive: the weight of each exit before the last
    bool kd;     // exits before the last learn from the last one's output
    bool gates;  // the model's gates are trained
} rrt__exit_training;

// The weight of the exit after n of the model's loops.
float rrt__exit_weight(const rrt__exit_training *options, int loops, int n);

typedef struct rrt__exits {
    rrt__exit_training options;
    rrt__tape *tape;
    rrt__head *head;
    float *chain;         // [rows, hidden]: the gradient of deeper loops, while an exit's coda is on the tape
    float *taken;         // [rows, hidden]: the last exit's, for the exits before it to learn from
    bool only_gates;      // nothing else is trained
    int32_t *best, *last; // [rows]: the most likely tokens of this exit and of the last one
    float *miss, *scale;  // [rows]: gradient of a gate's logit, and 1 / rms of the hidden state it saw
    rrt__arena arena;
} rrt__exits;

// Tape and head outlive it. What the tape trains is known.
rrt_status rrt__exits_create(rrt__exits *exits, rrt__tape *tape, rrt__head *head,
                             const rrt__exit_training *options, size_t rows, rrt_error *err);
void rrt__exits_free(rrt__exits *exits);

// The exit after n loops, in the backward pass: its loss, and from there back to the loop boundary, where its
// gradient is added to the tape's d_hidden. The last exit comes first, on the tape's hidden state; the others
// start from what the tape kept. inputs: of the last exit, without its hidden state. Adds to *sums, the
// calling thread's. The boundary's gate gets its gradient too, and none goes from it to the hidden state.
// pass: the tape's.
void rrt__exits_backward(const rrt__pass *pass, rrt__exits *exits, int n, const rrt__loss_inputs *inputs,
                         rrt__loss_sums *sums);

#endif
