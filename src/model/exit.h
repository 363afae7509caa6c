// Leaving the loops early: gates, rules, and what becomes of the keys and values that are not computed.
//
// The exit after n loops is prelude, n loops, coda, final norm, head (paper §2.4). At each loop boundary but
// the last a rule decides for every token whether it leaves there.
#ifndef RRT__EXIT_H
#define RRT__EXIT_H

#include "model/model.h"

// The gate's logit for one hidden state [width] at its boundary: weight · h / rms(h) + bias. Through a
// sigmoid it is the probability that the last loop finds the same token most likely. *scale gets 1 / rms(h).
float rrt__gate_logit(const rrt__gate *gate, const float *hidden, size_t width, float *scale);

// The index of the greatest value; the first of them.
size_t rrt__argmax(const float *x, size_t count);

#endif
