// What the user asked of a run, with the defaults filled in and checked.
#ifndef RRT__SETTINGS_H
#define RRT__SETTINGS_H

#include "base/json.h"
#include "rrt/train.h"
#include "train/step.h"

typedef struct rrt__settings {
    rrt__step_options step; // sequences: those held at once
    rrt__optimizer_options optimizer;
    size_t batch; // sequences per step
    double learning_rate, warmup, min_rate;
    uint64_t seed;
    uint64_t match_tokens; // hidden-state distillation before the rest
    uint64_t tokens;       // 0: no limit
    double minutes;        // 0: no limit
    double checkpoint_minutes;
    uint64_t checkpoint_steps; // 0: no
} rrt__settings;

// ARGUMENT, naming the option, for a number that cannot be.
rrt_status rrt__settings_resolve(rrt__settings *settings, const rrt_model *model,
                                 const rrt_train_options *options, rrt_error *err);

// Those that decide what comes out, for a checkpoint. Not: how long, how many threads, how often saved.
json_t *rrt__settings_to_json(const rrt__settings *settings);

// MISMATCH, naming the setting, if a checkpoint was made with others.
rrt_status rrt__settings_compare(const rrt__settings *settings, const json_t *saved, rrt_error *err);

#endif
