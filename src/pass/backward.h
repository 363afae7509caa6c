// The backward pass: the gradient of a loss with respect to every parameter, beside forward.h.
//
// A tape runs blocks forward and keeps what the backward pass needs: the hidden state before each block and
// between attention and MLP, q, k, v, the attention's output, gate and up before the activation, and the
// effective matrices. What is cheap to make again (norms, activations, softmax) is made again. With recompute
// only the hidden state before each block is kept, and the block runs a second time (gradient checkpointing).
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
    rrt__depth
        *depths;      // [n_depths]: the model's as they run, LoRA already in the matrices of effective slots
    rrt__slot *slots; // [n_depths]: effective, where the depth has a LoRA
    rrt__workspace shared; // what depths need not keep
    rrt__workspace *at;    // [n_depths]: views of shared with the depth's own buffers
    float **before,
        **middle; // [n_depths] of [rows, hidden]: before a loop is entered, if the depth begins one
    float *entered,
        *d_entered;  // [rows, hidden], where a norm stands between loops: after it, and its gradient
    float *d_hidden; // [rows, hidden]: gradient of the hidden state, in and out of every block
    float *d_normed[RRT__NORM_INPUTS]; // [rows, hidden]
    float *d_branch;                   // [rows, hidden]: of what a norm follows, before it is added
    float *d_q, *d_attended;           // as q, attended
    float *d_plain_q, *d_plain_k;      // as the workspace's
    rrt__kv_rows *d_kv;                // as the workspace's; what all loops read gathers their gradients
    float *d_matrix;                   // [largest out·in]: G
    float *partial;                    // [threads, 2, widest norm]: each thread's part of a norm's gradient
    const rrt__gradient_kernels *kernels;
    rrt__arena arena;
} rrt__tape;

// rows: the most that one pass will have; positions: the longest span. model and gradient outlive the tape.
rrt_status rrt__tape_create(rrt__tape *tape, const rrt_model *model, rrt_model *gradient, size_t rows,
                            size_t positions, bool recompute, int n_threads, rrt__products products,
                            rrt_error *err);
void rrt__tape_free(rrt__tape *tape);

// The pass that the functions below take: on shared.hidden, for spans that are whole texts.
rrt__pass rrt__tape_pass(rrt__tape *tape, rrt__team team, const rrt__span *spans, size_t n_spans);

// rrt__forward_block at the depths of a range, one after the other.
void rrt__tape_forward(const rrt__pass *pass, rrt__tape *tape, rrt__depth_range range);

// Back through the blocks of a range that ran forward with the same spans: d_hidden becomes the gradient of
// the range's input, gradients of parameters are added. is_fresh: its last block was the last that ran on the
// tape, and what it made is still there.
void rrt__tape_backward(const rrt__pass *pass, rrt__tape *tape, rrt__depth_range range, bool is_fresh);

// Back through the embedding.
void rrt__tape_backward_embed(const rrt__pass *pass, rrt__tape *tape, const int32_t *ids);

// Back through a norm of x [rows, norm->width]: dx += …, and the norm's gradient is added to `gradient` where
// norms are trained.
void rrt__tape_backward_norm(rrt__team team, rrt__tape *tape, const rrt__norm *norm, rrt__norm *gradient,
                             const float *x, const float *dy, float *dx, size_t rows);

#endif
