// Reads a matrix as f32, whether it is in memory, quantised or not, or deferred.
#ifndef RRT__READ_H
#define RRT__READ_H

#include "kernels/linear.h"

// out [end - begin, in] = rows [begin, end). NUMERIC if a scale of a quantised matrix is not finite.
rrt_status rrt__linear_read(const rrt__linear *linear, size_t begin, size_t end, float *out, rrt_error *err);

// The matrix as rrt__rows. linear must outlive them.
rrt__rows rrt__linear_rows(const rrt__linear *linear);

#endif
