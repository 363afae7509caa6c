// Quantised matrices, packed in the order in which the kernels read them, and the rows that are multiplied
// by them.
//
// A matrix is split into groups of 16 outputs, and a group into blocks of 32 inputs. Within a block each
// output has a scale d (and for some types a minimum m) and unsigned quantised values q: a weight is d · (q -
// zero) + m. The 16 outputs are the lanes of a vector, so that a lane sums along its own row in one order,
// whatever the instruction set, the batch or the number of threads: integer sums within a block are exact,
// and blocks are added in f32 by fused multiply-adds, first to last.
//
// A group in memory, aligned to 64 bytes: scales, padded to 64 bytes, then quantised values.
//
// Scales: per block [d: 16] in half precision and, with minima, [m: 16]. The types with blocks of 256 (…_K)
// have for every 8 of our blocks [d: 16] and, with minima, [dmin: 16], in half precision, then per block
// twice 16 bytes: scales s and minima n, both unsigned (a weight is d · s · q - dmin · n), or for Q6_K the
// signed scales of the first and of the last 16 inputs (d · s · (q - 32)).
//
// Quantised values: per block [quarter c: 8][output: 16][t: 4] for input 4c + t. 8 bits take a byte each. 4
// bits take a nibble, quarters 0 to 3 in the low nibbles of 256 bytes and 4 to 7 in the high ones. 5 bits add
// 64 bytes [output: 16][t: 4] with the fifth bit of quarter c as bit c. 6 bits add the upper two bits to 4,
// quarters 0 to 3 together in 64 bytes and 4 to 7 in the next 64.
//
// Outputs and inputs beyond the matrix have scale 0 and quantised values 0.
#ifndef RRT__PACKED_H
#define RRT__PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/team.h"
#include "kernels/linear.h"

enum {
    RRT__BLOCK = 32,
    RRT__SUPER_BLOCKS = 8, // blocks of a block of 256
    RRT__PACKED_ALIGNMENT = 64,
};

// All packed storages, for tables of kernels.
#define RRT__EACH_PACKED(DO)                                                                                 \
    DO(q8_0, RRT__STORAGE_Q8_0)                                                                              \
    DO(q6_0, RRT__STORAGE_Q6_0)                                                                              \
    DO(q5_1, RRT__STORAGE_Q5_1)                                                                              \
    DO(q5_0, RRT__STORAGE_Q5_0)                                                                              \
    DO(q4_1, RRT__STORAGE_Q4_1)                                                                              \
    DO(q4_0, RRT__STORAGE_Q4_0)                                                                              \
    DO(q6_k, RRT__STORAGE_Q6_K)                                                                              \
    DO(q5_k, RRT__STORAGE_Q5_K)                                                                              \
    DO(q4_k, RRT__STORAGE_Q4_K)

// Constant if the storage is constant.
static inline int rrt__storage_bits(rrt__storage storage) // of a quantised value
{
    switch (storage) {
    case RRT__STORAGE_Q8_0:
        return 8;
    case RRT__STORAGE_Q6_0:
    case RRT__STORAGE_Q6_K:
        return 6;
    case RRT__STORAGE_Q5_1:
    case RRT__STORAGE_Q5_0:
    case RRT__STORAGE_Q5_K:
        return 5;
    default:
        return 4;
    }
}

static inline bool rrt__storage_has_minimum(rrt__storage storage)
{
    return storage == RRT__STORAGE_Q5_1 || storage == RRT__STORAGE_Q4_1 || storage == RRT__STORAGE_Q5_K ||
           storage == RRT__STORAGE_Q4_K;
}

// Whether scales belong to blocks of 256.
static inline bool rrt__storage_is_super(rrt__storage storage)
{
    return storage >= RRT__STORAGE_Q6_K;
}

// The quantised value of 0: 2 to the power of bits - 1, or 0 with a minimum.
static inline int rrt__storage_zero(rrt__storage storage)
{
    return rrt__storage_has_minimum(storage) ? 0 : 1 << (rrt__storage_bits(storage) - 1);
}

static inline size_t rrt__storage_quant_bytes(rrt__storage storage) // of a block in a group
{
    return (size_t)rrt__storage_bits(storage) * RRT__GROUP * RRT__BLOCK / 8;
}

static inline size_t rrt__storage_halves_bytes(rrt__storage storage) // of d and m, or d and dmin
{
    return (rrt__storage_has_minimum(storage) ? 2 : 1) * RRT__GROUP * sizeof(uint16_t);
}

enum { RRT__SCALE_PAIR_BYTES = 2 * RRT__GROUP }; // per block, in the types with blocks of 256

// Offset of a block's half-precision scales in a group's scales.
static inline size_t rrt__storage_halves_at(rrt__storage storage, size_t block)
{
    size_t bytes = rrt__storage_halves_bytes(storage);
    if (!rrt__storage_is_super(storage)) return block * bytes;
    return block / RRT__SUPER_BLOCKS * (bytes + RRT__SUPER_BLOCKS * RRT__SCALE_PAIR_BYTES);
}

// Offset of its pairs of bytes there, in the types that have them.
static inline size_t rrt__storage_pairs_at(rrt__storage storage, size_t block)
{
    return rrt__storage_halves_at(storage, block) + rrt__storage_halves_bytes(storage) +
           block % RRT__SUPER_BLOCKS * RRT__SCALE_PAIR_BYTES;
}

// Rows x: [rows, in] as 8-bit values: x = scale · quant in blocks of 32, padded with zeros.
typedef struct rrt__quantised {
    int8_t *quants;     // [rows, 32 · blocks]
    float *scales;      // [rows, blocks]
    int32_t *sums;      // [rows, blocks]: of the block's quantised values
    int16_t *half_sums; // [rows, blocks, 2]: of its first and last 16
    size_t blocks;
} rrt__quantised;

// The same, starting at a block, counted over all rows.
static inline rrt__quantised rrt__quantised_skip(rrt__quantised c, size_t blocks)
{
    return (rrt__quantised){c.quants + blocks * RRT__BLOCK, c.scales + blocks, c.sums + blocks,
                            c.half_sums + 2 * blocks, c.blocks};
}

static inline size_t rrt__packed_blocks(size_t in)
{
    return (in + RRT__BLOCK - 1) / RRT__BLOCK;
}

// Bytes of a group's scales, of a group, and of a matrix.
size_t rrt__packed_scale_bytes(rrt__storage storage, size_t in);
size_t rrt__packed_group_bytes(rrt__storage storage, size_t in);
size_t rrt__packed_bytes(rrt__storage storage, size_t out, size_t in);

// Quantises a matrix to q8_0, q6_0, q4_1 or q4_0; the threads share its groups, without a barrier. A matrix
// that was read from quantised values of the same type (Q4_1 or Q8_0 of a GGUF file) gets the same quantised
// values again.
void rrt__pack(rrt__team team, unsigned char *data, rrt__storage storage, const float *weights, size_t out,
               size_t in);

// Packs a group of 1 to 16 outputs, weights [rows, in]: type of `pack_group` in a kernel table.
typedef void rrt__pack_group(unsigned char *group, rrt__storage storage, const float *weights, size_t rows,
                             size_t in);

rrt__pack_group rrt__pack_group_reference;
#if defined(__x86_64__)
rrt__pack_group rrt__pack_group_avx2;
rrt__pack_group rrt__pack_group_avx512;
#endif

// values[0..in) = one row (output) of a packed matrix.
void rrt__packed_row(const rrt__linear *matrix, size_t row, float *values);

// y[rows, out] = x · Wᵀ, or +=, for the groups [begin, end) of outputs: type of `multiply_packed` in a
// kernel table.
typedef void rrt__packed_multiply(float *y, const rrt__linear *w, rrt__quantised x, size_t rows, size_t begin,
                                  size_t end, bool accumulate);

rrt__packed_multiply rrt__packed_multiply_reference;
#if defined(__x86_64__)
rrt__packed_multiply rrt__packed_multiply_avx2;
rrt__packed_multiply rrt__packed_multiply_avx512;
#endif

#endif
