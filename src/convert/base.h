// The simple ways to make the K shared layers out of L originals (paper §2.2, Fig. 2, App. F).
#ifndef RRT__BASE_H
#define RRT__BASE_H

#include "model/plan.h"
#include "rrt/convert.h"

// Stepwise: of n layers, which stands for slot k of count: round(k·(n-1)/(count-1)), ties to even; the first
// and the last are always included. All 0-based.
int rrt__stepwise(int k, int count, int n);

// The original layer that a slot takes its weights and vectors from: prelude and coda slots their own, the
// rest by the init's rule (random weights take stepwise vectors). -1 for a mean of those that are tied.
int rrt__slot_layer(rrt_init init, const rrt__plan *plan, int slot, int n_layers);

// The original layer that a depth stands for: its own, or where every layer is a slot, that of its slot.
int rrt__depth_layer(const rrt__plan *plan, int depth, int n_layers);

#endif
