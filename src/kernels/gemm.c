#include "kernels/gemm.h"

#include <cblas.h>
#include <math.h>

// A thread's part of a matrix: some of its rows or some of its columns.
typedef struct tile {
    size_t row, column;
    int rows, columns;
} tile;

static tile share_tile(rrt__team team, size_t rows, size_t columns)
{
    bool by_rows = rows > columns;
    rrt__share share = rrt__team_share(team, by_rows ? rows : columns, RRT__GEMM_GRAIN);
    int length = (int)(share.end - share.begin);
    return by_rows ? (tile){share.begin, 0, length, (int)columns} : (tile){0, share.begin, (int)rows, length};
}

// A tile of c[rows, columns] = a · bᵀ, or +=, like rrt__gemm_bf16.
static void multiply(rrt__team team, rrt__products products, float *c, size_t stride, tile own, rrt__factor a,
                     rrt__factor b, size_t inner, int accumulate)
{
    c += own.row * stride + own.column;
    a.values += own.row * (a.is_transposed ? 1 : a.stride);
    b.values += own.column * (b.is_transposed ? 1 : b.stride);
    if (own.rows == 0 || own.columns == 0) return;
    if (products.kind == RRT__PRODUCTS_BF16)
        rrt__gemm_bf16(&products.scratch[team.ith], c, stride, a, b, (size_t)own.rows, (size_t)own.columns,
                       inner, accumulate);
    else
        cblas_sgemm(CblasRowMajor, a.is_transposed ? CblasTrans : CblasNoTrans,
                    b.is_transposed ? CblasNoTrans : CblasTrans, own.rows, own.columns, (int)inner, 1,
                    a.values, (int)a.stride, b.values, (int)b.stride, accumulate ? 1 : 0, c, (int)stride);
}

void rrt__gemm_share(rrt__team team, rrt__products products, float *y, const float *x, const float *w,
                     size_t rows, size_t out, size_t in, int accumulate)
{
    tile own = share_tile(team, rows, out);
    if (rows != 1)
        multiply(team, products, y, out, own, (rrt__factor){x, in, false}, (rrt__factor){w, in, false}, in,
                 accumulate);
    else if (own.columns > 0)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, own.columns, (int)in, 1, w + own.column * in, (int)in, x, 1,
                    accumulate ? 1 : 0, y + own.column, 1);
}

void rrt__gemm_input_gradient_share(rrt__team team, rrt__products products, float *dx, const float *dy,
                                    const float *w, size_t rows, size_t out, size_t in, int accumulate)
{
    multiply(team, products, dx, in, share_tile(team, rows, in), (rrt__factor){dy, out, false},
             (rrt__factor){w, in, true}, out, accumulate);
}

void rrt__gemm_weight_gradient_share(rrt__team team, rrt__products products, float *dw, const float *dy,
                                     const float *x, size_t rows, size_t out, size_t in, int accumulate)
{
    if (rows > 0)
        multiply(team, products, dw, in, share_tile(team, out, in), (rrt__factor){dy, out, true},
                 (rrt__factor){x, in, true}, rows, accumulate);
}

rrt_status rrt__gemm_self_test(rrt_error *err)
{
    enum { ROWS = 9, OUT = 33, IN = 70 };
    float x[ROWS * IN], w[OUT * IN], y[ROWS * OUT];
    for (size_t i = 0; i < ROWS * IN; i++) x[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    for (size_t i = 0; i < OUT * IN; i++) w[i] = (float)(i * 53 % 103) / 103.0f - 0.5f;
    for (size_t rows = 1; rows <= ROWS; rows += ROWS - 1) {
        rrt__gemm_share((rrt__team){0, 1}, rrt__products_f32, y, x, w, rows, OUT, IN, 0);
        for (size_t i = 0; i < rows * OUT; i++) {
            double sum = 0;
            for (size_t k = 0; k < IN; k++) sum += (double)x[i / OUT * IN + k] * w[i % OUT * IN + k];
            if (fabs(sum - y[i]) < 1e-4) continue;
            rrt_status status =
                rrt__fail(err, RRT_STATUS_NUMERIC, "the BLAS library gives wrong products on this CPU");
            return rrt__hint(err, status,
                             "set OPENBLAS_CORETYPE=Haswell in the environment, or install a newer OpenBLAS");
        }
    }
    return RRT_STATUS_OK;
}
