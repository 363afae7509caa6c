// Leaving the loops early: gates, rules, and what becomes of the keys and values that are not computed.
//
// The exit after n loops is prelude, n loops, coda, final norm, head (paper §2.4). At each loop boundary but
// the last a rule decides for every token whether it leaves there.
#ifndef RRT__EXIT_H
#define RRT__EXIT_H

#include "model/model.h"

typedef enum rrt__exit_kind {
    RRT__EXIT_LOOPS,      // after n loops
    RRT__EXIT_CONFIDENCE, // the most likely token has at least this probability
    RRT__EXIT_MARGIN,     // it has so much more than the second
    RRT__EXIT_ENTROPY,    // of the next token's distribution, at most so many nats
    RRT__EXIT_UNCHANGED,  // the most likely token is the one of a loop before
    RRT__EXIT_STATE,      // the hidden state changed by at most this part in the last loop; no head
    RRT__EXIT_GATE,       // the gate says that the last loop agrees, with this probability; no head
    RRT__EXIT_ORACLE,     // the last loop does agree: for analysis, it needs all loops (paper App. K)
    RRT__EXIT_KIND_COUNT
} rrt__exit_kind;

typedef struct rrt__exit_rule {
    rrt__exit_kind kind;
    double limit; // a token leaves where its score is at least this
} rrt__exit_rule;

// "loops:2", "confidence:0.9", "unchanged" … ARGUMENT if that is no rule; UNSUPPORTED if the model cannot
// follow it: it has no loop boundary, or no gates.
rrt_status rrt__exit_rule_parse(rrt__exit_rule *rule, const char *text, const rrt_model *model,
                                rrt_error *err);

// The threshold of a rule as it is written, for a score.
double rrt__exit_threshold(rrt__exit_kind kind, double score);
const char *rrt__exit_name(rrt__exit_kind kind);

// Whether there is a threshold to choose; whether a head has to run.
bool rrt__exit_has_threshold(rrt__exit_kind kind);
bool rrt__exit_reads_logits(rrt__exit_kind kind);

// What a token's exit remembers from one boundary to the next.
typedef struct rrt__exit_state {
    int32_t best; // most likely token at the boundary before, -1: there was none
} rrt__exit_state;

static const rrt__exit_state rrt__exit_entered = {-1}; // before its first boundary

// What a token shows after n loops, 1 ≤ n < all.
typedef struct rrt__exit_view {
    int n;
    const float *hidden, *before; // [hidden]: here, and one loop before
    const float *logits;          // [vocab] of this exit, where the rule reads them
    int32_t best;                 // most likely token of these, -1: not yet known
    int32_t last_best;            // of the last loop, for the oracle; else -1
} rrt__exit_view;

// That of a row of hidden and before, [rows, hidden]. best and last_best are -1.
rrt__exit_view rrt__exit_look(const rrt_model *model, int n, const float *hidden, const float *before,
                              size_t row, const float *logits);

// How ready the token is to leave, by this kind of rule; never NaN. Every boundary that the token passes is
// asked about once, in order.
double rrt__exit_score(rrt__exit_kind kind, const rrt_model *model, rrt__exit_state *state,
                       const rrt__exit_view *view);

// Whether it leaves: the one place where that is decided. As above.
bool rrt__exit_leaves(const rrt__exit_rule *rule, const rrt_model *model, rrt__exit_state *state,
                      const rrt__exit_view *view);

// Keys and values of a token at the depths of loops that it did not run. Those of the coda are made of the
// state that it left with, but for recompute.
typedef enum rrt__kv_policy {
    RRT__KV_PROPAGATE, // of the state that it left with, by each depth's own weights
    RRT__KV_COPY,      // of the same slot in the last loop that it ran
    RRT__KV_RECOMPUTE, // as if it had run them: tokens that come later see no difference
    RRT__KV_SHARED,    // there are none: the model's loops share those of the first
} rrt__kv_policy;

// NULL: propagate, or shared where the model's loops share keys and values. ARGUMENT if there is no such
// policy; UNSUPPORTED for shared with a model whose loops do not, and for propagate and copy with one whose
// loops do.
rrt_status rrt__kv_policy_parse(rrt__kv_policy *policy, const char *text, const rrt_model *model,
                                rrt_error *err);

// The gate's logit for one hidden state [width] at its boundary: weight · h / rms(h) + bias. Through a
// sigmoid it is the probability that the last loop finds the same token most likely. *scale gets 1 / rms(h).
float rrt__gate_logit(const rrt__gate *gate, const float *hidden, size_t width, float *scale);

// The index of the greatest value; the first of them.
size_t rrt__argmax(const float *x, size_t count);

#endif
