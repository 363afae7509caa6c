// The matrix of a linear layer: one type for weights, LoRA's factors, embedding and head, in any storage.
// Inference uses it as it is stored; training needs F32.
#ifndef RRT__LINEAR_H
#define RRT__LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rows.h"

typedef enum rrt__storage {
    RRT__STORAGE_F32, // rows one after the other; for training
    // Groups of 16 rows, padded with zeros: [groups][in][16] (plain.h).
    RRT__STORAGE_F32_GROUPS,
    RRT__STORAGE_F16,
    RRT__STORAGE_BF16,
    // Quantised, in the same groups (packed.h). GGUF's types have the values that GGUF defines.
    RRT__STORAGE_Q8_0, // 8.5 bits per weight
    RRT__STORAGE_Q6_0, // 6.5, ours
    RRT__STORAGE_Q5_1, // 6
    RRT__STORAGE_Q5_0, // 5.5
    RRT__STORAGE_Q4_1, // 5
    RRT__STORAGE_Q4_0, // 4.5
    // The same with blocks of 256.
    RRT__STORAGE_Q6_K, // 6.56
    RRT__STORAGE_Q5_K, // 5.63; 5.5 in GGUF, which packs scales into 6 bits
    RRT__STORAGE_Q4_K, // 4.63; 4.5 in GGUF
    RRT__STORAGE_COUNT
} rrt__storage;

typedef struct rrt__linear {
    size_t out, in; // W: [out, in]
    rrt__storage storage;
    union {
        float *weight;             // if F32
        const unsigned char *data; // of any storage; NULL: the values are not in memory
    };
    rrt__rows from; // reads them in that case
} rrt__linear;

enum { RRT__GROUP = 16 }; // rows

static inline size_t rrt__linear_groups(size_t out)
{
    return (out + RRT__GROUP - 1) / RRT__GROUP;
}

static inline bool rrt__storage_is_packed(rrt__storage storage)
{
    return storage >= RRT__STORAGE_Q8_0;
}

#endif
