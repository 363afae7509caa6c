// The log-likelihood of continuations of contexts, many in one pass.
//
// Consecutive requests with the same context share its run: the context's keys and values stay, and those of
// one continuation after the other follow them.
#ifndef RRT__LIKELIHOOD_H
#define RRT__LIKELIHOOD_H

#include "pass/loop.h"

typedef struct rrt__continuation {
    const int32_t *ids;    // [count]: context, then continuation
    size_t context, count; // tokens; 1 ≤ context < count ≤ the model's context + 1, ids of the vocabulary
    double log_likelihood; // result: Σ ln p of the continuation's tokens, each given those before it
    bool is_greedy;        // result: each of them was the most likely one, the first of ties
} rrt__continuation;

// Keys and values have the type kv_type. NUMERIC if the model's output is not finite. Reports progress as
// `stage`, in requests.
rrt_status rrt__likelihoods(const rrt_model *model, rrt__continuation *requests, size_t count, int threads,
                            int loops, rrt__kv_types kv_type, const rrt_progress *progress, const char *stage,
                            rrt_error *err);

#endif
