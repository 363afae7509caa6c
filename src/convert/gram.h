// Calibration: what the inputs of each linear layer of the original look like on a text.
#ifndef RRT__GRAM_H
#define RRT__GRAM_H

#include "convert/trace.h"

// Matrices that read the same input share a gram.
typedef enum rrt__gram_place {
    RRT__GRAM_ATTENTION, // q, k, v
    RRT__GRAM_OUTPUT,    // o
    RRT__GRAM_MLP,       // gate, up
    RRT__GRAM_DOWN,      // down
    RRT__GRAM_COUNT
} rrt__gram_place;

rrt__gram_place rrt__gram_of(rrt__matrix matrix);

// Lower triangles of E[x·xᵀ], row-major, per depth and place. The first token of each window is in it: its
// outlier activations make it the attention sink, without which all other tokens go wrong.
typedef struct rrt__grams {
    size_t width[RRT__GRAM_COUNT];
    float **gram; // [n_depths · RRT__GRAM_COUNT]
    int n_depths;
    rrt__arena arena;
} rrt__grams;

// Runs the model over the first trace->tokens ids, which are of its vocabulary, in windows, and leaves what
// it saw in the trace, too.
rrt_status rrt__grams_collect(rrt__grams *grams, rrt__trace *trace, const rrt_model *model,
                              const int32_t *ids, int threads, const rrt_progress *progress, rrt_error *err);
void rrt__grams_free(rrt__grams *grams);

// gram [width, width] += scale · xᵀ·x for the lower triangle; x: [rows, width]. Called by all threads of a
// team.
void rrt__gram_add_share(rrt__team team, float *gram, size_t width, const float *x, size_t rows, float scale);

// Adds a tenth of the mean diagonal to the diagonal: directions that the text does not show stay bounded, and
// errors that earlier layers of the student will make are expected. Found by search: 1 % and 100 % are worse
// (PITFALLS).
// Returns what was added.
float rrt__gram_damp(float *gram, size_t width);

// In place: the lower triangle becomes L with L·Lᵀ = the gram. NUMERIC if it is not positive definite.
rrt_status rrt__gram_factor(float *gram, size_t width, rrt_error *err);

// x = x·(L·Lᵀ)⁻¹ for x [rows, width].
void rrt__gram_solve(float *x, size_t rows, const float *factor, size_t width);

static inline float *rrt__grams_at(const rrt__grams *grams, int depth, rrt__gram_place place)
{
    return grams->gram[depth * RRT__GRAM_COUNT + (int)place];
}

#endif
