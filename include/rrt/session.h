// A session: one timeline of tokens through a model, with its keys and values. One thread uses it at a time.
#ifndef RRT_SESSION_H
#define RRT_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_session rrt_session;

typedef struct rrt_session_options {
    int threads;   // 0: one per core
    int loops;     // how many loops to run; 0: all that the model has
    size_t tokens; // how many the session is to have at most; 0: the model's context. Models of some rope
                   // scalings (longrope, dynamic) rotate texts that go beyond their original context
                   // differently from the first token on, so that this number decides.
    // How keys and values are stored: "f16" or "f32"; NULL: f16. In f16 they are rounded to nearest even, and
    // numbers beyond ±65,504 become that; infinity and NaN stay.
    const char *kv_type;
} rrt_session_options;

// The model has to outlive the session. options NULL: all zero. Fails with UNSUPPORTED if fewer loops are
// asked for and the model's plan has no loop boundary, with ARGUMENT for a kv_type that is not known. Free
// with rrt_session_close.
RRT_API rrt_status rrt_session_open(rrt_session **out, const rrt_model *model,
                                    const rrt_session_options *options, rrt_error *err);
RRT_API void rrt_session_close(rrt_session *session);

// Runs ids[0..count) after what was appended before. ARGUMENT if an id is not of the vocabulary or the
// model's context is full; the session is then unchanged.
RRT_API rrt_status rrt_session_append(rrt_session *session, const int32_t *ids, size_t count, rrt_error *err);

// Tokens appended so far.
RRT_API size_t rrt_session_tokens(const rrt_session *session);

// [vocab] logits after the last token appended; NULL before the first. Valid until the next append.
RRT_API const float *rrt_session_logits(const rrt_session *session);

typedef struct rrt_sampling {
    float temperature; // 0: greedy, the filters then do not matter
    int top_k;         // keep the k most likely; 0: all
    float top_p;       // keep the smallest set with at least this probability; 0 or 1: all
    float min_p;       // drop what is less likely than min_p times the most likely; 0: none
    uint64_t seed;
} rrt_sampling;

// Chooses a token from logits[0..vocab). The same seed and position give the same choice. The filters apply
// in the order top_k, top_p, min_p, on probabilities at this temperature. NUMERIC if a logit is NaN or
// +infinity, or all are -infinity; ARGUMENT if vocab is 0 or a number of the sampling is not possible.
RRT_API rrt_status rrt_sample(const float *logits, size_t vocab, const rrt_sampling *sampling,
                              uint64_t position, int32_t *id, rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
