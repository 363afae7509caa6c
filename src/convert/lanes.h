// Two models side by side, depth by depth: what heal.c works on.
#ifndef RRT__LANES_H
#define RRT__LANES_H

#include "convert/fit.h"
#include "convert/trace.h"

// One of the two models on its way through the depths.
typedef struct rrt__lane {
    const rrt_model *model;
    rrt__workspace workspace;
    float *hidden; // [tokens, hidden]
} rrt__lane;

typedef struct rrt__healer {
    rrt_model *model;
    rrt__lane teacher, student;
    const rrt__trace *trace;
    size_t tokens;
    const int32_t *ids;
    int depth;
    // What the student's lane runs: the depth at hand alone, each LoRA merged into the weight. o has no rows:
    // attention ends with its input.
    rrt_model view;
    rrt__slot view_slot;
    rrt__depth view_depth;
    float *merged[RRT__MATRIX_COUNT]; // [out, in]
    float *middle;          // [tokens, hidden]: the teacher's hidden state between attention and MLP
    float *attended;        // [tokens, heads·head_dim]: the student's input of o
    float *activated;       // [tokens, ffn]: the student's input of down
    float *expected, *seen; // [tokens, hidden]: behind a norm, the teacher's hidden state and the student's
    float *folded;          // [largest out·in of those that read it]
    rrt__fit fit;
    rrt__arena arena;
} rrt__healer;

// h holds model, trace, tokens and ids.
rrt_status rrt__lanes_open(rrt__healer *h, const rrt_model *source, int threads, rrt_error *err);
void rrt__lanes_close(rrt__healer *h);

// Both lanes before the first depth. All threads of a team call this and what follows.
void rrt__lanes_embed(rrt__team team, rrt__healer *h);

// Makes the depth at hand what the student's lane runs.
void rrt__lanes_show(rrt__team team, rrt__healer *h);

// merged[m] = W' + B·A, this thread's share of its rows.
void rrt__lanes_merge(rrt__team team, const rrt__healer *h, rrt__matrix m);

// The depth at hand over all tokens: the teacher's sets middle and its hidden state; of the student's, from
// its hidden state, the inputs of o, and those of down. The student's hidden state stays.
void rrt__lanes_run_teacher(rrt__team team, rrt__healer *h);
void rrt__lanes_run_student(rrt__team team, rrt__healer *h, bool attention, bool mlp);

static inline const rrt__linear *rrt__lanes_linear(const rrt__healer *h, rrt__matrix m)
{
    return &h->model->slots[h->model->plan.slot[h->depth]].matrix[m];
}

#endif
