// Causal attention over one whole sequence by matrix products, forward and backward, for those who see all
// positions at once: training, evaluation, calibration. Decoding goes through pages (kernels.h).
//
// Query rows go in blocks, and a block reads no key that lies behind its last row, so that little is computed
// above the diagonal; with a window, none before what its first row sees. One thread does one head.
#ifndef RRT__CAUSAL_H
#define RRT__CAUSAL_H

#include "kernels/gradients.h"
#include "kernels/kernels.h"

typedef struct rrt__causal {
    size_t tokens, heads, kv_heads, head_dim;
    size_t window;      // how many tokens a query sees, its own included; 0: all up to its own
    float scale, cap;   // of the scores, as rrt__attention's
    const float *q;     // [tokens, heads, head_dim]
    const float *k, *v; // [tokens, kv_heads, head_dim]
} rrt__causal;

// Floats of scratch that each thread needs.
size_t rrt__causal_scratch(size_t tokens);

// out[tokens, head, head_dim] of one query head; log_sums[tokens, head] = ln Σ exp(scores), for the backward pass.
// out and log_sums are those of all heads.
void rrt__causal_forward(const rrt__kernels *kernels, const rrt__causal *attention, size_t head, float *out,
                         float *log_sums, float *scratch);

// What the forward pass left, and where the gradients go. dq is overwritten, dk and dv are added to.
typedef struct rrt__causal_gradient {
    const float *out, *dout; // [tokens, heads, head_dim]
    const float *log_sums;   // [tokens, heads]
    float *dq, *dk, *dv;     // as q, k, v
} rrt__causal_gradient;

// The gradients of one key and value head and of the query heads that read it.
void rrt__causal_backward(const rrt__kernels *kernels, const rrt__gradient_kernels *gradients,
                          const rrt__causal *attention, const rrt__causal_gradient *gradient, size_t kv_head,
                          float *scratch);

#endif
