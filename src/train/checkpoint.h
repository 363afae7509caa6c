// Checkpoints of a run: folders OUT/checkpoints/<step> that get their name only once they are complete. Each
// is a MODEL (config.json, model.safetensors in f32, tokenizer) with the optimizer's moments
// (moments.safetensors: mean.NAME and variance.NAME of trained parameters) and the run's state (state.json).
// checksums.json reveals damage to any of these.
#ifndef RRT__CHECKPOINT_H
#define RRT__CHECKPOINT_H

#include "base/json.h"
#include "train/optimizer.h"

// Saves a checkpoint named by the optimizer's step, then removes older ones.
rrt_status rrt__checkpoint_save(const char *folder, const rrt_model *model, const rrt__optimizer *optimizer,
                                json_t *state, rrt_error *err);

// Removes all other checkpoints; files with other names are not ours.
void rrt__checkpoint_keep_only(const char *folder, uint64_t step);

// The path of the newest checkpoint. *found is false if there is none.
rrt_status rrt__checkpoint_latest(char path[4096], const char *folder, bool *found, rrt_error *err);

// Loads weights into the model, moments and step into the optimizer, and the state (the caller must decref
// it). FORMAT if it is damaged, MISMATCH if its plan or shape differs.
rrt_status rrt__checkpoint_load(const char *path, rrt_model *model, rrt__optimizer *optimizer, json_t **state,
                                rrt_error *err);

#endif
