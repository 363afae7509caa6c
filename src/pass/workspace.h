// The memory of a pass.
#ifndef RRT__WORKSPACE_H
#define RRT__WORKSPACE_H

#include "kernels/kernels.h"
#include "model/model.h"

typedef struct rrt__kv_rows {
    float *k, *v; // [rows, kv_heads·head_dim]
} rrt__kv_rows;

// Attention takes so many queries for a part, and divides parts into splits where there are fewer parts for
// each thread: it would wait for the last one.
enum { RRT__PART_QUERIES = 6, RRT__PARTS_PER_THREAD = 4 };

// Buffers for up to `rows` rows, reused from block to block. After a block has run they hold its inner
// values, which are the inputs of its linear layers: what calibration and the backward pass read.
typedef struct rrt__workspace {
    const rrt__kernels *kernels;
    size_t rows;
    float *hidden;                   // [rows, hidden]: in and out of every block
    float *waiting;                  // [rows, hidden]: state of the stack that does not run, if there are two
    float *normed[RRT__NORM_INPUTS]; // [rows, hidden]: input of q, k, v and of gate, up
    float *q;                        // [rows, heads·head_dim]
    rrt__kv_rows *kv;                // [n_depths]: index rrt__depth.kv; one buffer unless loops share theirs
    float *plain_q, *plain_k;        // q and k before their norms, if the family has them
    float *branch[RRT__NORM_INPUTS]; // [rows, hidden]: output of o and of down, if norms follow
    float *added;                    // [rows, hidden]: a branch after its norm
    float *attended;                 // [rows, heads·head_dim]: input of o
    float *attention_gate;           // shaped like attended, if the family has one
    float *log_sums;                 // [rows, heads]: of attention over whole texts, for the backward pass
    float *gate, *up;                // [rows, ffn]; gate only if the family has one
    float *activated;                // [rows, ffn]: input of down
    float *low_rank[RRT__MATRIX_COUNT]; // [rows, max rank of this matrix]: A·x
    rrt__quantised quantised;           // the rows' quantised values, if matrices are quantised
    rrt__quantised low_rank_quantised[RRT__MATRIX_COUNT];
    float *cos_sin, *local_cos_sin; // [rows, rotary]; the second if local layers differ
    float *frequency;       // [1 + threads, rotary / 2]: angle per position; the threads' for long texts
    float *local_frequency; // [rotary / 2]
    float *scores;          // [threads, scores_stride]: scratch of attention over whole texts
    size_t scores_stride;
    rrt__seen *split_seen; // what queries see in the splits of a sequence
    float *split_values;   // [as many, head_dim]
    rrt__arena arena;
} rrt__workspace;

// Allocates keys and values: depth d reads kv[depths[d].kv].
rrt_status rrt__kv_rows_create(rrt__arena *arena, rrt__kv_rows **out, const rrt_model *model, size_t rows,
                               rrt_error *err);

// positions: the last position that attention reads, plus one. UNSUPPORTED for a model that is not in memory.
rrt_status rrt__workspace_create(rrt__workspace *workspace, const rrt_model *model, size_t rows,
                                 size_t positions, int n_threads, rrt_error *err);
// The same for depths that replace the model's (pass.h).
rrt_status rrt__workspace_create_for(rrt__workspace *workspace, const rrt_model *model,
                                     const rrt__depth *depths, size_t rows, size_t positions, int n_threads,
                                     rrt_error *err);
void rrt__workspace_free(rrt__workspace *workspace);

#endif
