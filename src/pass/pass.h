// What a pass is called with: who runs it, over which rows, with which weights, in which memory.
//
// Work comes as spans (a run of consecutive positions of one sequence: a prefill chunk, a decoded token, an
// evaluation window). Rows of all spans lie one after the other, sorted by loop; rows at one depth are a
// segment. Shared weights run over all rows at once; norms, LoRA and K/V are those of each segment's depth.
//
// Functions that take a pass are called by all threads of its team at once. What they read is complete when
// they are called, and what they write is complete when they return: they end with a barrier. Those whose
// name ends in _share do not wait: each thread does its share, and a barrier has to follow before others read
// it.
#ifndef RRT__PASS_H
#define RRT__PASS_H

#include "base/team.h"
#include "kernels/gemm.h"
#include "pass/kv.h"
#include "pass/workspace.h"

// Without a sequence, a span is a whole text of its own, from position 0 on: its keys and values are those of
// the workspace, and nothing is kept for later positions (training, evaluation, calibration).
typedef struct rrt__span {
    rrt__sequence *sequence; // NULL: a whole text
    size_t position;         // of the first row
    size_t count;            // rows
} rrt__span;

// Rows [begin, end) that run at one depth. All segments of a block use the same slot.
typedef struct rrt__segment {
    int depth;
    size_t begin, end;
} rrt__segment;

typedef struct rrt__pass {
    rrt__team team;
    const rrt_model *model;
    const rrt__depth *depths; // that run: the model's, or others in their place
    rrt__workspace *ws;
    const rrt__span *spans;
    size_t n_spans, n_rows;
    rrt__products products; // BY_ROW, unless whoever made the pass sets something else
} rrt__pass;

static inline size_t rrt__spans_rows(const rrt__span *spans, size_t n_spans)
{
    size_t rows = 0;
    for (size_t i = 0; i < n_spans; i++) rows += spans[i].count;
    return rows;
}

static inline rrt__pass rrt__pass_make(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                                       const rrt__span *spans, size_t n_spans)
{
    return (rrt__pass){.team = team,
                       .model = model,
                       .depths = model->depths,
                       .ws = workspace,
                       .spans = spans,
                       .n_spans = n_spans,
                       .n_rows = rrt__spans_rows(spans, n_spans)};
}

// The same pass over other rows.
static inline rrt__pass rrt__pass_over(const rrt__pass *pass, const rrt__span *spans, size_t n_spans)
{
    rrt__pass other = *pass;
    other.spans = spans;
    other.n_spans = n_spans;
    other.n_rows = rrt__spans_rows(spans, n_spans);
    return other;
}

// A block at work.
typedef struct rrt__block {
    const rrt__pass *pass;
    const rrt__segment *segments;
    size_t n_segments, n_rows;
    const rrt__slot *slot;
} rrt__block;

static inline const rrt__depth *rrt__block_depth(const rrt__block *b, size_t segment)
{
    return &b->pass->depths[b->segments[segment].depth];
}

// Where a block's keys and values are. Segments run at one slot, so that it is the same for all.
static inline rrt__kv_rows rrt__block_kv(const rrt__block *b)
{
    return b->pass->ws->kv[rrt__block_depth(b, 0)->kv];
}

#endif
