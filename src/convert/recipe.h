// The decisions of a conversion, all made here: options → recipe → model → report.
#ifndef RRT__RECIPE_H
#define RRT__RECIPE_H

#include "model/model.h"
#include "rrt/convert.h"

typedef struct rrt__recipe {
    rrt__plan plan;
    rrt__norms_mode norms;
    // true: layers are kept unchanged, each in its own slot; false: each has a depth, and those of a slot
    // are tied.
    bool keeps;
    bool by_text;                 // the kept layers are chosen by calibration (prune.h)
    int n_layers;                 // layers of the source that the result uses
    short layer[RRT__MAX_DEPTHS]; // [n_layers] of the source, ascending; by_text: not yet known
    rrt_init init;                // how a shared weight is made from the tied layers
    rrt_lora_init lora_init;
    size_t rank;
    uint64_t lora_budget;
    float loop_gain;    // factor of the later loops' norms; 1: unchanged
    const int32_t *ids; // the calibration text
    size_t n_ids;
    int rounds; // of a calibrated tie
    int threads;
    uint64_t seed;
    const rrt_progress *progress;
} rrt__recipe;

enum { RRT__CONVERT_ROUNDS = 8, RRT__RANK_UNIT = 32 }; // ranks per purchase from a LoRA budget

// Sets all but the plan and what depends on it. Fails for options or sources that are wrong with any plan.
// init: the options', or the caller's replacement.
rrt_status rrt__recipe_begin(rrt__recipe *recipe, const rrt_model *source, const rrt_convert_options *options,
                             rrt_init init, rrt_error *err);

// Sets everything. Checks here what would otherwise fail only after the calibration, minutes later.
rrt_status rrt__recipe_resolve(rrt__recipe *recipe, const rrt_model *source,
                               const rrt_convert_options *options, rrt_error *err);

// Stepwise (paper §2.2, App. F): the layer of n for slot k of count, round(k·(n-1)/(count-1)), ties to even;
// the first and the last are always included. All 0-based.
int rrt__stepwise(int k, int count, int n);

// The source layer of a depth.
int rrt__recipe_depth_layer(const rrt__recipe *recipe, int depth);

// The source layer whose weights and vectors a slot takes (paper §2.2, Fig. 2): prelude and coda slots their
// own, the others by the init's rule (random weights take stepwise vectors). -1: the mean of the tied layers.
int rrt__recipe_slot_layer(const rrt__recipe *recipe, int slot);

// Whether more than one depth uses the slot: only those get LoRA.
bool rrt__recipe_is_shared(const rrt__recipe *recipe, int slot);

#endif
