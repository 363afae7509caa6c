#include "kernels/gemm.h"

#include <cblas.h>
#include <math.h>

#include "kernels/gemm_bf16.h"

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

void rrt__gemm(rrt__team team, float *y, const float *x, const float *w, size_t rows, size_t out, size_t in,
               int accumulate)
{
    tile own = share_tile(team, rows, out);
    int k = (int)in;
    if (own.rows == 0 || own.columns == 0) return;
    float beta = accumulate ? 1.0f : 0.0f;
    const float *x_share = x + own.row * in, *w_share = w + own.column * in;
    float *y_share = y + own.row * out + own.column;
    if (rows == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, own.columns, k, 1.0f, w_share, k, x_share, 1, beta, y_share,
                    1);
    else if (team.bf16)
        rrt__gemm_bf16(y_share, out, (rrt__factor){x_share, in, false}, (rrt__factor){w_share, in, false},
                       (size_t)own.rows, (size_t)own.columns, in, accumulate);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, own.rows, own.columns, k, 1.0f, x_share, k,
                    w_share, k, beta, y_share, (int)out);
}

void rrt__gemm_input_gradient(rrt__team team, float *dx, const float *dy, const float *w, size_t rows,
                              size_t out, size_t in, int accumulate)
{
    tile own = share_tile(team, rows, in);
    if (own.rows == 0 || own.columns == 0) return;
    const float *dy_share = dy + own.row * out, *w_share = w + own.column;
    float *dx_share = dx + own.row * in + own.column;
    if (team.bf16)
        rrt__gemm_bf16(dx_share, in, (rrt__factor){dy_share, out, false}, (rrt__factor){w_share, in, true},
                       (size_t)own.rows, (size_t)own.columns, out, accumulate);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, own.rows, own.columns, (int)out, 1, dy_share,
                    (int)out, w_share, (int)in, accumulate ? 1 : 0, dx_share, (int)in);
}

void rrt__gemm_weight_gradient(rrt__team team, float *dw, const float *dy, const float *x, size_t rows,
                               size_t out, size_t in, int accumulate)
{
    tile own = share_tile(team, out, in);
    if (own.rows == 0 || own.columns == 0 || rows == 0) return;
    const float *dy_share = dy + own.row, *x_share = x + own.column;
    float *dw_share = dw + own.row * in + own.column;
    if (team.bf16)
        rrt__gemm_bf16(dw_share, in, (rrt__factor){dy_share, out, true}, (rrt__factor){x_share, in, true},
                       (size_t)own.rows, (size_t)own.columns, rows, accumulate);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, own.rows, own.columns, (int)rows, 1, dy_share,
                    (int)out, x_share, (int)in, accumulate ? 1 : 0, dw_share, (int)in);
}

rrt_status rrt__gemm_self_test(rrt_error *err)
{
    enum { ROWS = 9, OUT = 33, IN = 70 };
    float x[ROWS * IN], w[OUT * IN], y[ROWS * OUT];
    for (size_t i = 0; i < ROWS * IN; i++) x[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    for (size_t i = 0; i < OUT * IN; i++) w[i] = (float)(i * 53 % 103) / 103.0f - 0.5f;
    for (size_t rows = 1; rows <= ROWS; rows += ROWS - 1) {
        rrt__gemm((rrt__team){0, 1}, y, x, w, rows, OUT, IN, 0);
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
