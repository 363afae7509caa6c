// Decoding with exits: one token each of several sequences, until it leaves the loops by a rule.
//
// All rows run all depths side by side. A token that has left enters the loops that follow with the state
// that it left with, which is put back after every block, so that the blocks only leave the keys and values
// that the policy asks for.
#ifndef RRT__DECODER_H
#define RRT__DECODER_H

#include "pass/exit.h"
#include "pass/loop.h"

typedef struct rrt__decoder {
    const rrt_model *model;
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    rrt__workspace workspace;
    float *logits; // [rows, vocab]: after a step, those of each token's exit
    int *left;     // [rows]: after a step, how many loops each token ran
    // [rows, hidden]: with which it left; one loop before; at this boundary; as it entered this loop
    float *kept, *before, *state, *entered;
    rrt__exit_state *exits; // [rows]
    rrt__arena arena;
} rrt__decoder;

// The model outlives it. rows: the most sequences of a step; positions: the longest sequence.
rrt_status rrt__decoder_create(rrt__decoder *decoder, const rrt_model *model, const rrt__exit_rule *rule,
                               rrt__kv_policy policy, size_t rows, size_t positions, int n_threads,
                               rrt_error *err);
void rrt__decoder_free(rrt__decoder *decoder);

// The next token ids[i] of each sequence: spans [rows] of one row, in sequences with room for it. last_best:
// [rows], what the oracle knows; else NULL. All threads of a team call it; ends with a barrier.
void rrt__decoder_step(rrt__team team, rrt__decoder *decoder, const rrt__span *spans, size_t rows,
                       const int32_t *ids, const int32_t *last_best);

#endif
