#include "model/unroll.h"

#include <string.h>

#include "kernels/gemm.h"
#include "model/held.h"
#include "tokenizer/tokenizer.h"

// W, or W + B·A, of one model as a matrix of another.
typedef struct merged {
    rrt__linear linear;
    rrt__lora lora; // in memory; rank 0: none
} merged;

static rrt_status read_merged(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    const merged *m = from;
    const rrt__held weight = rrt__linear_held(&m->linear);
    size_t rank = m->lora.rank;
    RRT__TRY(rrt__held_read(&weight, begin, end, out, err));
    if (rank)
        rrt__gemm_input_gradient((rrt__team){.nth = 1}, out, m->lora.b + begin * rank, m->lora.a, end - begin,
                                 rank, m->linear.in, 1);
    return RRT_STATUS_OK;
}

static rrt_status defer(rrt_model *to, rrt__linear *linear, const rrt__linear *from, const rrt__lora *lora,
                        rrt_error *err)
{
    merged *m;
    RRT__TRY(rrt__arena_alloc(&to->arena, &m, 1, sizeof *m, "a matrix's place", err));
    *m = (merged){*from, *lora};
    linear->from = (rrt__rows){read_merged, m};
    return RRT_STATUS_OK;
}

// *to: where a LoRA's matrix is in memory, which it is read into where it is not there yet.
static rrt_status take_in(rrt_model *model, float **to, rrt__held held, size_t rows, int threads,
                          rrt_error *err)
{
    const rrt__rows all = rrt__held_rows(&held);
    if (*to) return RRT_STATUS_OK;
    RRT__TRY(rrt__arena_alloc(&model->arena, to, rows * held.columns, sizeof(float), "a LoRA", err));
    return rrt__rows_read(&all, 0, rows, held.columns, threads, *to, err);
}

rrt_status rrt__merge_lora(rrt_model *model, rrt__linear *linear, const rrt__lora *lora, int threads,
                           rrt_error *err)
{
    rrt__lora own = *lora;
    if (!own.rank) return RRT_STATUS_OK;
    RRT__TRY(take_in(model, &own.a, rrt__lora_a_held(lora, linear->in), own.rank, threads, err));
    RRT__TRY(take_in(model, &own.b, rrt__lora_b_held(lora), linear->out, threads, err));
    return defer(model, linear, linear, &own, err);
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

static rrt_status copy_depth(rrt_model *to, int to_depth, const rrt_model *from, int from_depth,
                             rrt_error *err)
{
    rrt__depth *target = &to->depths[to_depth];
    const rrt__depth *source = &from->depths[from_depth];
    target->attention = source->attention;
    for (int i = 0; i < RRT__NORM_COUNT; i++) copy_norm(&target->norm[i], &source->norm[i]);
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        if (!rrt__family_has(to->family, m)) continue;
        rrt__linear *linear = &to->slots[to->plan.slot[to_depth]].matrix[m];
        copy(target->bias[m], source->bias[m], linear->out);
        RRT__TRY(
            defer(to, linear, &from->slots[from->plan.slot[from_depth]].matrix[m], &(rrt__lora){0}, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status copy_end(rrt_model *to, rrt__rows *rows, rrt__held from, rrt_error *err)
{
    rrt__held *kept;
    RRT__TRY(rrt__arena_alloc(&to->arena, &kept, 1, sizeof *kept, "a matrix's place", err));
    *kept = from;
    *rows = rrt__held_rows(kept);
    return RRT_STATUS_OK;
}

static rrt_status copy_all(rrt_model *to, const rrt_model *from, const short *depths, rrt_error *err)
{
    to->tokenizer = rrt__tokenizer_share(from->tokenizer);
    to->no_tokenizer = from->no_tokenizer;
    to->dtype = from->dtype;
    copy_norm(&to->final_norm, &from->final_norm);
    RRT__TRY(copy_end(to, to->embedding_from, rrt__embedding_held(from), err));
    if (!to->shape.tied_head) RRT__TRY(copy_end(to, to->head_from, rrt__head_held(from), err));
    for (int d = 0; d < to->plan.n_depths; d++) RRT__TRY(copy_depth(to, d, from, depths[d], err));
    return RRT_STATUS_OK;
}

rrt_status rrt__replan(rrt_model **out, const rrt_model *model, const short *depths, const rrt__plan *plan,
                       rrt__norms_mode norms, rrt_error *err)
{
    RRT__TRY(
        rrt__model_create_stored(out, model->family, &model->shape, plan, norms, RRT__STORAGE_DEFERRED, err));
    rrt_status status = copy_all(*out, model, depths, err);
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    return status;
}

static rrt_status merge_all(rrt_model *to, const rrt_model *from, const short *depths, int threads,
                            rrt_error *err)
{
    for (int i = 0; i < to->plan.n_depths * RRT__MATRIX_COUNT; i++) {
        int d = i / RRT__MATRIX_COUNT, m = i % RRT__MATRIX_COUNT;
        RRT__TRY(
            rrt__merge_lora(to, &to->slots[d].matrix[m], &from->depths[depths[d]].lora[m], threads, err));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__unroll(rrt_model **out, const rrt_model *model, const short *depths, int count,
                       bool merges_lora, int threads, rrt_error *err)
{
    rrt__plan plan;
    *out = NULL;
    RRT__TRY(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, count, 0, 0, err));
    RRT__TRY(rrt__replan(out, model, depths, &plan, RRT__NORMS_TIED, err));
    rrt_status status = merges_lora ? merge_all(*out, model, depths, threads, err) : RRT_STATUS_OK;
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    return status;
}
