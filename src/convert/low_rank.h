// The best low-rank approximation of a matrix, in the plain norm or in the norm of a matrix's inputs.
#ifndef RRT__LOW_RANK_H
#define RRT__LOW_RANK_H

#include "base/memory.h"

// Buffers for matrices up to [out, in] and ranks up to min(out, in), for one thread.
typedef struct rrt__low_rank_room {
    float *moment, *vectors, *values, *sketch;
    int *support;
    uint64_t seed, stream; // of random rows; set before a call
} rrt__low_rank_room;

rrt_status rrt__low_rank_open(rrt__low_rank_room *room, size_t out, size_t in, rrt_error *err);
void rrt__low_rank_close(rrt__low_rank_room *room);

// For M = R·L [out, in], where L factors the inputs' second moment ([in, in], lower triangle, row-major, L·Lᵀ
// = E[x·xᵀ]; NULL: the identity): b [out, rank] and a [rank, in] minimise ‖M - b·a·L‖_F (Eckart–Young;
// without L this is paper eq. 4, B = U·S, A = Vᵀ). Rows of a have length 1. A direction with nothing left
// gets b = 0 and a random row of a, so that training can still use it. energies[0..rank): the squared
// singular values of M, descending. rank ≤ min(out, in).
rrt_status rrt__low_rank(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                         const float *l, size_t rank, float *b, float *a, float *energies, rrt_error *err);

// All min(out, in) energies of M, without a and b.
rrt_status rrt__low_rank_energies(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                                  float *energies, rrt_error *err);

// A step of subspace iteration towards the same result, from R and C = E[x·xᵀ] (lower triangle). The rows of
// a give the initial directions in input space. q [rank, out] becomes orthonormal directions in output space,
// and qᵀ·a with a = q·R is the best approximation within them.
rrt_status rrt__low_rank_step(rrt__low_rank_room *room, const float *r, size_t out, size_t in, const float *c,
                              size_t rank, float *q, float *a, rrt_error *err);

#endif
