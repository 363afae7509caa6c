// Sampling without allocating: what rrt_sample does, for those who bring the room.
#ifndef RRT__SAMPLER_H
#define RRT__SAMPLER_H

#include "base/memory.h"
#include "rrt/session.h"

typedef struct rrt__candidate {
    float probability;
    int32_t id;
} rrt__candidate;

// ARGUMENT if there is no such sampling, or no such vocabulary.
rrt_status rrt__check_sampling(const rrt_sampling *sampling, size_t vocab, rrt_error *err);

// As rrt_sample, of a sampling that was checked. candidates: [vocab], not needed where temperature is 0.
rrt_status rrt__sample_at(const float *logits, size_t vocab, const rrt_sampling *sampling, uint64_t position,
                          rrt__candidate *candidates, int32_t *id, rrt_error *err);

#endif
