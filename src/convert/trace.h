// The original's hidden states over the calibration text, from the same run as the moments: the targets of
// the reconstruction.
#ifndef RRT__TRACE_H
#define RRT__TRACE_H

#include "pass/loop.h"

enum { RRT__TRACE_WINDOW = 512 }; // tokens that attend to each other

// Hidden states of the first tokens of a text, per depth.
typedef struct rrt__trace {
    size_t tokens;  // whole windows, or all of the text
    float **middle; // [n_depths], each [tokens, hidden]: between attention and MLP
    float **after;  // [n_depths], each [tokens, hidden]: after the block
    rrt__arena arena;
} rrt__trace;

rrt_status rrt__trace_open(rrt__trace *trace, const rrt_model *model, size_t tokens, rrt_error *err);
void rrt__trace_free(rrt__trace *trace);

// Runs one block and stores the hidden state between attention and MLP in middle, and after it in after,
// [rows, hidden].
void rrt__trace_block(const rrt__pass *pass, int depth, float *middle, float *after);

#endif
