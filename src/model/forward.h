// The forward pass: one block function for every family, plan and use.
//
// Work comes as spans (a run of consecutive positions of one sequence: a prefill chunk, a decoded token, an
// evaluation window). Rows of all spans lie one after the other, sorted by loop; rows at one loop are a
// segment. Shared weights run over all rows at once; norms, LoRA and K/V are those of each segment's depth.
//
// Every function here is called by all threads of a team at once.
#ifndef RRT__FORWARD_H
#define RRT__FORWARD_H

#include <math.h>

#include "base/team.h"
#include "kernels/causal.h"
#include "kernels/gemm.h"
#include "model/kv.h"

//
// Without a sequence, a span is a whole text of its own, from position 0 on: its keys and values are those of
// the workspace, and nothing is kept for later positions (training, evaluation, calibration).
typedef struct rrt__span {
    rrt__sequence *sequence; // NULL: a whole text
    size_t position;         // of the first row
    size_t count;            // rows
} rrt__span;

// Rows [begin, end) that run at one depth. All segments of a batch use the same slot.
typedef struct rrt__segment {
    int depth;
    size_t begin, end;
} rrt__segment;

typedef struct rrt__kv_rows {
    float *k, *v; // [rows, kv_heads·head_dim]
} rrt__kv_rows;

// Buffers for up to `rows` rows, reused from block to block. After a block has run they hold its inner
// values, which are the inputs of its linear layers: what calibration and the backward pass read.
typedef struct rrt__workspace {
    const rrt__kernels *kernels;
    rrt__products products; // BY_ROW, unless whoever made it sets something else
    size_t rows;
    float *hidden;                      // [rows, hidden]: in and out of every block
    float *normed[RRT__NORM_INPUTS];    // [rows, hidden]: input of q, k, v and of gate, up
    float *q;                           // [rows, heads·head_dim]
    rrt__kv_rows kv;                    // of the depth that runs
    float *plain_q, *plain_k;           // as q and k, before their norms, where the family has them
    float *branch[RRT__NORM_INPUTS];    // [rows, hidden]: output of o and of down, where norms follow
    float *added;                       // [rows, hidden]: a branch after its norm
    rrt__kv_rows *shared_kv;            // [layers_per_block]: of the first loop, where loops share them
    float *attended;                    // [rows, heads·head_dim]: input of o
    float *log_sums;                    // [rows, heads]: of a whole text's attention, for the way back
    float *gate, *up;                   // [rows, ffn]; gate only where the family has one
    float *activated;                   // [rows, ffn]: input of down
    float *low_rank[RRT__MATRIX_COUNT]; // [rows, greatest rank of this matrix]: A·x
    rrt__codes codes; // where matrices are quantised: the rows that they are multiplied with
    rrt__codes low_rank_codes[RRT__MATRIX_COUNT];
    float *cos_sin, *local_cos_sin; // [rows, rotary]; the latter where local layers differ
    float *frequency;       // [1 + threads, rotary / 2]: angle per position; the threads' for long texts
    float *local_frequency; // [rotary / 2]
    float *scores;          // [threads, scores_stride]: attention's scratch
    size_t scores_stride;
    rrt__arena arena;
} rrt__workspace;

// Keys and values of each layer of the block.
rrt_status rrt__kv_rows_create(rrt__arena *arena, rrt__kv_rows **out, const rrt_model *model, size_t rows,
                               rrt_error *err);

// positions: one more than the last position that attention will see.
rrt_status rrt__workspace_create(rrt__workspace *workspace, const rrt_model *model, size_t rows,
                                 size_t positions, int n_threads, rrt_error *err);
void rrt__workspace_free(rrt__workspace *workspace);

// Where a depth's keys and values are: written by depths that have some of their own, read by all.
static inline rrt__kv_rows rrt__workspace_kv(const rrt__workspace *workspace, const rrt_model *model,
                                             int depth)
{
    int i = depth - model->plan.prelude, layers = model->plan.layers_per_block;
    bool shared = workspace->shared_kv && i >= 0 && i < layers * model->plan.loops;
    return shared ? workspace->shared_kv[i % layers] : workspace->kv;
}

// [rows, rotary]: by what a depth rotates; NULL if it does not.
static inline const float *rrt__workspace_rotation(const rrt__workspace *workspace, const rrt_model *model,
                                                   int depth)
{
    unsigned kind = model->depths[depth].attention;
    if (kind & RRT__ATTENTION_UNROTATED) return NULL;
    bool local = kind & RRT__ATTENTION_LOCAL && workspace->local_cos_sin;
    return local ? workspace->local_cos_sin : workspace->cos_sin;
}

// The scale of attention's scores.
static inline float rrt__shape_scale(const rrt__shape *shape)
{
    return shape->attention_scale != 0 ? (float)shape->attention_scale : 1.0f / sqrtf((float)shape->head_dim);
}

// How many tokens a depth sees; 0: all.
static inline size_t rrt__model_window(const rrt_model *model, int depth)
{
    return model->depths[depth].attention & RRT__ATTENTION_LOCAL ? model->shape.window : 0;
}

// Attention of a depth over a whole text whose first row is `row`.
rrt__causal rrt__workspace_causal(const rrt__workspace *workspace, const rrt_model *model, int depth,
                                  size_t row, size_t tokens);

static inline size_t rrt__spans_rows(const rrt__span *spans, size_t n_spans)
{
    size_t rows = 0;
    for (size_t i = 0; i < n_spans; i++) rows += spans[i].count;
    return rows;
}

// out[begin..end) = the norm of x's rows [norm->width], of which this thread does its share. No barrier.
void rrt__forward_norm(rrt__team team, const rrt_model *model, const rrt__kernels *kernels,
                       const rrt__norm *norm, float *out, const float *x, size_t begin, size_t end);

// Sets cos_sin for the spans' positions. No barrier.
void rrt__forward_rotations(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                            const rrt__span *spans, size_t n_spans);

// hidden[row,:] = embedding of ids[row]; also sets cos_sin. Ends with a barrier.
void rrt__forward_embed(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                        const rrt__span *spans, size_t n_spans, const int32_t *ids);

// One block (paper eq. 2 and 3) on the hidden rows, keys and values stored at their positions.
// K/V room has been reserved. Starts and ends with a barrier.
void rrt__forward_block(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                        const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                        size_t n_segments);

// The two halves of a block, for those who look at the hidden state in between: norm and attention (for a
// parallel residual both norms), then the MLP. Each starts and ends with a barrier, or begins where one has
// just been.
void rrt__forward_attention(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                            const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                            size_t n_segments);
void rrt__forward_mlp(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                      const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                      size_t n_segments);

// Only the keys and values that a block would store for the hidden rows, which stay (exit.h, propagate).
// Starts and ends with a barrier.
void rrt__forward_kv(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                     const rrt__span *spans, size_t n_spans, const rrt__segment *segments, size_t n_segments);

// The MLP up to the input of its down projection; the hidden state stays.
void rrt__forward_mlp_input(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                            const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                            size_t n_segments);

// All depths in the list, one after the other, with all rows in one segment.
void rrt__forward_depths(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                         const rrt__span *spans, size_t n_spans, const short *depths, int n_depths);

// logits[count, vocab] of x [count, hidden], the final norm's output, which is complete. Ends with a barrier.
void rrt__forward_head(rrt__team team, const rrt_model *model, rrt__workspace *workspace, const float *x,
                       size_t count, float *logits);

// logits[row,:] of hidden rows [begin, begin + count): final norm, then head. normed[0] is overwritten for
// those rows. Starts and ends with a barrier.
void rrt__forward_logits(rrt__team team, const rrt_model *model, rrt__workspace *workspace, size_t begin,
                         size_t count, float *logits);

// NUMERIC, with the reason there can be, unless all are finite.
rrt_status rrt__logits_check(const float *logits, size_t count, rrt_error *err);
rrt_status rrt__logits_fail(rrt_error *err);

#endif
