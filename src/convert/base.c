#include "convert/base.h"

#include <math.h>

int rrt__stepwise(int k, int count, int n)
{
    if (count == 1) return 0;
    return (int)nearbyint((double)k * (n - 1) / (count - 1)); // the default rounding mode: ties to even
}

// Prelude and coda slots are used once and keep their layer; -1 for slots of the block.
static int own_layer(const rrt__plan *plan, int slot, int n_layers)
{
    if (slot < plan->prelude) return slot;
    int from_end = plan->n_slots - 1 - slot;
    return from_end < plan->coda ? n_layers - 1 - from_end : -1;
}

int rrt__slot_layer(rrt_init init, const rrt__plan *plan, int slot, int n_layers)
{
    int own = own_layer(plan, slot, n_layers), middle = n_layers - plan->prelude - plan->coda;
    if (own >= 0) return own;
    if (init == RRT_INIT_LOWER) return slot;
    if (init != RRT_INIT_STEPWISE && init != RRT_INIT_RANDOM) return -1;
    return plan->prelude + rrt__stepwise(slot - plan->prelude, plan->layers_per_block, middle);
}

int rrt__depth_layer(const rrt__plan *plan, int depth, int n_layers)
{
    return plan->n_slots == n_layers ? plan->slot[depth] : depth;
}
