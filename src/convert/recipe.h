// What a conversion does, decided once: options → recipe → model → report.
#ifndef RRT__RECIPE_H
#define RRT__RECIPE_H

#include "model/model.h"
#include "rrt/convert.h"

typedef struct rrt__recipe {
    rrt__plan plan;
    rrt__norms_mode norms;
    // Layers are kept as they are, each a slot; else each stands for a depth, and those of a slot are tied.
    bool keeps;
    bool by_text; // the layers that are kept are yet to be chosen, those that the text needs most (prune.h)
    int n_layers; // that take part
    short layer[RRT__MAX_DEPTHS]; // [n_layers] of the source, ascending; by_text: not yet known
    rrt_init init;                // of shared weights: how they are made of those that are tied
    rrt_lora_init lora_init;
    size_t rank;
    uint64_t lora_budget;
    float loop_gain;    // of the later loops' norms; 1: theirs stay as they are
    const int32_t *ids; // the calibration text
    size_t n_ids;
    int rounds; // of a calibrated tie
    int threads;
    uint64_t seed;
    const rrt_progress *progress;
} rrt__recipe;

enum { RRT__CONVERT_ROUNDS = 8, RRT__RANK_UNIT = 32 }; // ranks that a LoRA budget buys at once

// All but the plan and what hangs on it. Fails with what is wrong with the options, or with the source,
// whatever the plan. init: the options', or what the caller wants instead.
rrt_status rrt__recipe_begin(rrt__recipe *recipe, const rrt_model *source, const rrt_convert_options *options,
                             rrt_init init, rrt_error *err);

// The whole. What it rules out would show after the calibration, too: that is minutes later.
rrt_status rrt__recipe_resolve(rrt__recipe *recipe, const rrt_model *source,
                               const rrt_convert_options *options, rrt_error *err);

// Stepwise (paper §2.2, App. F): of n layers, which stands for slot k of count: round(k·(n-1)/(count-1)),
// ties to even; the first and the last are always included. All 0-based.
int rrt__stepwise(int k, int count, int n);

// The layer of the source that a depth stands for.
int rrt__recipe_depth_layer(const rrt__recipe *recipe, int depth);

// The layer of the source that a slot takes its weights and vectors from (paper §2.2, Fig. 2): prelude and
// coda slots their own, the rest by the init's rule (random weights take stepwise vectors). -1 for a mean of
// those that are tied.
int rrt__recipe_slot_layer(const rrt__recipe *recipe, int slot);

// Whether more than one depth uses the slot: only those get LoRA.
bool rrt__recipe_is_shared(const rrt__recipe *recipe, int slot);

#endif
