// A line: 16 numbers in registers of the instruction set that a source is compiled for, with the same bits
// everywhere. For loops that must stay in registers with any compiler.
#ifndef RRT__LINE_H
#define RRT__LINE_H

#include <math.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "base/half.h"

#define RRT__INLINE static inline __attribute__((always_inline))

enum { RRT__LINE = 16 };

#if defined(__AVX512F__)

typedef __m512 rrt__line;

RRT__INLINE rrt__line rrt__line_zero(void)
{
    return _mm512_setzero_ps();
}

RRT__INLINE rrt__line rrt__line_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

RRT__INLINE rrt__line rrt__line_widen_f16(const uint16_t *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x));
}

RRT__INLINE rrt__line rrt__line_widen_bf16(const uint16_t *x)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

RRT__INLINE rrt__line rrt__line_widen_i8(const int8_t *x)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x)));
}

RRT__INLINE void rrt__line_store(float *out, rrt__line x)
{
    _mm512_storeu_ps(out, x);
}

RRT__INLINE void rrt__line_narrow(uint16_t *out, rrt__line x)
{
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

RRT__INLINE rrt__line rrt__line_add(rrt__line a, rrt__line b)
{
    return _mm512_add_ps(a, b);
}

RRT__INLINE rrt__line rrt__line_scale(rrt__line x, float factor)
{
    return _mm512_mul_ps(x, _mm512_set1_ps(factor));
}

// factor · x + sum, fused
RRT__INLINE rrt__line rrt__line_fma(float factor, rrt__line x, rrt__line sum)
{
    return _mm512_fmadd_ps(_mm512_set1_ps(factor), x, sum);
}

// a · b + sum, lane by lane, fused
RRT__INLINE rrt__line rrt__line_fma_lanes(rrt__line a, rrt__line b, rrt__line sum)
{
    return _mm512_fmadd_ps(a, b, sum);
}

#elif defined(__AVX2__)

typedef struct rrt__line {
    __m256 low, high;
} rrt__line;

RRT__INLINE rrt__line rrt__line_zero(void)
{
    return (rrt__line){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

RRT__INLINE rrt__line rrt__line_load(const float *x)
{
    return (rrt__line){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}

RRT__INLINE rrt__line rrt__line_widen_f16(const uint16_t *x)
{
    return (rrt__line){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x)),
                       _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + 8)))};
}

RRT__INLINE __m256 rrt__widen_bf16_half(const uint16_t *x)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

RRT__INLINE rrt__line rrt__line_widen_bf16(const uint16_t *x)
{
    return (rrt__line){rrt__widen_bf16_half(x), rrt__widen_bf16_half(x + 8)};
}

RRT__INLINE __m256 rrt__widen_i8_half(const int8_t *x)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)x)));
}

RRT__INLINE rrt__line rrt__line_widen_i8(const int8_t *x)
{
    return (rrt__line){rrt__widen_i8_half(x), rrt__widen_i8_half(x + 8)};
}

RRT__INLINE void rrt__line_store(float *out, rrt__line x)
{
    _mm256_storeu_ps(out, x.low);
    _mm256_storeu_ps(out + 8, x.high);
}

RRT__INLINE void rrt__line_narrow(uint16_t *out, rrt__line x)
{
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(x.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(out + 8), _mm256_cvtps_ph(x.high, _MM_FROUND_TO_NEAREST_INT));
}

RRT__INLINE rrt__line rrt__line_add(rrt__line a, rrt__line b)
{
    return (rrt__line){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

RRT__INLINE rrt__line rrt__line_scale(rrt__line x, float factor)
{
    __m256 f = _mm256_set1_ps(factor);
    return (rrt__line){_mm256_mul_ps(x.low, f), _mm256_mul_ps(x.high, f)};
}

// factor · x + sum, fused
RRT__INLINE rrt__line rrt__line_fma(float factor, rrt__line x, rrt__line sum)
{
    __m256 f = _mm256_set1_ps(factor);
    return (rrt__line){_mm256_fmadd_ps(f, x.low, sum.low), _mm256_fmadd_ps(f, x.high, sum.high)};
}

// a · b + sum, lane by lane, fused
RRT__INLINE rrt__line rrt__line_fma_lanes(rrt__line a, rrt__line b, rrt__line sum)
{
    return (rrt__line){_mm256_fmadd_ps(a.low, b.low, sum.low), _mm256_fmadd_ps(a.high, b.high, sum.high)};
}

#else

typedef struct rrt__line {
    float at[RRT__LINE];
} rrt__line;

RRT__INLINE rrt__line rrt__line_zero(void)
{
    return (rrt__line){{0}};
}

RRT__INLINE rrt__line rrt__line_load(const float *x)
{
    rrt__line line;
    for (int i = 0; i < RRT__LINE; i++) line.at[i] = x[i];
    return line;
}

RRT__INLINE rrt__line rrt__line_widen_f16(const uint16_t *x)
{
    rrt__line line;
    for (int i = 0; i < RRT__LINE; i++) line.at[i] = rrt__f16_to_f32(x[i]);
    return line;
}

RRT__INLINE rrt__line rrt__line_widen_bf16(const uint16_t *x)
{
    rrt__line line;
    for (int i = 0; i < RRT__LINE; i++) line.at[i] = rrt__bf16_to_f32(x[i]);
    return line;
}

RRT__INLINE rrt__line rrt__line_widen_i8(const int8_t *x)
{
    rrt__line line;
    for (int i = 0; i < RRT__LINE; i++) line.at[i] = x[i];
    return line;
}

RRT__INLINE void rrt__line_store(float *out, rrt__line x)
{
    for (int i = 0; i < RRT__LINE; i++) out[i] = x.at[i];
}

RRT__INLINE void rrt__line_narrow(uint16_t *out, rrt__line x)
{
    for (int i = 0; i < RRT__LINE; i++) out[i] = rrt__f32_to_f16(x.at[i]);
}

RRT__INLINE rrt__line rrt__line_add(rrt__line a, rrt__line b)
{
    for (int i = 0; i < RRT__LINE; i++) a.at[i] += b.at[i];
    return a;
}

RRT__INLINE rrt__line rrt__line_scale(rrt__line x, float factor)
{
    for (int i = 0; i < RRT__LINE; i++) x.at[i] *= factor;
    return x;
}

// factor · x + sum, fused
RRT__INLINE rrt__line rrt__line_fma(float factor, rrt__line x, rrt__line sum)
{
    for (int i = 0; i < RRT__LINE; i++) sum.at[i] = fmaf(factor, x.at[i], sum.at[i]);
    return sum;
}

// a · b + sum, lane by lane, fused
RRT__INLINE rrt__line rrt__line_fma_lanes(rrt__line a, rrt__line b, rrt__line sum)
{
    for (int i = 0; i < RRT__LINE; i++) sum.at[i] = fmaf(a.at[i], b.at[i], sum.at[i]);
    return sum;
}

#endif
#endif
