#include <math.h>
#include <stdio.h>

#include "checkpoint/exit_thresholds.h"
#include "eval/exits.h"

static rrt_status check(const rrt_model *model, const rrt_exit_options *exits,
                        const rrt_eval_exits_result *result, rrt_error *err)
{
    if (model->base || model->is_requantized)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "thresholds are saved for a model as its files have it: without another number of "
                         "loops, another type, or adapters");
    if (!result->n_points)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the exit rule '%s' has no threshold to save",
                         exits->rule ? exits->rule : "none");
    return RRT_STATUS_OK;
}

rrt_status rrt_exit_thresholds_save(const char *path, const rrt_model *model, const rrt_exit_options *exits,
                                    const char *kv_type, const rrt_eval_exits_result *result, rrt_error *err)
{
    rrt__calibrated_exit of = {.loops = result->loops}, kept[RRT_EVAL_EXITS_WANTED];
    rrt__kv_policy policy;
    rrt__kv_types types;
    rrt__exit_rule rule;
    size_t count = 0;
    RRT__TRY(check(model, exits, result, err));
    RRT__TRY(rrt__kv_policy_parse(&policy, exits->kv, model, err));
    RRT__TRY(rrt__kv_types_parse(&types, kv_type, err));
    RRT__TRY(rrt__exit_rule_parse(&rule, exits->rule, model, policy, types, err));
    snprintf(of.rule, sizeof of.rule, "%s", rrt__exit_name(rule.kind));
    rrt__kv_describe(of.kv, of.kv_type, model, policy, types);
    for (int i = 0; i < RRT_EVAL_EXITS_WANTED; i++) {
        const rrt_eval_exits_promise *p = &result->calibrated[i];
        if (isnan(p->threshold)) continue;
        kept[count] = of;
        kept[count].threshold = p->threshold;
        kept[count].agreement = p->wanted;
        kept[count++].mean_loops = p->mean_loops;
    }
    return rrt__exit_thresholds_write(path, &of, kept, count, err);
}
