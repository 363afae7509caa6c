// What the steps of a conversion share.
#ifndef RRT__CONVERT_H
#define RRT__CONVERT_H

#include "convert/gram.h"
#include "model/model.h"
#include "rrt/convert.h"

typedef struct rrt__conversion {
    const rrt_model *source;
    rrt_model *model; // the result
    rrt_convert_options options;
    rrt__norms_mode norms;
    const rrt__grams *grams; // NULL where nothing is calibrated
    int rounds;              // of a calibrated tie
    size_t *rank;            // [n_depths · RRT__MATRIX_COUNT]
    rrt_convert_row *rows;   // [n_depths · RRT__MATRIX_COUNT], matrix NULL where there is nothing to tell
} rrt__conversion;

enum { RRT__CONVERT_ROUNDS = 8 };

// Fails with what is wrong with the options, or with the source, whatever the plan.
rrt_status rrt__convert_check(const rrt_model *source, const rrt_convert_options *options, rrt_error *err);

// One conversion, with grams at hand where it is calibrated: the source is f32 then. Without, the result's
// matrices are deferred to the source, which has to outlive it.
rrt_status rrt__convert_run(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                            const rrt__grams *grams, int rounds, rrt_convert_report *report, rrt_error *err);

// How much of a calibration text the grams and the trace are made from: its beginning shows where to start,
// and healing, which decides, reads all of it.
size_t rrt__convert_seen(size_t calibration_count);

static inline size_t rrt__conversion_at(int depth, int matrix)
{
    return (size_t)depth * RRT__MATRIX_COUNT + (size_t)matrix;
}

// The stream of random numbers for a LoRA; random weights have those up from 0.
static inline uint64_t rrt__conversion_stream(int depth, int matrix)
{
    return ~(uint64_t)rrt__conversion_at(depth, matrix);
}

// Whether the slot is used by more than one depth: only those get LoRA.
bool rrt__conversion_is_shared(const rrt__plan *plan, int slot);

// Norms and biases of the result (tied: by the init's rule; per depth or folded: each depth's own).
rrt_status rrt__convert_vectors(rrt__conversion *conversion, rrt_error *err);

// Every slot's weights and every LoRA, one tie after the other, on all threads.
rrt_status rrt__convert_weights(rrt__conversion *conversion, rrt_error *err);

// What the dearest ranks that a budget buys at once cost, in parameters: from there on it buys something.
uint64_t rrt__convert_budget_unit(const rrt_model *source);

// Spends options.lora_budget: ranks in multiples of 32, first where a parameter brings back most of the
// output error.
rrt_status rrt__convert_spend_budget(rrt__conversion *conversion, rrt_error *err);

// Solves every tie of shared slots for its spectrum alone: energies[at(depth, matrix)][0..min(out, in)).
rrt_status rrt__convert_spectra(rrt__conversion *conversion, float *const *energies, rrt_error *err);

#endif
