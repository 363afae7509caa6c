// The conversion reads like the method: plan → what ties to what → calibration → ranks → norms → weights and
// LoRA.
#include "convert/convert.h"

#include <string.h>

#include "base/clock.h"
#include "convert/heal.h"
#include "convert/keep.h"
#include "model/read.h"
#include "tokenizer/tokenizer.h"

enum { SHORT_TEXT = 2048 }; // tokens, whole windows

// Whether the layers stay as they are, all of them or some, instead of being tied.
static bool keeps_layers(const rrt_convert_options *o)
{
    return o->layers || (o->sharing && strcmp(o->sharing, "none") == 0);
}

static rrt_status check_kept(const rrt_convert_options *o, rrt__sharing sharing, int n_layers, rrt_error *err)
{
    if (o->init == RRT_INIT_AVERAGE || o->init == RRT_INIT_LOWER)
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "where layers are kept, the init is stepwise or calibrated, which say what layers, or "
            "random for a baseline");
    if (o->layers < 0 || o->layers > n_layers)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d layers cannot be kept: 1 to %d can", o->layers,
                         n_layers);
    if (sharing == RRT__SHARING_NONE && (o->loops > 1 || o->prelude || o->coda))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "without sharing there are no loops, prelude or coda");
    if (o->rank || o->lora_budget)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "layers that are kept lose nothing: there is nothing for a LoRA to relax");
    return RRT_STATUS_OK;
}

static rrt_status make_plan(rrt__plan *plan, const rrt_model *source, const rrt_convert_options *o,
                            rrt_error *err)
{
    rrt__sharing sharing;
    int n_layers = source->plan.n_depths, layers = o->layers ? o->layers : n_layers;
    int loops = o->loops ? o->loops : 2, block = layers - o->prelude - o->coda;
    RRT__TRY(rrt__sharing_parse(&sharing, o->sharing ? o->sharing : "cycle", err));
    if (!keeps_layers(o)) return rrt__plan_divide(plan, sharing, n_layers, loops, o->prelude, o->coda, err);
    RRT__TRY(check_kept(o, sharing, n_layers, err));
    if (sharing == RRT__SHARING_NONE) return rrt__plan_make(plan, sharing, 1, layers, 0, 0, err);
    return rrt__plan_make(plan, sharing, loops, block, o->prelude, o->coda, err);
}

static rrt_status check_text(const rrt_model *source, const rrt_convert_options *o, rrt_error *err)
{
    size_t vocab = source->shape.vocab;
    if (o->calibration_count < 2)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the calibration text has %zu tokens: at least 2 are needed", o->calibration_count);
    for (size_t i = 0; i < o->calibration_count; i++)
        if (o->calibration_ids[i] < 0 || (size_t)o->calibration_ids[i] >= vocab)
            return rrt__fail(err, RRT_STATUS_ARGUMENT,
                             "calibration token %zu is id %d: the vocabulary has 0 to %zu", i,
                             o->calibration_ids[i], vocab - 1);
    return RRT_STATUS_OK;
}

rrt_status rrt__convert_check(const rrt_model *source, const rrt_convert_options *o, rrt_error *err)
{
    if (source->plan.sharing != RRT__SHARING_NONE || source->norms != RRT__NORMS_TIED) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the source is converted already");
        return rrt__hint(err, status, "convert from the original model");
    }
    if (o->init < RRT_INIT_STEPWISE || o->init > RRT_INIT_CALIBRATED || o->lora_init < RRT_LORA_INIT_SVD ||
        o->lora_init > RRT_LORA_INIT_ZERO)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "init %d and LoRA init %d: there is no such init",
                         (int)o->init, (int)o->lora_init);
    if (o->rank < 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "rank is %d: 0 or more is possible", o->rank);
    if (o->rank && o->lora_budget)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "either a rank or a LoRA budget, not both");
    bool calibrated = o->init == RRT_INIT_CALIBRATED;
    if (o->lora_budget && !calibrated)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a LoRA budget needs the calibrated init, which tells where a rank gains most");
    if (calibrated && !o->calibration_ids)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the calibrated init needs a calibration text");
    if (calibrated) RRT__TRY(check_text(source, o, err));
    if (calibrated && o->lora_init == RRT_LORA_INIT_ZERO)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the calibrated init finds its LoRA itself: zero is not possible");
    rrt__norms_mode norms;
    return rrt__norms_parse(&norms, o->norms ? o->norms : "tied", err);
}

static rrt_status check_gain(const rrt_convert_options *o, const rrt__plan *plan, rrt_error *err)
{
    bool can_be = o->layers && plan->loops > 1 && o->norms && strcmp(o->norms, "per-depth") == 0;
    if (!(o->loop_gain >= 0 && o->loop_gain <= 1))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "a loop gain of %g: 0 to 1 is possible", o->loop_gain);
    if (o->loop_gain > 0 && !can_be)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a loop gain is for layers that are kept and run in loops, with norms per-depth");
    return RRT_STATUS_OK;
}

// What the plan itself rules out. All of this would show after the calibration, too: that is minutes later.
static rrt_status check_plan(const rrt_model *source, const rrt_convert_options *o, rrt_error *err)
{
    rrt__plan plan;
    uint64_t unit = rrt__convert_budget_unit(source);
    RRT__TRY(make_plan(&plan, source, o, err));
    RRT__TRY(check_gain(o, &plan, err));
    if ((o->rank || o->lora_budget) && plan.n_slots == plan.n_depths)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "no layer is shared: there is nothing for a LoRA to relax");
    if (o->lora_budget && o->lora_budget < unit)
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "a LoRA budget of %llu may buy nothing: it is spent in units of up to %llu parameters",
            (unsigned long long)o->lora_budget, (unsigned long long)unit);
    return RRT_STATUS_OK;
}

static void set_ranks(rrt__conversion *c)
{
    const rrt__plan *plan = &c->model->plan;
    for (int d = 0; d < plan->n_depths; d++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            size_t out, in, rank = (size_t)c->options.rank;
            if (!rrt__conversion_is_shared(plan, plan->slot[d]) || !rrt__family_has(c->model->family, m))
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
    return rrt__rows_read(&to->from, 0, to->out, to->in, c->options.threads, to->weight, err);
}

// Embedding, head and final norm lie outside the loop and are taken over as they are.
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
    const rrt_convert_options *o = &c->options;
    size_t count = (size_t)c->model->plan.n_depths * RRT__MATRIX_COUNT;
    RRT__TRY(rrt__alloc(&c->rank, count, sizeof *c->rank, "ranks", err));
    RRT__TRY(rrt__alloc(&c->rows, count, sizeof *c->rows, "the report", err));
    if (o->lora_budget)
        RRT__TRY(rrt__convert_spend_budget(c, err));
    else
        set_ranks(c);
    RRT__TRY(add_loras(c, err));
    RRT__TRY(copy_ends(c, err));
    RRT__TRY(rrt__convert_vectors(c, err));
    c->model->dtype = c->source->dtype;
    c->model->tokenizer = rrt__tokenizer_share(c->source->tokenizer);
    c->model->no_tokenizer = c->source->no_tokenizer;
    return rrt__convert_weights(c, err);
}

// How many shared slots have depths that attend in different ways.
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

// The least number of layers after which the kinds of attention repeat.
static int attention_period(const rrt_model *model)
{
    int n = model->plan.n_depths, period = 1;
    for (int d = period; d < n; d++) {
        if (model->depths[d].attention == model->depths[d - period].attention) continue;
        d = period++; // from there on again
    }
    return period;
}

static void hand_over_report(rrt__conversion *c, rrt_convert_report *report)
{
    size_t count = (size_t)c->model->plan.n_depths * RRT__MATRIX_COUNT;
    *report = (rrt_convert_report){.rows = c->rows,
                                   .mixed_slots = count_mixed(c->model),
                                   .attention_period = attention_period(c->source)};
    c->rows = NULL;
    for (size_t i = 0; i < count; i++)
        if (report->rows[i].matrix) report->rows[report->n_rows++] = report->rows[i];
}

rrt_status rrt__convert_run(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                            const rrt__grams *grams, int rounds, rrt_convert_report *report, rrt_error *err)
{
    rrt__conversion c = {.source = source, .options = *options, .grams = grams, .rounds = rounds};
    rrt__plan plan;
    *out = NULL;
    RRT__TRY(rrt__norms_parse(&c.norms, options->norms ? options->norms : "tied", err));
    RRT__TRY(make_plan(&plan, source, options, err));
    RRT__TRY(rrt__model_create_stored(&c.model, source->family, &source->shape, &plan, c.norms,
                                      grams ? RRT__MATRICES_F32 : RRT__MATRICES_DEFERRED, err));
    rrt_status status = convert(&c, err);
    if (!status && report) hand_over_report(&c, report);
    rrt__free(c.rank);
    rrt__free(c.rows);
    if (status)
        rrt_model_close(c.model);
    else
        *out = c.model;
    return status;
}

size_t rrt__convert_seen(size_t calibration_count)
{
    return calibration_count < SHORT_TEXT ? calibration_count : SHORT_TEXT;
}

static rrt_status calibrated(rrt_model **out, const rrt_model *source, const rrt_convert_options *o,
                             rrt_convert_report *report, rrt_error *err)
{
    rrt__grams grams;
    rrt__trace trace;
    RRT__TRY(rrt__trace_open(&trace, source, rrt__convert_seen(o->calibration_count), err));
    rrt_status status =
        rrt__grams_collect(&grams, &trace, source, o->calibration_ids, o->threads, o->progress, err);
    if (!status) status = rrt__convert_run(out, source, o, &grams, RRT__CONVERT_ROUNDS, report, err);
    rrt__grams_free(&grams);
    if (!status) status = rrt__convert_heal(*out, source, &trace, o, err);
    rrt__trace_free(&trace);
    return status;
}

rrt_status rrt_convert(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                       rrt_convert_report *report, rrt_error *err)
{
    const rrt_convert_options defaults = {0};
    double start = rrt__now_seconds();
    if (!options) options = &defaults;
    *out = NULL;
    if (report) *report = (rrt_convert_report){0};
    if (options->init == RRT_INIT_CALIBRATED)
        RRT__TRY(rrt__model_check_f32(source, "a calibrated conversion", err));
    RRT__TRY(rrt__convert_check(source, options, err));
    RRT__TRY(check_plan(source, options, err));
    rrt_status status;
    if (keeps_layers(options))
        status = rrt__convert_kept(out, source, options, report, err);
    else if (options->init == RRT_INIT_CALIBRATED)
        status = calibrated(out, source, options, report, err);
    else
        status = rrt__convert_run(out, source, options, NULL, 0, report, err);
    // A source that is in memory may be closed before the result.
    if (!status && source->matrices != RRT__MATRICES_DEFERRED)
        status = rrt__model_unpack(*out, options->threads, NULL, err);
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
