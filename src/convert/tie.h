// One tie: a matrix of a slot, the originals at the depths that share it, and what they become: one shared
// weight and a low-rank part per depth.
#ifndef RRT__TIE_H
#define RRT__TIE_H

#include "base/rows.h"
#include "convert/low_rank.h"

typedef struct rrt__tie_depth {
    int depth;
    rrt__rows from;        // W_l [out, in]
    const float *original; // the same in memory; NULL, of a plain tie only: it is read
    const float *moment;   // lower triangle of E[x·xᵀ] [in, in], damped; NULL: plain norm
    uint64_t stream;       // of random rows of a
    size_t rank;           // 0: no LoRA here
    float *b, *a;          // out: [out, rank], [rank, in]
    double residual;       // out: ‖(W_l - W')·L‖² / ‖W_l·L‖²
    double kept;           // out: share of the residual that the low-rank part has
    float *energies;       // out, by rrt__tie_spectra alone: [min(out, in)]
} rrt__tie_depth;

typedef struct rrt__tie {
    size_t out, in;
    float *shared; // W' [out, in]: given for a plain tie, found for a calibrated one
    rrt__tie_depth *depths;
    int n;
    uint64_t seed;
} rrt__tie;

// Low-rank parts for a given shared weight. Where a residual is zero, a is random and b zero (the exact-match
// rule, paper App. C).
rrt_status rrt__tie_plain(const rrt__tie *tie, rrt_error *err);

// Shared weight and low-rank parts that minimise Σ_l ‖(W_l - W' - B_l·A_l)·L_l‖² / ‖W_l·L_l‖² by turns: for
// fixed low-rank parts W' solves a linear system, for fixed W' each part is a truncated SVD. That is exact
// for the last W'; in the rounds before, one step of subspace iteration goes on from the last round's. No
// round raises the error. All depths have moments.
rrt_status rrt__tie_calibrated(const rrt__tie *tie, int rounds, rrt_error *err);

// The shared weight that is best without low-rank parts, and the spectra of what it leaves, squared singular
// values of (W_l - W')·L_l / ‖W_l·L_l‖², falling. All depths have moments; a and b are not used.
rrt_status rrt__tie_spectra(const rrt__tie *tie, rrt_error *err);

#endif
