// Speed of a model on this machine.
#ifndef RRT_BENCH_H
#define RRT_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_bench_options {
    int threads;              // 0: one per core
    int repeats;              // 0: 5; one more goes before, to warm up
    size_t batch;             // sequences at a time; 0: 4
    size_t context;           // tokens of each; 0: 512, or what the model can see if that is less
    const rrt_model *teacher; // training: distillation from it by forward KL; NULL: cross-entropy
    int match;                // training: layer matching with the teacher
    int bf16;                 // training: matrix products in bfloat16 where the processor can
    int recompute;            // training: make activations again on the way back
    const rrt_progress *progress;
} rrt_bench_options;

typedef struct rrt_bench_result {
    double tokens_per_s_mean, tokens_per_s_std; // over the repeats
    uint64_t peak_rss_bytes;                    // of the process
} rrt_bench_result;

// Whole training steps (gradients of all weights, AdamW update) on random tokens. The model is changed.
RRT_API rrt_status rrt_bench_train(rrt_model *model, const rrt_bench_options *options,
                                   rrt_bench_result *result, rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
