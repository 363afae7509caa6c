// The state of a run, private to two files: open.c opens it and saves its state, run.c makes its steps.
#ifndef RRT__RUN_H
#define RRT__RUN_H

#include "base/destination.h"
#include "train/fingerprint.h"
#include "train/log.h"
#include "train/settings.h"

// The part of a checkpoint besides weights and moments.
typedef struct rrt__run_state {
    uint64_t drawn;      // windows taken from the text
    double seconds;      // of training so far
    double mean_loss;    // running mean over about ten steps
    uint64_t mean_steps; // steps in that mean
    // On held-out text, NaN without one: the measurement before the first step, the last one, and its step.
    double heldout_start, heldout;
    uint64_t heldout_step;
} rrt__run_state;

typedef struct rrt__training_run {
    rrt_model *model;
    const char *out;
    const rrt_train_options *options;
    rrt__settings settings;
    rrt__dataset *dataset;
    rrt__logits_cache *cache;
    rrt__stepper stepper;
    rrt__log log;
    int32_t *ids, *targets; // [at a time, context]
    rrt__logits_cache_row *rows;
    rrt__run_state now;
    int rollbacks;       // since the last checkpoint
    uint64_t saved_step; // step of the last checkpoint
    double saved_at;     // its time, in seconds of training
    double step_seconds; // of the last step
    char folder[4096];   // `out`, or a temporary one until the run has begun
    char checkpoints[4096];
    rrt__destination destination;
    int lock;                                                  // of the folder
    char student[RRT__FINGERPRINT], teacher[RRT__FINGERPRINT]; // before the first step
} rrt__training_run;

// Opens folder, text and engine; loads a resumed run's last checkpoint, or writes a new run's first.
rrt_status rrt__run_open(rrt__training_run *run, rrt_error *err);
void rrt__run_close(rrt__training_run *run);

// Writes a checkpoint; loads the last one, or reports that there is none.
rrt_status rrt__run_save(rrt__training_run *run, rrt_error *err);
rrt_status rrt__run_load(rrt__training_run *run, bool *found, rrt_error *err);

// Measures the model on the held-out text, if there is one, and logs the result.
rrt_status rrt__run_measure(rrt__training_run *run, rrt_error *err);

// The measurements that a checkpoint keeps. Reading fails with MISMATCH if the run had another held-out text;
// `saved` is NULL if the run is older than held-out texts.
json_t *rrt__run_heldout_to_json(const rrt__training_run *run);
rrt_status rrt__run_read_heldout(rrt__training_run *run, const json_t *saved, rrt_error *err);

// Number of windows to draw from.
size_t rrt__run_windows(const rrt__training_run *run);

#endif
