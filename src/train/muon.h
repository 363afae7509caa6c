// Muon (Jordan et al. 2024): moves a matrix along its momentum with all singular values brought near 1, so
// that directions with small gradients are learned as fast as those with large ones.
#ifndef RRT__MUON_H
#define RRT__MUON_H

#include "base/memory.h"
#include "base/team.h"
#include "kernels/gemm.h"

enum { RRT__MUON_STEPS = 5 }; // of the Newton-Schulz iteration

// Buffers for one matrix at a time.
typedef struct rrt__muon {
    float *direction, *next; // [out, in]
    float *xxt, *square;     // [side, side]; side: the shorter one. xxt: x·xᵀ, or xᵀ·x of a tall x
    double *squares;         // [threads]
    rrt__products products;  // kind of its matrix products
} rrt__muon;

// Allocates for matrices of up to `max_count` values with a shorter side of up to `side`, in the arena.
rrt_status rrt__muon_create(rrt__muon *muon, rrt__arena *arena, size_t max_count, size_t side, int n_threads,
                            rrt_error *err);

// direction [out, in] becomes approximately U·Vᵀ of its singular value decomposition: five Newton-Schulz
// steps leave singular values between 0.7 and 1.2, those near zero smaller. All threads of a team call it; it
// starts and ends with a barrier.
void rrt__muon_orthogonalize(rrt__team team, const rrt__muon *muon, size_t out, size_t in);

#endif
