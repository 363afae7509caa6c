#include "convert/recipe.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_LOOPS = 2 };

// A model that runs in loops can be relaxed, if each of its layers is the same in all of them.
static rrt_status check_source(const rrt_model *source, rrt_error *err)
{
    bool is_cycle = rrt__plan_has_boundary(&source->plan) && !source->shares_kv;
    if (source->norms == RRT__NORMS_TIED && !rrt__model_has_lora(source) &&
        (source->plan.sharing == RRT__SHARING_NONE || is_cycle))
        return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the source is converted already");
    return rrt__hint(err, status, "convert from the original model");
}

static rrt_status check_text(const rrt_model *source, const rrt__recipe *r, rrt_error *err)
{
    size_t vocab = source->shape.vocab;
    if (!r->ids) return rrt__fail(err, RRT_STATUS_ARGUMENT, "the calibrated init needs a calibration text");
    if (r->n_ids < 2)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the calibration text has %zu tokens: at least 2 are needed", r->n_ids);
    for (size_t i = 0; i < r->n_ids; i++)
        if (r->ids[i] < 0 || (size_t)r->ids[i] >= vocab)
            return rrt__fail(err, RRT_STATUS_ARGUMENT,
                             "calibration token %zu is id %d: the vocabulary has 0 to %zu", i, r->ids[i],
                             vocab - 1);
    return RRT_STATUS_OK;
}

static rrt_status check_lora(const rrt__recipe *r, const rrt_convert_options *o, rrt_error *err)
{
    bool calibrated = r->init == RRT_INIT_CALIBRATED;
    if (o->rank < 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "rank is %d: 0 or more is possible", o->rank);
    if (o->rank && o->lora_budget)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "either a rank or a LoRA budget, not both");
    if (o->lora_budget && !calibrated)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a LoRA budget needs the calibrated init, which tells where a rank gains most");
    if (calibrated && o->lora_init == RRT_LORA_INIT_ZERO)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the calibrated init finds its LoRA itself: zero is not possible");
    return RRT_STATUS_OK;
}

rrt_status rrt__recipe_begin(rrt__recipe *r, const rrt_model *source, const rrt_convert_options *o,
                             rrt_init init, rrt_error *err)
{
    *r = (rrt__recipe){.init = init,
                       .lora_init = o->lora_init,
                       .n_layers = source->plan.n_depths,
                       .loop_gain = 1,
                       .ids = o->calibration_ids,
                       .n_ids = o->calibration_count,
                       .rounds = RRT__CONVERT_ROUNDS,
                       .threads = o->threads,
                       .seed = o->seed,
                       .progress = o->progress};
    for (int i = 0; i < r->n_layers; i++) r->layer[i] = (short)i;
    RRT__TRY(check_source(source, err));
    if (init < RRT_INIT_STEPWISE || init > RRT_INIT_CALIBRATED || o->lora_init < RRT_LORA_INIT_SVD ||
        o->lora_init > RRT_LORA_INIT_ZERO)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "init %d and LoRA init %d: there is no such init",
                         (int)init, (int)o->lora_init);
    RRT__TRY(check_lora(r, o, err));
    if (init == RRT_INIT_CALIBRATED) RRT__TRY(check_text(source, r, err));
    return rrt__norms_parse(&r->norms, o->norms ? o->norms : "tied", err);
}

// --- kept layers

static rrt_status check_named(const rrt_convert_options *o, int n_layers, rrt_error *err)
{
    if (o->layers && (size_t)o->layers != o->n_keep)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu layers are named: %d are to be kept", o->n_keep,
                         o->layers);
    if (o->init != RRT_INIT_STEPWISE && o->init != RRT_INIT_RANDOM)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the layers to keep are named: there is nothing for an init to choose");
    for (size_t i = 0; i < o->n_keep; i++)
        if (o->keep[i] < 0 || o->keep[i] >= n_layers || (i && o->keep[i] <= o->keep[i - 1]))
            return rrt__fail(err, RRT_STATUS_ARGUMENT,
                             "layer %d cannot be kept there: the model has 0 to %d, named in ascending order",
                             o->keep[i], n_layers - 1);
    return RRT_STATUS_OK;
}

static rrt_status check_kept(const rrt__recipe *r, const rrt_convert_options *o, rrt__sharing sharing,
                             rrt_error *err)
{
    if (o->init == RRT_INIT_AVERAGE || o->init == RRT_INIT_LOWER)
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "where layers are kept, the init is stepwise or calibrated, which say what layers, or "
            "random for a baseline");
    if (o->layers < 0 || o->layers > r->n_layers)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d layers cannot be kept: 1 to %d can", o->layers,
                         r->n_layers);
    if (o->n_keep) RRT__TRY(check_named(o, r->n_layers, err));
    if (sharing == RRT__SHARING_NONE && (o->loops > 1 || o->prelude || o->coda))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "without sharing there are no loops, prelude or coda");
    if (o->rank || o->lora_budget)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "layers that are kept lose nothing: there is nothing for a LoRA to relax");
    return RRT_STATUS_OK;
}

static void choose_layers(rrt__recipe *r, const rrt_convert_options *o)
{
    int all = r->n_layers;
    r->keeps = true;
    r->by_text = r->init == RRT_INIT_CALIBRATED;
    if (r->by_text) r->init = RRT_INIT_STEPWISE; // weights stay unchanged
    r->n_layers = o->n_keep ? (int)o->n_keep : o->layers ? o->layers : all;
    for (int i = 0; i < r->n_layers; i++)
        r->layer[i] = (short)(o->n_keep ? o->keep[i] : rrt__stepwise(i, r->n_layers, all));
}

// --- the plan

// A source that runs in loops keeps its plan; each layer of a slot is that of the first loop.
static rrt_status keep_plan(rrt__recipe *r, const rrt_model *source, const rrt_convert_options *o,
                            rrt_error *err)
{
    const rrt__plan *plan = &source->plan;
    bool is_same = (!o->sharing || strcmp(o->sharing, "cycle") == 0) &&
                   (!o->loops || o->loops == plan->loops) && (!o->prelude || o->prelude == plan->prelude) &&
                   (!o->coda || o->coda == plan->coda);
    if (!is_same || o->layers || o->n_keep || o->loop_norm || r->init != RRT_INIT_STEPWISE)
        return rrt__fail(
            err, RRT_STATUS_UNSUPPORTED,
            "the source runs in loops already (%d x %d): it can be relaxed, by a LoRA or norms per depth,"
            " and not be given another plan or init",
            plan->loops, plan->layers_per_block);
    r->plan = *plan;
    r->init = RRT_INIT_LOWER;
    return RRT_STATUS_OK;
}

static rrt_status make_plan(rrt__recipe *r, const rrt_model *source, const rrt_convert_options *o,
                            rrt_error *err)
{
    rrt__sharing sharing;
    int loops = o->loops ? o->loops : DEFAULT_LOOPS;
    if (source->plan.sharing != RRT__SHARING_NONE) return keep_plan(r, source, o, err);
    RRT__TRY(rrt__sharing_parse(&sharing, o->sharing ? o->sharing : "cycle", err));
    if (!o->layers && !o->n_keep && sharing != RRT__SHARING_NONE)
        return rrt__plan_divide(&r->plan, sharing, r->n_layers, loops, o->prelude, o->coda, err);
    RRT__TRY(check_kept(r, o, sharing, err));
    choose_layers(r, o);
    if (sharing == RRT__SHARING_NONE) return rrt__plan_make(&r->plan, sharing, 1, r->n_layers, 0, 0, err);
    return rrt__plan_make(&r->plan, sharing, loops, r->n_layers - o->prelude - o->coda, o->prelude, o->coda,
                          err);
}

static rrt_status set_norm(rrt__recipe *r, const rrt_convert_options *o, rrt_error *err)
{
    r->plan.norms_loops |= o->loop_norm;
    if (!o->loop_norm || rrt__plan_has_boundary(&r->plan)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "a norm between loops is for a cycle of at least 2 loops");
}

static rrt_status set_gain(rrt__recipe *r, const rrt_convert_options *o, rrt_error *err)
{
    if (!(o->loop_gain >= 0 && o->loop_gain <= 1))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "a loop gain of %g: 0 to 1 is possible", o->loop_gain);
    if (o->loop_gain == 0) return RRT_STATUS_OK;
    if (!r->keeps || r->plan.loops == 1 || r->norms != RRT__NORMS_PER_DEPTH)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a loop gain is for layers that are kept and run in loops, with norms per-depth");
    r->loop_gain = (float)o->loop_gain;
    return RRT_STATUS_OK;
}

// Price, in parameters, of the most expensive unit that a budget buys: from this budget on it buys something.
static uint64_t budget_unit(const rrt_model *source)
{
    uint64_t max = 0;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        if (!rrt__family_has(source->family, m)) continue;
        rrt__shape_matrix(&source->shape, m, &out, &in);
        size_t side = out < in ? out : in,
               price = (side < RRT__RANK_UNIT ? side : RRT__RANK_UNIT) * (out + in);
        if (price > max) max = price;
    }
    return max;
}

static rrt_status set_lora(rrt__recipe *r, const rrt_model *source, const rrt_convert_options *o,
                           rrt_error *err)
{
    uint64_t unit = budget_unit(source);
    r->rank = (size_t)o->rank;
    r->lora_budget = o->lora_budget;
    if ((o->rank || o->lora_budget) && r->plan.n_slots == r->plan.n_depths)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "no layer is shared: there is nothing for a LoRA to relax");
    if (!o->lora_budget || o->lora_budget >= unit) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT,
                     "a LoRA budget of %llu may buy nothing: it is spent in units of up to %llu parameters",
                     (unsigned long long)o->lora_budget, (unsigned long long)unit);
}

rrt_status rrt__recipe_resolve(rrt__recipe *r, const rrt_model *source, const rrt_convert_options *o,
                               rrt_error *err)
{
    RRT__TRY(rrt__recipe_begin(r, source, o, o->init, err));
    RRT__TRY(make_plan(r, source, o, err));
    RRT__TRY(set_norm(r, o, err));
    RRT__TRY(set_gain(r, o, err));
    return set_lora(r, source, o, err);
}

// --- queries

int rrt__stepwise(int k, int count, int n)
{
    if (count == 1) return 0;
    return (int)nearbyint((double)k * (n - 1) / (count - 1)); // the default rounding mode: ties to even
}

int rrt__recipe_depth_layer(const rrt__recipe *r, int depth)
{
    return r->layer[r->keeps ? r->plan.slot[depth] : depth];
}

int rrt__recipe_slot_layer(const rrt__recipe *r, int slot)
{
    const rrt__plan *plan = &r->plan;
    int from_end = plan->n_slots - 1 - slot, in_block = slot - plan->prelude;
    if (r->keeps || slot < plan->prelude) return r->layer[slot];
    if (from_end < plan->coda) return r->layer[r->n_layers - 1 - from_end];
    if (r->init == RRT_INIT_LOWER) return r->layer[slot];
    if (r->init != RRT_INIT_STEPWISE && r->init != RRT_INIT_RANDOM) return -1;
    int middle = r->n_layers - plan->prelude - plan->coda;
    return r->layer[plan->prelude + rrt__stepwise(in_block, plan->layers_per_block, middle)];
}

bool rrt__recipe_is_shared(const rrt__recipe *r, int slot)
{
    int users = 0;
    for (int d = 0; d < r->plan.n_depths; d++) users += r->plan.slot[d] == slot;
    return users > 1;
}
