// What a run takes, by counting operations of matrix products and values that are read one by one
// (kernels/speed.h), and the memory of weights, moments, the tape (pass/tape.c) and the head (head.c).
#include <math.h>

#include "kernels/speed.h"
#include "model/parameters.h"
#include "train/head.h"
#include "train/muon.h"
#include "train/settings.h"

enum {
    HEAD_PASSES = 10,       // over a row of logits, there and back
    UPDATE_PASSES = 4,      // over weight, gradient and moments
    FIXED_BYTES = 64 << 20, // the program, its libraries and their buffers
};

// Beside its products a step has norms, activations, softmaxes and barriers: the share that products have.
static const double SHARE_OF_PRODUCTS = 0.8;

typedef struct estimate {
    const rrt_model *model, *teacher;
    const rrt__settings *settings;
    rrt__operations token, update; // of a token; of a step's end
    double trained, total;         // parameters
} estimate;

// Operations of a matrix with a row of its inputs.
static double product_of(const rrt_model *model, int m)
{
    size_t out, in;
    if (!rrt__family_has(model->family, m)) return 0;
    rrt__shape_matrix(&model->shape, m, &out, &in);
    return 2 * (double)out * (double)in;
}

static double head_of(const rrt_model *model)
{
    return 2 * (double)model->shape.hidden * (double)model->shape.vocab;
}

static double forward_of(const rrt_model *model, double window)
{
    return model->plan.n_depths * rrt__shape_layer_operations(model->family, &model->shape, window);
}

// Where a matrix is frozen its gradient is not computed; that of its input is.
static void add_student(estimate *e)
{
    const rrt__step_options *step = &e->settings->step;
    const double *scale = e->settings->optimizer.scale;
    double forward = forward_of(e->model, (double)step->context), head = head_of(e->model);
    bool trains_layers = scale[RRT__PARAMETER_SHARED] != 0 || scale[RRT__PARAMETER_LORA] != 0,
         trains_head = scale[RRT__PARAMETER_EMBEDDING] != 0;
    e->token.product += forward * (2 + trains_layers + (step->recompute ? 1 : 0)) + head * (2 + trains_head);
    e->token.elements += HEAD_PASSES * (double)e->model->shape.vocab;
    if (step->exits.loss != RRT_EXIT_LOSS_NONE || step->exits.gates) // each exit has a head of its own
        e->token.product += (e->model->plan.loops - 1) * head * (2 + trains_head);
}

static void add_teacher(estimate *e)
{
    if (!e->teacher) return;
    e->token.product += forward_of(e->teacher, (double)e->settings->step.context) + head_of(e->teacher);
    e->token.elements += HEAD_PASSES * (double)e->teacher->shape.vocab;
}

static rrt_status add_parameter(void *user, const rrt__parameter *p, rrt_error *err)
{
    estimate *e = user;
    double count = (double)rrt__parameter_count(p), rows = (double)p->rows, columns = (double)p->columns;
    (void)err;
    e->total += count;
    if (e->settings->optimizer.scale[p->kind] == 0) return RRT_STATUS_OK;
    e->trained += count;
    e->update.elements += UPDATE_PASSES * count;
    if (!e->settings->optimizer.muon || p->kind == RRT__PARAMETER_EMBEDDING || columns == 0)
        return RRT_STATUS_OK;
    double side = rows < columns ? rows : columns;
    e->update.product += RRT__MUON_STEPS * (4 * side * count + 2 * side * side * side);
    return RRT_STATUS_OK;
}

// Once per step, while a LoRA is merged into the weight that its depth runs with, and taken apart again.
static void add_merging(estimate *e)
{
    for (int d = 0; d < e->model->plan.n_depths; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            e->update.product += 3 * (double)e->model->depths[d].lora[m].rank * product_of(e->model, m);
}

static double tape_floats(const estimate *e)
{
    const rrt_model *model = e->model;
    const rrt__step_options *step = &e->settings->step;
    const rrt__shape *s = &model->shape;
    double rows = (double)(step->sequences * step->context), h = (double)s->hidden,
           q = (double)(s->heads * s->head_dim), kv = (double)(s->kv_heads * s->head_dim), f = (double)s->ffn,
           depth = 2 * q + 2 * kv + 2 * f + h, kept = step->recompute ? 1 : model->plan.n_depths, merged = 0;
    if (rrt__family_has_norm(model->family, RRT__NORM_AFTER_MLP)) depth += 2 * h;
    if (rrt__family_has_norm(model->family, RRT__NORM_Q)) depth += q + kv;
    for (int d = 0; d < model->plan.n_depths; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            if (model->depths[d].lora[m].rank && (d == 0 || !step->recompute))
                merged += product_of(model, m) / 2;
    return rows * (model->plan.n_depths * h + kept * depth + 8 * h + 4 * q + 4 * kv + 2 * f) + merged;
}

// A teacher is in memory as it is stored, and in f32 where that is what it is made of.
static double teacher_bytes(const estimate *e, double rows)
{
    rrt_model_info info;
    if (!e->teacher) return 0;
    const rrt__shape *s = &e->teacher->shape;
    rrt_model_describe(e->teacher, &info);
    double buffers = 3 * (double)s->hidden + 2 * (double)(s->heads * s->head_dim) + 3 * (double)s->ffn +
                     2 * (double)(s->kv_heads * s->head_dim);
    return (double)info.file_bytes + 4 * rows * buffers;
}

static uint64_t peak_bytes(const estimate *e)
{
    const rrt__step_options *step = &e->settings->step;
    double rows = (double)(step->sequences * step->context),
           logits =
               RRT__HEAD_ROWS * (double)(e->model->shape.vocab + (e->teacher ? e->teacher->shape.vocab : 0));
    return (uint64_t)(FIXED_BYTES + 4 * (4 * e->total + tape_floats(e) + logits) + teacher_bytes(e, rows));
}

static double step_seconds(const estimate *e, const rrt__speed *speed)
{
    double tokens = (double)(e->settings->batch * e->settings->step.context);
    return tokens * rrt__operations_seconds(&e->token, speed) / SHARE_OF_PRODUCTS +
           rrt__operations_seconds(&e->update, speed);
}

rrt_status rrt_train_estimate(const rrt_model *model, const rrt_train_options *options,
                              rrt_train_forecast *forecast, rrt_error *err)
{
    rrt__settings settings;
    rrt__speed speed;
    estimate e = {.model = model, .teacher = options->teacher, .settings = &settings};
    RRT__TRY(rrt__settings_resolve(&settings, model, options, err));
    RRT__TRY(rrt__model_each_parameter(model, &model->family->hf, add_parameter, &e, err));
    RRT__TRY(rrt__speed_measure(&speed, settings.step.sequences * settings.step.context, model->shape.hidden,
                                settings.step.threads, err));
    add_student(&e);
    add_teacher(&e);
    add_merging(&e);
    double tokens = (double)(settings.batch * settings.step.context), seconds = step_seconds(&e, &speed),
           steps = settings.tokens ? ceil((double)settings.tokens / tokens) : INFINITY;
    if (settings.minutes > 0 && steps * seconds > 60 * settings.minutes)
        steps = ceil(60 * settings.minutes / seconds);
    *forecast = (rrt_train_forecast){.params_trained = (uint64_t)e.trained,
                                     .params_total = (uint64_t)e.total,
                                     .steps = (uint64_t)steps,
                                     .tokens = (uint64_t)(steps * tokens),
                                     .tokens_per_s = tokens / seconds,
                                     .seconds = steps * seconds,
                                     .peak_bytes = peak_bytes(&e)};
    return RRT_STATUS_OK;
}
