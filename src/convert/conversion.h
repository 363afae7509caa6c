// A conversion at work, and its steps.
#ifndef RRT__CONVERSION_H
#define RRT__CONVERSION_H

#include "convert/moments.h"
#include "convert/recipe.h"

typedef struct rrt__conversion {
    const rrt_model *source;
    rrt_model *model; // the result
    const rrt__recipe *recipe;
    const rrt__moments *moments; // NULL where ties are not calibrated
    size_t *rank;                // [n_depths · RRT__MATRIX_COUNT]
    rrt_convert_row *rows; // [n_depths · RRT__MATRIX_COUNT], matrix NULL where there is nothing to tell
} rrt__conversion;

static inline size_t rrt__conversion_at(int depth, int matrix)
{
    return (size_t)depth * RRT__MATRIX_COUNT + (size_t)matrix;
}

// The stream of random numbers for a LoRA; random weights have those up from 0.
static inline uint64_t rrt__conversion_stream(int depth, int matrix)
{
    return ~(uint64_t)rrt__conversion_at(depth, matrix);
}

// Norms and biases of the result (tied: by the init's rule; per depth or folded: each depth's own).
rrt_status rrt__conversion_vectors(rrt__conversion *conversion, rrt_error *err);

// Every slot's weights and every LoRA, one tie after the other, on all threads.
rrt_status rrt__conversion_weights(rrt__conversion *conversion, rrt_error *err);

// Solves every tie of shared slots for its spectrum alone: energies[at(depth, matrix)][0..min(out, in)).
rrt_status rrt__conversion_spectra(rrt__conversion *conversion, float *const *energies, rrt_error *err);

// Spends the recipe's LoRA budget: ranks in multiples of RRT__RANK_UNIT, first where a parameter brings back
// most of the output error.
rrt_status rrt__conversion_spend_budget(rrt__conversion *conversion, rrt_error *err);

#endif
