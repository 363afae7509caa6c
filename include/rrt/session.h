// A session: one sequence of tokens through a model, with its keys and values. Only one thread at a time may
// use it.
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
    int loops;     // 0: all
    size_t tokens; // max tokens; 0: the model's context. With some rope scalings (longrope, dynamic), models
                   // rotate texts beyond their original context differently from the first token on: this
                   // number decides.
    // Type of stored keys and values: "f16", "f32" or "q8_0" (8-bit integers, a scale per 32 of a head), or
    // two as "KEYS/VALUES"; NULL: f16. f16 rounds to nearest even, and clamps numbers beyond ±65,504;
    // infinity and NaN are kept.
    const char *kv_type;
    bool prefix_lm; // the tokens of the first append attend to each other both ways; later ones are causal
} rrt_session_options;

// The model must outlive the session. options NULL: all zero. UNSUPPORTED if fewer loops are requested and
// the model's plan has no loop boundary, ARGUMENT for an unknown kv_type. Free with rrt_session_close.
RRT_API rrt_status rrt_session_open(rrt_session **out, const rrt_model *model,
                                    const rrt_session_options *options, rrt_error *err);
RRT_API void rrt_session_close(rrt_session *session);

// Runs ids[0..count) after those appended before. ARGUMENT if an id is outside the vocabulary or the model's
// context is full; the session is then unchanged.
RRT_API rrt_status rrt_session_append(rrt_session *session, const int32_t *ids, size_t count, rrt_error *err);

// Tokens appended so far.
RRT_API size_t rrt_session_tokens(const rrt_session *session);

// [vocab] logits after the last token; NULL before the first. Valid until the next append.
RRT_API const float *rrt_session_logits(const rrt_session *session);

// What the model's gates (rrt/train.h) say of the last token after each loop that it ran: probabilities
// [*count], of agreement with the last loop, or in Ouro of leaving after this loop, once there. *count 0: the
// model has none, or there is no token. Valid until the next append.
RRT_API const float *rrt_session_gates(const rrt_session *session, size_t *count);

typedef struct rrt_sampling {
    float temperature; // 0: greedy, without filters
    int top_k;         // keep the k most likely; 0: all
    float top_p;       // keep the smallest set with at least this probability; 0 or 1: all
    float min_p;       // drop tokens less likely than min_p times the most likely; 0: none
    uint64_t seed;
} rrt_sampling;

// Chooses a token from logits[0..vocab). The same seed and position give the same choice. Filters apply in
// the order top_k, top_p, min_p, to the probabilities at this temperature. NUMERIC if a logit is NaN or
// +infinity, or all are -infinity; ARGUMENT if vocab is 0 or a sampling setting is impossible.
RRT_API rrt_status rrt_sample(const float *logits, size_t vocab, const rrt_sampling *sampling,
                              uint64_t position, int32_t *id, rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
