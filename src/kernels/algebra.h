// Linear algebra on one thread, by CBLAS and LAPACK: what conversions solve, and attention over whole texts.
// With gemm.h this is all that knows these libraries. Matrices are row-major f32; a lower triangle stands for
// the whole of a symmetric matrix.
#ifndef RRT__ALGEBRA_H
#define RRT__ALGEBRA_H

#include <stdbool.h>
#include <stddef.h>

// A matrix in memory, rows `stride` values apart, or its transpose.
typedef struct rrt__operand {
    const float *values;
    size_t stride;
    bool is_transposed;
} rrt__operand;

// c[rows, columns] = alpha · a · b + beta · c; a: [rows, inner], b: [inner, columns], once they are
// transposed.
void rrt__algebra_multiply(float *c, size_t stride, rrt__operand a, rrt__operand b, size_t rows,
                           size_t columns, size_t inner, float alpha, float beta);

// y[rows, width] = alpha · x · S, S symmetric.
void rrt__algebra_multiply_symmetric(float *y, const float *x, const float *s, size_t rows, size_t width,
                                     float alpha);

// x[rows, width] = x · L; x · L⁻¹; x · L⁻ᵀ. L: a lower triangle.
void rrt__algebra_multiply_lower(float *x, const float *l, size_t rows, size_t width);
void rrt__algebra_solve_lower(float *x, const float *l, size_t rows, size_t width);
void rrt__algebra_solve_lower_transposed(float *x, const float *l, size_t rows, size_t width);

// s = M·Mᵀ or, where M is [out, in] with more rows than columns, Mᵀ·M: symmetric, of the shorter side.
void rrt__algebra_square(float *s, const float *m, size_t out, size_t in);

// The functions below return 0, or LAPACK's code of what went wrong.

// S becomes L of S = L·Lᵀ. The code is the first row that is not positive definite.
int rrt__algebra_cholesky(float *s, size_t width);

// The `count` greatest eigenvalues of S, rising, and their vectors as rows of vectors [count, width]. values:
// [width], room: [2 · width]. S is lost.
int rrt__algebra_eigenvectors(float *s, size_t width, size_t count, float *values, float *vectors, int *room);

// All eigenvalues, rising. S is lost.
int rrt__algebra_eigenvalues(float *s, size_t width, float *values);

// Rows of q [rows, width], rows ≤ width, become orthonormal and span what they spanned. room: [rows].
int rrt__algebra_orthonormalise(float *q, size_t rows, size_t width, float *room);

#endif
