// The forward pass of a model with deferred matrices: only those of one depth are in memory at a time.
#ifndef RRT__STREAM_H
#define RRT__STREAM_H

#include "model/model.h"

// logits [count, vocab] after each token of a short text, for any model, in f32. threads 0: one per core.
rrt_status rrt__stream_logits(const rrt_model *model, const int32_t *ids, size_t count, int threads,
                              float *logits, rrt_error *err);

#endif
