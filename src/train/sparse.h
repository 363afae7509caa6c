// Distillation from a stored teacher, of which only the `top` most likely tokens are known.
#ifndef RRT__SPARSE_H
#define RRT__SPARSE_H

#include "kernels/gradients.h"
#include "train/logits_cache.h"

// The divergence between teacher and student with all tokens that the teacher did not cache as one outcome
// (by the data processing inequality never more than the divergence over the whole vocabulary). Returns it
// and adds weight times its gradient with respect to the student's logits. Temperature is 1. scratch: [top].
double rrt__sparse_distil(const rrt__gradient_kernels *kernels, rrt__divergence_kind kind, float *gradient,
                          const float *student, size_t vocab, rrt__logits_cache_row teacher, size_t top,
                          float weight, float *scratch);

#endif
