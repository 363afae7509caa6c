// Decoding with exits: one token of each sequence per step, until the exit rule lets it leave the loops.
//
// All rows run all depths together. A token that has left enters the following loops with the hidden state of
// its exit, which is restored after every block: the blocks then only store the keys and values that the
// policy asks for.
#ifndef RRT__DECODER_H
#define RRT__DECODER_H

#include "pass/exit.h"
#include "pass/loop.h"

typedef struct rrt__decoder {
    const rrt_model *model;
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    rrt__workspace workspace;
    float *logits; // [rows, vocab]: after a step, the logits of each token's exit
    int *left;     // [rows]: after a step, how many loops each token ran
    // [rows, hidden]: the hidden state at the exit; one loop before; at this boundary; on entering this loop
    float *kept, *before, *state, *entered;
    rrt__exit_state *exits; // [rows]
    rrt__arena arena;
} rrt__decoder;

// The model must outlive the decoder. rows: max sequences of a step; positions: length of the
// longest sequence.
rrt_status rrt__decoder_create(rrt__decoder *decoder, const rrt_model *model, const rrt__exit_rule *rule,
                               rrt__kv_policy policy, size_t rows, size_t positions, int n_threads,
                               rrt_error *err);
void rrt__decoder_free(rrt__decoder *decoder);

// Runs the next token ids[i] of each sequence: spans [rows] of one row, in sequences that have room reserved.
// last_best: [rows], the most likely tokens after all loops, for the oracle; else NULL. All threads of a team
// call it; it ends with a barrier.
void rrt__decoder_step(rrt__team team, rrt__decoder *decoder, const rrt__span *spans, size_t rows,
                       const int32_t *ids, const int32_t *last_best);

#endif
