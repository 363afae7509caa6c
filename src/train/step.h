// One step of training: gradients of batches, summed, then an update. Its result depends only on its
// arguments and the number of threads.
//
// A port to a device or a cluster replaces this interface: a run (run.c) and the benchmark know nothing else
// of a step. Between two steps the model holds the weights, and the optimizer the moments and the number of
// steps, which checkpoints save and load.
#ifndef RRT__STEP_H
#define RRT__STEP_H

#include "train/exits.h"
#include "train/optimizer.h"

typedef struct rrt__step_options {
    size_t sequences, context; // of the largest batch
    bool recompute;            // compute activations again in the backward pass
    bool bf16;                 // round the factors of matrix products, if the processor can
    int threads;               // ≤ 0: one per core
    rrt__objective objective;
    rrt__exit_training exits;
    size_t stored_top, stored_vocab; // logits per row of a stored teacher, and its vocabulary; 0: none
} rrt__step_options;

typedef struct rrt__batch {
    size_t n_sequences, context;
    const int32_t *ids, *targets;        // [n_sequences, context]; a target of -1 does not count
    const rrt__logits_cache_row *stored; // [n_sequences, context], for a stored teacher
} rrt__batch;

typedef struct rrt__stepper {
    rrt_model *model;
    const rrt_model *teacher; // runs with the student; NULL: none
    rrt__step_options options;
    rrt__optimizer optimizer;
    rrt__tape tape;
    rrt__head head;
    rrt__exits exits;
    rrt__workspace teacher_workspace;
    rrt__span *spans;
    rrt__gemm_bf16_scratch *scratch; // one per thread
} rrt__stepper;

// Models must outlive the stepper. The optimizer's options decide what is trained.
rrt_status rrt__stepper_create(rrt__stepper *stepper, rrt_model *model, const rrt_model *teacher,
                               const rrt__optimizer_options *optimizer, const rrt__step_options *options,
                               rrt_error *err);
void rrt__stepper_free(rrt__stepper *stepper);

// Adds the gradients of weight · (the sum of the batch's row losses, of all exits), and the losses to *sums.
void rrt__stepper_gradients(rrt__stepper *stepper, const rrt__batch *batch, float weight,
                            rrt__loss_sums *sums);

// The same for hidden-state distillation: each depth, from the teacher's hidden state, against the teacher's
// next one; relative squared error, mean over depths. Needs an online teacher with a layer for each depth.
void rrt__stepper_match(rrt__stepper *stepper, const rrt__batch *batch, float weight, rrt__loss_sums *sums);

// The norm of the gradients so far.
double rrt__stepper_norm(rrt__stepper *stepper);

// Updates the model and zeroes the gradients.
void rrt__stepper_update(rrt__stepper *stepper, double norm, double learning_rate);

// Zeroes the gradients without an update.
void rrt__stepper_discard(rrt__stepper *stepper);

#endif
