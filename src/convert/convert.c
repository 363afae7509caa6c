// The steps of the method: recipe → calibration or layer selection → model (ranks → norms → weights and LoRA)
// → reconstruction.
#include "convert/convert.h"

#include <string.h>

#include "base/clock.h"
#include "checkpoint/checkpoint.h"
#include "convert/conversion.h"
#include "convert/prune.h"
#include "convert/reconstruct.h"
#include "model/read.h"
#include "model/unroll.h"
#include "tokenizer/tokenizer.h"

enum { SHORT_TEXT = 2048 }; // tokens, whole windows

static void set_ranks(rrt__conversion *c)
{
    const rrt__plan *plan = &c->model->plan;
    for (int d = 0; d < plan->n_depths; d++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            size_t out, in, rank = c->recipe->rank;
            if (!rrt__recipe_is_shared(c->recipe, plan->slot[d]) || !rrt__family_has(c->model->family, m))
                continue;
            rrt__shape_matrix(&c->model->shape, m, &out, &in);
            size_t side = out < in ? out : in;
            c->rank[rrt__conversion_at(d, m)] = rank < side ? rank : side;
        }
    }
}

static rrt_status add_loras(rrt__conversion *c, rrt_error *err)
{
    for (int d = 0; d < c->model->plan.n_depths; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            if (c->rank[rrt__conversion_at(d, m)])
                RRT__TRY(rrt__model_add_lora(c->model, d, m, c->rank[rrt__conversion_at(d, m)], err));
    return RRT_STATUS_OK;
}

static rrt_status copy_end(rrt__conversion *c, rrt__linear *to, const rrt__linear *source, rrt_error *err)
{
    to->from = rrt__linear_rows(source);
    if (!to->weight) return RRT_STATUS_OK;
    return rrt__rows_read(&to->from, 0, to->out, to->in, c->recipe->threads, to->weight, err);
}

// Copies embedding, head and final norm, which lie outside the loop.
static rrt_status copy_ends(rrt__conversion *c, rrt_error *err)
{
    const rrt__shape *shape = &c->source->shape;
    rrt_model *model = c->model;
    memcpy(model->final_norm.gain, c->source->final_norm.gain, shape->hidden * sizeof(float));
    if (model->final_norm.bias)
        memcpy(model->final_norm.bias, c->source->final_norm.bias, shape->hidden * sizeof(float));
    RRT__TRY(copy_end(c, model->embedding, c->source->embedding, err));
    return shape->tied_head ? RRT_STATUS_OK : copy_end(c, model->head, c->source->head, err);
}

static rrt_status convert(rrt__conversion *c, rrt_error *err)
{
    size_t count = (size_t)c->model->plan.n_depths * RRT__MATRIX_COUNT;
    RRT__TRY(rrt__alloc(&c->rank, count, sizeof *c->rank, "ranks", err));
    RRT__TRY(rrt__alloc(&c->rows, count, sizeof *c->rows, "the report", err));
    if (c->recipe->lora_budget)
        RRT__TRY(rrt__conversion_spend_budget(c, err));
    else
        set_ranks(c);
    RRT__TRY(add_loras(c, err));
    RRT__TRY(copy_ends(c, err));
    RRT__TRY(rrt__conversion_vectors(c, err));
    RRT__TRY(rrt__copy_boundaries(c->model, c->source, err));
    c->model->exit_threshold = c->source->exit_threshold;
    c->model->dtype = c->source->dtype;
    c->model->tokenizer = rrt__tokenizer_share(c->source->tokenizer);
    c->model->no_tokenizer = c->source->no_tokenizer;
    return rrt__conversion_weights(c, err);
}

// --- the report

// Number of shared slots whose depths attend in different ways.
static int count_mixed(const rrt_model *model)
{
    const rrt__plan *plan = &model->plan;
    int mixed = 0;
    for (int s = 0; s < plan->n_slots; s++) {
        bool differs = false;
        unsigned first = model->depths[rrt__model_first_depth(model, s)].attention;
        for (int d = 0; d < plan->n_depths; d++)
            differs = differs || (plan->slot[d] == s && model->depths[d].attention != first);
        mixed += differs;
    }
    return mixed;
}

// The shortest period, in layers, of the kinds of attention.
static int attention_period(const rrt_model *model)
{
    int n = model->plan.n_depths, period = 1;
    for (int d = period; d < n; d++) {
        if (model->depths[d].attention == model->depths[d - period].attention) continue;
        d = period++; // a mismatch: the period is longer
    }
    return period;
}

static rrt_status report_kept(const rrt__recipe *r, rrt_convert_report *report, rrt_error *err)
{
    size_t count = (size_t)r->n_layers;
    RRT__TRY(rrt__alloc(&report->kept_layers, count, sizeof *report->kept_layers, "the report", err));
    report->n_kept_layers = count;
    for (size_t i = 0; i < count; i++) report->kept_layers[i] = r->layer[i];
    return RRT_STATUS_OK;
}

// Reports only ties: kept layers lose nothing.
static rrt_status hand_over_report(rrt__conversion *c, rrt_convert_report *report, rrt_error *err)
{
    size_t count = (size_t)c->model->plan.n_depths * RRT__MATRIX_COUNT;
    *report = (rrt_convert_report){.mixed_slots = count_mixed(c->model),
                                   .attention_period = attention_period(c->source)};
    if (c->recipe->keeps) return report_kept(c->recipe, report, err);
    report->rows = c->rows;
    c->rows = NULL;
    for (size_t i = 0; i < count; i++)
        if (report->rows[i].matrix) report->rows[report->n_rows++] = report->rows[i];
    return RRT_STATUS_OK;
}

rrt_status rrt__convert_make(rrt_model **out, const rrt_model *source, const rrt__recipe *recipe,
                             const rrt__moments *moments, rrt_convert_report *report, rrt_error *err)
{
    rrt__conversion c = {.source = source, .recipe = recipe, .moments = moments};
    *out = NULL;
    RRT__TRY(rrt__model_create_stored(&c.model, source->family, &source->shape, &recipe->plan, recipe->norms,
                                      moments ? RRT__MATRICES_F32 : RRT__MATRICES_DEFERRED, err));
    rrt_status status = convert(&c, err);
    if (!status && report) status = hand_over_report(&c, report, err);
    rrt__free(c.rank);
    rrt__free(c.rows);
    if (status)
        rrt_model_close(c.model);
    else
        *out = c.model;
    return status;
}

// --- the whole conversion

size_t rrt__convert_seen(size_t tokens)
{
    return tokens < SHORT_TEXT ? tokens : SHORT_TEXT;
}

static rrt_status calibrated(rrt_model **out, const rrt_model *source, const rrt__recipe *r,
                             rrt_convert_report *report, rrt_error *err)
{
    rrt__moments moments;
    rrt__trace trace;
    RRT__TRY(rrt__trace_open(&trace, source, rrt__convert_seen(r->n_ids), err));
    rrt_status status = rrt__moments_collect(&moments, &trace, source, r->ids, r->threads, r->progress, err);
    if (!status) status = rrt__convert_make(out, source, r, &moments, report, err);
    rrt__moments_free(&moments);
    if (!status) status = rrt__convert_reconstruct(*out, source, &trace, r, err);
    rrt__trace_free(&trace);
    return status;
}

static rrt_status run(rrt_model **out, const rrt_model *source, rrt__recipe *r, rrt_convert_report *report,
                      rrt_error *err)
{
    if (r->init == RRT_INIT_CALIBRATED || r->by_text)
        RRT__TRY(rrt__model_check_f32(source, "a calibrated conversion", err));
    if (r->init == RRT_INIT_CALIBRATED) return calibrated(out, source, r, report, err);
    if (r->by_text) RRT__TRY(rrt__prune_choose(r, source, err));
    return rrt__convert_make(out, source, r, NULL, report, err);
}

rrt_status rrt_convert(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                       rrt_convert_report *report, rrt_error *err)
{
    const rrt_convert_options defaults = {0};
    double start = rrt__now_seconds();
    rrt__recipe recipe;
    *out = NULL;
    if (report) *report = (rrt_convert_report){0};
    RRT__TRY(rrt__recipe_resolve(&recipe, source, options ? options : &defaults, err));
    rrt_status status = run(out, source, &recipe, report, err);
    // The caller may close a source in memory before the result, so the result must not refer to it.
    if (!status && source->matrices != RRT__MATRICES_DEFERRED)
        status = rrt__model_to_f32(*out, recipe.threads, NULL, err);
    if (status) {
        rrt_model_close(*out);
        *out = NULL;
        if (report) rrt_convert_report_free(report);
    }
    if (!status && report) report->seconds = rrt__now_seconds() - start;
    return status;
}

void rrt_convert_report_free(rrt_convert_report *report)
{
    rrt__free(report->rows);
    rrt__free(report->kept_layers);
    *report = (rrt_convert_report){0};
}
