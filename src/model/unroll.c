#include "model/unroll.h"

#include <string.h>

#include "base/team.h"
#include "kernels/gemm.h"
#include "tokenizer/tokenizer.h"

typedef struct merge {
    rrt__linear *linear;
    const rrt__lora *lora;
} merge;

// B [out, r] · A [r, in], summed up in the weight [out, in].
static void run_merge(rrt__team team, void *argument)
{
    const merge *m = argument;
    rrt__gemm_input_gradient(team, m->linear->weight, m->lora->b, m->lora->a, m->linear->out, m->lora->rank,
                             m->linear->in, 1);
}

void rrt__merge_lora(rrt__linear *linear, const rrt__lora *lora, int threads)
{
    if (lora->rank) rrt__team_run(threads, run_merge, &(merge){linear, lora});
}

static void copy(float *to, const float *from, size_t count)
{
    if (from) memcpy(to, from, count * sizeof *to);
}

static void copy_norm(rrt__norm *to, const rrt__norm *from)
{
    copy(to->gain, from->gain, from->width);
    copy(to->bias, from->bias, from->width);
}

static void copy_depth(rrt_model *to, int to_depth, const rrt_model *from, int from_depth)
{
    rrt__depth *target = &to->depths[to_depth];
    const rrt__depth *source = &from->depths[from_depth];
    target->attention = source->attention;
    for (int i = 0; i < RRT__NORM_COUNT; i++) copy_norm(&target->norm[i], &source->norm[i]);
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        rrt__linear *linear = &to->slots[to->plan.slot[to_depth]].matrix[m];
        copy(linear->weight, from->slots[from->plan.slot[from_depth]].matrix[m].weight,
             linear->out * linear->in);
        copy(target->bias[m], source->bias[m], linear->out);
    }
}

rrt_status rrt__replan(rrt_model **out, const rrt_model *model, const short *depths, const rrt__plan *plan,
                       rrt__norms_mode norms, rrt_error *err)
{
    size_t embedding = model->shape.vocab * model->shape.hidden;
    RRT__TRY(rrt__model_create(out, model->family, &model->shape, plan, norms, err));
    rrt_model *made = *out;
    made->tokenizer = rrt__tokenizer_share(model->tokenizer);
    made->no_tokenizer = model->no_tokenizer;
    copy(made->embedding, model->embedding, embedding);
    if (!model->shape.tied_head) copy(made->head, model->head, embedding);
    copy_norm(&made->final_norm, &model->final_norm);
    for (int d = 0; d < plan->n_depths; d++) copy_depth(made, d, model, depths[d]);
    return RRT_STATUS_OK;
}

rrt_status rrt__unroll(rrt_model **out, const rrt_model *model, const short *depths, int count,
                       bool merges_lora, int threads, rrt_error *err)
{
    rrt__plan plan;
    *out = NULL;
    RRT__TRY(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, count, 0, 0, err));
    RRT__TRY(rrt__replan(out, model, depths, &plan, RRT__NORMS_TIED, err));
    for (int i = 0; merges_lora && i < count * RRT__MATRIX_COUNT; i++) {
        int d = i / RRT__MATRIX_COUNT, m = i % RRT__MATRIX_COUNT;
        rrt__merge_lora(&(*out)->slots[d].matrix[m], &model->depths[depths[d]].lora[m], threads);
    }
    return RRT_STATUS_OK;
}
