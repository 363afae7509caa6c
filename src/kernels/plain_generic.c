// Products with matrices that are not quantised. Compiled once per instruction set to the same bits: outputs
// are the lanes of vectors.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "base/half.h"
#include "kernels/plain.h"
#include "kernels/vector.h"

enum {
    WIDTH = RRT__GROUP,
    DEPTH = 256, // inputs at a time: 16 KiB of a group, which stay in the first-level cache
    TILE = 6,    // rows whose sums fit into registers with one group
    FEW = 3,     // the same with two groups
    STREAMS = 4, // groups at a time for one row, so that no sum waits for the last
};

#define INLINE static inline __attribute__((always_inline))

// WIDTH values.
#if defined(__AVX512F__)
typedef struct lanes {
    __m512 v;
} lanes;

INLINE lanes load_lanes(const float *at)
{
    return (lanes){_mm512_loadu_ps(at)};
}
INLINE lanes load_halves(const unsigned char *at, rrt__storage storage)
{
    __m256i halves = _mm256_load_si256((const __m256i *)(const void *)at);
    if (storage == RRT__STORAGE_F16) return (lanes){_mm512_cvtph_ps(halves)};
    return (lanes){_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
INLINE lanes fuse(float x, lanes w, lanes sum)
{
    return (lanes){_mm512_fmadd_ps(_mm512_set1_ps(x), w.v, sum.v)};
}
INLINE void store_lanes(float *at, lanes a)
{
    _mm512_storeu_ps(at, a.v);
}
#elif defined(__AVX2__)
typedef struct lanes {
    __m256 v[2];
} lanes;

INLINE lanes load_lanes(const float *at)
{
    return (lanes){{_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}};
}
INLINE __m256 half_lanes(const unsigned char *at, rrt__storage storage)
{
    __m128i halves = _mm_load_si128((const __m128i *)(const void *)at);
    if (storage == RRT__STORAGE_F16) return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
INLINE lanes load_halves(const unsigned char *at, rrt__storage storage)
{
    return (lanes){{half_lanes(at, storage), half_lanes(at + 16, storage)}};
}
INLINE lanes fuse(float x, lanes w, lanes sum)
{
    const __m256 all = _mm256_set1_ps(x);
    return (lanes){{_mm256_fmadd_ps(all, w.v[0], sum.v[0]), _mm256_fmadd_ps(all, w.v[1], sum.v[1])}};
}
INLINE void store_lanes(float *at, lanes a)
{
    _mm256_storeu_ps(at, a.v[0]);
    _mm256_storeu_ps(at + 8, a.v[1]);
}
#else
typedef struct lanes {
    float v[WIDTH];
} lanes;

INLINE lanes load_lanes(const float *at)
{
    lanes a;
    memcpy(a.v, at, sizeof a.v);
    return a;
}
INLINE lanes load_halves(const unsigned char *at, rrt__storage storage)
{
    lanes a;
    for (int i = 0; i < WIDTH; i++) {
        uint16_t half;
        memcpy(&half, at + 2 * i, sizeof half);
        a.v[i] = storage == RRT__STORAGE_F16 ? rrt__f16_to_f32(half) : rrt__bf16_to_f32(half);
    }
    return a;
}
INLINE lanes fuse(float x, lanes w, lanes sum)
{
    for (int i = 0; i < WIDTH; i++) sum.v[i] = fmaf(x, w.v[i], sum.v[i]);
    return sum;
}
INLINE void store_lanes(float *at, lanes a)
{
    memcpy(at, a.v, sizeof a.v);
}
#endif

// Where groups' weights stand from an input on, and from one group to the next.
typedef struct groups {
    const unsigned char *at;
    size_t stride; // bytes
    rrt__storage storage;
} groups;

INLINE size_t value_bytes(rrt__storage storage)
{
    return storage == RRT__STORAGE_F16 || storage == RRT__STORAGE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

INLINE lanes load_weights(groups w, size_t group, size_t k)
{
    const unsigned char *at = w.at + group * w.stride + k * WIDTH * value_bytes(w.storage);
    return value_bytes(w.storage) == sizeof(float) ? load_lanes((const float *)(const void *)at)
                                                   : load_halves(at, w.storage);
}

// Where the sums of a tile stand in y, of which so many lanes are outputs.
typedef struct target {
    float *y;
    size_t stride, outputs;
    bool begins; // from zero
} target;

INLINE lanes load_sums(target to, size_t row, size_t output)
{
    const float *y = to.y + row * to.stride + output;
    float some[WIDTH] = {0};
    if (to.begins || output >= to.outputs) return load_lanes(some);
    if (to.outputs - output >= WIDTH) return load_lanes(y);
    memcpy(some, y, (to.outputs - output) * sizeof *some);
    return load_lanes(some);
}

INLINE void store_sums(target to, size_t row, size_t output, lanes sums)
{
    float *y = to.y + row * to.stride + output, some[WIDTH];
    if (output >= to.outputs) return;
    if (to.outputs - output >= WIDTH) {
        store_lanes(y, sums);
        return;
    }
    store_lanes(some, sums);
    memcpy(y, some, (to.outputs - output) * sizeof *some);
}

// Adds what `depth` inputs give: rows of x with some groups.
INLINE void run_tile(target to, const float *x, size_t in, groups w, size_t depth, int rows, int n_groups)
{
    lanes sums[TILE > 2 * FEW ? TILE : 2 * FEW];
#pragma GCC unroll 6
    for (int i = 0; i < rows * n_groups; i++)
        sums[i] = load_sums(to, (size_t)(i / n_groups), (size_t)(i % n_groups) * WIDTH);
    for (size_t k = 0; k < depth; k++) {
        lanes v[STREAMS];
#pragma GCC unroll 4
        for (int g = 0; g < n_groups; g++) v[g] = load_weights(w, (size_t)g, k);
#pragma GCC unroll 6
        for (int i = 0; i < rows * n_groups; i++)
            sums[i] = fuse(x[(size_t)(i / n_groups) * in + k], v[i % n_groups], sums[i]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows * n_groups; i++)
        store_sums(to, (size_t)(i / n_groups), (size_t)(i % n_groups) * WIDTH, sums[i]);
}

// Up to FEW rows with some groups, which a compiler knows.
INLINE void run_few(target to, const float *x, size_t in, groups w, size_t depth, size_t rows, int n_groups)
{
    if (rows == 1)
        run_tile(to, x, in, w, depth, 1, n_groups);
    else if (rows == 2)
        run_tile(to, x, in, w, depth, 2, n_groups);
    else
        run_tile(to, x, in, w, depth, FEW, n_groups);
}

// Up to 2 · FEW rows, in two halves where they are more than FEW.
INLINE void run_halves(target to, const float *x, size_t in, groups w, size_t rows, int n_groups)
{
    size_t half = rows > FEW ? (rows + 1) / 2 : rows;
    run_few(to, x, in, w, in, half, n_groups);
    to.y += half * to.stride;
    if (rows > half) run_few(to, x + half * in, in, w, in, rows - half, n_groups);
}

// Many rows with one group, DEPTH inputs at a time: they become f32 once.
INLINE void run_many(target to, const float *x, size_t in, groups w, size_t rows)
{
    _Alignas(64) float block[DEPTH * WIDTH];
    const float *first = to.y;
    for (size_t k = 0; k < in; k += DEPTH) {
        size_t depth = in - k < DEPTH ? in - k : DEPTH;
        groups wide = {w.at + k * WIDTH * value_bytes(w.storage), 0, w.storage};
        if (value_bytes(w.storage) != sizeof(float)) {
            for (size_t i = 0; i < depth; i++) store_lanes(block + i * WIDTH, load_weights(wide, 0, i));
            wide = (groups){(const unsigned char *)block, 0, RRT__STORAGE_F32};
        }
        size_t r = 0;
        for (; r + TILE <= rows; r += TILE, to.y += TILE * to.stride)
            run_tile(to, x + r * in + k, in, wide, depth, TILE, 1);
        for (; r < rows; r += FEW, to.y += FEW * to.stride)
            run_few(to, x + r * in + k, in, wide, depth, rows - r, 1);
        to.y = (float *)(uintptr_t)first;
        to.begins = false;
    }
}

INLINE void run_groups(target to, const float *x, size_t in, groups w, size_t rows)
{
    const size_t at_once = rows == 1 ? STREAMS : 2;
    while (to.outputs > 0) {
        size_t taken = WIDTH;
        if (rows > 2 * FEW) {
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

#if defined(__AVX2__)
enum { TURN = 8 }; // inputs and outputs that are turned in registers

// group[k · WIDTH + r] = value k of row r, for 8 of both.
INLINE void turn(float *group, const float *rows, size_t stride)
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

INLINE void turn(float *group, const float *rows, size_t stride)
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

// Rows of f32 become groups on the way.
static void run_rows(target to, const float *x, const rrt__linear *w, size_t rows, size_t output)
{
    _Alignas(64) float block[DEPTH * WIDTH];
    for (; to.outputs > 0; output += WIDTH) {
        size_t count = to.outputs < WIDTH ? to.outputs : WIDTH;
        target own = {to.y, to.stride, count, to.begins};
        for (size_t k = 0; k < w->in; k += DEPTH) {
            size_t depth = w->in - k < DEPTH ? w->in - k : DEPTH, r = 0;
            const groups wide = {(const unsigned char *)block, 0, RRT__STORAGE_F32};
            turn_group(block, w->weight + output * w->in + k, w->in, count, depth);
            for (own.y = to.y; r + TILE <= rows; r += TILE, own.y += TILE * own.stride)
                run_tile(own, x + r * w->in + k, w->in, wide, depth, TILE, 1);
            for (; r < rows; r += FEW, own.y += FEW * own.stride)
                run_few(own, x + r * w->in + k, w->in, wide, depth, rows - r, 1);
            own.begins = false;
        }
        to.y += count;
        to.outputs -= count;
    }
}

#define RUN(NAME, STORAGE)                                                                                   \
    static void NAME(target to, const float *x, const rrt__linear *w, size_t rows, size_t group)             \
    {                                                                                                        \
        size_t stride = w->in * WIDTH * value_bytes(STORAGE);                                                \
        run_groups(to, x, w->in, (groups){w->data + group * stride, stride, STORAGE}, rows);                 \
    }
RUN(run_f32, RRT__STORAGE_F32_GROUPS)
RUN(run_f16, RRT__STORAGE_F16)
RUN(run_bf16, RRT__STORAGE_BF16)

void RRT__VARIANT_NAME(rrt__plain_multiply_)(float *y, const rrt__linear *w, const float *x, size_t rows,
                                             size_t begin, size_t end, bool accumulate)
{
    size_t first = begin * WIDTH, last = end * WIDTH < w->out ? end * WIDTH : w->out;
    target to = {y + first, w->out, last - first, !accumulate};
    if (w->storage == RRT__STORAGE_F32)
        run_rows(to, x, w, rows, first);
    else if (w->storage == RRT__STORAGE_F32_GROUPS)
        run_f32(to, x, w, rows, begin);
    else if (w->storage == RRT__STORAGE_F16)
        run_f16(to, x, w, rows, begin);
    else
        run_bf16(to, x, w, rows, begin);
}
