// Measuring a model on text: perplexity, and how far it is from another model.
//
// The text's ids are cut into windows of `context` tokens, end to end, without overlap. Where the model's
// tokenizer adds BOS, each window starts with it. Tokens 2 … context of a window are scored, each given those
// before it. A last shorter window is dropped, unless it is the only one.
#ifndef RRT_EVAL_H
#define RRT_EVAL_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_eval_options {
    int threads;       // 0: one per core
    int loops;         // of the model; 0: all
    size_t context;    // tokens per window, at least 2; 0: 512, or what the model can see if that is less
    size_t max_tokens; // of the text to read, BOS not counted; 0: all
    const rrt_progress *progress;
} rrt_eval_options;

typedef struct rrt_eval_ppl_result {
    double ppl;           // exp(nll_per_token)
    double nll_per_token; // mean of -ln p, in nats
    uint64_t tokens;      // scored
} rrt_eval_ppl_result;

RRT_API rrt_status rrt_eval_ppl(const rrt_model *model, const int32_t *ids, size_t count,
                                const rrt_eval_options *options, rrt_eval_ppl_result *result, rrt_error *err);

typedef struct rrt_eval_kl_result {
    double kl;               // mean of KL(teacher ‖ model), in nats
    double top1_agreement;   // share of tokens at which both find the same token most likely
    double ppl, teacher_ppl; // perplexities on the same tokens
    uint64_t tokens;         // scored
} rrt_eval_kl_result;

// The teacher runs all its loops. Both models have to have the same vocabulary: as large, and, where both
// have a tokenizer, the same tokens (MISMATCH).
RRT_API rrt_status rrt_eval_kl(const rrt_model *model, const rrt_model *teacher, const int32_t *ids,
                               size_t count, const rrt_eval_options *options, rrt_eval_kl_result *result,
                               rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
