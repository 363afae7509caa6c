#include "model/unroll.h"

#include <string.h>

#include "kernels/gemm.h"
#include "model/read.h"
#include "tokenizer/tokenizer.h"

// Source of a deferred matrix: W, or W + B·A, of another model.
typedef struct merged {
    rrt__linear linear;
    rrt__lora lora; // in memory; rank 0: none
} merged;

static rrt_status read_merged(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    const merged *m = from;
    size_t rank = m->lora.rank;
    RRT__TRY(rrt__linear_read(&m->linear, begin, end, out, err));
    if (rank)
        rrt__gemm_input_gradient_share((rrt__team){.nth = 1}, rrt__products_f32, out,
                                       m->lora.b.weight + begin * rank, m->lora.a.weight, end - begin, rank,
                                       m->linear.in, 1);
    return RRT_STATUS_OK;
}

static rrt_status defer(rrt_model *to, rrt__linear *linear, const rrt__linear *from, const rrt__lora *lora,
                        rrt_error *err)
{
    merged *m;
    RRT__TRY(rrt__arena_alloc(&to->arena, &m, 1, sizeof *m, "a matrix's place", err));
    *m = (merged){*from, *lora};
    *linear = (rrt__linear){.out = from->out, .in = from->in, .from = {read_merged, m}};
    return RRT_STATUS_OK;
}

// Reads a LoRA's matrix into memory as f32, unless it is there already.
static rrt_status take_in(rrt_model *model, rrt__linear *matrix, int threads, rrt_error *err)
{
    const rrt__linear stored = *matrix;
    const rrt__rows all = rrt__linear_rows(&stored);
    if (stored.data && stored.storage == RRT__STORAGE_F32) return RRT_STATUS_OK;
    *matrix = (rrt__linear){.out = stored.out, .in = stored.in};
    RRT__TRY(rrt__arena_alloc(&model->arena, &matrix->weight, stored.out * stored.in, sizeof(float), "a LoRA",
                              err));
    return rrt__rows_read(&all, 0, stored.out, stored.in, threads, matrix->weight, err);
}

rrt_status rrt__merge_lora(rrt_model *model, rrt__linear *linear, const rrt__lora *lora, int threads,
                           rrt_error *err)
{
    rrt__lora own = *lora;
    if (!own.rank) return RRT_STATUS_OK;
    RRT__TRY(take_in(model, &own.a, threads, err));
    RRT__TRY(take_in(model, &own.b, threads, err));
    return defer(model, linear, linear, &own, err);
}

// Refers to a matrix of another model: f32 weights may change until they are read.
static void refer(rrt__linear *to, const rrt__linear *from)
{
    if (from->data && from->storage == RRT__STORAGE_F32)
        to->from = rrt__linear_rows(from);
    else
        *to = *from;
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
        if (!rrt__family_has(to->family, m)) continue;
        rrt__linear *linear = &to->slots[to->plan.slot[to_depth]].matrix[m];
        copy(target->bias[m], source->bias[m], linear->out);
        refer(linear, &from->slots[from->plan.slot[from_depth]].matrix[m]);
    }
}

static void copy_all(rrt_model *to, const rrt_model *from, const short *depths)
{
    to->tokenizer = rrt__tokenizer_share(from->tokenizer);
    to->no_tokenizer = from->no_tokenizer;
    to->dtype = from->dtype;
    to->exit_threshold = from->exit_threshold;
    to->prefix_lm = from->prefix_lm;
    copy_norm(&to->final_norm, &from->final_norm);
    if (to->low_start) copy(to->low_start, from->low_start, to->shape.hidden);
    refer(to->embedding, from->embedding);
    refer(to->head, from->head);
    for (int d = 0; d < to->plan.n_depths; d++) copy_depth(to, d, from, depths[d]);
}

rrt_status rrt__copy_boundaries(rrt_model *to, const rrt_model *from, rrt_error *err)
{
    if (!rrt__plan_has_boundary(&to->plan)) return RRT_STATUS_OK;
    if (from->shares_kv) RRT__TRY(rrt__model_share_kv(to, err));
    if (!from->gates) return RRT_STATUS_OK;
    RRT__TRY(rrt__model_add_gates(to, err));
    for (int n = 0; n < to->plan.loops - 1; n++) {
        const rrt__gate *gate = &from->gates[n < from->plan.loops - 1 ? n : from->plan.loops - 2];
        copy(to->gates[n].weight, gate->weight, to->shape.hidden);
        copy(to->gates[n].bias, gate->bias, 1);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__replan(rrt_model **out, const rrt_model *model, const short *depths, const rrt__plan *plan,
                       rrt__norms_mode norms, rrt_error *err)
{
    RRT__TRY(rrt__model_create_stored(out, model->family, &model->shape, plan, norms, RRT__MATRICES_DEFERRED,
                                      err));
    copy_all(*out, model, depths);
    rrt_status status = rrt__copy_boundaries(*out, model, err);
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
    if (model->plan.norms_loops)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "a norm stands between the model's loops: no plain model is the same");
    RRT__TRY(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, count, 0, 0, err));
    RRT__TRY(rrt__replan(out, model, depths, &plan, RRT__NORMS_TIED, err));
    rrt_status status = merges_lora ? merge_all(*out, model, depths, threads, err) : RRT_STATUS_OK;
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    return status;
}

static void scale(float *x, size_t count, float factor)
{
    for (size_t i = 0; x && i < count; i++) x[i] *= factor;
}

void rrt__model_scale_later_loops(rrt_model *model, float factor)
{
    const rrt__plan *plan = &model->plan;
    int place = rrt__family_has_norm(model->family, RRT__NORM_AFTER_MLP) ? RRT__NORM_AFTER_ATTENTION
                                                                         : RRT__NORM_ATTENTION;
    for (int d = 0; d < plan->n_depths; d++) {
        bool is_first = rrt__model_first_depth(model, plan->slot[d]) == d;
        for (int i = place; i < place + 2 && !is_first; i++) {
            rrt__norm *norm = &model->depths[d].norm[i];
            scale(norm->gain, norm->width, factor);
            scale(norm->bias, norm->width, factor);
        }
    }
}
