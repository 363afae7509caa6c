// Products with unquantised matrices, in f32: 16-bit weights are widened to f32, which is exact, and rows of
// x stay unchanged. A result is one chain of fused multiply-adds along the inputs, first to last: the same
// bits whatever the instruction set, the batch or the number of threads.
#ifndef RRT__PLAIN_H
#define RRT__PLAIN_H

#include "kernels/linear.h"

// y[rows, out] = x · Wᵀ, or +=, for the groups [begin, end) of outputs: type of `multiply_plain` in a kernel
// table. x: [rows, in].
typedef void rrt__plain_multiply(float *y, const rrt__linear *w, const float *x, size_t rows, size_t begin,
                                 size_t end, bool accumulate);

rrt__plain_multiply rrt__plain_multiply_reference;
#if defined(__x86_64__)
rrt__plain_multiply rrt__plain_multiply_avx2;
rrt__plain_multiply rrt__plain_multiply_avx512;
#endif

#endif
