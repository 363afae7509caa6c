#include "format/dequant.h"

#include "base/half.h"

static float f16(const uint8_t bytes[2])
{
    return rrt__f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
}

void rrt__decode_q4_0(const void *block, float *restrict out)
{
    const rrt__block_q4_0 *b = block;
    float d = f16(b->d);
    for (int j = 0; j < 16; j++) out[j] = (float)((b->qs[j] & 15) - 8) * d;
    for (int j = 0; j < 16; j++) out[j + 16] = (float)((b->qs[j] >> 4) - 8) * d;
}

void rrt__decode_q4_1(const void *block, float *restrict out)
{
    const rrt__block_q4_1 *b = block;
    float d = f16(b->d), m = f16(b->m);
    for (int j = 0; j < 16; j++) out[j] = (float)(b->qs[j] & 15) * d + m;
    for (int j = 0; j < 16; j++) out[j + 16] = (float)(b->qs[j] >> 4) * d + m;
}

// The fifth bit of a value, shifted into place.
static int fifth_bit(const uint8_t qh[4], int value)
{
    return (qh[value / 8] >> value % 8 & 1) << 4;
}

void rrt__decode_q5_0(const void *block, float *restrict out)
{
    const rrt__block_q5_0 *b = block;
    float d = f16(b->d);
    for (int j = 0; j < 16; j++) out[j] = (float)(((b->qs[j] & 15) | fifth_bit(b->qh, j)) - 16) * d;
    for (int j = 0; j < 16; j++) out[j + 16] = (float)((b->qs[j] >> 4 | fifth_bit(b->qh, j + 16)) - 16) * d;
}

void rrt__decode_q5_1(const void *block, float *restrict out)
{
    const rrt__block_q5_1 *b = block;
    float d = f16(b->d), m = f16(b->m);
    for (int j = 0; j < 16; j++) out[j] = (float)((b->qs[j] & 15) | fifth_bit(b->qh, j)) * d + m;
    for (int j = 0; j < 16; j++) out[j + 16] = (float)(b->qs[j] >> 4 | fifth_bit(b->qh, j + 16)) * d + m;
}

void rrt__decode_q8_0(const void *block, float *restrict out)
{
    const rrt__block_q8_0 *b = block;
    float d = f16(b->d);
    for (int j = 0; j < 32; j++) out[j] = (float)b->qs[j] * d;
}

// Scale and minimum of block b (0–7) of a Q4_K or Q5_K super-block; dequant.h shows their layout.
static void scale_and_minimum(const uint8_t scales[12], int b, int *scale, int *minimum)
{
    if (b < 4) {
        *scale = scales[b] & 63;
        *minimum = scales[b + 4] & 63;
    } else {
        *scale = (scales[b + 4] & 15) | scales[b - 4] >> 6 << 4;
        *minimum = scales[b + 4] >> 4 | scales[b] >> 6 << 4;
    }
}

void rrt__decode_q4_k(const void *block, float *restrict out)
{
    const rrt__block_q4_k *k = block;
    float d = f16(k->d), dmin = f16(k->dmin);
    for (int b = 0; b < 8; b++) {
        int scale, minimum, shift = b % 2 * 4;
        scale_and_minimum(k->scales, b, &scale, &minimum);
        float s = d * (float)scale, m = dmin * (float)minimum;
        const uint8_t *qs = k->qs + b / 2 * 32;
        for (int j = 0; j < 32; j++) out[32 * b + j] = s * (float)(qs[j] >> shift & 15) - m;
    }
}

void rrt__decode_q5_k(const void *block, float *restrict out)
{
    const rrt__block_q5_k *k = block;
    float d = f16(k->d), dmin = f16(k->dmin);
    for (int b = 0; b < 8; b++) {
        int scale, minimum, shift = b % 2 * 4;
        scale_and_minimum(k->scales, b, &scale, &minimum);
        float s = d * (float)scale, m = dmin * (float)minimum;
        const uint8_t *qs = k->qs + b / 2 * 32;
        for (int j = 0; j < 32; j++) {
            int q = (qs[j] >> shift & 15) | (k->qh[j] >> b & 1) << 4;
            out[32 * b + j] = s * (float)q - m;
        }
    }
}

void rrt__decode_q6_k(const void *block, float *restrict out)
{
    const rrt__block_q6_k *k = block;
    float d = f16(k->d);
    for (int b = 0; b < 16; b++) {
        int half = b / 8, group = b % 8 / 2,
            first = b % 2 * 16; // of its 32 values, this block has [first, first + 16)
        const uint8_t *ql = k->ql + 64 * half + 32 * (group & 1) + first, *qh = k->qh + 32 * half + first;
        float s = d * (float)k->scales[b];
        for (int j = 0; j < 16; j++) {
            int q = (ql[j] >> group / 2 * 4 & 15) | (qh[j] >> 2 * group & 3) << 4;
            out[16 * b + j] = s * (float)(q - 32);
        }
    }
}
