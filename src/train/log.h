// A run's log: OUT/log.jsonl, a line per step and per measurement on held-out text, and the steps as
// OUT/log.csv too.
#ifndef RRT__LOG_H
#define RRT__LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct rrt__log {
    FILE *jsonl, *csv;
} rrt__log;

typedef struct rrt__log_row {
    uint64_t step, tokens; // so far
    double loss, cross_entropy, divergence;
    double learning_rate, norm;   // of the gradient, before clipping
    double tokens_per_s, seconds; // of training so far
    const char *event;            // NULL, or the reason why the step was not made
} rrt__log_row;

// A measurement on held-out text.
typedef struct rrt__log_heldout {
    uint64_t step, tokens; // so far
    double seconds;        // of training so far
    bool is_kl;            // false: a cross-entropy
    double value;          // NaN if the model's output was not finite
} rrt__log_heldout;

// Opens both files for appending. Removes the lines of steps after `step`, from a run that died after its
// last checkpoint.
rrt_status rrt__log_open(rrt__log *log, const char *folder, uint64_t step, rrt_error *err);
rrt_status rrt__log_write(rrt__log *log, const rrt__log_row *row, rrt_error *err);
rrt_status rrt__log_write_heldout(rrt__log *log, const rrt__log_heldout *record, rrt_error *err);
rrt_status rrt__log_close(rrt__log *log, rrt_error *err);

#endif
