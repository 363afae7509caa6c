// The best low-rank approximation of a matrix, in the plain norm or in the norm of a matrix's inputs.
#ifndef RRT__LOW_RANK_H
#define RRT__LOW_RANK_H

#include "base/memory.h"

// Room for matrices up to [out, in] and ranks up to min(out, in); used by one thread.
typedef struct rrt__low_rank_room {
    float *moment, *vectors, *values, *sketch;
    int *support;
    uint64_t seed, stream; // of random rows, set before a call
} rrt__low_rank_room;

rrt_status rrt__low_rank_open(rrt__low_rank_room *room, size_t out, size_t in, rrt_error *err);
void rrt__low_rank_close(rrt__low_rank_room *room);

// Of M = R·L [out, in], where L is the factor of the inputs ([in, in], lower triangle, row-major, L·Lᵀ =
// E[x·xᵀ]; NULL: the identity): b [out, rank] and a [rank, in] minimise ‖M - b·a·L‖_F (Eckart–Young; without
// L this is paper eq. 4, B = U·S, A = Vᵀ). Rows of a have length 1. A direction in which nothing is left gets
// b = 0 and a random row of a, so that training can still use it. energies[0..rank): the squares of the
// singular values of M, falling. rank ≤ min(out, in).
rrt_status rrt__low_rank(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                         const float *l, size_t rank, float *b, float *a, float *energies, rrt_error *err);

// All min(out, in) energies of M alone.
rrt_status rrt__low_rank_energies(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                                  float *energies, rrt_error *err);

// A step of subspace iteration towards the same, from R and C = E[x·xᵀ] (lower triangle): the rows of a give
// directions in the space of the inputs to start from; q [rank, out] becomes orthonormal directions in the
// space of the outputs, and qᵀ·a with a = q·R the best approximation within them.
rrt_status rrt__low_rank_step(rrt__low_rank_room *room, const float *r, size_t out, size_t in, const float *c,
                              size_t rank, float *q, float *a, rrt_error *err);

#endif
