// Quantised matrices, packed the way their kernels read them, and the rows that are multiplied with them.
//
// A matrix is cut into groups of 16 outputs and these into blocks of 32 inputs. Within a block each output
// has a scale d (and for q4_1 a minimum m), in half precision, and unsigned codes q: a weight is d · (q -
// zero) + m. The 16 outputs are the lanes of a vector, so that a lane's sum runs along its own row in one
// order, whatever the instruction set, the batch or the number of threads: integer sums within a block are
// exact, and blocks are added in f32 by fused multiply-adds, first to last.
//
// A group in memory, at a multiple of 64 bytes: scales [blocks][16] (q4_1: [blocks][d: 16, m: 16]), filled up
// to 64 bytes; then codes [blocks][quarter c: 8][output: 16][t: 4] for input 4c + t of the block. q8_0 keeps
// a byte per code; q4 a nibble, quarters 0 to 3 in the low ones of 256 bytes and 4 to 7 in the high ones;
// q6_0 as q4 followed by the upper two bits, quarters 0 to 3 beside each other in 64 bytes and 4 to 7 in the
// next 64. Outputs and inputs beyond the matrix have scale 0 and codes 0.
#ifndef RRT__PACKED_H
#define RRT__PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/team.h"

enum { RRT__GROUP = 16, RRT__BLOCK = 32, RRT__PACKED_ALIGNMENT = 64 };

typedef enum rrt__packing {
    RRT__PACKING_Q8_0, // 8.5 bits per weight
    RRT__PACKING_Q6_0, // 6.5
    RRT__PACKING_Q4_1, // 5
    RRT__PACKING_Q4_0, // 4.5
    RRT__PACKING_COUNT
} rrt__packing;

// What is a constant where the packing is one.
static inline int rrt__packing_bits(rrt__packing packing) // of a code
{
    return packing == RRT__PACKING_Q8_0 ? 8 : packing == RRT__PACKING_Q6_0 ? 6 : 4;
}

static inline bool rrt__packing_has_minimum(rrt__packing packing)
{
    return packing == RRT__PACKING_Q4_1;
}

// The code that stands for 0: 2 to the power of bits - 1, or 0 where there is a minimum.
static inline int rrt__packing_zero(rrt__packing packing)
{
    return rrt__packing_has_minimum(packing) ? 0 : 1 << (rrt__packing_bits(packing) - 1);
}

static inline size_t rrt__packing_code_bytes(rrt__packing packing) // of a block in a group
{
    return (size_t)rrt__packing_bits(packing) * RRT__GROUP * RRT__BLOCK / 8;
}

static inline size_t rrt__packing_scale_bytes(rrt__packing packing) // the same
{
    return (rrt__packing_has_minimum(packing) ? 2 : 1) * RRT__GROUP * sizeof(uint16_t);
}

const char *rrt__packing_name(rrt__packing packing); // "q4_0"

// W: [out, in]. data: rrt__packed_bytes of it; NULL: there is none.
typedef struct rrt__packed {
    rrt__packing packing;
    size_t out, in;
    const unsigned char *data;
} rrt__packed;

// Rows x: [rows, in] as 8-bit codes: x = scale · code in blocks of 32; where `in` is no multiple, zeros
// follow.
typedef struct rrt__codes {
    int8_t *codes; // [rows, 32 · blocks]
    float *scales; // [rows, blocks]
    int32_t *sums; // [rows, blocks]: of a block's codes
    size_t blocks;
} rrt__codes;

static inline size_t rrt__packed_blocks(size_t in)
{
    return (in + RRT__BLOCK - 1) / RRT__BLOCK;
}

static inline size_t rrt__packed_groups(size_t out)
{
    return (out + RRT__GROUP - 1) / RRT__GROUP;
}

// Bytes of a group's scales, of a group, and of a matrix.
size_t rrt__packed_scale_bytes(rrt__packing packing, size_t in);
size_t rrt__packed_group_bytes(rrt__packing packing, size_t in);
size_t rrt__packed_bytes(rrt__packing packing, size_t out, size_t in);

// Quantises a matrix; the team shares its groups, no barrier. Where a matrix came from codes of the same kind
// (Q4_1 or Q8_0 of a GGUF file), the same codes come out.
void rrt__pack(rrt__team team, unsigned char *data, rrt__packing packing, const float *weights, size_t out,
               size_t in);

// A group of 1 to 16 outputs, weights [rows, in]: what a kernel table has as `pack_group`.
typedef void rrt__pack_group(unsigned char *group, rrt__packing packing, const float *weights, size_t rows,
                             size_t in);

rrt__pack_group rrt__pack_group_reference;
#if defined(__x86_64__)
rrt__pack_group rrt__pack_group_avx2;
rrt__pack_group rrt__pack_group_avx512;
#endif

// values[0..in) = one row (output) of the matrix: what an embedding is read by.
void rrt__packed_row(const rrt__packed *matrix, size_t row, float *values);

// y[rows, out] = x · Wᵀ, or +=, for the groups [begin, end) of outputs: what a kernel table has as
// `multiply`.
typedef void rrt__packed_multiply(float *y, const rrt__packed *w, rrt__codes x, size_t rows, size_t begin,
                                  size_t end, bool accumulate);

rrt__packed_multiply rrt__packed_multiply_reference;
#if defined(__x86_64__)
rrt__packed_multiply rrt__packed_multiply_avx2;
rrt__packed_multiply rrt__packed_multiply_avx512;
#endif

#endif
