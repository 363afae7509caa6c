// Attention, norms and sampling are left out: they are small at short contexts.
#include "infer/work.h"

static double of_matrix(const rrt_model *model, int depth, rrt__matrix matrix)
{
    const rrt__linear *w = &model->depths[depth].slot->matrix[matrix];
    const rrt__lora *lora = &model->depths[depth].lora[matrix];
    return (double)w->out * (double)w->in + (double)lora->rank * (double)(w->out + w->in);
}

static double of_depths(const rrt_model *model, int begin, int end)
{
    double weights = 0;
    for (int d = begin; d < end; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) weights += of_matrix(model, d, (rrt__matrix)m);
    return weights;
}

static double of_kv(const rrt_model *model, int begin, int end)
{
    double weights = 0;
    for (int d = begin; d < end; d++)
        weights += of_matrix(model, d, RRT__MATRIX_K) + of_matrix(model, d, RRT__MATRIX_V);
    return weights;
}

rrt__model_weights rrt__model_weights_of(const rrt_model *model)
{
    rrt__depth_range prelude = rrt__plan_prelude(&model->plan), coda = rrt__plan_coda(&model->plan);
    return (rrt__model_weights){.prelude = of_depths(model, prelude.begin, prelude.end),
                                .loop = of_depths(model, prelude.end, coda.begin) / model->plan.loops,
                                .head = of_depths(model, coda.begin, coda.end) +
                                        (double)model->head->out * (double)model->head->in};
}

// Per token that left early, and loop that it did not run.
static double skipped_weights(const rrt_model *model, rrt__kv_policy policy, bool is_kv_tied, double early,
                              double skipped, double loop)
{
    rrt__depth_range second = rrt__plan_loop(&model->plan, 2);
    if (policy == RRT__KV_RECOMPUTE) return skipped * loop;
    if (policy != RRT__KV_PROPAGATE) return 0;
    return of_kv(model, second.begin, second.end) * (is_kv_tied ? early : skipped);
}

double rrt__work_saved(const rrt_model *model, const rrt_engine_stats *stats, rrt__kv_policy policy,
                       bool is_kv_tied)
{
    const rrt__plan *plan = &model->plan;
    if (!rrt__plan_has_boundary(plan)) return 1;
    int loops = plan->loops < RRT_MAX_LOOPS ? plan->loops : RRT_MAX_LOOPS;
    rrt__depth_range prelude = rrt__plan_prelude(plan), coda = rrt__plan_coda(plan);
    double head = (double)model->head->out * (double)model->head->in + of_depths(model, coda.begin, coda.end),
           once = of_depths(model, prelude.begin, prelude.end) + head,
           loop = of_depths(model, prelude.end, coda.begin) / plan->loops;
    double tokens = (double)stats->generated_tokens, ran = 0, early = 0;
    for (int n = 1; n <= loops; n++) ran += n * (double)stats->exits[n];
    for (int n = 1; n < loops; n++) early += (double)stats->exits[n];
    double skipped = tokens * loops - ran;
    double all = tokens * (once + loops * loop),
           run = tokens * once + ran * loop + (double)stats->boundary_rows * head;
    return all / (run + skipped_weights(model, policy, is_kv_tied, early, skipped, loop));
}
