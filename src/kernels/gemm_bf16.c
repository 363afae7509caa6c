// Packs blocks of both factors into panels, with pairs of k adjacent as the instruction needs them; a tile of
// the result then stays in registers along two panels.
#include "kernels/gemm_bf16.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

enum {
    TILE_ROWS = 8,
    TILE_COLUMNS = 48,                // 24 accumulators of 16; the remaining registers hold factors
    BLOCK_ROWS = RRT__GEMM_BF16_A,    // whole tiles
    BLOCK_COLUMNS = RRT__GEMM_BF16_B, // whole tiles
    BLOCK_INNER = RRT__GEMM_BF16_INNER,
    GROUP = 8, // rows or columns that are packed at a time
};

bool rrt__gemm_bf16_is_available(void)
{
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

// Mask of the first `count` of 16 lanes.
static __mmask16 mask_of(size_t count)
{
    return (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1);
}

// Packs a group of at most 8 lines of a transposed factor: pairs[kp · width + line]. at: its first element.
TARGET static void pack_transposed(unsigned *pairs, size_t width, const float *at, size_t stride,
                                   size_t lines, size_t inner)
{
    const __m256i interleave = _mm256_set_epi16(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
    __mmask8 mask = (__mmask8)mask_of(lines);
    for (size_t k = 0; k < inner; k += 2, pairs += width) {
        __m256 low = _mm256_maskz_loadu_ps(mask, at + k * stride);
        __m256 high =
            k + 1 < inner ? _mm256_maskz_loadu_ps(mask, at + (k + 1) * stride) : _mm256_setzero_ps();
        __m256i both = (__m256i)_mm256_cvtne2ps_pbh(high, low);
        _mm256_storeu_si256((__m256i *)pairs, _mm256_permutexvar_epi16(interleave, both));
    }
}

// The same for lines along k: transposes 8 × 8 pairs at a time.
TARGET static void pack_along(unsigned *pairs, size_t width, const float *at, size_t stride, size_t lines,
                              size_t inner)
{
    unsigned block[GROUP][8];
    for (size_t k = 0; k < inner; k += 16) {
        size_t left = inner - k, n_pairs = left < 16 ? (left + 1) / 2 : 8;
        __mmask16 mask = mask_of(left);
        for (size_t line = 0; line < GROUP; line++) {
            __m512 values =
                line < lines ? _mm512_maskz_loadu_ps(mask, at + line * stride + k) : _mm512_setzero_ps();
            _mm256_storeu_si256((__m256i *)block[line], (__m256i)_mm512_cvtneps_pbh(values));
        }
        for (size_t p = 0; p < n_pairs; p++, pairs += width)
            for (size_t line = 0; line < GROUP; line++) pairs[line] = block[line][p];
    }
}

// Packs lines [begin, begin + count) and the inner range of a factor into panels of `width` lines, padded
// with zeros.
static void pack(unsigned *pairs, size_t width, rrt__factor f, size_t begin, size_t count, size_t inner_begin,
                 size_t inner)
{
    for (size_t panel = 0; panel < count; panel += width, pairs += width * ((inner + 1) / 2))
        for (size_t g = 0; g < width; g += GROUP) {
            size_t line = panel + g, lines = line < count ? count - line : 0;
            if (lines > GROUP) lines = GROUP;
            const float *at = f.values;
            if (lines)
                at += f.is_transposed ? inner_begin * f.stride + begin + line
                                      : (begin + line) * f.stride + inner_begin;
            (f.is_transposed ? pack_transposed : pack_along)(pairs + g, width, at, f.stride, lines, inner);
        }
}

TARGET static void multiply_tile(float *c, size_t stride, const unsigned *a, const unsigned *b, size_t pairs,
                                 size_t rows, size_t columns, bool accumulate)
{
    __m512 sums[TILE_ROWS][3];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < 3; v++) sums[r][v] = _mm512_setzero_ps();
    for (size_t p = 0; p < pairs; p++, a += TILE_ROWS, b += TILE_COLUMNS) {
        __m512bh right[3];
        for (int v = 0; v < 3; v++) right[v] = (__m512bh)_mm512_load_si512(b + 16 * v);
        for (int r = 0; r < TILE_ROWS; r++) {
            __m512bh left = (__m512bh)_mm512_set1_epi32((int)a[r]);
            for (int v = 0; v < 3; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], left, right[v]);
        }
    }
    for (size_t r = 0; r < TILE_ROWS && r < rows; r++)
        for (size_t v = 0; v < 3 && v * 16 < columns; v++) {
            size_t left = columns - v * 16;
            __mmask16 mask = mask_of(left);
            float *at = c + r * stride + v * 16;
            __m512 sum = sums[r][v];
            if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, at));
            _mm512_mask_storeu_ps(at, mask, sum);
        }
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void multiply_block(float *c, size_t stride, const unsigned *a, const unsigned *b, size_t rows,
                           size_t columns, size_t pairs, bool accumulate)
{
    for (size_t j = 0; j < columns; j += TILE_COLUMNS)
        for (size_t i = 0; i < rows; i += TILE_ROWS)
            multiply_tile(c + i * stride + j, stride, a + i * pairs, b + j * pairs, pairs, rows - i,
                          columns - j, accumulate);
}

void rrt__gemm_bf16(rrt__gemm_bf16_scratch *scratch, float *c, size_t stride, rrt__factor a, rrt__factor b,
                    size_t rows, size_t columns, size_t inner, bool accumulate)
{
    size_t blocks = (inner + BLOCK_INNER - 1) / BLOCK_INNER;
    size_t length = ((inner + blocks - 1) / blocks + 1) / 2 * 2; // blocks of equal size
    for (size_t j = 0; j < columns; j += BLOCK_COLUMNS)
        for (size_t k = 0; k < inner; k += length) {
            size_t width = min(columns - j, BLOCK_COLUMNS), depth = min(inner - k, length);
            pack(scratch->b, TILE_COLUMNS, b, j, width, k, depth);
            for (size_t i = 0; i < rows; i += BLOCK_ROWS) {
                size_t height = min(rows - i, BLOCK_ROWS);
                pack(scratch->a, TILE_ROWS, a, i, height, k, depth);
                multiply_block(c + i * stride + j, stride, scratch->a, scratch->b, height, width,
                               (depth + 1) / 2, accumulate || k > 0);
            }
        }
}

#else

bool rrt__gemm_bf16_is_available(void)
{
    return false;
}

void rrt__gemm_bf16(rrt__gemm_bf16_scratch *scratch, float *c, size_t stride, rrt__factor a, rrt__factor b,
                    size_t rows, size_t columns, size_t inner, bool accumulate)
{
    (void)scratch, (void)c, (void)stride, (void)a, (void)b, (void)rows, (void)columns, (void)inner,
        (void)accumulate;
}

#endif
