// The forward pass: one block function for every family, plan and use. loop.h leads a model's depths through
// it.
#ifndef RRT__FORWARD_H
#define RRT__FORWARD_H

#include "pass/pass.h"

// Sets cos_sin for the spans' positions.
void rrt__forward_rotations_share(const rrt__pass *pass);

// hidden[row,:] = embedding of ids[row]; also sets cos_sin.
void rrt__forward_embed(const rrt__pass *pass, const int32_t *ids);

// What runs at a depth, or a part of it.
typedef void rrt__block_function(const rrt__pass *pass, const rrt__segment *segments, size_t n_segments);

// One block (paper eq. 2 and 3) on the hidden rows, keys and values stored at their positions. K/V room has
// been reserved.
rrt__block_function rrt__forward_block;

// Its two halves, for those who look at the hidden state in between: norm and attention (for a parallel
// residual both norms), then the MLP.
rrt__block_function rrt__forward_attention, rrt__forward_mlp;

// Only the keys and values that a block would store for the hidden rows, which stay (exit.h, propagate).
rrt__block_function rrt__forward_kv;

// Attention up to the input of o, the MLP up to the input of down; the hidden state stays.
rrt__block_function rrt__forward_attention_input, rrt__forward_mlp_input;

// out[begin..end) = the norm of x's rows [norm->width].
void rrt__forward_norm_share(const rrt__pass *pass, const rrt__norm *norm, float *out, const float *x,
                             size_t begin, size_t end);

// logits[count, head->out] of x [count, hidden], the final norm's output.
void rrt__forward_head(const rrt__pass *pass, const rrt__linear *head, const float *x, size_t count,
                       float *logits);

// logits[row,:] of hidden rows [begin, begin + count): final norm, then head. normed[0] is overwritten for
// those rows.
void rrt__forward_logits(const rrt__pass *pass, size_t begin, size_t count, float *logits);

// NUMERIC, with the reason there can be, unless all are finite.
rrt_status rrt__logits_check(const float *logits, size_t count, rrt_error *err);
rrt_status rrt__logits_fail(rrt_error *err);

#endif
