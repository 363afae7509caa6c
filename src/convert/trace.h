// The original on its way through the calibration text: what its moments are made from and the reconstruction steers
// towards.
#ifndef RRT__TRACE_H
#define RRT__TRACE_H

#include "pass/loop.h"

enum { RRT__TRACE_WINDOW = 512 }; // tokens that see each other

// Hidden states of the first tokens of a text, per depth.
typedef struct rrt__trace {
    size_t tokens;  // whole windows, or all of the text
    float **middle; // [n_depths], each [tokens, hidden]: between attention and MLP
    float **after;  // [n_depths], each [tokens, hidden]: after the block
    rrt__arena arena;
} rrt__trace;

rrt_status rrt__trace_open(rrt__trace *trace, const rrt_model *model, size_t tokens, rrt_error *err);
void rrt__trace_free(rrt__trace *trace);

// One block, which leaves the hidden state in its middle and after it in middle and after [rows, hidden].
void rrt__trace_block(const rrt__pass *pass, int depth, float *middle, float *after);

#endif
