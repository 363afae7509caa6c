// A matrix of a model, wherever its values are: in memory, quantised, or deferred.
#ifndef RRT__HELD_H
#define RRT__HELD_H

#include "model/model.h"

typedef struct rrt__held {
    const float *values;       // NULL: they are not in memory as f32
    const rrt__packed *packed; // NULL, or without data: not quantised
    const rrt__rows *from;     // NULL, or without a function: not deferred
    size_t columns;
} rrt__held;

static inline rrt__held rrt__linear_held(const rrt__linear *linear)
{
    return (rrt__held){linear->weight, &linear->packed, &linear->from, linear->in};
}

// The A of a LoRA on a matrix with `in` inputs, and its B.
static inline rrt__held rrt__lora_a_held(const rrt__lora *lora, size_t in)
{
    return (rrt__held){lora->a, &lora->packed_a, &lora->from_a, in};
}

static inline rrt__held rrt__lora_b_held(const rrt__lora *lora)
{
    return (rrt__held){lora->b, &lora->packed_b, &lora->from_b, lora->rank};
}

static inline rrt__held rrt__embedding_held(const rrt_model *model)
{
    return (rrt__held){model->embedding, model->packed_embedding, model->embedding_from, model->shape.hidden};
}

static inline rrt__held rrt__head_held(const rrt_model *model)
{
    return (rrt__held){model->head, model->packed_head, model->head_from, model->shape.hidden};
}

// out [end - begin, columns] = rows [begin, end).
rrt_status rrt__held_read(const rrt__held *held, size_t begin, size_t end, float *out, rrt_error *err);

// The same as rows. held outlives them.
rrt__rows rrt__held_rows(const rrt__held *held);

#endif
