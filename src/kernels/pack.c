// Quantisation: which scale and codes stand for 32 weights.
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/packed.h"

// What stands for a block of one output, and how far it is from the weights.
typedef struct choice {
    float scale, minimum; // as halves hold them
    uint8_t codes[RRT__BLOCK];
    float error; // Σ (w - what stands for it)²
} choice;

static float to_half_and_back(float value)
{
    return rrt__f16_to_f32(rrt__f32_to_f16(value));
}

// 8-bit codes are symmetric, as products of signed bytes want them.
static int least_code(rrt__packing packing)
{
    return packing == RRT__PACKING_Q8_0 ? 1 : 0;
}

static int round_code(float value, int least, int most)
{
    float rounded = rintf(value);
    rounded = rounded < (float)least ? (float)least : rounded;
    rounded = rounded > (float)most ? (float)most : rounded;
    return (int)rounded;
}

// Codes for a scale that is given; its error is measured with the halves that will be stored.
static void encode(choice *c, rrt__packing packing, const float *w, float scale, float minimum)
{
    c->scale = to_half_and_back(scale);
    c->minimum = to_half_and_back(minimum);
    c->error = 0;
    float inverse = c->scale != 0 ? 1 / c->scale : 0;
    int most = (1 << rrt__packing_bits(packing)) - 1, zero = rrt__packing_zero(packing);
    for (int i = 0; i < RRT__BLOCK; i++) {
        int code = round_code((w[i] - c->minimum) * inverse + (float)zero, least_code(packing), most);
        float miss = w[i] - ((float)(code - zero) * c->scale + c->minimum);
        c->codes[i] = (uint8_t)code;
        c->error += miss * miss;
    }
}

// The scale (and minimum) that fit these codes best: least squares.
static void fit(const choice *c, rrt__packing packing, const float *w, float *scale, float *minimum)
{
    bool has_minimum = rrt__packing_has_minimum(packing);
    double n = RRT__BLOCK, q = 0, qq = 0, x = 0, xq = 0;
    for (int i = 0; i < RRT__BLOCK; i++) {
        double code = c->codes[i] - rrt__packing_zero(packing);
        q += code;
        qq += code * code;
        x += w[i];
        xq += w[i] * code;
    }
    double determinant = n * qq - q * q;
    if (has_minimum && determinant > 0) {
        *scale = (float)((n * xq - q * x) / determinant);
        *minimum = (float)((qq * x - q * xq) / determinant);
    } else if (!has_minimum && qq > 0) {
        *scale = (float)(xq / qq);
    }
}

static void try_scale(choice *best, rrt__packing packing, const float *w, float scale, float minimum)
{
    choice c;
    encode(&c, packing, w, scale, minimum);
    if (c.error < best->error) *best = c;
    fit(&c, packing, w, &scale, &minimum);
    encode(&c, packing, w, scale, minimum);
    if (c.error < best->error) *best = c;
}

// Tries scales around the one by which the greatest weight just fits: a little less range is often worth it.
static void choose(choice *best, rrt__packing packing, const float *w)
{
    bool has_minimum = rrt__packing_has_minimum(packing);
    float low = w[0], high = w[0];
    for (int i = 1; i < RRT__BLOCK; i++) {
        low = w[i] < low ? w[i] : low;
        high = w[i] > high ? w[i] : high;
    }
    // Without a minimum the code farther from zero takes the greatest weight, whatever its sign.
    float extreme = -low > high ? low : high, minimum = has_minimum ? low : 0;
    float range = has_minimum ? high - low : -extreme;
    float steps = (float)(has_minimum ? (1 << rrt__packing_bits(packing)) - 1
                                      : rrt__packing_zero(packing) - least_code(packing));
    encode(best, packing, w, range / steps, minimum);
    for (int i = rrt__packing_bits(packing) < 8 ? -8 : 9; i <= 8 && best->error > 0; i++)
        try_scale(best, packing, w, range / (steps + 0.2f * (float)i), minimum);
}

static void put_code(unsigned char *codes, rrt__packing packing, size_t lane, size_t i, unsigned code)
{
    size_t quarter = i / 4, at = lane * 4 + i % 4;
    if (packing == RRT__PACKING_Q8_0) {
        codes[quarter * 64 + at] = (unsigned char)code;
        return;
    }
    codes[quarter % 4 * 64 + at] |= (unsigned char)((code & 15) << quarter / 4 * 4);
    if (packing == RRT__PACKING_Q6_0)
        codes[256 + quarter / 4 * 64 + at] |= (unsigned char)(code >> 4 << quarter % 4 * 2);
}

static void put_half(unsigned char *halves, size_t i, float value)
{
    uint16_t half = rrt__f32_to_f16(value);
    memcpy(halves + i * sizeof half, &half, sizeof half);
}

static void pack_block(unsigned char *scales, unsigned char *codes, rrt__packing packing, size_t lane,
                       const float *weights, size_t count)
{
    float w[RRT__BLOCK] = {0};
    choice best;
    memcpy(w, weights, count * sizeof *w);
    choose(&best, packing, w);
    put_half(scales, lane, best.scale);
    if (rrt__packing_has_minimum(packing)) put_half(scales, RRT__GROUP + lane, best.minimum);
    for (size_t i = 0; i < RRT__BLOCK; i++) put_code(codes, packing, lane, i, best.codes[i]);
}

void rrt__pack(rrt__team team, unsigned char *data, rrt__packing packing, const float *weights, size_t out,
               size_t in)
{
    size_t group_bytes = rrt__packed_group_bytes(packing, in), blocks = rrt__packed_blocks(in);
    rrt__share share = rrt__team_share(team, rrt__packed_groups(out), 1);
    for (size_t g = share.begin; g < share.end; g++) {
        unsigned char *group = data + g * group_bytes, *codes = group + rrt__packed_scale_bytes(packing, in);
        memset(group, 0, group_bytes);
        for (size_t lane = 0; lane < RRT__GROUP && g * RRT__GROUP + lane < out; lane++)
            for (size_t b = 0; b < blocks; b++) {
                size_t left = in - b * RRT__BLOCK;
                pack_block(group + b * rrt__packing_scale_bytes(packing),
                           codes + b * rrt__packing_code_bytes(packing), packing, lane,
                           weights + (g * RRT__GROUP + lane) * in + b * RRT__BLOCK,
                           left < RRT__BLOCK ? left : RRT__BLOCK);
            }
    }
}
