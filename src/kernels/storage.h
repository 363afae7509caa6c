// Functions for matrices of any storage.
#ifndef RRT__STORAGE_H
#define RRT__STORAGE_H

#include "kernels/linear.h"

const char *rrt__storage_name(rrt__storage storage); // "q4_0"

// Bytes of a matrix.
size_t rrt__storage_bytes(rrt__storage storage, size_t out, size_t in);

// values[0..in) = one row of a matrix in memory.
void rrt__linear_row(const rrt__linear *matrix, size_t row, float *values);

#endif
