// Causal attention over one whole sequence by matrix products, forward and backward, for callers with all
// positions at hand: training, evaluation, calibration. Decoding uses pages (kernels.h).
//
// Query rows run in blocks, and a block reads no key after its last row, so that little above the diagonal is
// computed; with a window, no key before its first row's window. One thread runs one head.
#ifndef RRT__CAUSAL_H
#define RRT__CAUSAL_H

#include "kernels/gradients.h"
#include "kernels/kernels.h"

typedef struct rrt__causal {
    size_t tokens, heads, kv_heads, head_dim;
    size_t window;      // tokens that a query attends to, its own included; 0: all up to its own
    float scale, cap;   // of the scores, as in rrt__attention
    const float *q;     // [tokens, heads, head_dim]
    const float *k, *v; // [tokens, kv_heads, head_dim]
} rrt__causal;

// Floats of scratch per thread.
size_t rrt__causal_scratch(size_t tokens);

// out[tokens, head, head_dim] of one query head; log_sums[tokens, head] = ln Σ exp(scores), for the backward
// pass. out and log_sums have room for all heads.
void rrt__causal_forward(const rrt__kernels *kernels, const rrt__causal *attention, size_t head, float *out,
                         float *log_sums, float *scratch);

// The forward pass's results, and the gradients. Sets dq, adds to dk and dv.
typedef struct rrt__causal_gradient {
    const float *out, *dout; // [tokens, heads, head_dim]
    const float *log_sums;   // [tokens, heads]
    float *dq, *dk, *dv;     // shaped like q, k, v
} rrt__causal_gradient;

// The gradients of one key and value head and of the query heads that read it.
void rrt__causal_backward(const rrt__kernels *kernels, const rrt__gradient_kernels *gradients,
                          const rrt__causal *attention, const rrt__causal_gradient *gradient, size_t kv_head,
                          float *scratch);

#endif
