// The forward pass: one block function for every family, plan and use. loop.h runs a model's depths
// through it.
#ifndef RRT__FORWARD_H
#define RRT__FORWARD_H

#include "pass/pass.h"

// Sets cos_sin for the spans' positions.
void rrt__forward_rotations_share(const rrt__pass *pass);

// hidden[row,:] = embedding of ids[row]; also sets cos_sin.
void rrt__forward_embed(const rrt__pass *pass, const int32_t *ids);

// Runs one depth, or a part of it.
typedef void rrt__block_function(const rrt__pass *pass, const rrt__segment *segments, size_t n_segments);

// One block (paper eq. 2 and 3) on the hidden rows; stores keys and values at their positions, for which room
// must be reserved.
rrt__block_function rrt__forward_block;

// Its two halves, for callers that read the hidden state in between: norm and attention (with a parallel
// residual both norms), then the MLP.
rrt__block_function rrt__forward_attention, rrt__forward_mlp;

// Attention up to the input of o, the MLP up to the input of down; the hidden state does not change.
rrt__block_function rrt__forward_attention_input, rrt__forward_mlp_input;

// out[begin..end) = norm of rows [norm->width] of x.
void rrt__forward_norm_share(const rrt__pass *pass, const rrt__norm *norm, float *out, const float *x,
                             size_t begin, size_t end);

// logits[count, head->out] of x [count, hidden], the final norm's output.
void rrt__forward_head(const rrt__pass *pass, const rrt__linear *head, const float *x, size_t count,
                       float *logits);

// logits[row,:] of hidden rows [begin, begin + count): final norm, then head. Overwrites those rows
// of normed[0].
void rrt__forward_logits(const rrt__pass *pass, size_t begin, size_t count, float *logits);

// NUMERIC, with the likely reason, unless all are finite.
rrt_status rrt__logits_check(const float *logits, size_t count, rrt_error *err);
rrt_status rrt__logits_fail(rrt_error *err);

#endif
