#include "base/half.h"

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t rrt__f32_to_f16(float value)
{
    uint32_t sign = bits_of(value) & 0x80000000u, bits = bits_of(value) ^ sign, half;
    if (bits > 0x7f800000u) {
        half = 0x7e00; // NaN
    } else if (bits >= bits_of(0x1p16f)) {
        half = 0x7c00; // infinity
    } else if (bits < bits_of(0x1p-14f)) {
        half =
            bits_of(float_of(bits) + 0.5f) - bits_of(0.5f); // the last bit of 0.5f is 2^-24: the adder rounds
    } else {
        uint32_t is_odd = bits >> 13 & 1;
        half = (bits - ((127u - 15) << 23) + 0xfff + is_odd) >>
               13; // may carry into the exponent, up to infinity
    }
    return (uint16_t)(half | sign >> 16);
}

float rrt__bf16_to_f32(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

uint16_t rrt__f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40); // NaN: must stay one
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
