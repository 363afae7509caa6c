#include "format/repack.h"

#include <string.h>

#include "format/dequant.h"

// A block of 32 values of one row, in words of four quantised values: nibbles of inputs 4c … 4c + 3 (low) and
// of those 16 later (high), then the upper bits, in packed.h's layout for one output.
typedef struct block {
    uint32_t low[4];  // one word per quarter 0 to 3
    uint32_t high[4]; // 5 bits: the first word only, quarter c as bit c; 6 bits: two words
} block;

enum { WORD_STRIDE = 4 * RRT__GROUP }; // distance between the quantised values of quarters

static uint32_t word_at(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

// Bit b of each byte.
static uint32_t bit_of(uint32_t word, int b)
{
    return word >> b & 0x01010101u;
}

static void put_word(unsigned char *at, uint32_t word)
{
    memcpy(at, &word, sizeof word);
}

// Writes the quantised values of a block into a group; `output` is the row's number there.
static void put_quants(unsigned char *quants, rrt__storage storage, size_t output, const block *b)
{
    int bits = rrt__storage_bits(storage), words = bits == 6 ? 2 : bits == 5 ? 1 : 0;
    unsigned char *to = quants + 4 * output;
    for (size_t c = 0; c < 4; c++) put_word(to + c * WORD_STRIDE, b->low[c]);
    for (int i = 0; i < words; i++) put_word(to + (4 + (size_t)i) * WORD_STRIDE, b->high[i]);
}

static bool is_finite_half(const uint8_t bytes[2])
{
    return (bytes[1] & 0x7c) != 0x7c;
}

// Destination of a row's scales and quantised values.
typedef struct place {
    unsigned char *halves, *pairs, *quants; // of the block; pairs only for blocks of 256
    size_t output;
} place;

static place place_of(unsigned char *group, rrt__storage storage, size_t in, size_t b, size_t output)
{
    return (place){group + rrt__storage_halves_at(storage, b), group + rrt__storage_pairs_at(storage, b),
                   group + rrt__packed_scale_bytes(storage, in) + b * rrt__storage_quant_bytes(storage),
                   output};
}

static bool put_half(place p, size_t which, const uint8_t bytes[2])
{
    memcpy(p.halves + (which * RRT__GROUP + p.output) * 2, bytes, 2);
    return is_finite_half(bytes);
}

static void put_pair(place p, size_t which, unsigned value)
{
    p.pairs[which * RRT__GROUP + p.output] = (unsigned char)value;
}

static bool put_q8_0(place p, const rrt__block_q8_0 *from)
{
    for (size_t c = 0; c < RRT__BLOCK / 4; c++) {
        uint32_t word = word_at((const uint8_t *)from->qs + 4 * c) ^ 0x80808080u; // adds 128
        put_word(p.quants + c * WORD_STRIDE + 4 * p.output, word);
    }
    return put_half(p, 0, from->d);
}

// GGUF's nibbles of 32 values have our order.
static void take_nibbles(block *b, const uint8_t qs[16])
{
    for (size_t c = 0; c < 4; c++) b->low[c] = word_at(qs + 4 * c);
}

// Fifth bits: value i has bit i. Collects the bits of inputs 4c + t, by c, into a byte per t.
static void take_fifth_bits(block *b, const uint8_t qh[4])
{
    uint32_t bits = word_at(qh);
    for (int t = 0; t < 4; t++) {
        uint32_t own = bits >> t & 0x11111111u;
        own = (own | own >> 3) & 0x03030303u;
        own = (own | own >> 6) & 0x000f000fu;
        b->high[0] |= ((own | own >> 12) & 0xffu) << 8 * t;
    }
}

// Blocks of 32 with nibbles: d, then the minimum and the fifth bits, if any, then the nibbles.
static bool put_nibbles(place p, rrt__storage storage, const uint8_t *from)
{
    block b = {0};
    bool is_finite = put_half(p, 0, from);
    from += 2;
    if (rrt__storage_has_minimum(storage)) {
        if (!put_half(p, 1, from)) is_finite = false;
        from += 2;
    }
    if (rrt__storage_bits(storage) == 5) {
        take_fifth_bits(&b, from);
        from += 4;
    }
    take_nibbles(&b, from);
    put_quants(p.quants, storage, p.output, &b);
    return is_finite;
}

// Gathers the nibbles at `shift` of 32 bytes.
static void gather_nibbles(block *b, const uint8_t qs[32], int shift)
{
    for (size_t c = 0; c < 4; c++)
        b->low[c] = (word_at(qs + 4 * c) >> shift & 0x0f0f0f0fu) |
                    (word_at(qs + 16 + 4 * c) >> shift & 0x0f0f0f0fu) << 4;
}

// Writes scale and minimum of block k of a super-block, and d and dmin of all its blocks; dequant.h shows
// their layout.
static bool put_scales(place p, const uint8_t scales[12], size_t k, const uint8_t d[2], const uint8_t dmin[2])
{
    bool is_low = k < 4;
    put_pair(p, 0, is_low ? scales[k] & 63u : (scales[k + 4] & 15u) | (unsigned)(scales[k - 4] >> 6) << 4);
    put_pair(p, 1,
             is_low ? scales[k + 4] & 63u : (unsigned)(scales[k + 4] >> 4) | (unsigned)(scales[k] >> 6) << 4);
    bool is_finite = put_half(p, 0, d);
    return put_half(p, 1, dmin) && is_finite;
}

static bool put_q4_k(place p, const rrt__block_q4_k *from, size_t k)
{
    block b = {0};
    gather_nibbles(&b, from->qs + k / 2 * 32, (int)(k % 2) * 4);
    put_quants(p.quants, RRT__STORAGE_Q4_K, p.output, &b);
    return put_scales(p, from->scales, k, from->d, from->dmin);
}

static bool put_q5_k(place p, const rrt__block_q5_k *from, size_t k)
{
    block b = {0};
    gather_nibbles(&b, from->qs + k / 2 * 32, (int)(k % 2) * 4);
    for (int c = 0; c < 8; c++) b.high[0] |= bit_of(word_at(from->qh + 4 * c), (int)k) << c;
    put_quants(p.quants, RRT__STORAGE_Q5_K, p.output, &b);
    return put_scales(p, from->scales, k, from->d, from->dmin);
}

static bool put_q6_k(place p, const rrt__block_q6_k *from, size_t k)
{
    block b = {0};
    size_t half = k / 4, part = k % 4; // which 128 values, and which 32 of them
    gather_nibbles(&b, from->ql + 64 * half + 32 * (part & 1), (int)(part / 2) * 4);
    for (size_t c = 0; c < 8; c++)
        b.high[c / 4] |= (word_at(from->qh + 32 * half + 4 * c) >> 2 * part & 0x03030303u) << c % 4 * 2;
    put_quants(p.quants, RRT__STORAGE_Q6_K, p.output, &b);
    put_pair(p, 0, (uint8_t)from->scales[2 * k]);
    put_pair(p, 1, (uint8_t)from->scales[2 * k + 1]);
    return put_half(p, 0, from->d);
}

// Writes our block k of one of the file's blocks.
static bool put_block(place p, rrt__dtype dtype, const void *from, size_t k)
{
    switch (dtype) {
    case RRT__DTYPE_Q8_0:
        return put_q8_0(p, from);
    case RRT__DTYPE_Q4_K:
        return put_q4_k(p, from, k);
    case RRT__DTYPE_Q5_K:
        return put_q5_k(p, from, k);
    case RRT__DTYPE_Q6_K:
        return put_q6_k(p, from, k);
    default:
        return put_nibbles(p, rrt__storage_of_dtype(dtype), from);
    }
}

rrt__storage rrt__storage_of_dtype(rrt__dtype dtype)
{
    static const rrt__storage storages[RRT__DTYPE_COUNT] = {
        [RRT__DTYPE_F32] = RRT__STORAGE_F32_GROUPS, [RRT__DTYPE_F16] = RRT__STORAGE_F16,
        [RRT__DTYPE_BF16] = RRT__STORAGE_BF16,      [RRT__DTYPE_Q4_0] = RRT__STORAGE_Q4_0,
        [RRT__DTYPE_Q4_1] = RRT__STORAGE_Q4_1,      [RRT__DTYPE_Q5_0] = RRT__STORAGE_Q5_0,
        [RRT__DTYPE_Q5_1] = RRT__STORAGE_Q5_1,      [RRT__DTYPE_Q8_0] = RRT__STORAGE_Q8_0,
        [RRT__DTYPE_Q4_K] = RRT__STORAGE_Q4_K,      [RRT__DTYPE_Q5_K] = RRT__STORAGE_Q5_K,
        [RRT__DTYPE_Q6_K] = RRT__STORAGE_Q6_K,      [RRT__DTYPE_I8] = RRT__STORAGE_COUNT};
    return storages[dtype];
}

// Transposes rows of values of `bytes` bytes: [in][16]. A value is not finite if all bits of its exponent
// are set.
static inline __attribute__((always_inline)) bool turn(unsigned char *group, const unsigned char *const *rows,
                                                       size_t n_rows, size_t in, size_t bytes,
                                                       uint32_t exponent)
{
    enum { INPUTS = 16 }; // at a time: they stay in the first-level cache
    unsigned char part[RRT__GROUP][INPUTS * sizeof(float)] = {{0}};
    unsigned infinite = 0;
    for (size_t begin = 0; begin < in; begin += INPUTS) {
        size_t count = in - begin < INPUTS ? in - begin : INPUTS;
        for (size_t r = 0; r < n_rows; r++) {
            memcpy(part[r], rows[r] + begin * bytes, count * bytes);
            for (size_t i = 0; i < count; i++) {
                uint32_t value = 0;
                memcpy(&value, part[r] + i * bytes, bytes);
                infinite |= (value & exponent) == exponent;
            }
        }
        for (size_t i = 0; i < count; i++, group += RRT__GROUP * bytes)
            for (size_t r = 0; r < RRT__GROUP; r++) memcpy(group + r * bytes, part[r] + i * bytes, bytes);
    }
    return !infinite;
}

bool rrt__repack_group(unsigned char *group, rrt__dtype dtype, const unsigned char *const *rows,
                       size_t n_rows, size_t in)
{
    rrt__storage storage = rrt__storage_of_dtype(dtype);
    if (dtype == RRT__DTYPE_F32) return turn(group, rows, n_rows, in, 4, 0x7f800000);
    if (dtype == RRT__DTYPE_F16) return turn(group, rows, n_rows, in, 2, 0x7c00);
    if (dtype == RRT__DTYPE_BF16) return turn(group, rows, n_rows, in, 2, 0x7f80);
    size_t per_block = rrt__dtype_block_values(dtype) / RRT__BLOCK, bytes = rrt__dtype_block_bytes(dtype);
    bool is_finite = true;
    if (n_rows < RRT__GROUP) memset(group, 0, rrt__packed_group_bytes(storage, in));
    for (size_t b = 0; b < in / RRT__BLOCK; b++)
        for (size_t r = 0; r < n_rows; r++)
            if (!put_block(place_of(group, storage, in, b, r), dtype, rows[r] + b / per_block * bytes,
                           b % per_block))
                is_finite = false;
    return is_finite;
}
