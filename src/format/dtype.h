// Storage types of tensors in files, and their conversion to f32. Blocks are GGUF's (ggml's layouts, little
// endian); unquantised types are shared with safetensors.
#ifndef RRT__DTYPE_H
#define RRT__DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/half.h"

typedef enum rrt__dtype {
    RRT__DTYPE_F32,
    RRT__DTYPE_F16,
    RRT__DTYPE_BF16,
    RRT__DTYPE_Q4_0,
    RRT__DTYPE_Q4_1,
    RRT__DTYPE_Q5_0,
    RRT__DTYPE_Q5_1,
    RRT__DTYPE_Q8_0,
    RRT__DTYPE_Q4_K,
    RRT__DTYPE_Q5_K,
    RRT__DTYPE_Q6_K,
    RRT__DTYPE_I8,
    RRT__DTYPE_COUNT
} rrt__dtype;

const char *rrt__dtype_name(rrt__dtype dtype);    // "F32", "Q4_K"
size_t rrt__dtype_block_values(rrt__dtype dtype); // values per block: 1, 32 or 256
size_t rrt__dtype_block_bytes(rrt__dtype dtype);  // bytes per block

// out[0..count) = the values at data, which need not be aligned. count is a multiple of the block's values.
void rrt__dtype_to_f32(rrt__dtype dtype, const void *data, size_t count, float *out);

// For writing: converts values[0..count) to dtype (F32, F16 or BF16). Returns the index of the first result
// that is not finite, or count.
size_t rrt__dtype_from_f32(rrt__dtype dtype, const float *values, size_t count, void *out);

#endif
