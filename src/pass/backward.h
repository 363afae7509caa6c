// The backward pass: the gradient of a loss with respect to every parameter, beside forward.h.
//
// A tape runs blocks forward and keeps what the backward pass needs: the hidden state before each block and
// between attention and MLP, q, k, v, the attention's output, gate and up before the activation, and the
// effective matrices. Norms, activations and softmax are cheap and are computed again. With recompute only
// the hidden state before each block is kept, and the block runs a second time (gradient checkpointing).
//
// LoRA costs nothing per token: the effective matrix W + B·A of a depth is formed once per pass, and with
// G = dyᵀ·x, its gradient, dW += G, dB += G·Aᵀ, dA += Bᵀ·G (paper eq. 3). Shared weights gather the G of all
// their depths.
#ifndef RRT__BACKWARD_H
#define RRT__BACKWARD_H

#include "kernels/gradients.h"
#include "model/parameters.h"
#include "pass/loop.h"

typedef struct rrt__tape {
    const rrt_model *model;
    rrt_model *gradient; // like model; gradients are added to it
    bool trains[RRT__PARAMETER_KIND_COUNT];
    bool recompute;
    rrt__products products;
    rrt__depth *depths;    // [n_depths]: the model's, with LoRA merged into the matrices of `slots`
    rrt__slot *slots;      // [n_depths]: with effective matrices, where the depth has a LoRA
    rrt__workspace shared; // buffers that depths need not keep
    rrt__workspace *at;    // [n_depths]: views of shared with the depth's own buffers
    // [n_depths] of [rows, hidden]; before: ahead of the norm at a loop's entry
    float **before, **middle;
    float *entered, *d_entered; // [rows, hidden]: output of the norm at a loop's entry, its gradient; or NULL
    float *d_hidden;            // [rows, hidden]: gradient of the hidden state, in and out of every block
    float *d_normed[RRT__NORM_INPUTS]; // [rows, hidden]
    float *d_branch;                   // [rows, hidden]: gradient of a branch before the norm that follows it
    float *d_q, *d_attended;           // shaped like q, attended
    float *d_plain_q, *d_plain_k;      // shaped like the workspace's
    rrt__kv_rows *d_kv;                // shaped like the workspace's; gathers the gradients of all depths
                                       // that read it
    float *d_matrix;                   // [largest out·in]: G
    float *partial;                    // [threads, 2, widest norm]: each thread's part of a norm's gradient
    const rrt__gradient_kernels *kernels;
    rrt__arena arena;
} rrt__tape;

// rows: max rows of a pass; positions: length of the longest span. model and gradient must outlive the tape.
rrt_status rrt__tape_create(rrt__tape *tape, const rrt_model *model, rrt_model *gradient, size_t rows,
                            size_t positions, bool recompute, int n_threads, rrt__products products,
                            rrt_error *err);
void rrt__tape_free(rrt__tape *tape);

// The pass for the functions below: on shared.hidden, for spans that are whole texts.
rrt__pass rrt__tape_pass(rrt__tape *tape, rrt__team team, const rrt__span *spans, size_t n_spans);

// rrt__forward_block at each depth of a range in turn.
void rrt__tape_forward(const rrt__pass *pass, rrt__tape *tape, rrt__depth_range range);

// The backward pass through the blocks of a range that ran forward with the same spans: d_hidden becomes the
// gradient of the range's input; adds the gradients of parameters. is_fresh: its last block was the last that
// ran on the tape, so its activations are still there.
void rrt__tape_backward(const rrt__pass *pass, rrt__tape *tape, rrt__depth_range range, bool is_fresh);

// The backward pass through the embedding.
void rrt__tape_backward_embed(const rrt__pass *pass, rrt__tape *tape, const int32_t *ids);

// The backward pass through a norm of x [rows, norm->width]: dx += …; adds the norm's gradient to `gradient`
// if norms are trained.
void rrt__tape_backward_norm(rrt__team team, rrt__tape *tape, const rrt__norm *norm, rrt__norm *gradient,
                             const float *x, const float *dy, float *dx, size_t rows);

#endif
