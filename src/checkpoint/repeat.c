// Changes how often layers run when a model is opened; no weight is copied.
#include <stdlib.h>
#include <string.h>

#include "base/locale.h"
#include "checkpoint/checkpoint.h"
#include "model/unroll.h"

// A model that runs depths[i] of `model` at its depth i, LoRA included.
static rrt_status replan(rrt_model **out, const rrt_model *model, const short *depths, const rrt__plan *plan,
                         rrt__norms_mode norms, rrt_error *err)
{
    RRT__TRY(rrt__replan(out, model, depths, plan, norms, err));
    for (int d = 0; d < plan->n_depths; d++)
        memcpy((*out)->depths[d].lora, model->depths[depths[d]].lora, sizeof model->depths->lora);
    (*out)->trained_loops = model->trained_loops ? model->trained_loops : model->plan.loops;
    return RRT_STATUS_OK;
}

// The plan of another number of loops, and the old depths that it runs. One loop is a plain model.
static rrt_status plan_loops(rrt__plan *plan, short *depths, const rrt__plan *old, int loops, rrt_error *err)
{
    int n = 0, layers = old->layers_per_block;
    if (loops == 1)
        RRT__TRY(rrt__plan_make(plan, RRT__SHARING_NONE, 1, old->n_slots, 0, 0, err));
    else
        RRT__TRY(rrt__plan_make(plan, RRT__SHARING_CYCLE, loops, layers, old->prelude, old->coda, err));
    plan->norms_loops = old->norms_loops && loops > 1;
    for (int d = 0; d < old->prelude; d++) depths[n++] = (short)d;
    for (int loop = 1; loop <= loops; loop++)
        for (int i = 0; i < layers; i++)
            depths[n++] = (short)(rrt__plan_loop(old, loop < old->loops ? loop : old->loops).begin + i);
    for (int d = rrt__plan_coda(old).begin; d < old->n_depths; d++) depths[n++] = (short)d;
    return RRT_STATUS_OK;
}

rrt_status rrt__model_with_loops(rrt_model **out, const rrt_model *model, int loops, rrt_error *err)
{
    rrt__plan plan;
    short depths[RRT__MAX_DEPTHS];
    *out = NULL;
    if (!rrt__plan_has_boundary(&model->plan)) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                      "%d loops cannot be run: the plan (sharing: %s) has no loop boundary to leave at",
                      loops, rrt__sharing_name(model->plan.sharing));
        return rrt__hint(err, status, "layers of an ordinary model run again by --repeat");
    }
    RRT__TRY(plan_loops(&plan, depths, &model->plan, loops, err));
    return replan(out, model, depths, &plan, loops > 1 ? model->norms : RRT__NORMS_TIED, err);
}

typedef struct repeat {
    long first, last, times;
    double gain; // 0: none is given
} repeat;

// "10-14x2", "12x3:0.2"
static bool parse(repeat *r, const char *text)
{
    char *end;
    r->gain = 0;
    r->first = r->last = strtol(text, &end, 10);
    if (end == text || *text < '0' || *text > '9') return false;
    if (*end == '-') {
        text = end + 1;
        r->last = strtol(text, &end, 10);
        if (end == text || *text < '0' || *text > '9') return false;
    }
    if (*end != 'x') return false;
    text = end + 1;
    r->times = strtol(text, &end, 10);
    if (end == text || *text < '0' || *text > '9') return false;
    if (*end != ':') return !*end;
    text = end + 1;
    r->gain = rrt__read_real(text, &end);
    return end != text && !*end && r->gain > 0 && r->gain <= 10;
}

rrt_status rrt__model_with_repeat(rrt_model **out, const rrt_model *model, const char *layers, rrt_error *err)
{
    int count = model->plan.n_depths;
    rrt__plan plan;
    repeat r;
    short depths[RRT__MAX_DEPTHS];
    *out = NULL;
    if (!parse(&r, layers))
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "'%s' says no layers to repeat: FIRST-LASTxTIMES or FIRST-LASTxTIMES:GAIN is expected, as in"
            " 10-14x2 or 10-14x2:0.2 (GAIN above 0, to 10)",
            layers);
    if (model->plan.sharing != RRT__SHARING_NONE)
        return rrt__hint(
            err,
            rrt__fail(err, RRT_STATUS_UNSUPPORTED, "layers of a model that has loops cannot be repeated"),
            "--loops sets how often its block runs");
    if (r.first > r.last || r.last >= count || r.times < 2 || r.times > RRT__MAX_DEPTHS)
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "layers %ld to %ld, %ld times: the model has layers 0 to %d, and they run 2 to %d times", r.first,
            r.last, r.times, count - 1, RRT__MAX_DEPTHS);
    RRT__TRY(rrt__plan_make(&plan, RRT__SHARING_CYCLE, (int)r.times, (int)(r.last - r.first) + 1,
                            (int)r.first, count - 1 - (int)r.last, err));
    memcpy(depths, plan.slot, sizeof depths); // a plain model's layer is its slot
    RRT__TRY(replan(out, model, depths, &plan, r.gain > 0 ? RRT__NORMS_PER_DEPTH : RRT__NORMS_TIED, err));
    if (r.gain > 0) rrt__model_scale_later_loops(*out, (float)r.gain);
    (*out)->trained_loops = 0; // the loops are those that were asked for
    return RRT_STATUS_OK;
}
