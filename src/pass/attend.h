// Attention of a block's rows, from the output of its norm to the input of the matrix o: queries, keys and
// values are made, rotated and stored, and every query sees what it may.
#ifndef RRT__ATTEND_H
#define RRT__ATTEND_H

#include "kernels/causal.h"
#include "pass/pass.h"

// normed → q, k, v, of which k is not yet rotated.
void rrt__attend_project(const rrt__block *block);

// Rotates q and k, and stores keys and values where a span has a sequence.
void rrt__attend_rotate(const rrt__block *block);

// q, keys and values → attended.
void rrt__attend(const rrt__block *block);

// normed → keys and values, stored: what the three above do of them.
void rrt__attend_store(const rrt__block *block);

// Attention of a depth over a whole text whose first row is `row`.
rrt__causal rrt__attend_causal(const rrt__pass *pass, int depth, size_t row, size_t tokens);

// [rows, rotary]: by what a depth rotates; NULL if it does not.
const float *rrt__attend_rotation(const rrt__pass *pass, int depth);

#endif
