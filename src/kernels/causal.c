#include "kernels/causal.h"

#include <cblas.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

size_t rrt__causal_scratch(size_t tokens)
{
    return 2 * BLOCK_ROWS * tokens;
}

// c[rows, columns] = alpha · a · b + beta · c, leading dimensions given.
static void multiply(enum CBLAS_TRANSPOSE a_order, enum CBLAS_TRANSPOSE b_order, size_t rows, size_t columns,
                     size_t inner, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                     float beta, float *c, size_t ldc)
{
    cblas_sgemm(CblasRowMajor, a_order, b_order, (int)rows, (int)columns, (int)inner, alpha, a, (int)lda, b,
                (int)ldb, beta, c, (int)ldc);
}

void rrt__causal_forward(const rrt__kernels *kernels, const rrt__causal *a, size_t head, float *out,
                         float *log_sums, float *scratch)
{
    size_t d = a->head_dim, q_stride = a->heads * d, kv_stride = a->kv_heads * d;
    size_t kv_offset = head / (a->heads / a->kv_heads) * d;
    const float *k = a->k + kv_offset, *v = a->v + kv_offset;
    for (size_t begin = 0; begin < a->tokens; begin += BLOCK_ROWS) {
        size_t end = begin + BLOCK_ROWS < a->tokens ? begin + BLOCK_ROWS : a->tokens, rows = end - begin;
        size_t at = begin * q_stride + head * d;
        multiply(CblasNoTrans, CblasTrans, rows, end, d, a->scale, a->q + at, q_stride, k, kv_stride, 0,
                 scratch, end);
        for (size_t r = 0; r < rows; r++) {
            size_t seen = begin + r + 1;
            float *scores = scratch + r * end;
            log_sums[(begin + r) * a->heads + head] = kernels->softmax(scores, seen);
            memset(scores + seen, 0, (end - seen) * sizeof *scores);
        }
        multiply(CblasNoTrans, CblasNoTrans, rows, d, end, 1, scratch, end, v, kv_stride, 0, out + at,
                 q_stride);
    }
}

static float dot(const float *a, const float *b, size_t count)
{
    float sum = 0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

// Query rows [begin, end) of one head: writes their dq, adds to dk and dv.
static void backward_block(const rrt__gradient_kernels *kernels, const rrt__causal *a,
                           const rrt__causal_gradient *g, size_t head, size_t begin, size_t end,
                           float *scratch)
{
    size_t d = a->head_dim, q_stride = a->heads * d, kv_stride = a->kv_heads * d, rows = end - begin;
    size_t kv = head / (a->heads / a->kv_heads) * d, at = begin * q_stride + head * d;
    float *p = scratch, *ds = scratch + rows * end;
    multiply(CblasNoTrans, CblasTrans, rows, end, d, a->scale, a->q + at, q_stride, a->k + kv, kv_stride, 0,
             p, end);
    multiply(CblasNoTrans, CblasTrans, rows, end, d, 1, g->dout + at, q_stride, a->v + kv, kv_stride, 0, ds,
             end);
    for (size_t r = 0; r < rows; r++) {
        size_t seen = begin + r + 1, row = at + r * q_stride;
        float through = dot(g->out + row, g->dout + row, d);
        kernels->softmax(p + r * end, ds + r * end, g->log_sums[(begin + r) * a->heads + head], through,
                         a->scale, seen);
        memset(p + r * end + seen, 0, (end - seen) * sizeof *p);
        memset(ds + r * end + seen, 0, (end - seen) * sizeof *ds);
    }
    multiply(CblasNoTrans, CblasNoTrans, rows, d, end, 1, ds, end, a->k + kv, kv_stride, 0, g->dq + at,
             q_stride);
    multiply(CblasTrans, CblasNoTrans, end, d, rows, 1, ds, end, a->q + at, q_stride, 1, g->dk + kv,
             kv_stride);
    multiply(CblasTrans, CblasNoTrans, end, d, rows, 1, p, end, g->dout + at, q_stride, 1, g->dv + kv,
             kv_stride);
}

void rrt__causal_backward(const rrt__gradient_kernels *kernels, const rrt__causal *a,
                          const rrt__causal_gradient *g, size_t kv_head, float *scratch)
{
    size_t group = a->heads / a->kv_heads;
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
        for (size_t begin = 0; begin < a->tokens; begin += BLOCK_ROWS) {
            size_t end = begin + BLOCK_ROWS < a->tokens ? begin + BLOCK_ROWS : a->tokens;
            backward_block(kernels, a, g, head, begin, end, scratch);
        }
    }
}
