// Converts a pretrained model to a recursive one (paper §2.2, §2.3).
#ifndef RRT_CONVERT_H
#define RRT_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

// How the weights that several depths share are made from the originals.
typedef enum rrt_init {
    RRT_INIT_STEPWISE,   // layers at equal spacing, first and last included
    RRT_INIT_AVERAGE,    // mean of the tied layers
    RRT_INIT_LOWER,      // the first layers
    RRT_INIT_RANDOM,     // N(0, 0.02²), vectors stepwise; prelude and coda keep their own: a baseline
    RRT_INIT_CALIBRATED, // shared weight and LoRA together minimise the output error on a text; then o and
                         // down of each depth are fitted again to the student's own inputs (layer-wise
                         // reconstruction). With kept layers: removes one by one the layer without which the
                         // mean KL to the source, on the text, is lowest
} rrt_init;

typedef enum rrt_lora_init {
    RRT_LORA_INIT_SVD,  // the best low-rank approximation of what sharing lost
    RRT_LORA_INIT_ZERO, // A Gaussian, B zero: starts like the model without LoRA
} rrt_lora_init;

typedef struct rrt_convert_options {
    const char *sharing; // "cycle", "sequence" or "none"; NULL: cycle
    int loops;           // B; 0: 2, or 1 without sharing
    int prelude, coda;   // unshared layers at both ends
    // Number of layers that are kept unchanged. 0: all; with sharing, all are tied instead. Without sharing
    // this is pruning. With sharing, the layers between prelude and coda run `loops` times.
    int layers;
    // The same by number, from 0, ascending; layers must then be 0 or n_keep.
    const int *keep;
    size_t n_keep;
    // For kept layers that run in loops with norms per depth: initial gains of the later loops' norms,
    // relative to the first loop's. 0: 1
    double loop_gain;
    bool
        loop_norm; // the final norm's output of a loop enters the next one, as in Nanbeige and Ouro (a cycle)
    rrt_init init;
    int rank; // of each LoRA, capped at min(d_in, d_out) of its matrix; 0: none
    uint64_t
        lora_budget; // instead of rank: total LoRA parameters, spent where they gain most (calibrated only)
    rrt_lora_init lora_init;
    const char *norms;              // "tied", "per-depth" or "folded"; NULL: tied
    const int32_t *calibration_ids; // the text for RRT_INIT_CALIBRATED
    size_t calibration_count;
    int threads;   // 0: one per core
    uint64_t seed; // of random inits
    const rrt_progress *progress;
} rrt_convert_options;

// The result for one matrix at one depth. Calibrated: before the reconstruction.
typedef struct rrt_convert_row {
    int depth, slot;
    const char *matrix; // "q" … "down"
    int rank;
    double residual; // ‖W_l - W'‖² / ‖W_l‖²: the change by sharing; calibrated: of the outputs on the text
    double kept; // share of the residual that the LoRA recovers
} rrt_convert_row;

typedef struct rrt_convert_report {
    rrt_convert_row *rows; // a row per depth and matrix of shared slots, by depth
    size_t n_rows;
    double seconds;
    // Shared layers whose depths differ in attention (local and global, or with and without rotation). In a
    // cycle with blocks of a multiple of attention_period layers there are none.
    int mixed_slots, attention_period;
    int *kept_layers; // the kept layers of the source, from 0, ascending
    size_t n_kept_layers;
} rrt_convert_report;

// Makes a new model. The source must be unconverted (UNSUPPORTED otherwise), does not change, and may be
// closed before the result. If the source was opened deferred, the result is deferred, too, and must be
// closed first: its LoRA is in memory, and its matrices are computed from the source's when it is saved.
// Calibration needs a source in f32 (UNSUPPORTED otherwise). options NULL: all zero. report may be NULL; free
// it with rrt_convert_report_free.
RRT_API rrt_status rrt_convert(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                               rrt_convert_report *report, rrt_error *err);
RRT_API void rrt_convert_report_free(rrt_convert_report *report);

// What a conversion would make and take, from its shapes and the speed of a few matrix products, which
// are timed now: about. What reading and writing files takes is not in it. Nothing is converted.
typedef struct rrt_convert_forecast {
    const char *sharing;
    int loops, layers_per_block, prelude, coda;
    uint64_t params_total, params_body, params_lora;
    double seconds;
    uint64_t peak_bytes; // of memory, the source's included
    size_t plans;        // that a search judges; the plan above is then the first of them. 1 without one
} rrt_convert_forecast;

// target_body: as for rrt_convert_search; 0: the options' own plan. Fails where rrt_convert or
// rrt_convert_search would before they begin; the source may be deferred.
RRT_API rrt_status rrt_convert_estimate(const rrt_model *source, const rrt_convert_options *options,
                                        uint64_t target_body, rrt_convert_forecast *forecast, rrt_error *err);

// One plan that a search tried.
typedef struct rrt_convert_candidate {
    int loops, layers_per_block, prelude, coda;
    uint64_t lora_budget;
    uint64_t params_body;
    bool failed;      // converted, but its output was not finite: kl is meaningless
    double kl;        // mean KL(source ‖ candidate, reconstructed) on text that calibration did not see
    bool on_frontier; // no candidate has both fewer parameters and a lower KL
} rrt_convert_candidate;

typedef struct rrt_convert_frontier {
    rrt_convert_candidate *candidates; // in the order tried
    size_t n_candidates;
} rrt_convert_frontier;

// Searches loops (2 and 3, or options->loops), layers per block, prelude and coda, and spends the rest of
// target_body on LoRA: finds the model of at most target_body body parameters that is nearest to the source,
// and converts. Uses options' sharing, norms and calibration; the init is calibrated. ARGUMENT if no plan is
// small enough, or the text has fewer than 8 tokens; NUMERIC if every candidate failed. Free the frontier
// with rrt_convert_frontier_free.
RRT_API rrt_status rrt_convert_search(rrt_model **out, const rrt_model *source,
                                      const rrt_convert_options *options, uint64_t target_body,
                                      rrt_convert_frontier *frontier, rrt_convert_report *report,
                                      rrt_error *err);
RRT_API void rrt_convert_frontier_free(rrt_convert_frontier *frontier);

#ifdef __cplusplus
}
#endif
#endif
