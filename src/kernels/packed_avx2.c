// Products with quantised matrices by AVX2: 32 products of codes in one instruction, their sums in more.
#include "kernels/packed.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))

// Has the value as it is now: otherwise gcc first makes all products of a sum, which no longer fit into
// registers.
#define SETTLE(value) __asm__("" : "+x"(value))

enum {
    AHEAD = 12288,             // bytes; where memory is far, the second-level cache has to be filled early
    TILE = 4,                  // rows whose sums fit into registers, with two vectors each
    QUARTERS = RRT__BLOCK / 4, // of a block: 4 inputs of 16 outputs
    HALF = RRT__GROUP / 2,     // outputs of a vector
    STRIDE = 4 * RRT__GROUP,   // from one quarter's codes to the next
};

// A group of outputs, and where up to TILE rows of x stand.
typedef struct strip {
    const unsigned char *scales, *codes;
    size_t blocks;
    const int8_t *x;
    const float *x_scales;
    const int32_t *x_sums;
    bool is_first; // of those that read these weights
} strip;

INLINE __m256i load(const unsigned char *at)
{
    return _mm256_load_si256((const __m256i *)at);
}

// Bits 4 and 5 of the codes of quarter c, where q6_0 keeps them.
INLINE __m256i upper_bits(const unsigned char *codes, int c)
{
    __m256i top = load(codes + (4 + c / 4) * STRIDE);
    switch (c % 4) {
    case 0:
        top = _mm256_slli_epi16(top, 4);
        break;
    case 1:
        top = _mm256_slli_epi16(top, 2);
        break;
    case 3:
        top = _mm256_srli_epi16(top, 2);
        break;
    default:
        break;
    }
    return _mm256_and_si256(top, _mm256_set1_epi8(0x30));
}

// Quarter c of 8 outputs. 8-bit codes come out signed, less their zero; others unsigned.
INLINE __m256i unpack(const unsigned char *codes, int c, rrt__packing packing)
{
    if (packing == RRT__PACKING_Q8_0)
        return _mm256_xor_si256(load(codes + c * STRIDE), _mm256_set1_epi8((char)0x80));
    __m256i both = load(codes + c % 4 * STRIDE);
    __m256i low = _mm256_and_si256(c < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
    return packing == RRT__PACKING_Q6_0 ? _mm256_or_si256(low, upper_bits(codes, c)) : low;
}

// Of four inputs, in pairs of 16 bits.
INLINE __m256i multiply(__m256i w, const int8_t *x, rrt__packing packing)
{
    int32_t bytes;
    memcpy(&bytes, x, sizeof bytes);
    __m256i four = _mm256_set1_epi32(bytes);
    if (packing != RRT__PACKING_Q8_0) return _mm256_maddubs_epi16(w, four);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(four, w));
}

// Σ of block b, per row and output. 16 bits hold one pair of products of 8-bit codes (2 · 128 · 127), the sum
// of two of 6-bit codes (4 · 63 · 127), and a block's sum of 4-bit codes (16 · 15 · 127).
INLINE void dot(__m256i sums[TILE][2], const strip *s, size_t b, rrt__packing packing, int rows)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const bool is_narrow = rrt__packing_bits(packing) == 4;
    const int together = packing == RRT__PACKING_Q6_0 ? 2 : 1;
    const unsigned char *codes = s->codes + b * rrt__packing_code_bytes(packing);
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int c = 0; c < QUARTERS; c += together) {
        __m256i w[2][2];
        for (int h = 0; h < 2; h++)
            for (int t = 0; t < together; t++) w[t][h] = unpack(codes + 4 * HALF * h, c + t, packing);
#pragma GCC unroll 8
        for (int i = 0; i < 2 * rows; i++) {
            __m256i *sum = &sums[i / 2][i % 2];
            const int8_t *x = s->x + ((size_t)(i / 2) * s->blocks + b) * RRT__BLOCK + 4 * c;
            __m256i pairs = multiply(w[0][i % 2], x, packing);
            if (together == 2) pairs = _mm256_add_epi16(pairs, multiply(w[1][i % 2], x + 4, packing));
            *sum = is_narrow ? _mm256_add_epi16(*sum, pairs)
                             : _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            SETTLE(*sum);
        }
    }
    for (int i = 0; is_narrow && i < 2 * rows; i++)
        sums[i / 2][i % 2] = _mm256_madd_epi16(sums[i / 2][i % 2], ones);
}

INLINE __m256 halves(const unsigned char *at)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)at));
}

INLINE void prefetch(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + i, _MM_HINT_T1);
}

// 16 outputs of `rows` rows, which a compiler knows.
INLINE void multiply_tile(__m256 out[TILE][2], strip s, rrt__packing packing, int rows)
{
    const bool has_minimum = rrt__packing_has_minimum(packing), is_signed = packing == RRT__PACKING_Q8_0;
    const size_t code_bytes = rrt__packing_code_bytes(packing),
                 scale_bytes = rrt__packing_scale_bytes(packing);
    __m256 totals[TILE][2];
    for (int r = 0; r < rows; r++) totals[r][0] = totals[r][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < s.blocks; b++) {
        if (s.is_first) {
            prefetch(s.codes + b * code_bytes + AHEAD, code_bytes);
            prefetch(s.scales + b * scale_bytes + AHEAD, scale_bytes);
        }
        __m256i sums[TILE][2];
        dot(sums, &s, b, packing, rows);
        const unsigned char *at = s.scales + b * scale_bytes;
        const __m256 scale[2] = {halves(at), halves(at + 2 * HALF)};
        __m256 minimum[2] = {scale[0], scale[1]};
        for (int h = 0; has_minimum && h < 2; h++) minimum[h] = halves(at + (4 + 2 * h) * HALF);
        for (int i = 0; i < 2 * rows; i++) {
            size_t row = (size_t)(i / 2) * s.blocks + b;
            __m256 x_scale = _mm256_set1_ps(s.x_scales[row]), *total = &totals[i / 2][i % 2];
            __m256i x_sum = _mm256_set1_epi32(s.x_sums[row]), sum = sums[i / 2][i % 2];
            if (!has_minimum && !is_signed)
                sum = _mm256_sub_epi32(sum, _mm256_slli_epi32(x_sum, rrt__packing_bits(packing) - 1));
            *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale[i % 2], x_scale), *total);
            if (!has_minimum) continue;
            __m256 shift = _mm256_mul_ps(_mm256_cvtepi32_ps(x_sum), x_scale);
            *total = _mm256_fmadd_ps(minimum[i % 2], shift, *total);
        }
    }
    for (int r = 0; r < rows; r++) out[r][0] = totals[r][0], out[r][1] = totals[r][1];
}

#define TILES(NAME, PACKING)                                                                                 \
    TARGET static void NAME(__m256 out[TILE][2], strip s, int rows)                                          \
    {                                                                                                        \
        if (rows == 1)                                                                                       \
            multiply_tile(out, s, PACKING, 1);                                                               \
        else if (rows == 2)                                                                                  \
            multiply_tile(out, s, PACKING, 2);                                                               \
        else if (rows == 3)                                                                                  \
            multiply_tile(out, s, PACKING, 3);                                                               \
        else                                                                                                 \
            multiply_tile(out, s, PACKING, TILE);                                                            \
    }
TILES(tiles_q8_0, RRT__PACKING_Q8_0)
TILES(tiles_q6_0, RRT__PACKING_Q6_0)
TILES(tiles_q4_1, RRT__PACKING_Q4_1)
TILES(tiles_q4_0, RRT__PACKING_Q4_0)

TARGET static void store(float *y, size_t stride, __m256 out[TILE][2], int rows, size_t lanes,
                         bool accumulate)
{
    for (int r = 0; r < rows; r++, y += stride) {
        float values[RRT__GROUP];
        _mm256_storeu_ps(values, out[r][0]);
        _mm256_storeu_ps(values + HALF, out[r][1]);
        for (size_t i = 0; i < lanes && i < RRT__GROUP; i++) y[i] = accumulate ? y[i] + values[i] : values[i];
    }
}

TARGET void rrt__packed_multiply_avx2(float *y, const rrt__packed *w, rrt__codes x, size_t rows, size_t begin,
                                      size_t end, bool accumulate)
{
    static void (*const tiles[RRT__PACKING_COUNT])(__m256[TILE][2], strip, int) = {tiles_q8_0, tiles_q6_0,
                                                                                   tiles_q4_1, tiles_q4_0};
    size_t group_bytes = rrt__packed_group_bytes(w->packing, w->in),
           scale_bytes = rrt__packed_scale_bytes(w->packing, w->in);
    for (size_t g = begin; g < end; g++) {
        const unsigned char *group = w->data + g * group_bytes;
        for (size_t r = 0; r < rows; r += TILE) {
            int tile = rows - r < TILE ? (int)(rows - r) : TILE;
            __m256 out[TILE][2];
            strip s = {group,
                       group + scale_bytes,
                       x.blocks,
                       x.codes + r * x.blocks * RRT__BLOCK,
                       x.scales + r * x.blocks,
                       x.sums + r * x.blocks,
                       r == 0};
            tiles[w->packing](out, s, tile);
            store(y + r * w->out + g * RRT__GROUP, w->out, out, tile, w->out - g * RRT__GROUP, accumulate);
        }
    }
}
#endif
