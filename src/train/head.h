// The head, the losses and the backward pass through both, in chunks of rows, so that the logits of a whole
// batch never exist at once.
#ifndef RRT__HEAD_H
#define RRT__HEAD_H

#include "pass/backward.h"
#include "train/logits_cache.h"

// loss = (1 - kd_weight) · cross-entropy + kd_weight · divergence from the teacher (paper §3.6).
typedef struct rrt__objective {
    rrt__divergence_kind divergence;
    float kd_weight;   // 0: no teacher
    float temperature; // of the divergence
} rrt__objective;

// A row's teacher: another model's hidden state, before its final norm, or stored logits.
typedef struct rrt__teacher_signal {
    const rrt_model *model;    // NULL: none
    rrt__workspace *workspace; // for its head
    rrt__products products;
    const float *hidden;               // [rows, hidden], before the final norm
    const rrt__logits_cache_row *rows; // NULL: none; else [rows], stored logits of `top` tokens each
    size_t top;
    size_t vocab; // rows of the head that student and teacher share: the divergence is over these
} rrt__teacher_signal;

// Sums over rows.
typedef struct rrt__loss_sums {
    double loss;                      // weighted, of all exits
    double cross_entropy, divergence; // of the last exit; nats
    double match;                     // relative squared error of hidden-state distillation
    double gates;                     // binary cross-entropy, mean over gates; nats
    size_t rows;
} rrt__loss_sums;

// Inputs of the head's loss.
typedef struct rrt__loss_inputs {
    const float *hidden;    // [rows, hidden], before the final norm
    const int32_t *targets; // [rows]; -1 for a row that does not count
    size_t rows;
    const rrt__objective *objective;
    const rrt__teacher_signal *teacher_signal;
    float weight;  // of a row's loss; 0: no training
    int32_t *best; // [rows]: receives the most likely tokens; NULL: not needed
} rrt__loss_inputs;

enum { RRT__HEAD_ROWS = 256 }; // of logits that exist at a time

typedef struct rrt__head {
    float *logits, *teacher_logits; // [RRT__HEAD_ROWS, vocab], [RRT__HEAD_ROWS, the teacher's]
    float *teacher_normed;          // [RRT__HEAD_ROWS, the teacher's hidden]
    float *row_gradient, *stored;   // [threads, vocab], [threads, top of a stored teacher]
    rrt__loss_sums *sums;           // [threads]
    rrt__arena arena;
} rrt__head;

// teacher_vocab, teacher_hidden: of the largest teacher, 0: none; stored_top: logits per row of a
// stored teacher.
rrt_status rrt__head_create(rrt__head *head, const rrt_model *model, size_t teacher_vocab,
                            size_t teacher_hidden, size_t stored_top, int n_threads, rrt_error *err);
void rrt__head_free(rrt__head *head);

// The loss at a hidden state, times weight per row. Adds its gradient to the tape's d_hidden, and those of
// the final norm and the head to the tape's gradient. Adds the unweighted loss to *sums, which belongs to the
// calling thread. pass: the tape's.
void rrt__head_backward(const rrt__pass *pass, rrt__head *head, rrt__tape *tape,
                        const rrt__loss_inputs *inputs, rrt__loss_sums *sums);

#endif
