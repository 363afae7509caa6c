// The state of a conversion, and its steps.
#ifndef RRT__CONVERSION_H
#define RRT__CONVERSION_H

#include "convert/moments.h"
#include "convert/recipe.h"

typedef struct rrt__conversion {
    const rrt_model *source;
    rrt_model *model; // the result
    const rrt__recipe *recipe;
    const rrt__moments *moments; // NULL if ties are not calibrated
    size_t *rank;                // [n_depths · RRT__MATRIX_COUNT]
    rrt_convert_row *rows;       // [n_depths · RRT__MATRIX_COUNT]; matrix NULL: no row in the report
} rrt__conversion;

static inline size_t rrt__conversion_at(int depth, int matrix)
{
    return (size_t)depth * RRT__MATRIX_COUNT + (size_t)matrix;
}

// Random stream of a LoRA, counted down from the maximum; random weights count up from 0.
static inline uint64_t rrt__conversion_stream(int depth, int matrix)
{
    return ~(uint64_t)rrt__conversion_at(depth, matrix);
}

// Norms and biases of the result (tied: by the init's rule; per depth or folded: each depth's own).
rrt_status rrt__conversion_vectors(rrt__conversion *conversion, rrt_error *err);

// Computes every slot's weights and every LoRA, one tie after the other, on all threads.
rrt_status rrt__conversion_weights(rrt__conversion *conversion, rrt_error *err);

// Computes only the spectrum of every tie of shared slots: energies[at(depth, matrix)][0..min(out, in)).
rrt_status rrt__conversion_spectra(rrt__conversion *conversion, float *const *energies, rrt_error *err);

// Spends the recipe's LoRA budget: buys ranks in multiples of RRT__RANK_UNIT, first those that recover most
// output error per parameter.
rrt_status rrt__conversion_spend_budget(rrt__conversion *conversion, rrt_error *err);

#endif
