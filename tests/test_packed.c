// Quantised matrices: what storage keeps, and that every variant gives the same bits as the reference,
// whatever comes with a row. Buffers are of the exact size, so that the address sanitizer sees an overrun.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/rng.h"
#include "format/repack.h"
#include "kernels/kernels.h"
#include "kernels/storage.h"
#include "test.h"
#include "truth.h"
#include "variants.h"

typedef struct operands {
    float *w, *x; // w NULL where blocks of a file were repacked
    rrt__linear matrix;
    rrt__quantised quants;
} operands;

static float *make(size_t count, uint64_t stream)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = (float)rrt__random_gaussian(3, stream, i);
    return values;
}

static rrt__quantised make_quants(size_t rows, size_t in)
{
    size_t blocks = rrt__packed_blocks(in);
    return (rrt__quantised){malloc(rows * blocks * RRT__BLOCK), malloc(rows * blocks * sizeof(float)),
                            malloc(rows * blocks * sizeof(int32_t)),
                            malloc(rows * blocks * 2 * sizeof(int16_t)), blocks};
}

static unsigned char *make_room(rrt__storage storage, size_t out, size_t in)
{
    void *data;
    assert_int_equal(posix_memalign(&data, RRT__PACKED_ALIGNMENT, rrt__packed_bytes(storage, out, in)), 0);
    return data;
}

static void make_rows(operands *o, size_t rows, size_t in)
{
    o->x = make(rows * in, 2);
    o->quants = make_quants(rows, in);
    for (size_t r = 0; r < rows; r++)
        truth_kernels.quantise(rrt__quantised_skip(o->quants, r * o->quants.blocks), o->x + r * in, in);
}

static operands open_operands(rrt__storage storage, size_t out, size_t in, size_t rows)
{
    operands o = {.w = make(out * in, 1)};
    unsigned char *data = make_room(storage, out, in);
    rrt__pack((rrt__team){0, 1}, data, storage, o.w, out, in);
    o.matrix = (rrt__linear){out, in, storage, .data = data};
    make_rows(&o, rows, in);
    return o;
}

static void close_operands(operands *o)
{
    free(o->w);
    free(o->x);
    free((void *)(uintptr_t)o->matrix.data);
    free(o->quants.quants);
    free(o->quants.scales);
    free(o->quants.sums);
    free(o->quants.half_sums);
}

static const size_t shapes[][3] = {{16, 32, 1},  {1, 1, 1},      {17, 33, 3},
                                   {40, 96, 37}, {192, 576, 16}, {64, 1536, 2}};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes };

typedef void (*check)(rrt__storage storage, size_t out, size_t in, size_t rows);

// What can be quantised to.
static void each_case(check function)
{
    static const rrt__storage storages[] = {RRT__STORAGE_Q8_0, RRT__STORAGE_Q6_0, RRT__STORAGE_Q4_1,
                                            RRT__STORAGE_Q4_0};
    for (size_t i = 0; i < sizeof storages / sizeof *storages; i++)
        for (size_t s = 0; s < SHAPE_COUNT; s++)
            function(storages[i], shapes[s][0], shapes[s][1], shapes[s][2]);
}

// The root of the mean squared error, of weights of deviation 1, is that of the number of bits.
static void check_error(rrt__storage storage, size_t out, size_t in, size_t rows)
{
    static const double most[RRT__STORAGE_COUNT] = {[RRT__STORAGE_Q8_0] = 0.008,
                                                    [RRT__STORAGE_Q6_0] = 0.03,
                                                    [RRT__STORAGE_Q4_1] = 0.09,
                                                    [RRT__STORAGE_Q4_0] = 0.1};
    operands o = open_operands(storage, out, in, rows);
    float *row = malloc(in * sizeof *row);
    double error = 0;
    for (size_t r = 0; r < out; r++) {
        rrt__packed_row(&o.matrix, r, row);
        for (size_t i = 0; i < in; i++) error += pow(row[i] - o.w[r * in + i], 2);
    }
    error = sqrt(error / (double)(out * in));
    if (error > most[storage]) fail_msg("%s: %zu x %zu: %g", rrt__storage_name(storage), out, in, error);
    free(row);
    close_operands(&o);
}

static void packing_loses_no_more_than_its_bits_allow(void **state)
{
    (void)state;
    each_case(check_error);
}

// Every variant packs to the same bytes.
static void check_same_bytes(rrt__storage storage, size_t out, size_t in, size_t rows)
{
    (void)rows;
    float *w = make(out * in, 1);
    size_t bytes = rrt__packed_group_bytes(storage, in), count = out < RRT__GROUP ? out : RRT__GROUP;
    unsigned char *expected = malloc(bytes), *got = malloc(bytes);
    rrt__kernels_reference.pack_group(expected, storage, w, count, in);
    for (int v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        variants[v]->pack_group(got, storage, w, count, in);
        if (memcmp(got, expected, bytes) != 0)
            fail_msg("%s, %s: %zu x %zu", variants[v]->name, rrt__storage_name(storage), count, in);
    }
    free(expected);
    free(got);
    free(w);
}

static void every_variant_packs_to_the_same_bytes(void **state)
{
    (void)state;
    each_case(check_same_bytes);
}

// Weights that are quantised values already come back as they were.
static void check_quants_stay(rrt__storage storage, size_t out, size_t in, size_t rows)
{
    (void)rows;
    operands o = open_operands(storage, out, in, 1), again = o;
    float *decoded = malloc(out * in * sizeof *decoded);
    for (size_t r = 0; r < out; r++) rrt__packed_row(&o.matrix, r, decoded + r * in);
    unsigned char *data = NULL;
    assert_false(posix_memalign((void **)&data, RRT__PACKED_ALIGNMENT, rrt__packed_bytes(storage, out, in)));
    rrt__pack((rrt__team){0, 1}, data, storage, decoded, out, in);
    again.matrix.data = data;
    for (size_t r = 0; r < out; r++) {
        float row[1536];
        rrt__packed_row(&again.matrix, r, row);
        for (size_t i = 0; i < in; i++)
            assert_true(fabsf(row[i] - decoded[r * in + i]) <= 2e-3f * fabsf(row[i]));
    }
    free(data);
    free(decoded);
    close_operands(&o);
}

static void quantised_values_come_back_unchanged(void **state)
{
    (void)state;
    each_case(check_quants_stay);
}

static void multiply(const rrt__kernels *k, const operands *o, float *y, size_t rows, size_t parts,
                     bool accumulate)
{
    size_t groups = rrt__linear_groups(o->matrix.out);
    for (size_t p = 0; p < parts; p++)
        k->multiply_packed(y, &o->matrix, o->quants, rows, groups * p / parts, groups * (p + 1) / parts,
                           accumulate);
}

// Against a sum in double of what quantised values stand for, and all variants against the reference, bit for
// bit: as one batch, row by row, and with outputs in three parts.
static void check_multiply(const operands *o, size_t rows)
{
    size_t out = o->matrix.out, in = o->matrix.in;
    float *expected = calloc(rows * out, sizeof *expected), *y = calloc(rows * out, sizeof *y),
          *row = malloc(in * sizeof *row);
    multiply(&truth_kernels, o, expected, rows, 1, false);
    for (size_t i = 0; i < out; i++) {
        rrt__linear_row(&o->matrix, i, row);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < in; k++) {
                size_t b = r * o->quants.blocks + k / RRT__BLOCK;
                double x = (double)o->quants.quants[b * RRT__BLOCK + k % RRT__BLOCK] * o->quants.scales[b];
                sum += x * row[k];
                size += fabs(x * row[k]);
            }
            assert_true(fabs(sum - expected[r * out + i]) <= 2e-6 * size);
        }
    }
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        multiply(variants[v], o, y, rows, 3, false);
        assert_memory_equal(y, expected, rows * out * sizeof *y);
        for (size_t r = 0; r < rows; r++) {
            operands single = *o;
            single.quants = rrt__quantised_skip(o->quants, r * o->quants.blocks);
            multiply(variants[v], &single, y + r * out, 1, 1, true);
        }
        for (size_t i = 0; i < rows * out; i++) assert_true(y[i] == expected[i] + expected[i]);
    }
    free(row);
    free(y);
    free(expected);
}

static void check_product(rrt__storage storage, size_t out, size_t in, size_t rows)
{
    operands o = open_operands(storage, out, in, rows);
    check_multiply(&o, rows);
    close_operands(&o);
}

static void packed_products_have_the_same_bits_in_every_variant(void **state)
{
    (void)state;
    each_case(check_product);
}

// Random blocks of a GGUF type: any bytes are a block once its halves are finite numbers of a usual size.
static unsigned char *make_blocks(rrt__dtype dtype, size_t count)
{
    size_t bytes = rrt__dtype_block_bytes(dtype), blocks = count / rrt__dtype_block_values(dtype);
    unsigned char *data = malloc(blocks * bytes);
    bool is_q6_k = dtype == RRT__DTYPE_Q6_K, has_two = dtype == RRT__DTYPE_Q4_1 || dtype == RRT__DTYPE_Q5_1 ||
                                                       dtype == RRT__DTYPE_Q4_K || dtype == RRT__DTYPE_Q5_K;
    for (size_t i = 0; i < blocks * bytes; i++)
        data[i] = (unsigned char)rrt__random_bits(5, (uint64_t)dtype, i);
    for (size_t b = 0; b < blocks; b++)
        for (size_t h = 0; h < (has_two ? 2 : 1); h++) {
            float value = (float)(0.01 * rrt__random_gaussian(6, h, b));
            uint16_t half = rrt__f32_to_f16(value);
            memcpy(data + b * bytes + (is_q6_k ? bytes - 2 : 2 * h), &half, 2);
        }
    return data;
}

// Repacked blocks have the values that the file's have, and products of them are those of these values.
static void check_repacked(rrt__dtype dtype, size_t out, size_t in, size_t rows)
{
    rrt__storage storage = rrt__storage_of_dtype(dtype);
    unsigned char *blocks = make_blocks(dtype, out * in), *data = make_room(storage, out, in);
    size_t row_bytes = in / rrt__dtype_block_values(dtype) * rrt__dtype_block_bytes(dtype);
    for (size_t first = 0; first < out; first += RRT__GROUP) {
        const unsigned char *from[RRT__GROUP];
        size_t count = out - first < RRT__GROUP ? out - first : RRT__GROUP;
        for (size_t r = 0; r < count; r++) from[r] = blocks + (first + r) * row_bytes;
        unsigned char *group = data + first / RRT__GROUP * rrt__packed_group_bytes(storage, in);
        assert_true(rrt__repack_group(group, dtype, from, count, in));
    }
    operands o = {.matrix = {out, in, storage, .data = data}};
    float *expected = malloc(in * sizeof *expected), *got = malloc(in * sizeof *got);
    for (size_t r = 0; r < out; r++) {
        rrt__dtype_to_f32(dtype, blocks + r * row_bytes, in, expected);
        rrt__linear_row(&o.matrix, r, got);
        for (size_t i = 0; i < in; i++)
            if (fabsf(got[i] - expected[i]) > 1e-6f * (1e-2f + fabsf(expected[i])))
                fail_msg("%s: row %zu, value %zu: %g, not %g", rrt__dtype_name(dtype), r, i, got[i],
                         expected[i]);
    }
    make_rows(&o, rows, in);
    check_multiply(&o, rows);
    memset(blocks, 0xff, row_bytes); // halves that are not numbers
    assert_false(rrt__repack_group(data, dtype, (const unsigned char *[]){blocks}, 1, in));
    free(blocks);
    free(expected);
    free(got);
    close_operands(&o);
}

static void repacked_blocks_keep_the_values_of_the_file(void **state)
{
    (void)state;
    static const rrt__dtype dtypes[] = {RRT__DTYPE_Q8_0, RRT__DTYPE_Q4_0, RRT__DTYPE_Q4_1, RRT__DTYPE_Q5_0,
                                        RRT__DTYPE_Q5_1, RRT__DTYPE_Q4_K, RRT__DTYPE_Q5_K, RRT__DTYPE_Q6_K};
    static const size_t cases[][3] = {{16, 256, 1}, {1, 512, 3}, {17, 768, 5}, {40, 256, 18}};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        for (size_t c = 0; c < 4; c++) check_repacked(dtypes[i], cases[c][0], cases[c][1], cases[c][2]);
}

// --- matrices that are not quantised

// As files hold it, in groups, or for F32 as rows.
static rrt__linear store(rrt__storage storage, const float *w, size_t out, size_t in)
{
    static const rrt__dtype dtypes[] = {RRT__DTYPE_F32, RRT__DTYPE_F32, RRT__DTYPE_F16, RRT__DTYPE_BF16};
    rrt__dtype dtype = dtypes[storage];
    size_t bytes = rrt__dtype_block_bytes(dtype), group_bytes = rrt__storage_bytes(storage, RRT__GROUP, in);
    unsigned char *values = malloc(out * in * bytes);
    rrt__dtype_from_f32(dtype, w, out * in, values);
    if (storage == RRT__STORAGE_F32) return (rrt__linear){out, in, storage, .data = values};
    unsigned char *data = NULL;
    assert_false(posix_memalign((void **)&data, 64, rrt__storage_bytes(storage, out, in)));
    for (size_t first = 0; first < out; first += RRT__GROUP) {
        const unsigned char *rows[RRT__GROUP];
        size_t count = out - first < RRT__GROUP ? out - first : RRT__GROUP;
        for (size_t r = 0; r < count; r++) rows[r] = values + (first + r) * in * bytes;
        assert_true(rrt__repack_group(data + first / RRT__GROUP * group_bytes, dtype, rows, count, in));
    }
    free(values);
    return (rrt__linear){out, in, storage, .data = data};
}

static void check_plain(rrt__storage storage, size_t out, size_t in, size_t rows)
{
    float *values = make(out * in, 1), *x = make(rows * in, 2), *row = malloc(in * sizeof *row);
    float *expected = calloc(rows * out, sizeof *expected), *y = calloc(rows * out, sizeof *y);
    rrt__linear w = store(storage, values, out, in);
    for (size_t i = 0; i < out; i++) {
        rrt__linear_row(&w, i, row);
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < in; k++)
                expected[r * out + i] = fmaf(x[r * in + k], row[k], expected[r * out + i]);
    }
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        size_t groups = rrt__linear_groups(out);
        variants[v]->multiply_plain(y, &w, x, rows, 0, groups / 2, false);
        variants[v]->multiply_plain(y, &w, x, rows, groups / 2, groups, false);
        assert_memory_equal(y, expected, rows * out * sizeof *y);
        for (size_t i = 0; i < rows * out; i++) y[i] = 1;
        variants[v]->multiply_plain(y, &w, x, rows, 0, groups, true);
        for (size_t r = 0; r < rows; r++) {
            float *one = malloc(out * sizeof *one);
            for (size_t i = 0; i < out; i++) one[i] = 1;
            variants[v]->multiply_plain(one, &w, x + r * in, 1, 0, groups, true);
            assert_memory_equal(one, y + r * out, out * sizeof *one);
            free(one);
        }
    }
    free((void *)(uintptr_t)w.data);
    free(values), free(x), free(row), free(expected), free(y);
}

// One chain of fused multiply-adds, whatever the variant and the batch.
static void plain_products_are_one_chain_of_multiply_adds(void **state)
{
    (void)state;
    for (rrt__storage storage = RRT__STORAGE_F32; storage <= RRT__STORAGE_BF16; storage++)
        for (size_t s = 0; s < SHAPE_COUNT; s++)
            check_plain(storage, shapes[s][0], shapes[s][1], shapes[s][2]);
}

enum { VALUES = 101, VALUE_BLOCKS = 4 };

typedef struct quantised {
    int8_t quants[VALUE_BLOCKS * RRT__BLOCK];
    float scales[VALUE_BLOCKS];
    int32_t sums[VALUE_BLOCKS];
    int16_t half_sums[2 * VALUE_BLOCKS];
} quantised;

static quantised quantise(const rrt__kernels *k, const float *x)
{
    quantised q;
    k->quantise((rrt__quantised){q.quants, q.scales, q.sums, q.half_sums, VALUE_BLOCKS}, x, VALUES);
    return q;
}

static void every_variant_quantises_alike(void **state)
{
    (void)state;
    float *x = make(VALUES, 4);
    memset(x + 32, 0, 32 * sizeof *x);
    quantised expected = quantise(&truth_kernels, x);
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        quantised got = quantise(variants[v], x);
        assert_memory_equal(got.quants, expected.quants, sizeof got.quants);
        assert_memory_equal(got.scales, expected.scales, sizeof got.scales);
        assert_memory_equal(got.sums, expected.sums, sizeof got.sums);
        assert_memory_equal(got.half_sums, expected.half_sums, sizeof got.half_sums);
    }
    static const float impossible[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        x[3] = impossible[i];
        assert_false(isfinite(quantise(&truth_kernels, x).scales[0]));
        for (size_t v = 0; v < VARIANT_COUNT; v++)
            if (rrt__kernels_can_run(variants[v])) assert_false(isfinite(quantise(variants[v], x).scales[0]));
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_loses_no_more_than_its_bits_allow),
        cmocka_unit_test(every_variant_packs_to_the_same_bytes),
        cmocka_unit_test(quantised_values_come_back_unchanged),
        cmocka_unit_test(packed_products_have_the_same_bits_in_every_variant),
        cmocka_unit_test(repacked_blocks_keep_the_values_of_the_file),
        cmocka_unit_test(plain_products_are_one_chain_of_multiply_adds),
        cmocka_unit_test(every_variant_quantises_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
