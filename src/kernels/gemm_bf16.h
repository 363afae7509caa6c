// Matrix products that round their factors to bfloat16 and sum in f32: twice as fast as f32 on processors
// with instructions for it (AVX-512 BF16).
#ifndef RRT__GEMM_BF16_H
#define RRT__GEMM_BF16_H

#include <stdbool.h>
#include <stddef.h>

// An f32 factor in memory: element (i, k), where k is summed over, is values[i · stride + k] or, if
// transposed, values[k · stride + i].
typedef struct rrt__factor {
    const float *values;
    size_t stride;
    bool is_transposed;
} rrt__factor;

// Buffers for packed blocks of both factors, with pairs of k adjacent.
enum { RRT__GEMM_BF16_A = 128, RRT__GEMM_BF16_B = 384, RRT__GEMM_BF16_INNER = 640 };
typedef struct rrt__gemm_bf16_scratch {
    _Alignas(64) unsigned a[RRT__GEMM_BF16_INNER / 2 * RRT__GEMM_BF16_A]; // 160 KiB
    _Alignas(64) unsigned b[RRT__GEMM_BF16_INNER / 2 * RRT__GEMM_BF16_B]; // 480 KiB: second-level cache
} rrt__gemm_bf16_scratch;

// Whether this processor has the instructions.
bool rrt__gemm_bf16_is_available(void);

// c[i · stride + j] = Σ_k a(i, k) · b(j, k), or +=; on one thread, which owns the scratch.
void rrt__gemm_bf16(rrt__gemm_bf16_scratch *scratch, float *c, size_t stride, rrt__factor a, rrt__factor b,
                    size_t rows, size_t columns, size_t inner, bool accumulate);

#endif
