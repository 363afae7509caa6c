// Shared by the sources that are compiled once per instruction set (RRT__VARIANT=reference|avx2|avx512).
#ifndef RRT__VECTOR_H
#define RRT__VECTOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RRT__PASTE_(a, b) a##b
#define RRT__PASTE(a, b) RRT__PASTE_(a, b)
#define RRT__STRING_(a) #a
#define RRT__STRING(a) RRT__STRING_(a)
#define RRT__VARIANT_NAME(prefix) RRT__PASTE(prefix, RRT__VARIANT)
#define RRT__VARIANT_STRING RRT__STRING(RRT__VARIANT)

// Sums over a vocabulary are float within blocks of 1024 and double between blocks: with 49,152 logits the
// seventh digit is still right.
enum { BLOCK = 1024 };

// Sums run in lanes, so that vectors of any width add in the same order (kernels.h).
enum { LANES = 16 };

static inline float add_lanes(float lane[LANES])
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

// e^x within 2 units in the last place: x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^r by a polynomial, 2^n by the
// exponent bits. Arguments below -87.3 give 2^-126 instead of a subnormal number.
static inline float fast_exp(float x)
{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.3f ? -87.3f : x;
    const float rounder = 12582912.0f;             // 1.5 · 2^23: adding it leaves no fraction bits
    float rounded = fmaf(x, 1.44269504f, rounder); // n is in its last bits
    float n = rounded - rounder;
    float r = fmaf(n, -1.42860677e-6f, fmaf(n, -0.693145752f, x));
    float p = 1.38888889e-3f;
    p = fmaf(p, r, 8.33333333e-3f);
    p = fmaf(p, r, 4.16666667e-2f);
    p = fmaf(p, r, 1.66666667e-1f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    uint32_t bits; // unsigned without conversion to int: defined for NaN, too, which p passes on
    float power;
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits + 127) << 23; // shifts out the bits of rounder itself
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

// For small |x| from its series: 1 - 2 / (e^2x + 1) would lose precision there.
static inline float fast_tanh(float x)
{
    float square = x * x;
    float series = fmaf(square, fmaf(square, -0.0539682540f, 0.133333333f), -0.333333333f);
    float small = x * fmaf(square, series, 1.0f);
    float large = 1.0f - 2.0f / (fast_exp(2.0f * x) + 1.0f);
    return square < 0.04f ? small : large;
}

static inline float max_of(const float *x, size_t count)
{
    float largest = x[0];
#pragma omp simd reduction(max : largest)
    for (size_t i = 0; i < count; i++) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

static inline float sum(const float *restrict x, size_t count)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
#pragma omp simd
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (size_t l = 0; i + l < count; l++) lane[l] += x[i + l];
    return add_lanes(lane);
}

static inline void cap_softly(float *restrict x, float cap, size_t count)
{
    float inverse = 1.0f / cap;
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] = cap * fast_tanh(x[i] * inverse);
}

// x becomes exp(x - max x); returns max x, and the sum in *total.
static inline float exponentials(float *restrict x, size_t count, float *total)
{
    float largest = max_of(x, count);
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] = fast_exp(x[i] - largest);
    *total = sum(x, count);
    return largest;
}

#endif
