// Linear algebra on one thread, by CBLAS and LAPACK: for conversions, and for attention over whole texts.
// Only this and gemm.h know these libraries. Matrices are row-major f32; a lower triangle represents a
// symmetric matrix.
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

// c[rows, columns] = alpha · a · b + beta · c; a: [rows, inner], b: [inner, columns], after transposition.
void rrt__algebra_multiply(float *c, size_t stride, rrt__operand a, rrt__operand b, size_t rows,
                           size_t columns, size_t inner, float alpha, float beta);

// y[rows, width] = alpha · x · S, S symmetric.
void rrt__algebra_multiply_symmetric(float *y, const float *x, const float *s, size_t rows, size_t width,
                                     float alpha);

// x[rows, width] = x · L; x · L⁻¹; x · L⁻ᵀ. L: a lower triangle.
void rrt__algebra_multiply_lower(float *x, const float *l, size_t rows, size_t width);
void rrt__algebra_solve_lower(float *x, const float *l, size_t rows, size_t width);
void rrt__algebra_solve_lower_transposed(float *x, const float *l, size_t rows, size_t width);

// s = M·Mᵀ or, for M [out, in] with more rows than columns, Mᵀ·M: symmetric, of the shorter side.
void rrt__algebra_square(float *s, const float *m, size_t out, size_t in);

// The functions below return 0, or LAPACK's error code.

// S becomes L, with S = L·Lᵀ. The code is the first row that is not positive definite.
int rrt__algebra_cholesky(float *s, size_t width);

// The `count` largest eigenvalues of S, ascending, and their vectors as rows of vectors [count, width].
// values: [width], room: [2 · width]. Overwrites S.
int rrt__algebra_eigenvectors(float *s, size_t width, size_t count, float *values, float *vectors, int *room);

// All eigenvalues, ascending. Overwrites S.
int rrt__algebra_eigenvalues(float *s, size_t width, float *values);

// Makes the rows of q [rows, width], rows ≤ width, orthonormal with the same span. room: [rows].
int rrt__algebra_orthonormalise(float *q, size_t rows, size_t width, float *room);

#endif
