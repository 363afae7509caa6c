#include "kernels/packed.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

const char *rrt__packing_name(rrt__packing packing)
{
    static const char *const names[RRT__PACKING_COUNT] = {"q8_0", "q6_0", "q4_1", "q4_0"};
    return names[packing];
}

size_t rrt__packed_scale_bytes(rrt__packing packing, size_t in)
{
    size_t bytes = rrt__packed_blocks(in) * rrt__packing_scale_bytes(packing);
    return (bytes + RRT__PACKED_ALIGNMENT - 1) / RRT__PACKED_ALIGNMENT * RRT__PACKED_ALIGNMENT;
}

size_t rrt__packed_group_bytes(rrt__packing packing, size_t in)
{
    return rrt__packed_scale_bytes(packing, in) + rrt__packed_blocks(in) * rrt__packing_code_bytes(packing);
}

size_t rrt__packed_bytes(rrt__packing packing, size_t out, size_t in)
{
    return rrt__packed_groups(out) * rrt__packed_group_bytes(packing, in);
}

// A group's scales and codes at one block.
typedef struct place {
    const unsigned char *scales, *codes;
} place;

static place find(const rrt__packed *w, size_t group, size_t block)
{
    const unsigned char *data = w->data + group * rrt__packed_group_bytes(w->packing, w->in);
    return (place){data + block * rrt__packing_scale_bytes(w->packing),
                   data + rrt__packed_scale_bytes(w->packing, w->in) +
                       block * rrt__packing_code_bytes(w->packing)};
}

static float half_at(const unsigned char *halves, size_t i)
{
    uint16_t half;
    memcpy(&half, halves + i * sizeof half, sizeof half);
    return rrt__f16_to_f32(half);
}

// The code of input i of the block.
static int code_at(rrt__packing packing, const unsigned char *codes, size_t lane, size_t i)
{
    size_t quarter = i / 4, at = lane * 4 + i % 4;
    if (packing == RRT__PACKING_Q8_0) return codes[quarter * 64 + at];
    int low = codes[quarter % 4 * 64 + at] >> quarter / 4 * 4 & 15;
    if (packing != RRT__PACKING_Q6_0) return low;
    return low | (codes[256 + quarter / 4 * 64 + at] >> quarter % 4 * 2 & 3) << 4;
}

void rrt__packed_row(const rrt__packed *w, size_t row, float *values)
{
    size_t lane = row % RRT__GROUP;
    bool has_minimum = rrt__packing_has_minimum(w->packing);
    for (size_t i = 0; i < w->in; i++) {
        place p = find(w, row / RRT__GROUP, i / RRT__BLOCK);
        float m = has_minimum ? half_at(p.scales, RRT__GROUP + lane) : 0;
        int code = code_at(w->packing, p.codes, lane, i % RRT__BLOCK) - rrt__packing_zero(w->packing);
        values[i] = (float)code * half_at(p.scales, lane) + m;
    }
}

static float multiply_row(const rrt__packed *w, rrt__codes x, size_t row, size_t output)
{
    size_t lane = output % RRT__GROUP;
    float total = 0;
    for (size_t b = 0; b < x.blocks; b++) {
        place p = find(w, output / RRT__GROUP, b);
        const int8_t *codes = x.codes + (row * x.blocks + b) * RRT__BLOCK;
        float scale = x.scales[row * x.blocks + b];
        int32_t sum = x.sums[row * x.blocks + b], product = -rrt__packing_zero(w->packing) * sum;
        for (size_t i = 0; i < RRT__BLOCK; i++) product += code_at(w->packing, p.codes, lane, i) * codes[i];
        total = fmaf((float)product, half_at(p.scales, lane) * scale, total);
        if (rrt__packing_has_minimum(w->packing))
            total = fmaf(half_at(p.scales, RRT__GROUP + lane), (float)sum * scale, total);
    }
    return total;
}

void rrt__packed_multiply_reference(float *y, const rrt__packed *w, rrt__codes x, size_t rows, size_t begin,
                                    size_t end, bool accumulate)
{
    size_t last = end * RRT__GROUP < w->out ? end * RRT__GROUP : w->out;
    for (size_t r = 0; r < rows; r++)
        for (size_t o = begin * RRT__GROUP; o < last; o++) {
            float *to = &y[r * w->out + o], value = multiply_row(w, x, r, o);
            *to = accumulate ? *to + value : value;
        }
}
