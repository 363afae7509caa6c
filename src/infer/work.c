#include "infer/work.h"

static double of_kv(const rrt_model *model, int begin, int end)
{
    double weights = 0;
    for (int d = begin; d < end; d++)
        weights +=
            rrt__weights_of_matrix(model, d, RRT__MATRIX_K) + rrt__weights_of_matrix(model, d, RRT__MATRIX_V);
    return weights;
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
    const rrt__model_weights w = rrt__model_weights_of(model);
    double once = w.prelude + w.head;
    double tokens = (double)stats->generated_tokens, ran = 0, early = 0;
    for (int n = 1; n <= loops; n++) ran += n * (double)stats->exits[n];
    for (int n = 1; n < loops; n++) early += (double)stats->exits[n];
    double skipped = tokens * loops - ran;
    double all = tokens * (once + loops * w.loop),
           run = tokens * once + ran * w.loop + (double)stats->boundary_rows * w.head;
    return all / (run + skipped_weights(model, policy, is_kv_tied, early, skipped, w.loop));
}
