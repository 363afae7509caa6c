// Products with quantised matrices by AVX2: one instruction multiplies 32 quantised values, others sum them.
#include "kernels/packed.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define INLINE TARGET static inline __attribute__((always_inline))

// Forces the value to be computed here: gcc would first compute all products of a sum, which do not fit into
// the registers.
#define SETTLE(value) __asm__("" : "+x"(value))

enum {
    AHEAD = 12288,             // bytes of prefetch: slow memory needs the second-level cache filled early
    TILE = 4,                  // rows whose sums, two vectors each, fit into registers
    QUARTERS = RRT__BLOCK / 4, // per block: 4 inputs of 16 outputs
    HALF = RRT__GROUP / 2,     // outputs per vector
    STRIDE = 4 * RRT__GROUP,   // bytes between the quantised values of quarters
};

// A group of outputs, and up to TILE rows of x.
typedef struct strip {
    const unsigned char *scales, *quants;
    rrt__quantised x; // starting at the first row
    bool is_first;    // the first strip that reads these weights
} strip;

INLINE __m256i load(const unsigned char *at)
{
    return _mm256_load_si256((const __m256i *)at);
}

// Bits 4 and 5 of the quantised values of quarter c, from the upper bits of 6-bit values.
INLINE __m256i upper_bits(const unsigned char *quants, int c)
{
    __m256i top = load(quants + (4 + c / 4) * STRIDE);
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

// Bit 4, from the fifth bits of 5-bit values.
INLINE __m256i fifth_bit(const unsigned char *quants, int c)
{
    __m256i top = load(quants + 4 * STRIDE);
    top = c < 4 ? _mm256_slli_epi16(top, 4 - c) : _mm256_srli_epi16(top, c - 4);
    return _mm256_and_si256(top, _mm256_set1_epi8(0x10));
}

// Quarter c of 8 outputs. 8-bit quantised values become signed, minus their zero; others are unsigned.
INLINE __m256i unpack(const unsigned char *quants, int c, rrt__storage storage)
{
    if (storage == RRT__STORAGE_Q8_0)
        return _mm256_xor_si256(load(quants + c * STRIDE), _mm256_set1_epi8((char)0x80));
    __m256i both = load(quants + c % 4 * STRIDE);
    __m256i low = _mm256_and_si256(c < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
    switch (rrt__storage_bits(storage)) {
    case 6:
        return _mm256_or_si256(low, upper_bits(quants, c));
    case 5:
        return _mm256_or_si256(low, fifth_bit(quants, c));
    default:
        return low;
    }
}

// Products of four inputs, summed in pairs of 16 bits.
INLINE __m256i multiply(__m256i w, const int8_t *x, rrt__storage storage)
{
    int32_t bytes;
    memcpy(&bytes, x, sizeof bytes);
    __m256i four = _mm256_set1_epi32(bytes);
    if (storage != RRT__STORAGE_Q8_0) return _mm256_maddubs_epi16(w, four);
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(four, w));
}

// The scales of a block's 16 outputs.
typedef struct block_scales {
    __m256 scale[2], minimum[2];
    __m256i halves[2][2]; // Q6_K: of the first and last 16 inputs, each twice in 16 bits
    __m256i both[2];      // both interleaved
} block_scales;

INLINE __m256 to_floats(const unsigned char *halves)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)halves));
}

INLINE __m256 byte_floats(const unsigned char *bytes)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes)));
}

INLINE block_scales find_scales(const strip *s, size_t b, rrt__storage storage)
{
    const unsigned char *at = s->scales + rrt__storage_halves_at(storage, b),
                        *pairs = s->scales + rrt__storage_pairs_at(storage, b);
    const bool has_minimum = rrt__storage_has_minimum(storage), is_super = rrt__storage_is_super(storage);
    block_scales found;
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        found.scale[h] = to_floats(at + 2 * HALF * h);
        if (has_minimum) found.minimum[h] = to_floats(at + 2 * HALF * (2 + h));
        if (is_super && has_minimum) {
            const __m256 minus = _mm256_set1_ps(-0.0f);
            __m256 minimum = _mm256_mul_ps(found.minimum[h], byte_floats(pairs + RRT__GROUP + HALF * h));
            found.scale[h] = _mm256_mul_ps(found.scale[h], byte_floats(pairs + HALF * h));
            found.minimum[h] = _mm256_xor_ps(minimum, minus);
        } else if (is_super) {
            __m256i wide[2];
            for (int i = 0; i < 2; i++) {
                const unsigned char *bytes = pairs + RRT__GROUP * i + HALF * h;
                wide[i] = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
                found.halves[h][i] = _mm256_blend_epi16(wide[i], _mm256_slli_epi32(wide[i], 16), 0xaa);
            }
            found.both[h] = _mm256_blend_epi16(wide[0], _mm256_slli_epi32(wide[1], 16), 0xaa);
        }
    }
    return found;
}

// Σ of block b, per row and output; for Q6_K, times its scales. 16 bits hold a pair of products of 8-bit
// quantised values (2 · 128 · 127), two pairs of 6-bit ones (4 · 63 · 127), four pairs of 5-bit ones (8 · 31
// · 127), and a block's 4-bit ones (16 · 15 · 127).
INLINE void dot(__m256i sums[TILE][2], const strip *s, size_t b, const block_scales *scales,
                rrt__storage storage, int rows)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int bits = rrt__storage_bits(storage), together = bits == 8 ? 1 : bits == 6 ? 2 : bits == 5 ? 4 : 8;
    const unsigned char *quants = s->quants + b * rrt__storage_quant_bytes(storage);
    const bool is_scaled = storage == RRT__STORAGE_Q6_K;
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    __m256i pairs[TILE][2];
#pragma GCC unroll 8
    for (int c = 0; c < QUARTERS; c++) {
        __m256i w[2];
        for (int h = 0; h < 2; h++) w[h] = unpack(quants + 4 * HALF * h, c, storage);
#pragma GCC unroll 8
        for (int i = 0; i < 2 * rows; i++) {
            const int8_t *x = s->x.quants + ((size_t)(i / 2) * s->x.blocks + b) * RRT__BLOCK + 4 * c;
            __m256i four = multiply(w[i % 2], x, storage), *pair = &pairs[i / 2][i % 2];
            *pair = c % together ? _mm256_add_epi16(*pair, four) : four;
            SETTLE(*pair);
            if (c % together != together - 1) continue;
            __m256i *sum = &sums[i / 2][i % 2], by = is_scaled ? scales->halves[i % 2][c / 4] : ones;
            *sum = together == QUARTERS ? _mm256_madd_epi16(*pair, by)
                                        : _mm256_add_epi32(*sum, _mm256_madd_epi16(*pair, by));
            SETTLE(*sum);
        }
    }
}

INLINE void prefetch(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)at + i, _MM_HINT_T1);
}

// The part of Σ that comes from the quantised values' zero, for a row's block and 8 outputs.
INLINE __m256i zero_sum(const rrt__quantised *x, size_t at, const block_scales *scales, int h,
                        rrt__storage storage)
{
    const int zero_log2 = rrt__storage_bits(storage) - 1;
    if (storage != RRT__STORAGE_Q6_K) return _mm256_slli_epi32(_mm256_set1_epi32(x->sums[at]), zero_log2);
    int32_t both;
    memcpy(&both, x->half_sums + 2 * at, sizeof both);
    return _mm256_slli_epi32(_mm256_madd_epi16(_mm256_set1_epi32(both), scales->both[h]), zero_log2);
}

// 16 outputs of `rows` rows; rows is a constant.
INLINE void multiply_tile(__m256 out[TILE][2], strip s, rrt__storage storage, int rows)
{
    const bool has_minimum = rrt__storage_has_minimum(storage), is_signed = storage == RRT__STORAGE_Q8_0;
    const size_t quant_bytes = rrt__storage_quant_bytes(storage);
    __m256 totals[TILE][2];
    for (int r = 0; r < rows; r++) totals[r][0] = totals[r][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < s.x.blocks; b++) {
        if (s.is_first) {
            prefetch(s.quants + b * quant_bytes + AHEAD, quant_bytes);
            prefetch(s.scales + rrt__storage_halves_at(storage, b) + AHEAD,
                     rrt__storage_halves_bytes(storage));
        }
        __m256i sums[TILE][2];
        const block_scales found = find_scales(&s, b, storage);
        dot(sums, &s, b, &found, storage, rows);
#pragma GCC unroll 8
        for (int i = 0; i < 2 * rows; i++) {
            size_t at = (size_t)(i / 2) * s.x.blocks + b;
            __m256 x_scale = _mm256_set1_ps(s.x.scales[at]), *total = &totals[i / 2][i % 2];
            __m256i sum = sums[i / 2][i % 2];
            if (!has_minimum && !is_signed)
                sum = _mm256_sub_epi32(sum, zero_sum(&s.x, at, &found, i % 2, storage));
            *total =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(found.scale[i % 2], x_scale), *total);
            if (!has_minimum) continue;
            __m256 x_sum = _mm256_cvtepi32_ps(_mm256_set1_epi32(s.x.sums[at]));
            *total = _mm256_fmadd_ps(found.minimum[i % 2], _mm256_mul_ps(x_sum, x_scale), *total);
        }
    }
    for (int r = 0; r < rows; r++) out[r][0] = totals[r][0], out[r][1] = totals[r][1];
}

#define TILES(name, STORAGE)                                                                                 \
    TARGET static void tiles_##name(__m256 out[TILE][2], strip s, int rows)                                  \
    {                                                                                                        \
        if (rows == 1)                                                                                       \
            multiply_tile(out, s, STORAGE, 1);                                                               \
        else if (rows == 2)                                                                                  \
            multiply_tile(out, s, STORAGE, 2);                                                               \
        else if (rows == 3)                                                                                  \
            multiply_tile(out, s, STORAGE, 3);                                                               \
        else                                                                                                 \
            multiply_tile(out, s, STORAGE, TILE);                                                            \
    }

#define ENTRY(name, STORAGE) [STORAGE] = tiles_##name,
RRT__EACH_PACKED(TILES)

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

TARGET void rrt__packed_multiply_avx2(float *y, const rrt__linear *w, rrt__quantised x, size_t rows,
                                      size_t begin, size_t end, bool accumulate)
{
    static void (*const tiles[RRT__STORAGE_COUNT])(__m256[TILE][2], strip, int) = {RRT__EACH_PACKED(ENTRY)};
    size_t group_bytes = rrt__packed_group_bytes(w->storage, w->in),
           scale_bytes = rrt__packed_scale_bytes(w->storage, w->in);
    for (size_t g = begin; g < end; g++) {
        const unsigned char *group = w->data + g * group_bytes;
        for (size_t r = 0; r < rows; r += TILE) {
            int tile = rows - r < TILE ? (int)(rows - r) : TILE;
            __m256 out[TILE][2];
            strip s = {group, group + scale_bytes, rrt__quantised_skip(x, r * x.blocks), r == 0};
            tiles[w->storage](out, s, tile);
            store(y + r * w->out + g * RRT__GROUP, w->out, out, tile, w->out - g * RRT__GROUP, accumulate);
        }
    }
}
#endif
