// Products with quantised matrices by AVX-512 VNNI: 64 products of codes per instruction.
#include "kernels/packed.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum {
    MOST_ROWS = 16,
    AHEAD = 12288,             // bytes; where memory is far, the second-level cache has to be filled early
    QUARTERS = RRT__BLOCK / 4, // vectors of a block: 16 outputs x 4 inputs each
};

// A group of outputs, and where rows of x stand.
typedef struct strip {
    const unsigned char *scales, *codes;
    size_t blocks;
    const int8_t *x;
    const float *x_scales;
    const int32_t *x_sums;
} strip;

INLINE void unpack(__m512i w[QUARTERS], const unsigned char *codes, rrt__packing packing)
{
    const __m512i nibble = _mm512_set1_epi8(15), high = _mm512_set1_epi8(0x30);
    if (packing == RRT__PACKING_Q8_0) {
        for (int c = 0; c < QUARTERS; c++) w[c] = _mm512_load_si512(codes + c * 64);
        return;
    }
    for (int c = 0; c < QUARTERS / 2; c++) {
        __m512i both = _mm512_load_si512(codes + c * 64);
        w[c] = _mm512_and_si512(both, nibble);
        w[c + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
    }
    if (packing != RRT__PACKING_Q6_0) return;
    for (int half = 0; half < 2; half++) {
        __m512i top = _mm512_load_si512(codes + 256 + half * 64), *to = w + half * 4;
        to[0] = _mm512_or_si512(to[0], _mm512_and_si512(_mm512_slli_epi16(top, 4), high));
        to[1] = _mm512_or_si512(to[1], _mm512_and_si512(_mm512_slli_epi16(top, 2), high));
        to[2] = _mm512_or_si512(to[2], _mm512_and_si512(top, high));
        to[3] = _mm512_or_si512(to[3], _mm512_and_si512(_mm512_srli_epi16(top, 2), high));
    }
}

INLINE __m512i broadcast(const int8_t *codes)
{
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE __m512 halves(const unsigned char *at)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)at));
}

INLINE void prefetch(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + i, _MM_HINT_T1);
}

// 16 outputs of `rows` rows, which a compiler knows.
INLINE void multiply_tile(__m512 *totals, strip s, rrt__packing packing, const int rows)
{
    const bool has_minimum = rrt__packing_has_minimum(packing);
    const size_t code_bytes = rrt__packing_code_bytes(packing),
                 scale_bytes = rrt__packing_scale_bytes(packing);
    const unsigned zero_log2 = (unsigned)rrt__packing_bits(packing) - 1;
    __m512 sums[MOST_ROWS]; // in registers
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) sums[r] = _mm512_setzero_ps();
    for (size_t b = 0; b < s.blocks; b++, s.codes += code_bytes, s.scales += scale_bytes, s.x += RRT__BLOCK) {
        __m512i w[QUARTERS];
        prefetch(s.codes + AHEAD, code_bytes);
        prefetch(s.scales + AHEAD, scale_bytes);
        unpack(w, s.codes, packing);
        __m512 scale = halves(s.scales), minimum = scale;
        if (has_minimum) minimum = halves(s.scales + RRT__GROUP * sizeof(uint16_t));
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * s.blocks;
            const int8_t *x = s.x + at * RRT__BLOCK;
            // Two chains of sums, so that neither waits for the other.
            __m512i x_sum = _mm512_set1_epi32(s.x_sums[at + b]), product = _mm512_setzero_si512(),
                    other = product;
            if (!has_minimum) other = _mm512_sub_epi32(other, _mm512_slli_epi32(x_sum, zero_log2));
            for (int c = 0; c < QUARTERS; c += 2) {
                product = _mm512_dpbusd_epi32(product, w[c], broadcast(x + 4 * c));
                other = _mm512_dpbusd_epi32(other, w[c + 1], broadcast(x + 4 * c + 4));
            }
            __m512 x_scale = _mm512_set1_ps(s.x_scales[at + b]);
            __m512 value = _mm512_cvtepi32_ps(_mm512_add_epi32(product, other));
            sums[r] = _mm512_fmadd_ps(value, _mm512_mul_ps(scale, x_scale), sums[r]);
            if (!has_minimum) continue;
            sums[r] = _mm512_fmadd_ps(minimum, _mm512_mul_ps(_mm512_cvtepi32_ps(x_sum), x_scale), sums[r]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) totals[r] = sums[r];
}

// Sizes of tiles: 16 totals and 8 vectors of codes still fit the registers.
#define TILE(ROWS, PACKING)                                                                                  \
    case ROWS:                                                                                               \
        multiply_tile(totals, s, PACKING, ROWS);                                                             \
        break
#define TILES(NAME, PACKING)                                                                                 \
    TARGET static void NAME(__m512 *totals, strip s, int rows)                                               \
    {                                                                                                        \
        switch (rows) {                                                                                      \
            TILE(1, PACKING);                                                                                \
            TILE(2, PACKING);                                                                                \
            TILE(4, PACKING);                                                                                \
            TILE(8, PACKING);                                                                                \
            TILE(16, PACKING);                                                                               \
        }                                                                                                    \
    }
TILES(tiles_q8_0, RRT__PACKING_Q8_0)
TILES(tiles_q6_0, RRT__PACKING_Q6_0)
TILES(tiles_q4_1, RRT__PACKING_Q4_1)
TILES(tiles_q4_0, RRT__PACKING_Q4_0)

TARGET static void store(float *y, size_t stride, const __m512 *totals, int rows, __mmask16 lanes,
                         bool accumulate)
{
    for (int r = 0; r < rows; r++, y += stride) {
        __m512 value = totals[r];
        if (accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), value);
        _mm512_mask_storeu_ps(y, lanes, value);
    }
}

TARGET void rrt__packed_multiply_avx512(float *y, const rrt__packed *w, rrt__codes x, size_t rows,
                                        size_t begin, size_t end, bool accumulate)
{
    static void (*const tiles[RRT__PACKING_COUNT])(__m512 *, strip, int) = {tiles_q8_0, tiles_q6_0,
                                                                            tiles_q4_1, tiles_q4_0};
    size_t group_bytes = rrt__packed_group_bytes(w->packing, w->in),
           scale_bytes = rrt__packed_scale_bytes(w->packing, w->in);
    for (size_t g = begin; g < end; g++) {
        const unsigned char *group = w->data + g * group_bytes;
        size_t left = w->out - g * RRT__GROUP;
        __mmask16 lanes = (__mmask16)(left >= RRT__GROUP ? 0xffff : (1u << left) - 1);
        for (size_t r = 0; r < rows;) {
            int tile = MOST_ROWS;
            while ((size_t)tile > rows - r) tile /= 2;
            __m512 totals[MOST_ROWS];
            strip s = {group,
                       group + scale_bytes,
                       x.blocks,
                       x.codes + r * x.blocks * RRT__BLOCK,
                       x.scales + r * x.blocks,
                       x.sums + r * x.blocks};
            tiles[w->packing](totals, s, tile);
            store(y + r * w->out + g * RRT__GROUP, w->out, totals, tile, lanes, accumulate);
            r += (size_t)tile;
        }
    }
}
#endif
