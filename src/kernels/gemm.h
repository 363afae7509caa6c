// Matrix products by CBLAS: every thread of a team computes its own share of the result (never of the inner
// sum), so that one parallel region serves a whole step. OpenBLAS runs such a call on one thread. Threads
// split the longer side of the result, so that each packs as little as possible; a barrier has to follow
// before others read it.
//
// Rounding to bfloat16 (gemm_bf16.h) leaves factors 8 bits of mantissa instead of 24; sums are still f32.
// Allowed only if rrt__gemm_bf16_is_available.
#ifndef RRT__GEMM_H
#define RRT__GEMM_H

#include <stddef.h>

#include "base/error.h"
#include "base/team.h"
#include "kernels/gemm_bf16.h"

enum { RRT__GEMM_GRAIN = 16 }; // rows or columns that one thread keeps together

// How a forward pass computes matrix products.
typedef struct rrt__products {
    enum {
        RRT__PRODUCTS_BY_ROW, // by the kernels (kernels.h): a row's result depends only on that row
        RRT__PRODUCTS_F32,    // by CBLAS; matrices that are not f32 still by the kernels
        RRT__PRODUCTS_BF16,   // the same, with rounded factors
    } kind;
    rrt__gemm_bf16_scratch *scratch; // BF16: [threads of the team]
} rrt__products;

static const rrt__products rrt__products_f32 = {.kind = RRT__PRODUCTS_F32};

// y[rows, out] = x[rows, in] · w[out, in]ᵀ, or += with accumulate.
void rrt__gemm_share(rrt__team team, rrt__products products, float *y, const float *x, const float *w,
                     size_t rows, size_t out, size_t in, int accumulate);

// Its backward pass: dx[rows, in] = dy[rows, out] · w[out, in], or +=; dw[out, in] = dyᵀ · x[rows, in],
// or +=.
void rrt__gemm_input_gradient_share(rrt__team team, rrt__products products, float *dx, const float *dy,
                                    const float *w, size_t rows, size_t out, size_t in, int accumulate);
void rrt__gemm_weight_gradient_share(rrt__team team, rrt__products products, float *dw, const float *dy,
                                     const float *x, size_t rows, size_t out, size_t in, int accumulate);

// Compares a small product with plain loops. Some OpenBLAS builds choose kernels that are wrong on newer
// processors: then NUMERIC, with the advice to set OPENBLAS_CORETYPE. Takes microseconds.
rrt_status rrt__gemm_self_test(rrt_error *err);

#endif
