#include "model/plan.h"

#include <string.h>

static const char *const sharing_names[] = {"none", "cycle", "sequence", "stacks"};

const char *rrt__sharing_name(rrt__sharing sharing)
{
    return sharing_names[sharing];
}

rrt_status rrt__sharing_parse(rrt__sharing *sharing, const char *name, rrt_error *err)
{
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, sharing_names[i]) != 0) continue;
        *sharing = (rrt__sharing)i;
        return RRT_STATUS_OK;
    }
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "sharing '%s' is not known: cycle, sequence or none", name);
}

static int block_slot(const rrt__plan *plan, int i)
{
    return plan->sharing == RRT__SHARING_SEQUENCE ? i / plan->loops : i % plan->layers_per_block;
}

rrt_status rrt__plan_make(rrt__plan *plan, rrt__sharing sharing, int loops, int layers_per_block, int prelude,
                          int coda, rrt_error *err)
{
    if (loops < 1 || layers_per_block < 1 || prelude < 0 || coda < 0)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a plan of %d loops x %d layers, prelude %d, coda %d is not possible", loops,
                         layers_per_block, prelude, coda);
    if (sharing == RRT__SHARING_NONE && (loops != 1 || prelude || coda))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "without sharing there are no loops, prelude or coda");
    if (sharing == RRT__SHARING_STACKS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "stacks are a plan of models that have them");
    if (loops > RRT__MAX_DEPTHS || layers_per_block > RRT__MAX_DEPTHS || prelude > RRT__MAX_DEPTHS ||
        coda > RRT__MAX_DEPTHS || prelude + loops * layers_per_block + coda > RRT__MAX_DEPTHS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "a plan has at most %d depths", RRT__MAX_DEPTHS);
    *plan = (rrt__plan){.sharing = sharing,
                        .loops = loops,
                        .layers_per_block = layers_per_block,
                        .prelude = prelude,
                        .coda = coda,
                        .n_depths = prelude + loops * layers_per_block + coda,
                        .n_slots = prelude + layers_per_block + coda};
    int in_block = loops * layers_per_block;
    for (int d = 0; d < plan->n_depths; d++) {
        int i = d - prelude;
        int slot = i < 0 ? d : i < in_block ? prelude + block_slot(plan, i) : d - in_block + layers_per_block;
        plan->slot[d] = (short)slot;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__plan_make_stacks(rrt__plan *plan, int loops, int low_loops, int layers, rrt_error *err)
{
    if (loops < 1 || low_loops < 1 || layers < 1 || loops > RRT__MAX_DEPTHS || low_loops > RRT__MAX_DEPTHS ||
        layers > RRT__MAX_DEPTHS / loops / (low_loops + 1))
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "stacks of %d layers in %d x %d cycles are not possible: a plan has at most %d depths", layers,
            loops, low_loops, RRT__MAX_DEPTHS);
    *plan = (rrt__plan){.sharing = RRT__SHARING_STACKS,
                        .loops = loops,
                        .layers_per_block = (low_loops + 1) * layers,
                        .n_depths = loops * (low_loops + 1) * layers,
                        .n_slots = 2 * layers};
    for (int d = 0; d < plan->n_depths; d++) {
        bool is_high = d / layers % (low_loops + 1) == low_loops;
        plan->slot[d] = (short)(d % layers + (is_high ? layers : 0));
    }
    return RRT_STATUS_OK;
}

rrt__depth_entry rrt__plan_entry(const rrt__plan *plan, int depth)
{
    if (plan->sharing == RRT__SHARING_STACKS) {
        if (depth % rrt__plan_stack_layers(plan) != 0) return RRT__ENTRY_NONE;
        if (depth == 0) return RRT__ENTRY_START;
        return plan->slot[depth] == plan->slot[depth - rrt__plan_stack_layers(plan)] ? RRT__ENTRY_AGAIN
                                                                                     : RRT__ENTRY_SWITCH;
    }
    for (int n = 2; n <= plan->loops && plan->norms_loops; n++)
        if (depth == rrt__plan_loop(plan, n).begin) return RRT__ENTRY_NORM;
    return RRT__ENTRY_NONE;
}

rrt_status rrt__plan_divide(rrt__plan *plan, rrt__sharing sharing, int n_layers, int loops, int prelude,
                            int coda, rrt_error *err)
{
    int middle = n_layers - prelude - coda;
    if (loops < 1 || prelude < 0 || coda < 0 || middle < 1)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "%d layers leave nothing to loop after a prelude of %d and a coda of %d", n_layers,
                         prelude, coda);
    if (middle % loops != 0) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_ARGUMENT, "%d layers cannot be shared by %d loops", middle, loops);
        return rrt__hint(err, status, "loops must divide the layers that are left after prelude and coda");
    }
    return rrt__plan_make(plan, sharing, loops, middle / loops, prelude, coda, err);
}

// Whether the plan with these numbers has this list.
static bool is_plan(rrt__plan *plan, const short *slot, int n_depths, int n_slots, rrt__sharing sharing,
                    int loops, int layers_per_block, int prelude)
{
    int coda = n_slots - prelude - layers_per_block;
    return !rrt__plan_make(plan, sharing, loops, layers_per_block, prelude, coda, NULL) &&
           plan->n_depths == n_depths && memcmp(plan->slot, slot, (size_t)n_depths * sizeof *slot) == 0;
}

bool rrt__plan_recognise(rrt__plan *plan, const short *slot, int n_depths, int n_slots)
{
    int d = 1, run = 1, repeated = n_depths - n_slots;
    if (slot[0] != 0) return false;
    while (d < n_depths && slot[d] == slot[d - 1] + 1) d++;
    if (d == n_depths) return is_plan(plan, slot, n_depths, n_slots, RRT__SHARING_NONE, 1, n_depths, 0);
    // The first slot that is not the previous one + 1 is the block's first again; how often it repeats in a
    // row is the number of loops of a sequence.
    int prelude = slot[d], layers = d - prelude;
    while (d - 1 + run < n_depths && slot[d - 1 + run] == slot[d]) run++;
    return is_plan(plan, slot, n_depths, n_slots, RRT__SHARING_CYCLE, repeated / layers + 1, layers,
                   prelude) ||
           (run > 1 && is_plan(plan, slot, n_depths, n_slots, RRT__SHARING_SEQUENCE, run,
                               repeated / (run - 1), prelude));
}

bool rrt__plan_has_boundary(const rrt__plan *plan)
{
    return plan->sharing == RRT__SHARING_CYCLE && plan->loops > 1;
}

rrt_status rrt__plan_check_loops(const rrt__plan *plan, int n_loops, rrt_error *err)
{
    if (n_loops != plan->loops && !rrt__plan_has_boundary(plan))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "%d loops cannot be run: the plan (sharing: %s) has no loop boundary to leave at",
                         n_loops, rrt__sharing_name(plan->sharing));
    if (n_loops < 1 || n_loops > plan->loops)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d loops cannot be run: the model has 1 to %d", n_loops,
                         plan->loops);
    return RRT_STATUS_OK;
}

rrt_status rrt__plan_depths(const rrt__plan *plan, int n_loops, short depths[RRT__MAX_DEPTHS], int *count,
                            rrt_error *err)
{
    RRT__TRY(rrt__plan_check_loops(plan, n_loops, err));
    *count = 0;
    for (int d = 0; d < plan->n_depths; d++)
        if (d < rrt__plan_loop(plan, n_loops).end || d >= rrt__plan_coda(plan).begin)
            depths[(*count)++] = (short)d;
    return RRT_STATUS_OK;
}

rrt_status rrt__plan_to_json(const rrt__plan *plan, json_t *object, rrt_error *err)
{
    json_t *list = json_array();
    int bad = list == NULL;
    for (int d = 0; d < plan->n_depths; d++) bad |= json_array_append_new(list, json_integer(plan->slot[d]));
    bad |= json_object_set_new(object, "plan", list);
    bad |= json_object_set_new(object, "sharing", json_string(rrt__sharing_name(plan->sharing)));
    bad |= json_object_set_new(object, "loops", json_integer(plan->loops));
    bad |= json_object_set_new(object, "prelude", json_integer(plan->prelude));
    bad |= json_object_set_new(object, "coda", json_integer(plan->coda));
    if (plan->norms_loops) bad |= json_object_set_new(object, "loop_norm", json_true());
    return bad ? rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing the plan") : RRT_STATUS_OK;
}

rrt_status rrt__plan_from_json(rrt__plan *plan, const json_t *object, rrt_error *err)
{
    const char *name;
    int64_t loops, prelude, coda;
    json_t *list;
    rrt__sharing sharing = RRT__SHARING_NONE;
    RRT__TRY(rrt__json_string(object, "sharing", &name, err));
    RRT__TRY(rrt__sharing_parse(&sharing, name, err));
    if (sharing == RRT__SHARING_STACKS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "stacks with LoRA or norms per depth are not supported");
    RRT__TRY(rrt__json_int(object, "loops", 1, RRT__MAX_DEPTHS, &loops, err));
    RRT__TRY(rrt__json_int_or(object, "prelude", 0, RRT__MAX_DEPTHS, 0, &prelude, err));
    RRT__TRY(rrt__json_int_or(object, "coda", 0, RRT__MAX_DEPTHS, 0, &coda, err));
    RRT__TRY(rrt__json_array(object, "plan", &list, err));
    size_t length = json_array_size(list);
    if (length == 0 || length > RRT__MAX_DEPTHS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"plan\" lists %zu depths: 1 to %d are possible", length,
                         RRT__MAX_DEPTHS);
    RRT__TRY(rrt__plan_divide(plan, sharing, (int)length, (int)loops, (int)prelude, (int)coda, err));
    RRT__TRY(rrt__json_bool_or(object, "loop_norm", false, &plan->norms_loops, err));
    if (plan->norms_loops && !rrt__plan_has_boundary(plan))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"loop_norm\": the plan has no loops to stand between");
    for (size_t d = 0; d < length; d++) {
        const json_t *item = json_array_get(list, d);
        if (!json_is_integer(item) || json_integer_value(item) != plan->slot[d])
            return rrt__fail(
                err, RRT_STATUS_FORMAT,
                "\"plan\"[%zu] contradicts sharing, loops, prelude and coda: slot %d is expected", d,
                plan->slot[d]);
    }
    return RRT_STATUS_OK;
}
