// rrt_sample without allocation, for callers with their own buffer.
#ifndef RRT__SAMPLER_H
#define RRT__SAMPLER_H

#include "base/memory.h"
#include "rrt/session.h"

typedef struct rrt__candidate {
    float probability;
    int32_t id;
} rrt__candidate;

// ARGUMENT for invalid sampling settings or an invalid vocabulary size.
rrt_status rrt__check_sampling(const rrt_sampling *sampling, size_t vocab, rrt_error *err);

// Like rrt_sample, for settings that were checked. candidates: [vocab]; not needed for temperature 0.
rrt_status rrt__sample_at(const float *logits, size_t vocab, const rrt_sampling *sampling, uint64_t position,
                          rrt__candidate *candidates, int32_t *id, rrt_error *err);

#endif
