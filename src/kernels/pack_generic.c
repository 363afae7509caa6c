// Quantises a group of outputs: finds the scales and quantised values for its weights. Compiled once per
// instruction set with the same bits: outputs are the lanes of vectors, and each has its own search.
#include <stdbool.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "base/half.h"
#include "kernels/packed.h"
#include "kernels/vector.h"

// One output per lane of a register.
#if defined(__AVX512F__)
enum { OUTPUTS = 16 };
#elif defined(__AVX2__)
enum { OUTPUTS = 8 };
#else
enum { OUTPUTS = 4 };
#endif

// A value per output, and its bits.
typedef float floats __attribute__((vector_size(OUTPUTS * sizeof(float))));
typedef int32_t ints __attribute__((vector_size(OUTPUTS * sizeof(float))));

// The weights of these outputs in a block; with a minimum, relative to a base, so that their sums
// keep precision.
typedef struct block {
    floats w[RRT__BLOCK], base;
    float min, max; // range of quantised values; 0 stands for 0 (or for the minimum)
    bool has_minimum;
} block;

// A quantisation w = scale · quant + minimum; the minimum is relative to the base.
typedef struct choice {
    floats scale, minimum;
    floats gain; // Σ w² - Σ (w - its quantisation)²: larger is better
} choice;

// a where the mask is set (all bits of a lane), else b.
static inline floats pick(ints mask, floats a, floats b)
{
    return (floats)((mask & (ints)a) | (~mask & (ints)b));
}

// One instruction each, which compilers do not find.
#if defined(__AVX512F__)
static inline floats floats_min(floats a, floats b)
{
    return _mm512_min_ps(a, b);
}
static inline floats floats_max(floats a, floats b)
{
    return _mm512_max_ps(a, b);
}
#elif defined(__AVX2__)
static inline floats floats_min(floats a, floats b)
{
    return _mm256_min_ps(a, b);
}
static inline floats floats_max(floats a, floats b)
{
    return _mm256_max_ps(a, b);
}
#else
static inline floats floats_min(floats a, floats b)
{
    return pick(a < b, a, b);
}
static inline floats floats_max(floats a, floats b)
{
    return pick(a > b, a, b);
}
#endif

// Rounds to half precision, to nearest even; too large values become infinite.
static inline floats to_half_and_back(floats value)
{
    ints bits = (ints)value, magnitude = bits & 0x7fffffff;
    floats size = (floats)magnitude;
    floats tiny = (size + 0.5f) - 0.5f; // below 2^-14: 0.5's last bit is the smallest half's
    ints rounded = (magnitude + 0xfff + (magnitude >> 13 & 1)) & ~0x1fff;
    const ints infinite = (ints){0} + 0x7f800000;
    rounded = (ints)pick(rounded >= 0x47800000, (floats)infinite, (floats)rounded);
    rounded = (ints)pick(size < 0x1p-14f, tiny, (floats)rounded);
    return (floats)(rounded | (bits & ~0x7fffffff));
}

static inline floats round_quants(const block *b, floats value)
{
    const float rounder = 12582912.0f; // 1.5 · 2^23: adding it leaves no fraction bits
    const floats min = (floats){0} + b->min, max = (floats){0} + b->max;
    return (floats_min(floats_max(value, min), max) + rounder) - rounder;
}

// 1 / scale; 0 for scale 0.
static inline floats invert(floats scale)
{
    return pick(scale != 0, 1 / scale, (floats){0});
}

// Rounds to the best quantised values for these scales (and minima), then fits scales and minima to them by
// least squares.
static inline choice fit(const block *b, floats scale, floats minimum)
{
    floats inverse = invert(scale), zero = {0}, q = zero, qq = zero, x = zero, xq = zero;
    for (size_t i = 0; i < RRT__BLOCK; i++) {
        floats w = b->w[i], quant = round_quants(b, (w - minimum) * inverse);
        qq += quant * quant;
        xq += w * quant;
        if (!b->has_minimum) continue;
        q += quant;
        x += w;
    }
    const float n = RRT__BLOCK;
    floats determinant = b->has_minimum ? n * qq - q * q : qq;
    floats slope = b->has_minimum ? n * xq - q * x : xq, offset = b->has_minimum ? qq * x - q * xq : zero;
    ints is_one = determinant > 0;
    slope = pick(is_one, slope / determinant, scale);
    offset = pick(is_one, offset / determinant, minimum);
    return (choice){slope, offset, slope * xq + offset * x};
}

// Without a minimum, the largest weight gets the quantised value farther from zero, whatever the
// weight's sign.
static inline floats find_range(block *b)
{
    floats low = b->w[0], high = b->w[0];
    for (size_t i = 1; i < RRT__BLOCK; i++) {
        low = floats_min(b->w[i], low);
        high = floats_max(b->w[i], high);
    }
    if (!b->has_minimum) return -pick(-low > high, low, high);
    b->base = low;
    for (size_t i = 0; i < RRT__BLOCK; i++) b->w[i] -= low;
    return high - low;
}

static inline void keep_better(choice *best, choice c)
{
    ints is_better = c.gain > best->gain;
    best->scale = pick(is_better, c.scale, best->scale);
    best->minimum = pick(is_better, c.minimum, best->minimum);
    best->gain = pick(is_better, c.gain, best->gain);
}

// Tries scales around the one at which the largest weight just fits: clipping slightly is often better.
static inline choice choose(block *b, rrt__storage storage)
{
    floats range = find_range(b), zero = {0};
    float steps = b->has_minimum ? b->max : -b->min;
    choice best = {range / steps, zero, zero};
    if (rrt__storage_bits(storage) == 8) return best;
    for (int i = -8; i <= 8; i++) keep_better(&best, fit(b, range / (steps + 0.2f * (float)i), zero));
    keep_better(&best, fit(b, best.scale, best.minimum));
    return best;
}

// quants[i] = quantised value of input i, stored from 0, from this output on, with the scales rounded to
// half precision.
static inline void encode(const block *b, floats scale, floats minimum, int zero,
                          uint8_t quants[][RRT__GROUP], size_t output)
{
    floats m = minimum - b->base, inverse = invert(scale);
    for (size_t i = 0; i < RRT__BLOCK; i++) {
        float rounded[OUTPUTS];
        floats quant = round_quants(b, (b->w[i] - m) * inverse);
        memcpy(rounded, &quant, sizeof rounded);
        for (size_t l = 0; l < OUTPUTS; l++) quants[i][output + l] = (uint8_t)((int)rounded[l] + zero);
    }
}

static void put_quants(unsigned char *to, rrt__storage storage, uint8_t quants[][RRT__GROUP], size_t rows)
{
    for (size_t i = 0; i < RRT__BLOCK; i++)
        for (size_t l = 0; l < rows; l++) {
            size_t quarter = i / 4, at = l * 4 + i % 4;
            unsigned quant = quants[i][l];
            if (storage == RRT__STORAGE_Q8_0) {
                to[quarter * 64 + at] = (unsigned char)quant;
                continue;
            }
            to[quarter % 4 * 64 + at] |= (unsigned char)((quant & 15) << quarter / 4 * 4);
            if (storage == RRT__STORAGE_Q6_0)
                to[256 + quarter / 4 * 64 + at] |= (unsigned char)(quant >> 4 << quarter % 4 * 2);
        }
}

static inline void put_halves(unsigned char *to, floats values)
{
    float value[OUTPUTS];
    memcpy(value, &values, sizeof value);
    for (size_t l = 0; l < OUTPUTS; l++) {
        uint16_t half = rrt__f32_to_f16(value[l]);
        memcpy(to + l * sizeof half, &half, sizeof half);
    }
}

// w: [input][output], padded with zeros; the matrix has `rows` outputs here.
static void pack_block(unsigned char *scales, unsigned char *to, rrt__storage storage, float w[][RRT__GROUP],
                       size_t rows)
{
    uint8_t quants[RRT__BLOCK][RRT__GROUP];
    int zero = rrt__storage_zero(storage);
    for (size_t output = 0; output < RRT__GROUP; output += OUTPUTS) {
        // 8-bit quantised values are symmetric, for products of signed bytes.
        block b = {.min = (float)((storage == RRT__STORAGE_Q8_0) - zero),
                   .max = (float)((1 << rrt__storage_bits(storage)) - 1 - zero),
                   .has_minimum = rrt__storage_has_minimum(storage)};
        for (size_t i = 0; i < RRT__BLOCK; i++) memcpy(&b.w[i], &w[i][output], sizeof b.w[i]);
        const choice best = choose(&b, storage);
        const floats scale = to_half_and_back(best.scale), minimum = to_half_and_back(best.minimum + b.base);
        encode(&b, scale, minimum, zero, quants, output);
        unsigned char *halves = scales + output * sizeof(uint16_t);
        put_halves(halves, scale);
        if (b.has_minimum) put_halves(halves + RRT__GROUP * sizeof(uint16_t), minimum);
    }
    put_quants(to, storage, quants, rows);
}

void RRT__VARIANT_NAME(rrt__pack_group_)(unsigned char *group, rrt__storage storage, const float *weights,
                                         size_t rows, size_t in)
{
    unsigned char *quants = group + rrt__packed_scale_bytes(storage, in);
    memset(group, 0, rrt__packed_group_bytes(storage, in));
    for (size_t at = 0, k = 0; at < in; at += RRT__BLOCK, k++) {
        float w[RRT__BLOCK][RRT__GROUP] = {0};
        size_t count = in - at < RRT__BLOCK ? in - at : RRT__BLOCK;
        for (size_t l = 0; l < rows; l++)
            for (size_t i = 0; i < count; i++) w[i][l] = weights[l * in + at + i];
        pack_block(group + k * rrt__storage_halves_bytes(storage),
                   quants + k * rrt__storage_quant_bytes(storage), storage, w, rows);
    }
}
