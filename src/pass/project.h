// The linear layers of a block: shared weights over all rows, bias and LoRA per segment, f32 or quantised.
#ifndef RRT__PROJECT_H
#define RRT__PROJECT_H

#include "pass/pass.h"

// Applies `count` matrices that read the same x: y[i] = W·x + bias + B·(A·x) (paper eq.
// 3), or += for the residual.
void rrt__project_share(const rrt__block *block, const rrt__matrix *matrices, int count, const float *x,
                        float *const *y, int accumulate);

// logits[rows, head->out] = head · x.
void rrt__project_head_share(const rrt__pass *pass, const rrt__linear *head, const float *x, size_t rows,
                             float *logits);

#endif
