// The kernels' contract: every primitive of the forward pass except GEMM (gemm.h), behind one table of
// functions. generic.c is compiled once per instruction set; "reference" is the table of the plainest one,
// which every processor runs. A port to another instruction set or an accelerator implements this table.
//
// Matrices are row-major and dense. One thread calls a kernel on its share of rows. The result for a row
// depends only on that row, bit for bit, not on the number of rows in the call. The order of all additions is
// fixed, too, so that every table gives the same bits (except kl_divergence, which only measures): sums run
// in 16 lanes, value i in lane i % 16, and the lanes are added pairwise. Added products are fused.
// tests/truth.h defines in double what each kernel computes.
#ifndef RRT__KERNELS_H
#define RRT__KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kv_pages.h"
#include "kernels/packed.h"
#include "kernels/plain.h"
#include "rrt/status.h"

typedef struct rrt__kernels {
    const char *name; // "reference", "avx2", "avx512"

    // out[r,:] = x[r,:] / sqrt(mean(x[r,:]²) + epsilon) * gain. out may be x.
    void (*rms_norm)(float *out, const float *x, const float *gain, size_t rows, size_t width, float epsilon);

    // out[r,:] = (x[r,:] - mean) / sqrt(variance + epsilon) * gain + bias. out may be x.
    void (*layer_norm)(float *out, const float *x, const float *gain, const float *bias, size_t rows,
                       size_t width, float epsilon);

    // Rotates the pairs (i, i + rotary/2) of the first `rotary` values of each head in place. x: [heads,
    // head_dim] of one row; cos_sin: rotary/2 cosines, then rotary/2 sines.
    void (*rope)(float *x, const float *cos_sin, size_t heads, size_t head_dim, size_t rotary);

    // out[i] = gate[i] * sigmoid(gate[i]) * up[i]
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t count);

    // x[i] *= sigmoid(gate[i])
    void (*sigmoid_mul)(float *x, const float *gate, size_t count);

    // out[i] = gelu(gate[i]) * up[i], with the approximation gelu(x) = x · sigmoid(2u), u = √(2/π) (x +
    // 0.044715 x³)
    void (*gelu_mul)(float *out, const float *gate, const float *up, size_t count);

    // out[i] = x[i] * Φ(x[i]), the exact GELU with the error function
    void (*gelu)(float *out, const float *x, size_t count);

    // x[i] becomes cap · tanh(x[i] / cap)
    void (*softcap)(float *x, float cap, size_t count);

    // x becomes softmax(x). Returns ln Σ exp(x[i]).
    float (*softmax)(float *x, size_t count);

    // Keys and values in pages.
    rrt__kv_store *kv_store;
    rrt__kv_copy *kv_copy;
    rrt__kv_attend *attend;
    rrt__kv_merge *merge_seen;

    // Quantises `count` values of one row in blocks of 32, the last one padded with zeros: a scale is the
    // block's max |x| / 127 (not finite if a value is not), quantised values are x / scale rounded to nearest
    // even.
    void (*quantise)(rrt__quantised to, const float *x, size_t count);

    // Products with quantised and with other matrices.
    rrt__packed_multiply *multiply_packed;
    rrt__plain_multiply *multiply_plain;

    // Quantises a group of a matrix.
    rrt__pack_group *pack_group;

    // ln Σ exp(x[i])
    double (*log_sum_exp)(const float *x, size_t count);

    // KL(softmax(p) ‖ softmax(q)) = Σ softmax(p)[i] · (ln softmax(p)[i] - ln softmax(q)[i])
    double (*kl_divergence)(const float *p, const float *q, size_t count);
} rrt__kernels;

extern const rrt__kernels rrt__kernels_reference;
#if defined(__x86_64__)
extern const rrt__kernels rrt__kernels_avx2;
extern const rrt__kernels rrt__kernels_avx512; // with VNNI
#endif

// The best table for this processor. RRT_KERNELS=reference|avx2|avx512 in the environment forces one that the
// processor can run (for tests and debugging).
const rrt__kernels *rrt__kernels_get(void);

// Whether this processor can run a table.
bool rrt__kernels_can_run(const rrt__kernels *kernels);

// Whether the table in RRT_KERNELS is available; without this check the best table replaces it.
rrt_status rrt__kernels_check(rrt_error *err);

#endif
