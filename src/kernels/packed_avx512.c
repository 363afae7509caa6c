// Products with quantised matrices by AVX-512 VNNI: 64 products of quantised values per instruction.
#include "kernels/packed.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum {
    MAX_ROWS = 16,
    AHEAD = 12288,             // bytes of prefetch: slow memory needs the second-level cache filled early
    QUARTERS = RRT__BLOCK / 4, // vectors per block: 16 outputs x 4 inputs each
};

// A group of outputs, and rows of x.
typedef struct strip {
    const unsigned char *scales, *quants;
    rrt__quantised x; // starting at the first row
} strip;

INLINE void unpack(__m512i w[QUARTERS], const unsigned char *quants, rrt__storage storage)
{
    const __m512i nibble = _mm512_set1_epi8(15), high = _mm512_set1_epi8(0x30);
    if (storage == RRT__STORAGE_Q8_0) {
        for (int c = 0; c < QUARTERS; c++) w[c] = _mm512_load_si512(quants + c * 64);
        return;
    }
    for (int c = 0; c < QUARTERS / 2; c++) {
        __m512i both = _mm512_load_si512(quants + c * 64);
        w[c] = _mm512_and_si512(both, nibble);
        w[c + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
    }
    if (rrt__storage_bits(storage) == 5) {
        const __m512i fifth = _mm512_set1_epi8(16), top = _mm512_load_si512(quants + 256);
        for (unsigned c = 0; c < QUARTERS / 2; c++) {
            w[c] = _mm512_or_si512(w[c], _mm512_and_si512(_mm512_slli_epi16(top, 4 - c), fifth));
            w[c + 4] = _mm512_or_si512(w[c + 4], _mm512_and_si512(_mm512_srli_epi16(top, c), fifth));
        }
    }
    if (rrt__storage_bits(storage) != 6) return;
    for (int half = 0; half < 2; half++) {
        __m512i top = _mm512_load_si512(quants + 256 + half * 64), *to = w + half * 4;
        to[0] = _mm512_or_si512(to[0], _mm512_and_si512(_mm512_slli_epi16(top, 4), high));
        to[1] = _mm512_or_si512(to[1], _mm512_and_si512(_mm512_slli_epi16(top, 2), high));
        to[2] = _mm512_or_si512(to[2], _mm512_and_si512(top, high));
        to[3] = _mm512_or_si512(to[3], _mm512_and_si512(_mm512_srli_epi16(top, 2), high));
    }
}

INLINE __m512i broadcast(const int8_t *quants)
{
    int32_t four;
    memcpy(&four, quants, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE __m512 to_floats(const unsigned char *halves)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)halves));
}

// The scales of a block's 16 outputs.
typedef struct block_scales {
    __m512 scale, minimum;
    __m512 parts[2]; // Q6_K: of the first and last 16 inputs
} block_scales;

INLINE block_scales find_scales(const strip *s, size_t b, rrt__storage storage)
{
    const unsigned char *at = s->scales + rrt__storage_halves_at(storage, b),
                        *pairs = s->scales + rrt__storage_pairs_at(storage, b);
    const bool has_minimum = rrt__storage_has_minimum(storage), is_super = rrt__storage_is_super(storage);
    block_scales found = {.scale = to_floats(at)};
    if (has_minimum) found.minimum = to_floats(at + RRT__GROUP * sizeof(uint16_t));
    for (int i = 0; is_super && i < 2; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(pairs + RRT__GROUP * i));
        found.parts[i] =
            _mm512_cvtepi32_ps(has_minimum ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepi8_epi32(bytes));
    }
    if (is_super && has_minimum) {
        found.scale = _mm512_mul_ps(found.scale, found.parts[0]);
        found.minimum = _mm512_xor_ps(_mm512_mul_ps(found.minimum, found.parts[1]), _mm512_set1_ps(-0.0f));
    }
    return found;
}

// Σ of a row's block for each output, minus the quantised values' zero; for Q6_K, times its scales. Two
// chains of sums, so that neither waits for the other.
INLINE __m512 dot(const __m512i w[QUARTERS], const rrt__quantised *x, size_t at, const block_scales *scales,
                  rrt__storage storage)
{
    const unsigned zero_log2 = (unsigned)rrt__storage_bits(storage) - 1;
    const int8_t *quants = x->quants + at * RRT__BLOCK;
    __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    if (storage == RRT__STORAGE_Q6_K) {
        for (int i = 0; i < 2; i++) {
            __m512i part = _mm512_set1_epi32(x->half_sums[2 * at + (size_t)i]);
            sums[i] = _mm512_sub_epi32(sums[i], _mm512_slli_epi32(part, zero_log2));
            for (int c = 4 * i; c < 4 * i + 4; c++)
                sums[i] = _mm512_dpbusd_epi32(sums[i], w[c], broadcast(quants + 4 * c));
        }
        // Below 2^24, so exact.
        __m512 first = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[0]), scales->parts[0]);
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[1]), scales->parts[1], first);
    }
    if (!rrt__storage_has_minimum(storage))
        sums[1] = _mm512_sub_epi32(sums[1], _mm512_slli_epi32(_mm512_set1_epi32(x->sums[at]), zero_log2));
    for (int c = 0; c < QUARTERS; c++)
        sums[c % 2] = _mm512_dpbusd_epi32(sums[c % 2], w[c], broadcast(quants + 4 * c));
    return _mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], sums[1]));
}

INLINE void prefetch(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + i, _MM_HINT_T1);
}

// 16 outputs of `rows` rows; rows is a constant.
INLINE void multiply_tile(__m512 *totals, strip s, rrt__storage storage, const int rows)
{
    const bool has_minimum = rrt__storage_has_minimum(storage);
    const size_t quant_bytes = rrt__storage_quant_bytes(storage);
    __m512 sums[MAX_ROWS]; // in registers
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) sums[r] = _mm512_setzero_ps();
    for (size_t b = 0; b < s.x.blocks; b++, s.quants += quant_bytes) {
        __m512i w[QUARTERS];
        prefetch(s.quants + AHEAD, quant_bytes);
        prefetch(s.scales + rrt__storage_halves_at(storage, b) + AHEAD, rrt__storage_halves_bytes(storage));
        unpack(w, s.quants, storage);
        const block_scales found = find_scales(&s, b, storage);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * s.x.blocks + b;
            __m512 x_scale = _mm512_set1_ps(s.x.scales[at]);
            sums[r] = _mm512_fmadd_ps(dot(w, &s.x, at, &found, storage), _mm512_mul_ps(found.scale, x_scale),
                                      sums[r]);
            if (!has_minimum) continue;
            __m512 x_sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(s.x.sums[at]));
            sums[r] = _mm512_fmadd_ps(found.minimum, _mm512_mul_ps(x_sum, x_scale), sums[r]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) totals[r] = sums[r];
}

// Tile sizes: 16 totals and 8 vectors of quantised values just fit into the registers.
#define TILE(ROWS, STORAGE)                                                                                  \
    case ROWS:                                                                                               \
        multiply_tile(totals, s, STORAGE, ROWS);                                                             \
        break
#define TILES(name, STORAGE)                                                                                 \
    TARGET static void tiles_##name(__m512 *totals, strip s, int rows)                                       \
    {                                                                                                        \
        switch (rows) {                                                                                      \
            TILE(1, STORAGE);                                                                                \
            TILE(2, STORAGE);                                                                                \
            TILE(4, STORAGE);                                                                                \
            TILE(8, STORAGE);                                                                                \
            TILE(16, STORAGE);                                                                               \
        }                                                                                                    \
    }

#define ENTRY(name, STORAGE) [STORAGE] = tiles_##name,
RRT__EACH_PACKED(TILES)

TARGET static void store(float *y, size_t stride, const __m512 *totals, int rows, __mmask16 lanes,
                         bool accumulate)
{
    for (int r = 0; r < rows; r++, y += stride) {
        __m512 value = totals[r];
        if (accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), value);
        _mm512_mask_storeu_ps(y, lanes, value);
    }
}

TARGET void rrt__packed_multiply_avx512(float *y, const rrt__linear *w, rrt__quantised x, size_t rows,
                                        size_t begin, size_t end, bool accumulate)
{
    static void (*const tiles[RRT__STORAGE_COUNT])(__m512 *, strip, int) = {RRT__EACH_PACKED(ENTRY)};
    size_t group_bytes = rrt__packed_group_bytes(w->storage, w->in),
           scale_bytes = rrt__packed_scale_bytes(w->storage, w->in);
    for (size_t g = begin; g < end; g++) {
        const unsigned char *group = w->data + g * group_bytes;
        size_t left = w->out - g * RRT__GROUP;
        __mmask16 lanes = (__mmask16)(left >= RRT__GROUP ? 0xffff : (1u << left) - 1);
        for (size_t r = 0; r < rows;) {
            int tile = MAX_ROWS;
            while ((size_t)tile > rows - r) tile /= 2;
            __m512 totals[MAX_ROWS];
            strip s = {group, group + scale_bytes, rrt__quantised_skip(x, r * x.blocks)};
            tiles[w->storage](totals, s, tile);
            store(y + r * w->out + g * RRT__GROUP, w->out, totals, tile, lanes, accumulate);
            r += (size_t)tile;
        }
    }
}
#endif
