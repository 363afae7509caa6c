// The kernels of training: the backward pass through the element-wise primitives of kernels.h, the losses,
// and the optimizer's update. The contract is the same: row-major and dense, one thread on its share of rows.
// gradients_generic.c is compiled once per instruction set.
//
// For y = f(x), dy is the gradient of the loss with respect to y. "+=" adds to the previous content.
#ifndef RRT__GRADIENTS_H
#define RRT__GRADIENTS_H

#include <stddef.h>

// Divergence of the student's softmax q from the teacher's p (paper §3.6, appendix I).
typedef enum rrt__divergence_kind {
    RRT__DIVERGENCE_FORWARD_KL,      // Σ p (ln p - ln q)
    RRT__DIVERGENCE_REVERSE_KL,      // Σ q (ln q - ln p)
    RRT__DIVERGENCE_JENSEN_SHANNON,  // ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q) / 2
    RRT__DIVERGENCE_TOTAL_VARIATION, // ½ Σ |p - q|
    RRT__DIVERGENCE_COUNT
} rrt__divergence_kind;

// One step of AdamW. Corrections are 1 / (1 - beta^step).
typedef struct rrt__adam {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    float correction1, correction2;
    float gradient_scale; // for clipping
} rrt__adam;

typedef struct rrt__gradient_kernels {
    // y = rms_norm(x): dx[r,:] += …, dgain += Σ_r dy[r,:] · x[r,:] / rms[r]
    void (*rms_norm)(float *dx, float *dgain, const float *x, const float *gain, const float *dy, size_t rows,
                     size_t width, float epsilon);

    // y = layer_norm(x): dx += …, dgain += …, dbias += Σ_r dy[r,:]
    void (*layer_norm)(float *dx, float *dgain, float *dbias, const float *x, const float *gain,
                       const float *dy, size_t rows, size_t width, float epsilon);

    // The inverse rotation, in place.
    void (*rope)(float *dx, const float *cos_sin, size_t heads, size_t head_dim, size_t rotary);

    // y = silu(gate) · up. gate and up become their gradients, dy becomes y.
    void (*silu_mul)(float *gate, float *up, float *dy, size_t count);

    // y = gelu(gate) · up with the approximation of kernels.h: like silu_mul.
    void (*gelu_mul)(float *gate, float *up, float *dy, size_t count);

    // y = gelu(x). x becomes its gradient, dy becomes y.
    void (*gelu)(float *x, float *dy, size_t count);

    // p: scores, becomes exp(p - log_sum); dp: gradient of p, becomes the gradient of the scores before their
    // scale: scale · p · (dp - through), through = Σ p · dp.
    void (*softmax)(float *p, float *dp, float log_sum, float through, float scale, size_t count);

    // dy becomes the gradient of x, given y = cap · tanh(x / cap): dy · (1 - (y / cap)²).
    void (*softcap)(float *dy, const float *y, float cap, size_t count);

    // Cross-entropy of one row: gradient += weight · (softmax(logits) - one at target).
    // Returns -ln softmax(logits)[target].
    double (*cross_entropy)(float *gradient, const float *logits, size_t vocab, size_t target, float weight);

    // Distillation of one row at a temperature T: D of softmax(teacher / T) and softmax(student / T), times
    // T², so that its weight against cross-entropy does not depend on T. Returns it and adds weight times its
    // gradient with respect to student.
    double (*distil[RRT__DIVERGENCE_COUNT])(float *gradient, const float *student, const float *teacher,
                                            size_t vocab, float temperature, float weight);

    // AdamW with decoupled weight decay; mean and variance are the moments.
    void (*adam)(float *weights, float *mean, float *variance, const float *gradient, size_t count,
                 const rrt__adam *step);

    double (*sum_squares)(const float *x, size_t count);
} rrt__gradient_kernels;

extern const rrt__gradient_kernels rrt__gradient_kernels_reference;
#if defined(__x86_64__)
extern const rrt__gradient_kernels rrt__gradient_kernels_avx2;
extern const rrt__gradient_kernels rrt__gradient_kernels_avx512;
#endif

// Selected like rrt__kernels_get.
const rrt__gradient_kernels *rrt__gradient_kernels_get(void);

#endif
