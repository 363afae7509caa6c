// One tie: a slot's matrix, the originals at the depths that share it, and the solution: one shared weight
// and a low-rank part per depth.
#ifndef RRT__TIE_H
#define RRT__TIE_H

#include "base/rows.h"
#include "convert/low_rank.h"

enum { RRT__TIE_FIRST_STEPS = 4 }; // of the subspace iteration in the first round, from random directions

typedef struct rrt__tie_depth {
    int depth;
    rrt__rows from;        // W_l [out, in]
    const float *original; // the same in memory; NULL (plain ties only): it is read
    const float *moment;   // lower triangle of E[x·xᵀ] [in, in], damped; NULL: plain norm
    uint64_t stream;       // of random rows of a
    size_t rank;           // 0: no LoRA here
    float *b, *a;          // out: [out, rank], [rank, in]
    double residual;       // out: ‖(W_l - W')·L‖² / ‖W_l·L‖²
    double kept;           // out: share of the residual that the low-rank part has
    float *energies;       // out, of rrt__tie_spectra only: [min(out, in)]
} rrt__tie_depth;

typedef struct rrt__tie {
    size_t out, in;
    float *shared; // W' [out, in]: input of a plain tie, output of a calibrated one
    rrt__tie_depth *depths;
    int n;
    uint64_t seed;
} rrt__tie;

// Finds the low-rank parts for a given shared weight. For a zero residual, a is random and b zero (the
// exact-match rule, paper App. C).
rrt_status rrt__tie_plain(const rrt__tie *tie, rrt_error *err);

// Finds the shared weight and low-rank parts that minimise Σ_l ‖(W_l - W' - B_l·A_l)·L_l‖² / ‖W_l·L_l‖² by
// alternation: for fixed low-rank parts W' solves a linear system, for fixed W' each part is a truncated SVD.
// The SVD is exact for the last W'; each earlier round takes one step of subspace iteration from the round
// before. No round raises the error. All depths need moments.
rrt_status rrt__tie_calibrated(const rrt__tie *tie, int rounds, rrt_error *err);

// Finds the best shared weight without low-rank parts, and the spectra of the residuals: squared singular
// values of (W_l - W')·L_l / ‖W_l·L_l‖², descending. All depths need moments; a and b are not used.
rrt_status rrt__tie_spectra(const rrt__tie *tie, rrt_error *err);

#endif
