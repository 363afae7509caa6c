// The linear layers of a block: shared weights over all rows, bias and LoRA by segment, f32 or quantised.
#ifndef RRT__PROJECT_H
#define RRT__PROJECT_H

#include "model/forward.h"

// A block at work: what forward.h's functions are called with, and what follows from it.
typedef struct rrt__block {
    rrt__team team;
    const rrt_model *model;
    rrt__workspace *ws;
    const rrt__span *spans;
    size_t n_spans;
    const rrt__segment *segments;
    size_t n_segments, n_rows;
    const rrt__slot *slot;
} rrt__block;

// Applies `count` matrices from `first` on that read the same x: y[i] = W·x + bias + B·(A·x) (paper eq. 3),
// or += for the residual. x is complete, and after a barrier; ends without one.
void rrt__project(const rrt__block *b, rrt__matrix first, int count, const float *x, float *const *y,
                  int accumulate);

// logits[rows, vocab] = head · x. As above.
void rrt__project_head(rrt__team team, const rrt_model *model, rrt__workspace *ws, const float *x,
                       size_t rows, float *logits);

#endif
