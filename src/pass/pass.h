// The arguments of a pass: the team that runs it, its rows, its weights, its memory.
//
// Work comes as spans (a run of consecutive positions of one sequence: a prefill chunk, a decoded token, an
// evaluation window). Rows of all spans lie one after the other, sorted by loop; rows at one depth are a
// segment. Shared weights run over all rows at once; norms, LoRA and K/V are those of each segment's depth.
//
// All threads of a pass's team call these functions at once. Their inputs are complete when they are called,
// and their outputs when they return: they end with a barrier. Functions whose name ends in _share do not
// wait: each thread does its share, and others may read the result only after a barrier.
#ifndef RRT__PASS_H
#define RRT__PASS_H

#include "base/team.h"
#include "kernels/gemm.h"
#include "pass/kv.h"
#include "pass/workspace.h"

// A span without a sequence is a whole text, from position 0 on: its keys and values are those of the
// workspace, and nothing is kept for later positions (training, evaluation, calibration).
typedef struct rrt__span {
    rrt__sequence *sequence; // NULL: a whole text
    size_t position;         // of the first row
    size_t count;            // rows
    bool sees_ahead;         // the rows attend to all of the span, and not only to those before them
    bool
        only_stores; // only stores keys and values, and its rows do not change (exit.h, propagate); after all
                     // spans that run
} rrt__span;

// Rows [begin, end) that run at one depth. All segments of a block use the same slot.
typedef struct rrt__segment {
    int depth;
    size_t begin, end;
} rrt__segment;

typedef struct rrt__pass {
    rrt__team team;
    const rrt_model *model;
    const rrt__depth *depths; // the depths to run: the model's, or replacements
    rrt__workspace *ws;
    const rrt__span *spans;
    size_t n_spans, n_rows;
    size_t n_active;        // rows of the spans that run
    rrt__products products; // BY_ROW unless the caller sets another kind
} rrt__pass;

static inline size_t rrt__spans_rows(const rrt__span *spans, size_t n_spans)
{
    size_t rows = 0;
    for (size_t i = 0; i < n_spans; i++) rows += spans[i].count;
    return rows;
}

static inline size_t rrt__spans_active(const rrt__span *spans, size_t n_spans)
{
    while (n_spans && spans[n_spans - 1].only_stores) n_spans--;
    return rrt__spans_rows(spans, n_spans);
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
                       .n_rows = rrt__spans_rows(spans, n_spans),
                       .n_active = rrt__spans_active(spans, n_spans)};
}

// The same pass over other rows.
static inline rrt__pass rrt__pass_over(const rrt__pass *pass, const rrt__span *spans, size_t n_spans)
{
    rrt__pass other = *pass;
    other.spans = spans;
    other.n_spans = n_spans;
    other.n_rows = rrt__spans_rows(spans, n_spans);
    other.n_active = rrt__spans_active(spans, n_spans);
    return other;
}

// A block while it runs.
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

static inline int rrt__block_row_depth(const rrt__block *b, size_t row)
{
    size_t s = 0;
    while (row >= b->segments[s].end) s++;
    return b->segments[s].depth;
}

// The rows of a block's keys and values: the same for all segments, since they run at one slot.
static inline rrt__kv_rows rrt__block_kv(const rrt__block *b)
{
    return b->pass->ws->kv[rrt__block_depth(b, 0)->kv];
}

#endif
