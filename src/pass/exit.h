// Leaving the loops early: gates, exit rules, and policies for the keys and values that are not computed.
//
// The exit after n loops runs prelude, n loops, coda, final norm, head (paper §2.4). At each loop boundary
// but the last, the rule decides for every token whether it leaves.
#ifndef RRT__EXIT_H
#define RRT__EXIT_H

#include "model/model.h"
#include "pass/kv.h"

typedef enum rrt__exit_kind {
    RRT__EXIT_LOOPS,      // after n loops
    RRT__EXIT_CONFIDENCE, // the most likely token has at least this probability
    RRT__EXIT_MARGIN,     // its probability exceeds the second token's by at least this
    RRT__EXIT_ENTROPY,    // the next token's distribution has at most this entropy, in nats
    RRT__EXIT_UNCHANGED,  // the most likely token is the same as one loop before
    RRT__EXIT_STATE,      // the last loop changed the hidden state by at most this fraction; no head
    RRT__EXIT_GATE,   // the gate predicts agreement with the last loop, with at least this probability, or,
                      // if it is cumulative, the probabilities to leave here or before add up to it; no head
    RRT__EXIT_ORACLE, // the last loop does agree: for analysis, needs all loops (paper App. K)
    RRT__EXIT_KIND_COUNT
} rrt__exit_kind;

typedef struct rrt__exit_rule {
    rrt__exit_kind kind;
    double limit; // a token leaves if its score is at least this
} rrt__exit_rule;

// The rule of the model's files, for a token without another; false: none.
bool rrt__exit_rule_of_model(rrt__exit_rule *rule, const rrt_model *model);

// The threshold of a rule, as written, for a score.
double rrt__exit_threshold(rrt__exit_kind kind, double score);
const char *rrt__exit_name(rrt__exit_kind kind);

// Whether the rule has a threshold; whether it needs the head's logits.
bool rrt__exit_has_threshold(rrt__exit_kind kind);
bool rrt__exit_reads_logits(rrt__exit_kind kind);

// State of a token's exit rule, kept from one boundary to the next.
typedef struct rrt__exit_state {
    int32_t best; // most likely token at the previous boundary; -1: none yet
    double stays; // probability, by a cumulative gate, of not having left at a previous boundary
} rrt__exit_state;

static const rrt__exit_state rrt__exit_entered = {-1, 1}; // before its first boundary

// Input of the exit rule for a token after n loops, 1 ≤ n < all.
typedef struct rrt__exit_view {
    int n;
    const float *hidden, *before; // [hidden]: here, and one loop before
    const float *logits;          // [vocab] of this exit, if the rule reads them
    int32_t best;                 // most likely token of these logits; -1: not yet known
    int32_t last_best;            // the same after the last loop, for the oracle; else -1
} rrt__exit_view;

// The view of one row of hidden and before, [rows, hidden]. best and last_best are -1.
rrt__exit_view rrt__exit_look(const rrt_model *model, int n, const float *hidden, const float *before,
                              size_t row, const float *logits);

// The token's score under this kind of rule; never NaN. Call it once at every boundary that the token passes,
// in order.
double rrt__exit_score(rrt__exit_kind kind, const rrt_model *model, rrt__exit_state *state,
                       const rrt__exit_view *view);

// Whether the token leaves: every exit is decided here. Call it as rrt__exit_score.
bool rrt__exit_leaves(const rrt__exit_rule *rule, const rrt_model *model, rrt__exit_state *state,
                      const rrt__exit_view *view);

// Source of a token's keys and values at the depths of loops that it did not run. The coda's are computed
// from the hidden state at the exit, except under recompute.
typedef enum rrt__kv_policy {
    RRT__KV_PROPAGATE, // from the hidden state at the exit, by each depth's own weights
    RRT__KV_COPY,      // from the same slot in the last loop that it ran
    RRT__KV_RECOMPUTE, // as if it had run them: later tokens see no difference
    RRT__KV_SHARED,    // none: the model's loops share those of the first
    RRT__KV_LAST,      // as copy, in a model that keeps the last loop's (rrt_model.kv_window)
    RRT__KV_POLICY_COUNT
} rrt__kv_policy;

static inline bool rrt__kv_policy_copies(rrt__kv_policy policy)
{
    return policy == RRT__KV_COPY || policy == RRT__KV_LAST;
}

const char *rrt__kv_policy_name(rrt__kv_policy policy);

// NULL: propagate, or shared or last where the model's loops keep their keys and values so. ARGUMENT for an
// unknown policy; UNSUPPORTED for one that needs them kept in another way.
rrt_status rrt__kv_policy_parse(rrt__kv_policy *policy, const char *text, const rrt_model *model,
                                rrt_error *err);

// Parses "loops:2", "confidence:0.9", "unchanged" …, and "agreement:95%": of the model's calibrated
// thresholds for these keys and values that keep this agreement or more, the cheapest one. ARGUMENT if the
// text is not a rule; UNSUPPORTED if the model cannot follow it (it has no loop boundary, no gates, no such
// threshold).
rrt_status rrt__exit_rule_parse(rrt__exit_rule *rule, const char *text, const rrt_model *model,
                                rrt__kv_policy policy, rrt__kv_types types, rrt_error *err);

// How keys and values are kept, as rrt__calibrated_exit has it: "propagate", "f16/f16".
void rrt__kv_describe(char kv[16], char kv_type[16], const rrt_model *model, rrt__kv_policy policy,
                      rrt__kv_types types);

// The gate's logit for one hidden state h [hidden] after loop n: weight · x + bias, where x = gain · h /
// rms(h). A cumulative gate's gain is the final norm's, and the logit's sigmoid is the probability to leave
// here, once here; else the gain is 1, and it is the probability that the last loop finds the same token most
// likely. *scale = 1 / rms(h).
float rrt__gate_logit(const rrt_model *model, int n, const float *hidden, float *scale);

// How many loops have a gate behind them, of those that run: a cumulative one also stands after the last.
int rrt__gate_count(const rrt_model *model, int loops);

// The gain above, [hidden]; NULL: 1.
const float *rrt__gate_gain(const rrt_model *model);

// The logit's sigmoid.
double rrt__gate_probability(const rrt_model *model, int n, const float *hidden);

// Index of the first maximum.
size_t rrt__argmax(const float *x, size_t count);

#endif
