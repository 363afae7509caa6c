// The k largest of many values.
#ifndef RRT__TOP_H
#define RRT__TOP_H

#include <stddef.h>
#include <stdint.h>

// ids[0..k) = the indices of the k largest of x[0..count), the largest first, ties in x's order. 1 ≤ k ≤
// count; no x is NaN.
void rrt__top(uint32_t *ids, size_t k, const float *x, size_t count);

#endif
