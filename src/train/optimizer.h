// AdamW over a model's parameters, or Muon over the matrices of its layers and AdamW over the rest; in groups
// by kind; and the learning rate's schedule.
#ifndef RRT__OPTIMIZER_H
#define RRT__OPTIMIZER_H

#include "kernels/gradients.h"
#include "model/parameters.h"
#include "train/muon.h"

typedef struct rrt__optimizer_options {
    bool muon; // for matrices of layers and LoRA
    double beta1, beta2, epsilon;
    double weight_decay;                     // of matrices; norms and biases have none
    double clip;                             // max norm of the whole gradient; 0: no clipping
    double scale[RRT__PARAMETER_KIND_COUNT]; // factor of the learning rate; 0: frozen
} rrt__optimizer_options;

// One trained parameter with its gradient and moments.
typedef struct rrt__trained {
    float *values, *gradient, *mean, *variance; // [count]
    size_t count, rows, columns;                // columns 0: a vector
    rrt__parameter_kind kind;
} rrt__trained;

typedef struct rrt__optimizer {
    rrt__optimizer_options options;
    rrt_model *gradient, *mean, *variance; // like the model
    rrt__trained *parameters;              // without frozen ones, in the order of parameters.h
    size_t n_parameters;
    double *squares; // [threads]
    const rrt__gradient_kernels *kernels;
    uint64_t step; // steps so far
    rrt__muon muon;
    rrt__arena arena;
} rrt__optimizer;

rrt_status rrt__optimizer_create(rrt__optimizer *optimizer, rrt_model *model,
                                 const rrt__optimizer_options *options, int n_threads, rrt_error *err);
void rrt__optimizer_free(rrt__optimizer *optimizer);

// The norm of the current gradient, without gates. All threads of a team call it; all get the same result.
double rrt__optimizer_norm(rrt__team team, rrt__optimizer *optimizer);

// One update with this gradient norm (for clipping) and learning rate; zeroes the gradients. All threads of a
// team call it; then one adds 1 to step.
void rrt__optimizer_update(rrt__team team, rrt__optimizer *optimizer, double norm, double learning_rate);

// Zeroes the gradients. All threads of a team call it.
void rrt__optimizer_clear(rrt__team team, rrt__optimizer *optimizer);

// Linear warm-up over the first `warmup` of the run, then a cosine from 1 down to `min`. progress and
// warmup are fractions of the whole run, 0 … 1 (paper §3.6: AdamW, cosine annealing with warm-up).
double rrt__schedule(double progress, double warmup, double min);

#endif
