// From a pretrained model to a recursive one (paper §2.2, §2.3).
#ifndef RRT_CONVERT_H
#define RRT_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

// How the weights that several depths will share are made from the originals.
typedef enum rrt_init {
    RRT_INIT_STEPWISE,   // layers at equal spacing, first and last included
    RRT_INIT_AVERAGE,    // mean of the layers that are tied
    RRT_INIT_LOWER,      // the first layers
    RRT_INIT_RANDOM,     // N(0, 0.02²), vectors stepwise; prelude and coda keep their own: a baseline
    RRT_INIT_CALIBRATED, // shared weight and LoRA together minimise the output error on a text; then o and
                         // down of each depth are fitted again to the student's own inputs (layer-wise reconstruction).
                         // Where layers are kept: the others go one by one, each time the one without which
                         // the mean KL to the source, on the text, is least
} rrt_init;

typedef enum rrt_lora_init {
    RRT_LORA_INIT_SVD,  // the best low-rank approximation of what sharing lost
    RRT_LORA_INIT_ZERO, // A Gaussian, B zero: starts as the model without LoRA
} rrt_lora_init;

typedef struct rrt_convert_options {
    const char *sharing; // "cycle", "sequence" or "none"; NULL: cycle
    int loops;           // B; 0: 2, or 1 without sharing
    int prelude, coda;   // layers at both ends that stay unshared
    // How many layers are kept as they are. 0: all; with sharing, all are tied instead. Without sharing that
    // is pruning. With it, what lies between prelude and coda is run `loops` times.
    int layers;
    // The same by number, from 0, ascending; layers is 0 or n_keep then.
    const int *keep;
    size_t n_keep;
    // Where layers are kept and run in loops, with norms per depth: what the norms' gains of the later loops
    // begin with, as a share of the first loop's. 0: 1
    double loop_gain;
    rrt_init init;
    int rank; // of each LoRA, capped at min(d_in, d_out) of its matrix; 0: none
    uint64_t
        lora_budget; // instead of rank: so many LoRA parameters, spent where they gain most (calibrated only)
    rrt_lora_init lora_init;
    const char *norms;              // "tied", "per-depth" or "folded"; NULL: tied
    const int32_t *calibration_ids; // the text for RRT_INIT_CALIBRATED
    size_t calibration_count;
    int threads;   // 0: one per core
    uint64_t seed; // of random inits
    const rrt_progress *progress;
} rrt_convert_options;

// What became of one matrix at one depth. Calibrated: before the reconstruction.
typedef struct rrt_convert_row {
    int depth, slot;
    const char *matrix; // "q" … "down"
    int rank;
    double residual; // ‖W_l - W'‖² / ‖W_l‖²: what sharing changed; calibrated: of the outputs on the text
    double kept; // share of that which the LoRA brings back
} rrt_convert_row;

typedef struct rrt_convert_report {
    rrt_convert_row *rows; // a row per depth and matrix of shared slots, by depth
    size_t n_rows;
    double seconds;
    // Shared layers that stand for layers of different attention (local and global, or with and without
    // rotation). With blocks of a multiple of attention_period layers, in a cycle, there are none.
    int mixed_slots, attention_period;
    int *kept_layers; // the source's layers that are kept as they are, from 0, in order
    size_t n_kept_layers;
} rrt_convert_report;

// Makes a new model. The source has to be unconverted (UNSUPPORTED otherwise) and is not changed; it may be
// closed before the result. Of a source that was opened deferred the result is deferred, too, and to be
// closed first: its LoRA is in memory, its matrices are made of the source's when it is saved. What is
// calibrated needs a source in f32 (UNSUPPORTED otherwise). options NULL: all zero. report may be NULL; free
// it with rrt_convert_report_free.
RRT_API rrt_status rrt_convert(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                               rrt_convert_report *report, rrt_error *err);
RRT_API void rrt_convert_report_free(rrt_convert_report *report);

// One plan that a search tried.
typedef struct rrt_convert_candidate {
    int loops, layers_per_block, prelude, coda;
    uint64_t lora_budget;
    uint64_t params_body;
    bool failed;      // converted, but its output was not finite: kl means nothing
    double kl;        // mean KL(source ‖ candidate, reconstructed) on text that calibration did not see
    bool on_frontier; // no candidate has both fewer parameters and a lower KL
} rrt_convert_candidate;

typedef struct rrt_convert_frontier {
    rrt_convert_candidate *candidates; // in the order tried
    size_t n_candidates;
} rrt_convert_frontier;

// Searches loops (2 and 3, or options->loops), layers per block, prelude and coda, with LoRA for what is
// left, for the model of at most target_body body parameters that is nearest to the source; converts by the
// best. Uses options' sharing, norms and calibration; the init is calibrated. ARGUMENT if no plan is that
// small, or the text has fewer than 8 tokens; NUMERIC if every candidate failed. Free the frontier with
// rrt_convert_frontier_free.
RRT_API rrt_status rrt_convert_search(rrt_model **out, const rrt_model *source,
                                      const rrt_convert_options *options, uint64_t target_body,
                                      rrt_convert_frontier *frontier, rrt_convert_report *report,
                                      rrt_error *err);
RRT_API void rrt_convert_frontier_free(rrt_convert_frontier *frontier);

#ifdef __cplusplus
}
#endif
#endif
