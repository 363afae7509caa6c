// The simple ways to make the K shared layers out of L originals (paper §2.2, Fig. 2, App. F).
#ifndef RRT__BASE_H
#define RRT__BASE_H

#include "model/plan.h"

// Stepwise: of n layers, which stands for slot k of count: round(k·(n-1)/(count-1)), ties to even; the first
// and the last are always included. All 0-based.
int rrt__stepwise(int k, int count, int n);

// The original layer whose weights a slot takes over under stepwise or lower; prelude and coda slots take
// their own.
int rrt__stepwise_layer(const rrt__plan *plan, int slot, int n_layers);
int rrt__lower_layer(const rrt__plan *plan, int slot, int n_layers);

// The original layer that a depth stands for: its own, or where layers are pruned the stepwise one.
int rrt__depth_layer(const rrt__plan *plan, int depth, int n_layers);

#endif
