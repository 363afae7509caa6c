// Products with quantised matrices by AVX2: 32 products of codes in one instruction, their sums in more.
#include "kernels/packed.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum {
    AHEAD = 12288,             // bytes; where memory is far, the second-level cache has to be filled early
    QUARTERS = RRT__BLOCK / 4, // vectors of a block: half a group's 8 outputs x 4 inputs each
    HALF = RRT__GROUP / 2,
    STRIDE = 4 * RRT__GROUP, // from one quarter's codes to the next
};

// Half a group of outputs, and where rows of x stand.
typedef struct strip {
    const unsigned char *scales, *codes;
    size_t blocks;
    const int8_t *x;
    const float *x_scales;
    const int32_t *x_sums;
} strip;

INLINE __m256i load(const unsigned char *at)
{
    return _mm256_load_si256((const __m256i *)at);
}

// 8-bit codes come out signed, less their zero; others unsigned.
INLINE void unpack(__m256i w[QUARTERS], const unsigned char *codes, rrt__packing packing)
{
    const __m256i nibble = _mm256_set1_epi8(15), high = _mm256_set1_epi8(0x30);
    if (packing == RRT__PACKING_Q8_0) {
        for (int c = 0; c < QUARTERS; c++)
            w[c] = _mm256_xor_si256(load(codes + c * STRIDE), _mm256_set1_epi8((char)0x80));
        return;
    }
    for (int c = 0; c < QUARTERS / 2; c++) {
        __m256i both = load(codes + c * STRIDE);
        w[c] = _mm256_and_si256(both, nibble);
        w[c + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
    }
    if (packing != RRT__PACKING_Q6_0) return;
    for (int half = 0; half < 2; half++) {
        __m256i top = load(codes + (4 + half) * STRIDE), *to = w + half * 4;
        to[0] = _mm256_or_si256(to[0], _mm256_and_si256(_mm256_slli_epi16(top, 4), high));
        to[1] = _mm256_or_si256(to[1], _mm256_and_si256(_mm256_slli_epi16(top, 2), high));
        to[2] = _mm256_or_si256(to[2], _mm256_and_si256(top, high));
        to[3] = _mm256_or_si256(to[3], _mm256_and_si256(_mm256_srli_epi16(top, 2), high));
    }
}

INLINE __m256i broadcast(const int8_t *codes)
{
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

// Σ of a block, per output; less zero · Σ x. Pairs of products are added in 16 bits, which hold them: 2 · 128
// · 127 for 8-bit codes, 4 · 63 · 127 for 6, 16 · 15 · 127 for 4.
INLINE __m256i dot(const __m256i w[QUARTERS], const int8_t *x, int32_t x_sum, rrt__packing packing)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i total = _mm256_setzero_si256(), pairs = total;
    if (packing == RRT__PACKING_Q8_0) {
        for (int c = 0; c < QUARTERS; c++) {
            __m256i signed_x = _mm256_sign_epi8(broadcast(x + 4 * c), w[c]);
            pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w[c]), signed_x);
            total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones));
        }
        return total;
    }
    const int together = packing == RRT__PACKING_Q6_0 ? 2 : QUARTERS;
    for (int c = 0; c < QUARTERS; c++) {
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[c], broadcast(x + 4 * c)));
        if ((c + 1) % together) continue;
        total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones));
        pairs = _mm256_setzero_si256();
    }
    if (rrt__packing_has_minimum(packing)) return total;
    return _mm256_sub_epi32(total,
                            _mm256_slli_epi32(_mm256_set1_epi32(x_sum), rrt__packing_bits(packing) - 1));
}

INLINE __m256 halves(const unsigned char *at)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)at));
}

INLINE void prefetch(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + i, _MM_HINT_T1);
}

// 8 outputs of `rows` rows, which a compiler knows.
INLINE void multiply_tile(__m256 *totals, const strip *s, rrt__packing packing, int rows)
{
    const bool has_minimum = rrt__packing_has_minimum(packing);
    const size_t code_bytes = rrt__packing_code_bytes(packing),
                 scale_bytes = rrt__packing_scale_bytes(packing);
    for (int r = 0; r < rows; r++) totals[r] = _mm256_setzero_ps();
    for (size_t b = 0; b < s->blocks; b++) {
        __m256i w[QUARTERS];
        prefetch(s->codes + b * code_bytes + AHEAD, code_bytes);
        prefetch(s->scales + b * scale_bytes + AHEAD, scale_bytes);
        unpack(w, s->codes + b * code_bytes, packing);
        __m256 scale = halves(s->scales + b * scale_bytes), minimum = scale;
        if (has_minimum) minimum = halves(s->scales + b * scale_bytes + RRT__GROUP * sizeof(uint16_t));
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * s->blocks + b;
            __m256i product = dot(w, s->x + at * RRT__BLOCK, s->x_sums[at], packing);
            __m256 x_scale = _mm256_set1_ps(s->x_scales[at]);
            totals[r] =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), _mm256_mul_ps(scale, x_scale), totals[r]);
            if (!has_minimum) continue;
            __m256 x_sum = _mm256_cvtepi32_ps(_mm256_set1_epi32(s->x_sums[at]));
            totals[r] = _mm256_fmadd_ps(minimum, _mm256_mul_ps(x_sum, x_scale), totals[r]);
        }
    }
}

#define TILES(NAME, PACKING)                                                                                 \
    TARGET static void NAME(__m256 *totals, const strip *s, int rows)                                        \
    {                                                                                                        \
        if (rows == 1)                                                                                       \
            multiply_tile(totals, s, PACKING, 1);                                                            \
        else if (rows == 2)                                                                                  \
            multiply_tile(totals, s, PACKING, 2);                                                            \
        else                                                                                                 \
            multiply_tile(totals, s, PACKING, 4);                                                            \
    }
TILES(tiles_q8_0, RRT__PACKING_Q8_0)
TILES(tiles_q6_0, RRT__PACKING_Q6_0)
TILES(tiles_q4_1, RRT__PACKING_Q4_1)
TILES(tiles_q4_0, RRT__PACKING_Q4_0)

TARGET static void store(float *y, size_t stride, const __m256 *totals, int rows, size_t lanes,
                         bool accumulate)
{
    for (int r = 0; r < rows; r++, y += stride) {
        float values[HALF];
        _mm256_storeu_ps(values, totals[r]);
        for (size_t i = 0; i < lanes && i < HALF; i++) y[i] = accumulate ? y[i] + values[i] : values[i];
    }
}

TARGET void rrt__packed_multiply_avx2(float *y, const rrt__packed *w, rrt__codes x, size_t rows, size_t begin,
                                      size_t end, bool accumulate)
{
    static void (*const tiles[RRT__PACKING_COUNT])(__m256 *, const strip *, int) = {tiles_q8_0, tiles_q6_0,
                                                                                    tiles_q4_1, tiles_q4_0};
    size_t group_bytes = rrt__packed_group_bytes(w->packing, w->in),
           scale_bytes = rrt__packed_scale_bytes(w->packing, w->in);
    for (size_t half = 2 * begin; half < 2 * end && half * HALF < w->out; half++) {
        const unsigned char *group = w->data + half / 2 * group_bytes;
        for (size_t r = 0; r < rows;) {
            int tile = 4;
            while ((size_t)tile > rows - r) tile /= 2;
            __m256 totals[4];
            strip s = {group + half % 2 * HALF * sizeof(uint16_t),
                       group + scale_bytes + half % 2 * 4 * HALF,
                       x.blocks,
                       x.codes + r * x.blocks * RRT__BLOCK,
                       x.scales + r * x.blocks,
                       x.sums + r * x.blocks};
            tiles[w->packing](totals, &s, tile);
            store(y + r * w->out + half * HALF, w->out, totals, tile, w->out - half * HALF, accumulate);
            r += (size_t)tile;
        }
    }
}
#endif
