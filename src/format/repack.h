// Reorders GGUF's blocks into the kernels' groups of 16 rows (kernels/packed.h), with the same values.
#ifndef RRT__REPACK_H
#define RRT__REPACK_H

#include "format/dtype.h"
#include "kernels/packed.h"

// Storage in memory for a file's type, with the same values: COUNT for types that are not for weights.
rrt__storage rrt__storage_of_dtype(rrt__dtype dtype);

// Writes a group of 1 to 16 rows, each of `in` values. False if a value or a scale is not finite.
bool rrt__repack_group(unsigned char *group, rrt__dtype dtype, const unsigned char *const *rows,
                       size_t n_rows, size_t in);

#endif
