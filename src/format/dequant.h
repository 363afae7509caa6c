// ggml's quantised blocks: layout, and decoding of one block to f32. All members are bytes, so a block has no
// padding and may be at any address. d, m (and dmin) are f16, little endian.
#ifndef RRT__DEQUANT_H
#define RRT__DEQUANT_H

#include <stdint.h>

// Blocks of 32 values. qs[j] holds value j in its low and value j + 16 in its high nibble; the fifth bit of
// value j is bit j of the 32-bit qh.
typedef struct rrt__block_q4_0 {
    uint8_t d[2], qs[16]; // x = d (q - 8)
} rrt__block_q4_0;

typedef struct rrt__block_q4_1 {
    uint8_t d[2], m[2], qs[16]; // x = d q + m
} rrt__block_q4_1;

typedef struct rrt__block_q5_0 {
    uint8_t d[2], qh[4], qs[16]; // x = d (q - 16)
} rrt__block_q5_0;

typedef struct rrt__block_q5_1 {
    uint8_t d[2], m[2], qh[4], qs[16]; // x = d q + m
} rrt__block_q5_1;

typedef struct rrt__block_q8_0 {
    uint8_t d[2];
    int8_t qs[32]; // x = d q
} rrt__block_q8_0;

// Super-blocks of 256 values: 8 blocks of 32, each with a 6-bit scale and a 6-bit minimum, packed into
// 12 bytes:
//     scales[0..4):  scale of block 0–3 in bits 0–5, top two bits of the scale of block 4–7 above
//     scales[4..8):  minimum of block 0–3 in bits 0–5, top two bits of the minimum of block 4–7 above
//     scales[8..12): low four bits of the scale (low nibble) and of the minimum (high nibble) of block 4–7
// 32 bytes of qs hold two blocks, one in the low and one in the high nibbles.
typedef struct rrt__block_q4_k {
    uint8_t d[2], dmin[2], scales[12], qs[128]; // x = d scale q - dmin minimum
} rrt__block_q4_k;

typedef struct rrt__block_q5_k {
    uint8_t d[2], dmin[2], scales[12], qh[32],
        qs[128]; // the same; the fifth bit of value j of block b is bit b of qh[j]
} rrt__block_q5_k;

// 16 blocks of 16 values with 8-bit scales, in two halves of 128 values. In a half, value 32 g + j (g < 4, j
// < 32) has its low four bits in ql[32 (g & 1) + j] (low nibble for g < 2, else high), its top two in bits 2
// g and 2 g + 1 of qh[j].
typedef struct rrt__block_q6_k {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint8_t d[2]; // x = d scale (q - 32)
} rrt__block_q6_k;

// out[0..32) or out[0..256) = the values of the block.
void rrt__decode_q4_0(const void *block, float *restrict out);
void rrt__decode_q4_1(const void *block, float *restrict out);
void rrt__decode_q5_0(const void *block, float *restrict out);
void rrt__decode_q5_1(const void *block, float *restrict out);
void rrt__decode_q8_0(const void *block, float *restrict out);
void rrt__decode_q4_k(const void *block, float *restrict out);
void rrt__decode_q5_k(const void *block, float *restrict out);
void rrt__decode_q6_k(const void *block, float *restrict out);

#endif
