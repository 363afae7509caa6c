// The best low-rank approximation of a matrix, in the plain norm or in the norm of a matrix's inputs.
#ifndef RRT__LOW_RANK_H
#define RRT__LOW_RANK_H

#include "base/memory.h"

// Room for matrices up to [out, in] and ranks up to min(out, in); used by one thread.
typedef struct rrt__low_rank_room {
    float *weighed, *gram, *vectors, *values;
    int *support;
} rrt__low_rank_room;

rrt_status rrt__low_rank_open(rrt__low_rank_room *room, size_t out, size_t in, rrt_error *err);
void rrt__low_rank_close(rrt__low_rank_room *room);

// Of R [out, in] and the inputs' factor L [in, in] (lower triangle, row-major, L·Lᵀ = E[x·xᵀ]; NULL: the
// identity): b [out, rank] and a [rank, in] minimise ‖(R - b·a)·L‖_F (Eckart–Young; without L this is paper
// eq. 4, B = U·S, A = Vᵀ). Rows of a have length 1. A direction in which nothing is left gets b = 0 and a
// random row of a, so that training can still use it. energies[0..rank): the squares of the singular values
// of R·L, falling. *total: ‖R·L‖_F². rank ≤ min(out, in).
rrt_status rrt__low_rank(rrt__low_rank_room *room, const float *r, size_t out, size_t in, const float *l,
                         size_t rank, float *b, float *a, float *energies, double *total, rrt_error *err);

#endif
