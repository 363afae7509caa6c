// Calibration: second moments of the inputs of each of the original's linear layers on a text.
#ifndef RRT__MOMENTS_H
#define RRT__MOMENTS_H

#include "convert/trace.h"

// Matrices that read the same input share a moment.
typedef enum rrt__input {
    RRT__INPUT_ATTENTION, // q, k, v
    RRT__INPUT_OUTPUT,    // o
    RRT__INPUT_MLP,       // gate, up
    RRT__INPUT_DOWN,      // down
    RRT__INPUT_COUNT
} rrt__input;

rrt__input rrt__matrix_input(rrt__matrix matrix);

// Lower triangles of E[x·xᵀ], row-major, per depth and input. They include the first token of each window:
// its outlier activations make it the attention sink, without which all other tokens go wrong.
typedef struct rrt__moments {
    size_t width[RRT__INPUT_COUNT];
    float **moment; // [n_depths · RRT__INPUT_COUNT]
    int n_depths;
    rrt__arena arena;
} rrt__moments;

// Runs the model over the first trace->tokens ids, which are in its vocabulary, in windows, and fills the
// trace, too.
rrt_status rrt__moments_collect(rrt__moments *moments, rrt__trace *trace, const rrt_model *model,
                                const int32_t *ids, int threads, const rrt_progress *progress,
                                rrt_error *err);
void rrt__moments_free(rrt__moments *moments);

// moment [width, width] += scale · xᵀ·x for the lower triangle; x: [rows, width]. All threads of a team
// call it.
void rrt__moment_add_share(rrt__team team, float *moment, size_t width, const float *x, size_t rows,
                           float scale);

// Adds a tenth of the mean diagonal to the diagonal: this bounds directions that the text does not show, and
// allows for errors of the student's earlier layers. Found by search: 1 % and 100 % are worse (PITFALLS).
// Returns the addend.
float rrt__moment_damp(float *moment, size_t width);

// In place: the lower triangle becomes L with L·Lᵀ = the moment. NUMERIC if it is not positive definite.
rrt_status rrt__moment_factor(float *moment, size_t width, rrt_error *err);

// x = x·(L·Lᵀ)⁻¹ for x [rows, width].
void rrt__moment_solve(float *x, size_t rows, const float *factor, size_t width);

static inline float *rrt__moments_at(const rrt__moments *moments, int depth, rrt__input place)
{
    return moments->moment[depth * RRT__INPUT_COUNT + (int)place];
}

#endif
