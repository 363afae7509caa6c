// The plan: which slot each depth uses, and where the loops are (paper §2.2, eq. 2).
//
// Letters in the whole code base: B loops, K layers per block, L depths in all, r rank.
//     depths:  prelude | block · block · … (B times K) | coda          L = prelude + B·K + coda
//     cycle     slots of the block 1 2 3 1 2 3      has a boundary after each loop: exits, --loops
//     sequence  slots of the block 1 1 2 2 3 3      has none
//     none      every slot is used once (the original model, or a pruned one)
//     stacks    two stacks of k layers, low and high: a loop runs the low one several times, then the high
//               one (HRM-Text: B = H_cycles, K = (L_cycles + 1)·k). No boundary: both stacks' states go on
//
// The plan also says what happens to the hidden state at a loop's entry: nothing (the paper), the final norm
// (Nanbeige, Ouro), or that norm and the other stack's state (HRM-Text). pass/loop.c applies it.
#ifndef RRT__PLAN_H
#define RRT__PLAN_H

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"

enum { RRT__MAX_DEPTHS = 1024 };

typedef enum rrt__sharing {
    RRT__SHARING_NONE,
    RRT__SHARING_CYCLE,
    RRT__SHARING_SEQUENCE,
    RRT__SHARING_STACKS
} rrt__sharing;

// What happens to a hidden state before a depth.
typedef enum rrt__depth_entry {
    RRT__ENTRY_NONE,
    RRT__ENTRY_NORM,   // the final norm
    RRT__ENTRY_START,  // stacks: the embedding is the high state; plus the low stack's start
    RRT__ENTRY_AGAIN,  // stacks: the norm, plus the high state, for the low stack again
    RRT__ENTRY_SWITCH, // stacks: the norm, plus the state of the stack that runs next
} rrt__depth_entry;

typedef struct rrt__plan {
    rrt__sharing sharing;
    int loops, layers_per_block, prelude, coda;
    bool norms_loops; // the final norm runs between loops
    int n_depths, n_slots;
    short slot[RRT__MAX_DEPTHS]; // depth → slot; prelude slots first, then the block's, then the coda's
} rrt__plan;

// ARGUMENT for impossible numbers. Without sharing, loops is 1 and prelude and coda are 0.
rrt_status rrt__plan_make(rrt__plan *plan, rrt__sharing sharing, int loops, int layers_per_block, int prelude,
                          int coda, rrt_error *err);

// Two stacks of `layers` layers; each of `loops` loops runs the low one low_loops times, then the high one.
rrt_status rrt__plan_make_stacks(rrt__plan *plan, int loops, int low_loops, int layers, rrt_error *err);

// Layers of each stack, and how often a loop runs the low one.
static inline int rrt__plan_stack_layers(const rrt__plan *plan)
{
    return plan->n_slots / 2;
}
static inline int rrt__plan_low_loops(const rrt__plan *plan)
{
    return plan->layers_per_block / rrt__plan_stack_layers(plan) - 1;
}

rrt__depth_entry rrt__plan_entry(const rrt__plan *plan, int depth);

// The plan for n_layers layers of an original; sets layers_per_block. Fails if the loops do not divide
// the layers.
rrt_status rrt__plan_divide(rrt__plan *plan, rrt__sharing sharing, int n_layers, int loops, int prelude,
                            int coda, rrt_error *err);

// Finds the plan (cycle, sequence or none) whose list is slot[0..n_depths) of n_slots slots. False if there
// is none.
bool rrt__plan_recognise(rrt__plan *plan, const short *slot, int n_depths, int n_slots);

// Whether the plan has a boundary between loops, where a token may leave.
bool rrt__plan_has_boundary(const rrt__plan *plan);

// Depths [begin, end).
typedef struct rrt__depth_range {
    int begin, end;
} rrt__depth_range;

static inline rrt__depth_range rrt__plan_prelude(const rrt__plan *plan)
{
    return (rrt__depth_range){0, plan->prelude};
}

// Loop n, 1 … loops.
static inline rrt__depth_range rrt__plan_loop(const rrt__plan *plan, int n)
{
    int end = plan->prelude + n * plan->layers_per_block;
    return (rrt__depth_range){end - plan->layers_per_block, end};
}

static inline rrt__depth_range rrt__plan_coda(const rrt__plan *plan)
{
    return (rrt__depth_range){plan->n_depths - plan->coda, plan->n_depths};
}

// UNSUPPORTED if the plan has no loop boundary to leave at; ARGUMENT if n is not 1 … loops.
rrt_status rrt__plan_check_loops(const rrt__plan *plan, int n_loops, rrt_error *err);

// Writes the depths that run with n loops (prelude, n loops, coda) to depths[0..*count). Fails as above.
rrt_status rrt__plan_depths(const rrt__plan *plan, int n_loops, short depths[RRT__MAX_DEPTHS], int *count,
                            rrt_error *err);

const char *rrt__sharing_name(rrt__sharing sharing);
rrt_status rrt__sharing_parse(rrt__sharing *sharing, const char *name, rrt_error *err);

// To and from the `rrt` object of config.json: plan (the list), sharing, loops, prelude, coda, loop_norm.
rrt_status rrt__plan_to_json(const rrt__plan *plan, json_t *object, rrt_error *err);
rrt_status rrt__plan_from_json(rrt__plan *plan, const json_t *object, rrt_error *err);

#endif
