// Least squares: the matrix that, given its inputs, produces the missing part of the hidden state.
#ifndef RRT__FIT_H
#define RRT__FIT_H

#include "convert/low_rank.h"
#include "pass/forward.h"

// Buffers for matrices up to [out, in] and up to `tokens` tokens.
typedef struct rrt__fit {
    size_t tokens;
    float *missing;  // [tokens, out]: the target output
    float *moment;   // [in, in]
    float *cross;    // [out, in]
    float *energies; // [out]
    float damping;
    rrt__low_rank_room room;
    rrt__arena arena;
    rrt_status status; // of the work of the team's first thread
    rrt_error error;
} rrt__fit;

// The matrix to fit: the weight of an unshared linear layer, or the LoRA, whose rank is not 0.
typedef struct rrt__fit_target {
    const rrt__linear *linear;
    const rrt__lora *lora; // NULL: the weight itself
    const float *original; // what the fit is regularised towards
    float *room;           // [out, in]: scratch of the caller
    uint64_t stream;       // of random rows of the LoRA
} rrt__fit_target;

rrt_status rrt__fit_open(rrt__fit *fit, size_t tokens, size_t out, size_t in, rrt_error *err);
void rrt__fit_close(rrt__fit *fit);

// Fits the target to x [tokens, in] and fit->missing. All threads of a team call it; it ends with a barrier.
// Errors are in fit->status and fit->error.
void rrt__fit_matrix(rrt__team team, rrt__fit *fit, const float *x, const rrt__fit_target *target);

#endif
