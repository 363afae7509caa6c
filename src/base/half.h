// 16-bit floats for storage.
#ifndef RRT__HALF_H
#define RRT__HALF_H

#include <stdint.h>
#include <string.h>

// Moves the exponent from bias 15 to bias 127. Infinity and NaN move on to 255; a subnormal half has no
// leading one, so one is added (as 2^-14 + x) and subtracted again, which is exact. Free of branches, so that
// loops over it vectorise.
static inline float rrt__f16_to_f32(uint16_t half)
{
    const uint32_t one = 1 << 23; // in the exponent
    uint32_t bits = (half & 0x7fffu) << 13, exponent = bits & 0x0f800000u, small;
    uint32_t moved = bits + (exponent == 0x0f800000u ? 255 - 31 : 127 - 15) * one;
    float value;
    bits += (127 - 15 + 1) * one;
    memcpy(&value, &bits, sizeof value);
    value -= 0x1p-14f;
    memcpy(&small, &value, sizeof small);
    bits = (exponent ? moved : small) | (half & 0x8000u) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float rrt__bf16_to_f32(uint16_t half);
uint16_t rrt__f32_to_f16(float value);  // rounds to nearest even; overflow becomes infinity, NaN stays NaN
uint16_t rrt__f32_to_bf16(float value); // rounds to nearest even; overflow becomes infinity, NaN stays NaN

#endif
