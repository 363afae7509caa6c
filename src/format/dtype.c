#include "format/dtype.h"

#include <math.h>
#include <string.h>

#include "format/dequant.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the files are little endian and are read in place");

static const struct {
    const char *name;
    size_t values, bytes;                                   // of one block
    void (*decode)(const void *block, float *restrict out); // one block; NULL for the plain types
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

size_t rrt__dtype_from_f32(rrt__dtype dtype, const float *values, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++) {
        bool is_finite = isfinite(values[i]);
        if (dtype == RRT__DTYPE_F32) {
            memcpy((float *)out + i, values + i, sizeof *values);
        } else if (dtype == RRT__DTYPE_F16) {
            uint16_t half = rrt__f32_to_f16(values[i]);
            is_finite = (half & 0x7c00) != 0x7c00;
            memcpy((uint16_t *)out + i, &half, sizeof half);
        } else {
            uint16_t half = rrt__f32_to_bf16(values[i]);
            is_finite = (half & 0x7f80) != 0x7f80;
            memcpy((uint16_t *)out + i, &half, sizeof half);
        }
        if (!is_finite) return i;
    }
    return count;
}
