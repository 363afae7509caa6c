// Quantised matrices: what packing keeps, and that every variant gives the same bits as the reference,
// whatever comes with a row. Buffers are of the exact size, so that the address sanitizer sees an overrun.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "test.h"
#include "truth.h"
#include "variants.h"

typedef struct operands {
    float *w, *x;
    rrt__packed packed;
    rrt__codes codes;
} operands;

static float *make(size_t count, uint64_t stream)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = (float)rrt__random_gaussian(3, stream, i);
    return values;
}

static operands open_operands(rrt__packing packing, size_t out, size_t in, size_t rows)
{
    operands o = {make(out * in, 1), make(rows * in, 2)};
    unsigned char *data;
    size_t blocks = rrt__packed_blocks(in);
    assert_int_equal(
        posix_memalign((void **)&data, RRT__PACKED_ALIGNMENT, rrt__packed_bytes(packing, out, in)), 0);
    rrt__pack((rrt__team){0, 1}, data, packing, o.w, out, in);
    o.packed = (rrt__packed){packing, out, in, data};
    o.codes = (rrt__codes){malloc(rows * blocks * RRT__BLOCK), malloc(rows * blocks * sizeof(float)),
                           malloc(rows * blocks * sizeof(int32_t)), blocks};
    for (size_t r = 0; r < rows; r++)
        truth_kernels.quantise(o.codes.codes + r * blocks * RRT__BLOCK, o.codes.scales + r * blocks,
                               o.codes.sums + r * blocks, o.x + r * in, in);
    return o;
}

static void close_operands(operands *o)
{
    free(o->w);
    free(o->x);
    free((void *)o->packed.data);
    free(o->codes.codes);
    free(o->codes.scales);
    free(o->codes.sums);
}

static const size_t shapes[][3] = {{16, 32, 1},  {1, 1, 1},      {17, 33, 3},
                                   {40, 96, 37}, {192, 576, 16}, {64, 1536, 2}};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes };

typedef void (*check)(rrt__packing packing, size_t out, size_t in, size_t rows);

static void each_case(check function)
{
    for (rrt__packing p = 0; p < RRT__PACKING_COUNT; p++)
        for (size_t s = 0; s < SHAPE_COUNT; s++) function(p, shapes[s][0], shapes[s][1], shapes[s][2]);
}

// The root of the mean squared error, of weights of deviation 1, is that of the number of bits.
static void check_error(rrt__packing packing, size_t out, size_t in, size_t rows)
{
    static const double most[RRT__PACKING_COUNT] = {0.008, 0.03, 0.09, 0.1};
    operands o = open_operands(packing, out, in, rows);
    float *row = malloc(in * sizeof *row);
    double error = 0;
    for (size_t r = 0; r < out; r++) {
        rrt__packed_row(&o.packed, r, row);
        for (size_t i = 0; i < in; i++) error += pow(row[i] - o.w[r * in + i], 2);
    }
    error = sqrt(error / (double)(out * in));
    if (error > most[packing]) fail_msg("%s: %zu x %zu: %g", rrt__packing_name(packing), out, in, error);
    free(row);
    close_operands(&o);
}

static void test_packing_keeps_weights(void **state)
{
    (void)state;
    each_case(check_error);
}

// Every variant packs to the same bytes.
static void check_same_bytes(rrt__packing packing, size_t out, size_t in, size_t rows)
{
    (void)rows;
    float *w = make(out * in, 1);
    size_t bytes = rrt__packed_group_bytes(packing, in), count = out < RRT__GROUP ? out : RRT__GROUP;
    unsigned char *expected = malloc(bytes), *got = malloc(bytes);
    rrt__kernels_reference.pack_group(expected, packing, w, count, in);
    for (int v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        variants[v]->pack_group(got, packing, w, count, in);
        if (memcmp(got, expected, bytes) != 0)
            fail_msg("%s, %s: %zu x %zu", variants[v]->name, rrt__packing_name(packing), count, in);
    }
    free(expected);
    free(got);
    free(w);
}

static void test_packs_to_same_bytes(void **state)
{
    (void)state;
    each_case(check_same_bytes);
}

// Weights that are codes already come back as they were.
static void check_codes_stay(rrt__packing packing, size_t out, size_t in, size_t rows)
{
    (void)rows;
    operands o = open_operands(packing, out, in, 1), again = o;
    float *decoded = malloc(out * in * sizeof *decoded);
    for (size_t r = 0; r < out; r++) rrt__packed_row(&o.packed, r, decoded + r * in);
    unsigned char *data = aligned_alloc(RRT__PACKED_ALIGNMENT, rrt__packed_bytes(packing, out, in));
    rrt__pack((rrt__team){0, 1}, data, packing, decoded, out, in);
    again.packed.data = data;
    for (size_t r = 0; r < out; r++) {
        float row[1536];
        rrt__packed_row(&again.packed, r, row);
        for (size_t i = 0; i < in; i++)
            assert_true(fabsf(row[i] - decoded[r * in + i]) <= 2e-3f * fabsf(row[i]));
    }
    free(data);
    free(decoded);
    close_operands(&o);
}

static void test_codes_stay(void **state)
{
    (void)state;
    each_case(check_codes_stay);
}

static void multiply(const rrt__kernels *k, const operands *o, float *y, size_t rows, size_t parts,
                     bool accumulate)
{
    size_t groups = rrt__packed_groups(o->packed.out);
    for (size_t p = 0; p < parts; p++)
        k->multiply(y, &o->packed, o->codes, rows, groups * p / parts, groups * (p + 1) / parts, accumulate);
}

// Against a sum in double of what codes stand for, and all variants against the reference, bit for bit: as
// one batch, row by row, and with outputs in three parts.
static void check_product(rrt__packing packing, size_t out, size_t in, size_t rows)
{
    operands o = open_operands(packing, out, in, rows);
    float *expected = calloc(rows * out, sizeof *expected), *y = calloc(rows * out, sizeof *y),
          *row = malloc(in * sizeof *row);
    multiply(&truth_kernels, &o, expected, rows, 1, false);
    for (size_t i = 0; i < out; i++) {
        rrt__packed_row(&o.packed, i, row);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < in; k++) {
                size_t b = r * o.codes.blocks + k / RRT__BLOCK;
                double x = (double)o.codes.codes[b * RRT__BLOCK + k % RRT__BLOCK] * o.codes.scales[b];
                sum += x * row[k];
                size += fabs(x * row[k]);
            }
            assert_true(fabs(sum - expected[r * out + i]) <= 1e-6 * size);
        }
    }
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        multiply(variants[v], &o, y, rows, 3, false);
        assert_memory_equal(y, expected, rows * out * sizeof *y);
        operands single = o;
        for (size_t r = 0; r < rows; r++) {
            multiply(variants[v], &single, y + r * out, 1, 1, true);
            single.codes.codes += single.codes.blocks * RRT__BLOCK;
            single.codes.scales += single.codes.blocks;
            single.codes.sums += single.codes.blocks;
        }
        for (size_t i = 0; i < rows * out; i++) assert_true(y[i] == expected[i] + expected[i]);
    }
    free(row);
    free(y);
    free(expected);
    close_operands(&o);
}

static void test_products(void **state)
{
    (void)state;
    each_case(check_product);
}

enum { VALUES = 101, VALUE_BLOCKS = 4 };

typedef struct quantised {
    int8_t codes[VALUE_BLOCKS * RRT__BLOCK];
    float scales[VALUE_BLOCKS];
    int32_t sums[VALUE_BLOCKS];
} quantised;

static quantised quantise(const rrt__kernels *k, const float *x)
{
    quantised q;
    k->quantise(q.codes, q.scales, q.sums, x, VALUES);
    return q;
}

static void test_variants_quantise_alike(void **state)
{
    (void)state;
    float *x = make(VALUES, 4);
    memset(x + 32, 0, 32 * sizeof *x);
    quantised expected = quantise(&truth_kernels, x);
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        quantised got = quantise(variants[v], x);
        assert_memory_equal(got.codes, expected.codes, sizeof got.codes);
        assert_memory_equal(got.scales, expected.scales, sizeof got.scales);
        assert_memory_equal(got.sums, expected.sums, sizeof got.sums);
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
        cmocka_unit_test(test_packing_keeps_weights),
        cmocka_unit_test(test_packs_to_same_bytes),
        cmocka_unit_test(test_codes_stay),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_variants_quantise_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
