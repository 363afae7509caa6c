#include "kernels/storage.h"

#include <string.h>

#include "base/half.h"
#include "kernels/packed.h"

const char *rrt__storage_name(rrt__storage storage)
{
    static const char *const names[RRT__STORAGE_COUNT] = {
        "F32", "F32", "F16", "BF16", "q8_0", "q6_0", "q5_1", "q5_0", "q4_1", "q4_0", "q6_k", "q5_k", "q4_k"};
    return names[storage];
}

static size_t value_bytes(rrt__storage storage)
{
    return storage <= RRT__STORAGE_F32_GROUPS ? sizeof(float) : sizeof(uint16_t);
}

size_t rrt__storage_bytes(rrt__storage storage, size_t out, size_t in)
{
    if (rrt__storage_is_packed(storage)) return rrt__packed_bytes(storage, out, in);
    if (storage != RRT__STORAGE_F32) out = rrt__linear_groups(out) * RRT__GROUP;
    return out * in * value_bytes(storage);
}

void rrt__linear_row(const rrt__linear *w, size_t row, float *values)
{
    if (rrt__storage_is_packed(w->storage)) {
        rrt__packed_row(w, row, values);
        return;
    }
    if (w->storage == RRT__STORAGE_F32) {
        memcpy(values, w->weight + row * w->in, w->in * sizeof(float));
        return;
    }
    for (size_t i = 0; i < w->in; i++) {
        size_t at = (row / RRT__GROUP * w->in + i) * RRT__GROUP + row % RRT__GROUP;
        uint16_t half = 0;
        if (w->storage == RRT__STORAGE_F32_GROUPS) {
            memcpy(&values[i], w->data + at * sizeof(float), sizeof(float));
            continue;
        }
        memcpy(&half, w->data + at * sizeof half, sizeof half);
        values[i] = w->storage == RRT__STORAGE_F16 ? rrt__f16_to_f32(half) : rrt__bf16_to_f32(half);
    }
}
