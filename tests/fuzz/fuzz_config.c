// Fuzzes the reader of config.json, the plan in it included.
#include "checkpoint/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rrt_error err;
    json_t *json;
    rrt__config config;
    if (rrt__json_parse(&json, (const char *)data, size, &err)) return 0;
    if (!rrt__config_from_json(&config, json, &err)) {
        short depths[RRT__MAX_DEPTHS];
        int count;
        float frequency[RRT__ROPE_MAX_PAIRS];
        const rrt__shape *shape = &config.shape;
        if (shape->rotary / 2 <= RRT__ROPE_MAX_PAIRS)
            rrt__rope_frequencies(&shape->rope, shape->rotary, shape->context, frequency);
        for (int loops = 1; loops <= config.plan.loops; loops++) {
            if (rrt__plan_depths(&config.plan, loops, depths, &count, &err)) continue;
            for (int i = 0; i < count; i++)
                if (config.plan.slot[depths[i]] < 0 || config.plan.slot[depths[i]] >= config.plan.n_slots)
                    __builtin_trap();
        }
    }
    json_decref(json);
    return 0;
}
