// Trains the exits: the model can exit at every loop boundary, through coda, final norm and head, and each of
// these exits can have its own loss (paper §2.4, App. E, Table J.1). The same pass trains the gates, which
// predict where tokens may exit.
#ifndef RRT__EXITS_H
#define RRT__EXITS_H

#include "rrt/train.h"
#include "train/head.h"

typedef struct rrt__exit_training {
    rrt_exit_loss loss;
    float early; // aggressive: weight of each exit before the last
    bool kd;     // exits before the last are distilled from the last
    bool gates;  // train the model's gates
} rrt__exit_training;

// The weight of the exit after n loops.
float rrt__exit_weight(const rrt__exit_training *options, int loops, int n);

typedef struct rrt__exits {
    rrt__exit_training options;
    rrt__tape *tape;
    rrt__head *head;
    float *chain;         // [rows, hidden]: gradient of deeper loops while an exit's coda is on the tape
    float *taken;         // [rows, hidden]: hidden state of the last exit, the teacher of those before it
    bool only_gates;      // only gates are trained
    int32_t *best, *last; // [rows]: the most likely tokens of this exit and of the last one
    float *miss, *scale;  // [rows]: gradient of a gate's logit, and 1 / rms of its hidden state
    rrt__arena arena;
} rrt__exits;

// Tape and head must outlive it; the tape's `trains` must be set.
rrt_status rrt__exits_create(rrt__exits *exits, rrt__tape *tape, rrt__head *head,
                             const rrt__exit_training *options, size_t rows, rrt_error *err);
void rrt__exits_free(rrt__exits *exits);

// The backward pass of the exit after n loops: its loss, and from there back to the loop boundary, where it
// adds its gradient to the tape's d_hidden. The last exit comes first and uses the tape's hidden state; the
// others start from the states that the tape kept. inputs: of the last exit, without its hidden state. Adds
// to *sums, which belongs to the calling thread. Also computes the gradient of the boundary's gate, which
// does not reach the hidden state. pass: the tape's.
void rrt__exits_backward(const rrt__pass *pass, rrt__exits *exits, int n, const rrt__loss_inputs *inputs,
                         rrt__loss_sums *sums);

#endif
