#include "convert/keep.h"

#include "convert/base.h"
#include "convert/convert.h"
#include "convert/prune.h"

static void scale(float *out, const float *x, size_t count, float factor)
{
    for (size_t k = 0; out && k < count; k++) out[k] = factor * x[k];
}

// What a later loop adds to the hidden state is set by the norms behind attention and MLP, where the family
// has them, or else by those before.
static void set_gain(rrt_model *model, float gain)
{
    const rrt__plan *plan = &model->plan;
    for (int d = 0; d < plan->n_depths; d++) {
        const rrt__depth *first = &model->depths[rrt__model_first_depth(model, plan->slot[d])];
        rrt__depth *depth = &model->depths[d];
        bool has_after = depth->norm[RRT__NORM_AFTER_MLP].gain;
        int place = has_after ? RRT__NORM_AFTER_ATTENTION : RRT__NORM_ATTENTION, end = place + 2;
        for (; depth != first && place < end; place++) {
            const rrt__norm *from = &first->norm[place];
            scale(depth->norm[place].gain, from->gain, from->width, gain);
            scale(depth->norm[place].bias, from->bias, from->width, gain);
        }
    }
}

static rrt_status choose(int *kept, int count, const rrt_model *source, const rrt_convert_options *o,
                         rrt_error *err)
{
    if (o->init == RRT_INIT_CALIBRATED) return rrt__prune_choose(kept, count, source, o, err);
    for (int i = 0; i < count; i++) kept[i] = rrt__stepwise(i, count, source->plan.n_depths);
    return RRT_STATUS_OK;
}

// From a view of the source that has the kept layers only, all of which become slots.
static rrt_status make(rrt_model **out, const rrt_model *source, const rrt_convert_options *o,
                       const int *kept, int count, rrt__arena *arena, rrt_convert_report *report,
                       rrt_error *err)
{
    rrt_convert_options options = *o;
    rrt_model view;
    options.layers = count;
    if (o->init == RRT_INIT_CALIBRATED) options.init = RRT_INIT_STEPWISE;
    RRT__TRY(rrt__prune_view(&view, arena, source, kept, count, err));
    RRT__TRY(rrt__convert_run(out, &view, &options, NULL, 0, report, err));
    if (o->loop_gain > 0) set_gain(*out, (float)o->loop_gain);
    if (!report) return RRT_STATUS_OK;
    report->n_rows = 0; // nothing is lost by sharing
    report->n_kept_layers = (size_t)count;
    RRT__TRY(rrt__alloc(&report->kept_layers, (size_t)count, sizeof *report->kept_layers, "the report", err));
    for (int i = 0; i < count; i++) report->kept_layers[i] = kept[i];
    return RRT_STATUS_OK;
}

rrt_status rrt__convert_kept(rrt_model **out, const rrt_model *source, const rrt_convert_options *o,
                             rrt_convert_report *report, rrt_error *err)
{
    rrt__arena arena = {0};
    int *kept, count = o->layers ? o->layers : source->plan.n_depths;
    rrt_status status = rrt__arena_alloc(&arena, &kept, (size_t)count, sizeof *kept, "the kept layers", err);
    if (!status) status = choose(kept, count, source, o, err);
    if (!status) status = make(out, source, o, kept, count, &arena, report, err);
    rrt__arena_free(&arena);
    return status;
}
