// Least squares: what a matrix has to be, so that from the inputs it sees it gives what is missing.
#ifndef RRT__FIT_H
#define RRT__FIT_H

#include "convert/low_rank.h"
#include "pass/forward.h"

// Room for matrices up to [out, in], and for so many tokens.
typedef struct rrt__fit {
    size_t tokens;
    float *missing;  // [tokens, out]: what the matrix should give
    float *moment;   // [in, in]
    float *cross;    // [out, in]
    float *energies; // [out]
    float damping;
    rrt__low_rank_room room;
    rrt__arena arena;
    rrt_status status; // of what the team's first thread did
    rrt_error error;
} rrt__fit;

// What is fitted: the weight of an unshared linear layer, or else the LoRA, whose rank is not 0.
typedef struct rrt__fit_target {
    const rrt__linear *linear;
    const rrt__lora *lora; // NULL: the weight itself
    const float *original; // what the fit is drawn to where the inputs say little
    float *room;           // [out, in]: lent
    uint64_t stream;       // of random rows of the LoRA
} rrt__fit_target;

rrt_status rrt__fit_open(rrt__fit *fit, size_t tokens, size_t out, size_t in, rrt_error *err);
void rrt__fit_close(rrt__fit *fit);

// Fits to x [tokens, in] and fit->missing. Called by all threads of a team; ends with a barrier. What went
// wrong is in fit->status and fit->error.
void rrt__fit_matrix(rrt__team team, rrt__fit *fit, const float *x, const rrt__fit_target *target);

#endif
