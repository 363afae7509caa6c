// The settings of a run, from the user's options, with defaults filled in and checked.
#ifndef RRT__SETTINGS_H
#define RRT__SETTINGS_H

#include "base/json.h"
#include "rrt/train.h"
#include "train/step.h"

typedef struct rrt__settings {
    rrt__step_options step; // sequences: max held at once
    rrt__optimizer_options optimizer;
    size_t batch; // sequences per step
    double learning_rate, warmup, min_rate;
    uint64_t seed;
    uint64_t match_tokens; // hidden-state distillation before the rest
    uint64_t tokens;       // 0: no limit
    double minutes;        // 0: no limit
    double checkpoint_minutes;
    uint64_t checkpoint_steps; // 0: never
    uint64_t heldout_every;    // tokens between measurements; 0: a tenth of the minutes
} rrt__settings;

// ARGUMENT, naming the option, for an impossible number.
rrt_status rrt__settings_resolve(rrt__settings *settings, const rrt_model *model,
                                 const rrt_train_options *options, rrt_error *err);

// The settings that affect the result, for a checkpoint; not: length, threads, saving intervals.
json_t *rrt__settings_to_json(const rrt__settings *settings);

// MISMATCH, naming the setting, if a checkpoint has different ones.
rrt_status rrt__settings_compare(const rrt__settings *settings, const json_t *saved, rrt_error *err);

#endif
