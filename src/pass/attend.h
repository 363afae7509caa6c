// Attention of a block's rows, from the output of its norm to the input of matrix o: computes, rotates and
// stores queries, keys and values; every query attends to the positions that its mask allows.
#ifndef RRT__ATTEND_H
#define RRT__ATTEND_H

#include "kernels/causal.h"
#include "pass/pass.h"

// q, k, v and the gate, if there is one, = W·normed; k is not yet rotated.
void rrt__attend_project(const rrt__block *block);

// Rotates q and k, and stores keys and values where a span has a sequence.
void rrt__attend_rotate(const rrt__block *block);

// attended = attention of q over the keys and values.
void rrt__attend(const rrt__block *block);

// Its part over pages; others may read the result only after a barrier.
void rrt__attend_pages(const rrt__block *block);

// Attention of a depth over a whole text whose first row is `row`.
rrt__causal rrt__attend_causal(const rrt__pass *pass, int depth, size_t row, size_t tokens);

// Factor of the scores.
float rrt__attend_scale(const rrt__shape *shape);

// Width of a depth's attention window in tokens; 0: no window.
size_t rrt__attend_window(const rrt__pass *pass, int depth);

// [rows, rotary]: cosines and sines for a depth's rotation; NULL for a NoPE layer.
const float *rrt__attend_rotation(const rrt__pass *pass, int depth);

#endif
