#include "kernels/packed.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

size_t rrt__packed_scale_bytes(rrt__storage storage, size_t in)
{
    size_t blocks = rrt__packed_blocks(in);
    if (rrt__storage_is_super(storage))
        blocks = (blocks + RRT__SUPER_BLOCKS - 1) / RRT__SUPER_BLOCKS * RRT__SUPER_BLOCKS;
    size_t bytes = rrt__storage_halves_at(storage, blocks);
    return (bytes + RRT__PACKED_ALIGNMENT - 1) / RRT__PACKED_ALIGNMENT * RRT__PACKED_ALIGNMENT;
}

size_t rrt__packed_group_bytes(rrt__storage storage, size_t in)
{
    return rrt__packed_scale_bytes(storage, in) + rrt__packed_blocks(in) * rrt__storage_quant_bytes(storage);
}

size_t rrt__packed_bytes(rrt__storage storage, size_t out, size_t in)
{
    return rrt__linear_groups(out) * rrt__packed_group_bytes(storage, in);
}

// A block of one output: a weight is scale[of its half] · (quant - zero) + minimum.
typedef struct block {
    const unsigned char *quants; // of the group
    float d, minimum;
    int scales[2]; // multiplied by d; 1 without scales per half
} block;

static float half_at(const unsigned char *halves, size_t i)
{
    uint16_t half;
    memcpy(&half, halves + i * sizeof half, sizeof half);
    return rrt__f16_to_f32(half);
}

static block find(const rrt__linear *w, size_t output, size_t b)
{
    size_t lane = output % RRT__GROUP;
    const unsigned char *group = w->data + output / RRT__GROUP * rrt__packed_group_bytes(w->storage, w->in);
    const unsigned char *halves = group + rrt__storage_halves_at(w->storage, b);
    bool has_minimum = rrt__storage_has_minimum(w->storage);
    block found = {group + rrt__packed_scale_bytes(w->storage, w->in) +
                       b * rrt__storage_quant_bytes(w->storage),
                   half_at(halves, lane),
                   has_minimum ? half_at(halves, RRT__GROUP + lane) : 0,
                   {1, 1}};
    if (!rrt__storage_is_super(w->storage)) return found;
    const unsigned char *pairs = group + rrt__storage_pairs_at(w->storage, b);
    if (has_minimum) {
        found.d *= (float)pairs[lane];
        found.minimum *= -(float)pairs[RRT__GROUP + lane];
    } else {
        for (size_t h = 0; h < 2; h++) found.scales[h] = (int8_t)pairs[h * RRT__GROUP + lane];
    }
    return found;
}

// The quantised value of input i of the block.
static int quant_at(rrt__storage storage, const unsigned char *quants, size_t lane, size_t i)
{
    size_t quarter = i / 4, at = lane * 4 + i % 4;
    if (storage == RRT__STORAGE_Q8_0) return quants[quarter * 64 + at];
    int low = quants[quarter % 4 * 64 + at] >> quarter / 4 * 4 & 15;
    switch (rrt__storage_bits(storage)) {
    case 6:
        return low | (quants[256 + quarter / 4 * 64 + at] >> quarter % 4 * 2 & 3) << 4;
    case 5:
        return low | (quants[256 + at] >> quarter & 1) << 4;
    default:
        return low;
    }
}

void rrt__packed_row(const rrt__linear *w, size_t row, float *values)
{
    int zero = rrt__storage_zero(w->storage);
    for (size_t b = 0; b * RRT__BLOCK < w->in; b++) {
        block k = find(w, row, b);
        size_t left = w->in - b * RRT__BLOCK, count = left < RRT__BLOCK ? left : RRT__BLOCK;
        for (size_t i = 0; i < count; i++) {
            int quant = quant_at(w->storage, k.quants, row % RRT__GROUP, i) - zero, scale = k.scales[i / 16];
            values[b * RRT__BLOCK + i] = (float)(quant * scale) * k.d + k.minimum;
        }
    }
}

static float multiply_row(const rrt__linear *w, rrt__quantised x, size_t row, size_t output)
{
    float total = 0;
    int zero = rrt__storage_zero(w->storage);
    for (size_t b = 0; b < x.blocks; b++) {
        block k = find(w, output, b);
        size_t at = row * x.blocks + b;
        int32_t product = 0;
        for (size_t h = 0; h < 2; h++) {
            int32_t half = -zero * x.half_sums[2 * at + h];
            for (size_t i = 16 * h; i < 16 * (h + 1); i++)
                half +=
                    quant_at(w->storage, k.quants, output % RRT__GROUP, i) * x.quants[at * RRT__BLOCK + i];
            product += half * k.scales[h];
        }
        total = fmaf((float)product, k.d * x.scales[at], total);
        if (rrt__storage_has_minimum(w->storage))
            total = fmaf(k.minimum, (float)x.sums[at] * x.scales[at], total);
    }
    return total;
}

void rrt__packed_multiply_reference(float *y, const rrt__linear *w, rrt__quantised x, size_t rows,
                                    size_t begin, size_t end, bool accumulate)
{
    size_t last = end * RRT__GROUP < w->out ? end * RRT__GROUP : w->out;
    for (size_t r = 0; r < rows; r++)
        for (size_t o = begin * RRT__GROUP; o < last; o++) {
            float *to = &y[r * w->out + o], value = multiply_row(w, x, r, o);
            *to = accumulate ? *to + value : value;
        }
}
