#include "format/dtype.h"

#include <math.h>
#include <string.h>

#include "format/dequant.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the files are little endian and are read in place");

static const struct {
    const char *name;
    size_t values, bytes;                                   // of one block
    void (*decode)(const void *block, float *restrict out); // one block; NULL for unquantised types
} types[RRT__DTYPE_COUNT] = {
    [RRT__DTYPE_F32] = {"F32", 1, 4, NULL},
    [RRT__DTYPE_F16] = {"F16", 1, 2, NULL},
    [RRT__DTYPE_BF16] = {"BF16", 1, 2, NULL},
    [RRT__DTYPE_Q4_0] = {"Q4_0", 32, sizeof(rrt__block_q4_0), rrt__decode_q4_0},
    [RRT__DTYPE_Q4_1] = {"Q4_1", 32, sizeof(rrt__block_q4_1), rrt__decode_q4_1},
    [RRT__DTYPE_Q5_0] = {"Q5_0", 32, sizeof(rrt__block_q5_0), rrt__decode_q5_0},
    [RRT__DTYPE_Q5_1] = {"Q5_1", 32, sizeof(rrt__block_q5_1), rrt__decode_q5_1},
    [RRT__DTYPE_Q8_0] = {"Q8_0", 32, sizeof(rrt__block_q8_0), rrt__decode_q8_0},
    [RRT__DTYPE_Q4_K] = {"Q4_K", 256, sizeof(rrt__block_q4_k), rrt__decode_q4_k},
    [RRT__DTYPE_Q5_K] = {"Q5_K", 256, sizeof(rrt__block_q5_k), rrt__decode_q5_k},
    [RRT__DTYPE_Q6_K] = {"Q6_K", 256, sizeof(rrt__block_q6_k), rrt__decode_q6_k},
    [RRT__DTYPE_I8] = {"I8", 1, 1, NULL},
};

const char *rrt__dtype_name(rrt__dtype dtype)
{
    return types[dtype].name;
}

size_t rrt__dtype_block_values(rrt__dtype dtype)
{
    return types[dtype].values;
}

size_t rrt__dtype_block_bytes(rrt__dtype dtype)
{
    return types[dtype].bytes;
}

static void f16s_to_f32(const unsigned char *data, size_t count, float *restrict out)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, data + 2 * i, sizeof half);
        out[i] = rrt__f16_to_f32(half);
    }
}

static void bf16s_to_f32(const unsigned char *data, size_t count, float *restrict out)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t high;
        memcpy(&high, data + 2 * i, sizeof high);
        uint32_t bits = (uint32_t)high << 16;
        memcpy(&out[i], &bits, sizeof out[i]);
    }
}

void rrt__dtype_to_f32(rrt__dtype dtype, const void *data, size_t count, float *out)
{
    if (count == 0) return;
    switch (dtype) {
    case RRT__DTYPE_F32:
        memcpy(out, data, count * sizeof *out);
        return;
    case RRT__DTYPE_F16:
        f16s_to_f32(data, count, out);
        return;
    case RRT__DTYPE_BF16:
        bf16s_to_f32(data, count, out);
        return;
    case RRT__DTYPE_I8:
        for (size_t i = 0; i < count; i++) out[i] = ((const int8_t *)data)[i];
        return;
    default:
        break;
    }
    const unsigned char *block = data;
    for (size_t i = 0; i < count; i += types[dtype].values, block += types[dtype].bytes)
        types[dtype].decode(block, out + i);
}

// The first value that the type cannot hold; there may be none.
static size_t find_not_finite(rrt__dtype dtype, const float *values, size_t count)
{
    size_t i = 0;
    for (; i < count; i++) {
        bool is_finite = dtype == RRT__DTYPE_F16    ? (rrt__f32_to_f16(values[i]) & 0x7c00) != 0x7c00
                         : dtype == RRT__DTYPE_BF16 ? (rrt__f32_to_bf16(values[i]) & 0x7f80) != 0x7f80
                                                    : isfinite(values[i]);
        if (!is_finite) break;
    }
    return i;
}

// Like rrt__f32_to_bf16, for values that are not NaN. Returns whether all results are finite.
static bool to_bf16s(const float *values, size_t count, unsigned char *out)
{
    uint32_t below = ~0u; // its top bit stays set while every magnitude is below infinity's
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        below &= (bits & 0x7fffffffu) - 0x7f800000u; // before rounding, too: a NaN could become anything
        bits += 0x7fff + (bits >> 16 & 1);
        below &= (bits & 0x7fffffffu) - 0x7f800000u;
        uint16_t half = (uint16_t)(bits >> 16);
        memcpy(out + 2 * i, &half, sizeof half);
    }
    return below >> 31;
}

static bool to_f16s(const float *values, size_t count, unsigned char *out)
{
    bool all_finite = true;
    for (size_t i = 0; i < count; i++) {
        uint16_t half = rrt__f32_to_f16(values[i]);
        all_finite = all_finite && (half & 0x7c00) != 0x7c00;
        memcpy(out + 2 * i, &half, sizeof half);
    }
    return all_finite;
}

size_t rrt__dtype_from_f32(rrt__dtype dtype, const float *values, size_t count, void *out)
{
    bool all_finite = false;
    if (dtype == RRT__DTYPE_BF16)
        all_finite = to_bf16s(values, count, out);
    else if (dtype == RRT__DTYPE_F16)
        all_finite = to_f16s(values, count, out);
    else
        memcpy(out, values, count * sizeof *values);
    return all_finite ? count : find_not_finite(dtype, values, count);
}
