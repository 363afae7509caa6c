// From GGUF's blocks to groups of 16 rows as kernels read them (kernels/packed.h): the same values.
#ifndef RRT__REPACK_H
#define RRT__REPACK_H

#include "format/dtype.h"
#include "kernels/packed.h"

// What a type of a file is in memory, where its values are computed with as they are: COUNT for types that
// are no weights.
rrt__storage rrt__storage_of_dtype(rrt__dtype dtype);

// Writes a group of 1 to 16 rows, each of `in` values. False if a value, or the scale of some, is not finite.
bool rrt__repack_group(unsigned char *group, rrt__dtype dtype, const unsigned char *const *rows,
                       size_t n_rows, size_t in);

#endif
