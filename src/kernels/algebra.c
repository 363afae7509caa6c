#include "kernels/algebra.h"

#include <cblas.h>
#include <lapacke.h>

static enum CBLAS_TRANSPOSE order_of(rrt__operand a)
{
    return a.is_transposed ? CblasTrans : CblasNoTrans;
}

void rrt__algebra_multiply(float *c, size_t stride, rrt__operand a, rrt__operand b, size_t rows,
                           size_t columns, size_t inner, float alpha, float beta)
{
    cblas_sgemm(CblasRowMajor, order_of(a), order_of(b), (int)rows, (int)columns, (int)inner, alpha, a.values,
                (int)a.stride, b.values, (int)b.stride, beta, c, (int)stride);
}

void rrt__algebra_multiply_symmetric(float *y, const float *x, const float *s, size_t rows, size_t width,
                                     float alpha)
{
    int n = (int)width;
    cblas_ssymm(CblasRowMajor, CblasRight, CblasLower, (int)rows, n, alpha, s, n, x, n, 0, y, n);
}

void rrt__algebra_multiply_lower(float *x, const float *l, size_t rows, size_t width)
{
    int n = (int)width;
    cblas_strmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)rows, n, 1, l, n, x,
                n);
}

static void solve(float *x, const float *l, size_t rows, size_t width, enum CBLAS_TRANSPOSE order)
{
    int n = (int)width;
    cblas_strsm(CblasRowMajor, CblasRight, CblasLower, order, CblasNonUnit, (int)rows, n, 1, l, n, x, n);
}

void rrt__algebra_solve_lower(float *x, const float *l, size_t rows, size_t width)
{
    solve(x, l, rows, width, CblasNoTrans);
}

void rrt__algebra_solve_lower_transposed(float *x, const float *l, size_t rows, size_t width)
{
    solve(x, l, rows, width, CblasTrans);
}

void rrt__algebra_square(float *s, const float *m, size_t out, size_t in)
{
    bool is_wide = out <= in;
    int side = (int)(is_wide ? out : in), inner = (int)(is_wide ? in : out);
    cblas_ssyrk(CblasRowMajor, CblasLower, is_wide ? CblasNoTrans : CblasTrans, side, inner, 1, m, (int)in, 0,
                s, side);
}

// A row-major lower triangle is LAPACK's upper one ('U').

int rrt__algebra_cholesky(float *s, size_t width)
{
    return (int)LAPACKE_spotrf(LAPACK_COL_MAJOR, 'U', (lapack_int)width, s, (lapack_int)width);
}

int rrt__algebra_eigenvectors(float *s, size_t width, size_t count, float *values, float *vectors, int *room)
{
    lapack_int found = 0, n = (lapack_int)width;
    // Row-major rows are column-major columns: each of LAPACK's eigenvectors is a row for us.
    lapack_int code = LAPACKE_ssyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', n, s, n, 0, 0,
                                     n - (lapack_int)count + 1, n, 0, &found, values, vectors, n, room);
    return code == 0 && found != (lapack_int)count ? -1 : (int)code;
}

int rrt__algebra_eigenvalues(float *s, size_t width, float *values)
{
    return (int)LAPACKE_ssyevd(LAPACK_COL_MAJOR, 'N', 'U', (lapack_int)width, s, (lapack_int)width, values);
}

int rrt__algebra_orthonormalise(float *q, size_t rows, size_t width, float *room)
{
    lapack_int m = (lapack_int)width, k = (lapack_int)rows; // a row of q is a column for LAPACK
    lapack_int code = LAPACKE_sgeqrf(LAPACK_COL_MAJOR, m, k, q, m, room);
    return (int)(code ? code : LAPACKE_sorgqr(LAPACK_COL_MAJOR, m, k, k, q, m, room));
}
