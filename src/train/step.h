// One step of training: gradients of batches, added up, then an update. What it computes depends on its
// arguments and the number of threads alone.
//
// This is the one thing that a device or a cluster would replace: a run (run.c) and the benchmark know of a
// step no more than what stands here. Between two steps weights are in the model, moments and the count of
// steps in the optimizer, where checkpoints take them from and put them.
#ifndef RRT__STEP_H
#define RRT__STEP_H

#include "train/exits.h"
#include "train/optimizer.h"

typedef struct rrt__step_options {
    size_t sequences, context; // the largest batch
    bool recompute;            // activations are made again in the backward pass
    bool bf16;                 // factors of matrix products are rounded, where the processor can
    int threads;               // ≤ 0: one per core
    rrt__objective objective;
    rrt__exit_training exits;
    size_t stored_top, stored_vocab; // logits per row of a stored teacher, and its vocabulary; 0: none
} rrt__step_options;

typedef struct rrt__batch {
    size_t n_sequences, context;
    const int32_t *ids, *targets;        // [n_sequences, context]; a target of -1 is not scored
    const rrt__logits_cache_row *stored; // [n_sequences, context] if the teacher is stored
} rrt__batch;

typedef struct rrt__stepper {
    rrt_model *model;
    const rrt_model *teacher; // online; NULL: none
    rrt__step_options options;
    rrt__optimizer optimizer;
    rrt__tape tape;
    rrt__head head;
    rrt__exits exits;
    rrt__workspace teacher_workspace;
    rrt__span *spans;
    rrt__gemm_bf16_scratch *scratch; // of each thread
} rrt__stepper;

// Models outlive the stepper. The optimizer's options say what is trained.
rrt_status rrt__stepper_create(rrt__stepper *stepper, rrt_model *model, const rrt_model *teacher,
                               const rrt__optimizer_options *optimizer, const rrt__step_options *options,
                               rrt_error *err);
void rrt__stepper_free(rrt__stepper *stepper);

// Adds the gradients of weight · (the sum of the batch's row losses, of all exits), and its sums to *sums.
void rrt__stepper_gradients(rrt__stepper *stepper, const rrt__batch *batch, float weight,
                            rrt__loss_sums *sums);

// The same for hidden-state distillation: each depth, given the teacher's hidden state, against the teacher's next one;
// relative squared error, mean over depths. The teacher is online and has a layer for each depth.
void rrt__stepper_match(rrt__stepper *stepper, const rrt__batch *batch, float weight, rrt__loss_sums *sums);

// The norm of the gradients so far.
double rrt__stepper_norm(rrt__stepper *stepper);

// Updates the model and forgets the gradients.
void rrt__stepper_update(rrt__stepper *stepper, double norm, double learning_rate);

// Forgets the gradients without an update.
void rrt__stepper_discard(rrt__stepper *stepper);

#endif
