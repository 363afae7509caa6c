// How an engine runs the model's depths: what a loop is, and how long rows wait for coda and head.
#include "infer/engine_inside.h"
#include "pass/weights.h"

static bool is_same_norm(const rrt__norm *a, const rrt__norm *b)
{
    return a->gain == b->gain && a->bias == b->bias;
}

// Whether each layer of the block computes the same keys and values in all loops from the second on, which
// are those that an exit leaves out: no LoRA on k and v, and tied vectors before them.
static bool is_kv_tied(const rrt_model *model, int layers, int loops)
{
    static const rrt__norm_place norms[] = {RRT__NORM_ATTENTION, RRT__NORM_K};
    static const rrt__matrix matrices[] = {RRT__MATRIX_K, RRT__MATRIX_V};
    int begin = model->plan.prelude + layers;
    for (int i = begin; i < begin + layers * (loops - 1); i++) {
        const rrt__depth *first = &model->depths[begin + (i - begin) % layers];
        const rrt__depth *depth = &model->depths[i];
        for (int k = 0; k < 2; k++)
            if (depth->lora[matrices[k]].rank || depth->bias[matrices[k]] != first->bias[matrices[k]] ||
                !is_same_norm(&depth->norm[norms[k]], &first->norm[norms[k]]) ||
                depth->attention != first->attention || depth->entry != first->entry)
                return false;
    }
    return true;
}

static rrt_status check_draft_layers(const rrt_engine *e, rrt_error *err)
{
    const rrt_model *model = e->model;
    int layers = e->options.draft_layers;
    if (!layers) return RRT_STATUS_OK;
    if (rrt__plan_has_boundary(&model->plan) || model->low_start) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "%d layers to draft: that is for models without loops", layers);
        return rrt__hint(err, status, "loops can draft: draft_loops (--draft-loops)");
    }
    if (layers < 0 || layers >= model->plan.n_depths)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d layers to draft: 1 to %d is possible", layers,
                         model->plan.n_depths - 1);
    return RRT_STATUS_OK;
}

static void set_loops(rrt_engine *e)
{
    const rrt__plan *plan = &e->model->plan;
    bool halves = e->options.draft_layers;
    e->prelude_depths = halves ? (rrt__depth_range){0, 0} : rrt__plan_prelude(plan);
    e->coda_depths = halves ? (rrt__depth_range){plan->n_depths, plan->n_depths} : rrt__plan_coda(plan);
    e->loops = halves ? 2 : rrt__plan_has_boundary(plan) ? plan->loops : 1;
    e->layers = (e->coda_depths.begin - e->prelude_depths.end) / e->loops;
    e->is_kv_tied = is_kv_tied(e->model, e->layers, e->loops);
}

// What a token costs where weights are read for however few rows, in weights: a step that runs coda and head
// (and the prelude of those that then enter) every s steps reads them as many times less often, but tokens
// that run d loops wait (s - 1) / 2 steps. Half of the loops is taken for d.
static int choose_coda_steps(const rrt_engine *e)
{
    rrt__model_weights w = rrt__model_weights_of(e->model);
    double d = (1 + e->loops) / 2.0, best = d * (w.loop + w.prelude + w.head);
    int steps = 1;
    if (e->options.draft_layers) return 1;
    for (int s = 2; s <= e->loops; s++) {
        double cost = (d + (s - 1) / 2.0) * (w.loop + (w.prelude + w.head) / s);
        if (cost > 0.9 * best) continue; // not worth the wait
        best = cost;
        steps = s;
    }
    return steps;
}

rrt_status rrt__engine_plan(rrt_engine *e, rrt_error *err)
{
    RRT__TRY(check_draft_layers(e, err));
    set_loops(e);
    if (e->options.batching != RRT_BATCHING_DEPTH)
        e->options.coda_steps = 1;
    else if (!e->options.coda_steps)
        e->options.coda_steps = choose_coda_steps(e);
    return RRT_STATUS_OK;
}
