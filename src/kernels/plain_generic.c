// Products with unquantised matrices. Compiled once per instruction set with the same bits: outputs are the
// lanes of vectors.
#include "kernels/line.h"
#include "kernels/plain.h"
#include "kernels/vector.h"

enum {
    WIDTH = RRT__GROUP, // one line
    DEPTH = 256,        // inputs at a time: 16 KiB of a group stay in the first-level cache
    TILE = 6,           // rows whose sums fit into registers with one group
    FEW = 3,            // the same with two groups
    STREAMS = 4,        // groups at a time for one row, so that no sum waits for the previous one
};

// With a copy for each shape of tile, the sums stay in registers. Without vectors they are in memory anyway,
// and the copies would only slow compilation.
#if defined(__AVX2__)
#define SHAPED RRT__INLINE
#else
#define SHAPED static __attribute__((noinline))
#endif

// The weights of groups, and the distance between groups; of F32, which has no groups, 16 rows.
typedef struct groups {
    const unsigned char *at;
    size_t stride; // bytes
    rrt__storage storage;
} groups;

RRT__INLINE size_t value_bytes(rrt__storage storage)
{
    return storage == RRT__STORAGE_F16 || storage == RRT__STORAGE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

RRT__INLINE rrt__line load_weights(groups w, size_t group, size_t k)
{
    const void *at = w.at + group * w.stride + k * WIDTH * value_bytes(w.storage);
    switch (w.storage) {
    case RRT__STORAGE_F16:
        return rrt__line_widen_f16(at);
    case RRT__STORAGE_BF16:
        return rrt__line_widen_bf16(at);
    default:
        return rrt__line_load(at);
    }
}

// The sums of a tile in y, and how many of its lanes are outputs.
typedef struct target {
    float *y;
    size_t stride, outputs;
    bool begins; // start at zero
} target;

RRT__INLINE rrt__line load_sums(target to, size_t row, size_t output)
{
    const float *y = to.y + row * to.stride + output;
    float some[WIDTH] = {0};
    if (to.begins || output >= to.outputs) return rrt__line_load(some);
    if (to.outputs - output >= WIDTH) return rrt__line_load(y);
    memcpy(some, y, (to.outputs - output) * sizeof *some);
    return rrt__line_load(some);
}

RRT__INLINE void store_sums(target to, size_t row, size_t output, rrt__line sums)
{
    float *y = to.y + row * to.stride + output, some[WIDTH];
    if (output >= to.outputs) return;
    if (to.outputs - output >= WIDTH) {
        rrt__line_store(y, sums);
        return;
    }
    rrt__line_store(some, sums);
    memcpy(y, some, (to.outputs - output) * sizeof *some);
}

// Adds the products of `depth` inputs: rows of x with some groups.
SHAPED void run_tile(target to, const float *x, size_t in, groups w, size_t depth, int rows, int n_groups)
{
    rrt__line sums[TILE > 2 * FEW ? TILE : 2 * FEW] = {0};
#pragma GCC unroll 6
    for (int i = 0; i < rows * n_groups; i++)
        sums[i] = load_sums(to, (size_t)(i / n_groups), (size_t)(i % n_groups) * WIDTH);
    for (size_t k = 0; k < depth; k++) {
        rrt__line v[STREAMS] = {0};
#pragma GCC unroll 4
        for (int g = 0; g < n_groups; g++) v[g] = load_weights(w, (size_t)g, k);
#pragma GCC unroll 6
        for (int i = 0; i < rows * n_groups; i++)
            sums[i] = rrt__line_fma(x[(size_t)(i / n_groups) * in + k], v[i % n_groups], sums[i]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows * n_groups; i++)
        store_sums(to, (size_t)(i / n_groups), (size_t)(i % n_groups) * WIDTH, sums[i]);
}

// Up to FEW rows with n_groups groups, a constant.
SHAPED void run_few(target to, const float *x, size_t in, groups w, size_t depth, size_t rows, int n_groups)
{
    if (rows == 1)
        run_tile(to, x, in, w, depth, 1, n_groups);
    else if (rows == 2)
        run_tile(to, x, in, w, depth, 2, n_groups);
    else
        run_tile(to, x, in, w, depth, FEW, n_groups);
}

// Up to 2 · FEW rows; more than FEW in two halves.
SHAPED void run_halves(target to, const float *x, size_t in, groups w, size_t rows, int n_groups)
{
    size_t half = rows > FEW ? (rows + 1) / 2 : rows;
    run_few(to, x, in, w, in, half, n_groups);
    to.y += half * to.stride;
    if (rows > half) run_few(to, x + half * in, in, w, in, rows - half, n_groups);
}

#if defined(__AVX2__)
enum { TURN = 8 }; // block of inputs and outputs that is transposed in registers

// group[k · WIDTH + r] = value k of row r, for 8 of both.
RRT__INLINE void turn(float *group, const float *rows, size_t stride)
{
    __m256 a[TURN], b[TURN];
    for (int r = 0; r < TURN; r++) a[r] = _mm256_loadu_ps(rows + (size_t)r * stride);
    for (int r = 0; r < TURN; r += 2) {
        b[r] = _mm256_unpacklo_ps(a[r], a[r + 1]);
        b[r + 1] = _mm256_unpackhi_ps(a[r], a[r + 1]);
    }
    for (int r = 0; r < TURN; r += 4)
        for (int i = 0; i < 2; i++) {
            a[r + 2 * i] = _mm256_shuffle_ps(b[r + i], b[r + i + 2], 0x44);
            a[r + 2 * i + 1] = _mm256_shuffle_ps(b[r + i], b[r + i + 2], 0xee);
        }
    for (int k = 0; k < TURN / 2; k++) {
        _mm256_storeu_ps(group + k * WIDTH, _mm256_permute2f128_ps(a[k], a[k + 4], 0x20));
        _mm256_storeu_ps(group + (k + 4) * WIDTH, _mm256_permute2f128_ps(a[k], a[k + 4], 0x31));
    }
}
#else
enum { TURN = 1 };

RRT__INLINE void turn(float *group, const float *rows, size_t stride)
{
    (void)stride;
    group[0] = rows[0];
}
#endif

// group[k · WIDTH + r] = value k of row r; zeros beyond `count` rows.
static void turn_group(float *group, const float *rows, size_t stride, size_t count, size_t depth)
{
    size_t r = 0;
    if (count < WIDTH) memset(group, 0, depth * WIDTH * sizeof *group);
    for (; r + TURN <= count; r += TURN) {
        size_t k = 0;
        for (; k + TURN <= depth; k += TURN) turn(group + k * WIDTH + r, rows + r * stride + k, stride);
        for (; k < depth; k++)
            for (size_t i = r; i < r + TURN; i++) group[k * WIDTH + i] = rows[i * stride + k];
    }
    for (; r < count; r++)
        for (size_t k = 0; k < depth; k++) group[k * WIDTH + r] = rows[r * stride + k];
}

// The weights of one group for inputs [k, k + depth), as adjacent f32: in place, or widened into block.
RRT__INLINE groups widen(float *block, groups w, size_t in, size_t k, size_t depth, size_t outputs)
{
    const groups at = {w.at + k * WIDTH * value_bytes(w.storage), 0, w.storage};
    if (w.storage == RRT__STORAGE_F32_GROUPS) return at;
    if (w.storage == RRT__STORAGE_F32)
        turn_group(block, (const float *)(const void *)w.at + k, in, outputs < WIDTH ? outputs : WIDTH,
                   depth);
    else
        for (size_t i = 0; i < depth; i++) rrt__line_store(block + i * WIDTH, load_weights(at, 0, i));
    return (groups){(const unsigned char *)block, 0, RRT__STORAGE_F32_GROUPS};
}

// Many rows with one group, DEPTH inputs at a time.
SHAPED void run_many(target to, const float *x, size_t in, groups w, size_t rows)
{
    _Alignas(64) float block[DEPTH * WIDTH];
    for (size_t k = 0; k < in; k += DEPTH, to.begins = false) {
        size_t depth = in - k < DEPTH ? in - k : DEPTH, r = 0;
        const groups wide = widen(block, w, in, k, depth, to.outputs);
        target at = to;
        for (; r + TILE <= rows; r += TILE, at.y += TILE * at.stride)
            run_tile(at, x + r * in + k, in, wide, depth, TILE, 1);
        for (; r < rows; r += FEW, at.y += FEW * at.stride)
            run_few(at, x + r * in + k, in, wide, depth, rows - r, 1);
    }
}

// Transposes each F32 group once for all rows.
SHAPED void run_groups(target to, const float *x, size_t in, groups w, size_t rows)
{
    const size_t at_once = rows == 1 ? STREAMS : 2;
    while (to.outputs > 0) {
        size_t taken = WIDTH;
        if (rows > 2 * FEW || w.storage == RRT__STORAGE_F32) {
            run_many(to, x, in, w, rows);
        } else if (to.outputs <= (at_once - 1) * WIDTH) {
            run_halves(to, x, in, w, rows, 1);
        } else if (rows == 1) {
            taken *= STREAMS;
            run_tile(to, x, in, w, in, 1, STREAMS);
        } else {
            taken *= 2;
            run_halves(to, x, in, w, rows, 2);
        }
        if (taken > to.outputs) taken = to.outputs;
        to.y += taken;
        to.outputs -= taken;
        w.at += (taken + WIDTH - 1) / WIDTH * w.stride;
    }
}

#define RUN(NAME, STORAGE)                                                                                   \
    static void NAME(target to, const float *x, const rrt__linear *w, size_t rows, size_t group)             \
    {                                                                                                        \
        size_t stride = w->in * WIDTH * value_bytes(STORAGE);                                                \
        run_groups(to, x, w->in, (groups){w->data + group * stride, stride, STORAGE}, rows);                 \
    }
RUN(run_rows, RRT__STORAGE_F32)
RUN(run_f32, RRT__STORAGE_F32_GROUPS)
RUN(run_f16, RRT__STORAGE_F16)
RUN(run_bf16, RRT__STORAGE_BF16)

void RRT__VARIANT_NAME(rrt__plain_multiply_)(float *y, const rrt__linear *w, const float *x, size_t rows,
                                             size_t begin, size_t end, bool accumulate)
{
    static void (*const run[])(target, const float *, const rrt__linear *, size_t,
                               size_t) = {[RRT__STORAGE_F32] = run_rows,
                                          [RRT__STORAGE_F32_GROUPS] = run_f32,
                                          [RRT__STORAGE_F16] = run_f16,
                                          [RRT__STORAGE_BF16] = run_bf16};
    size_t first = begin * WIDTH, last = end * WIDTH < w->out ? end * WIDTH : w->out;
    run[w->storage]((target){y + first, w->out, last - first, !accumulate}, x, w, rows, begin);
}
