// Every kernel of every variant against the reference on many shapes, and the promise that a row's result
// does not depend on the rows that come with it. Buffers are of the exact size, so that the address sanitizer
// sees an overrun.
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "kernel_checks.h"
#include "kernels/gemm.h"
#include "kernels/gemm_bf16.h"
#include "kernels/kernels.h"

static float *copy(const float *values, size_t count)
{
    float *other = malloc(count * sizeof *other + !count);
    assert_non_null(other);
    memcpy(other, values, count * sizeof *other);
    return other;
}

// --- norms
// -----------------------------------------------------------------------------------------------------

static const size_t widths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576, 2048};
enum { WIDTH_COUNT = sizeof widths / sizeof *widths, ROWS = 5 };

static void run_norm(const rrt__kernels *k, bool centred, float *out, const float *x, const float *gain,
                     const float *bias, size_t rows, size_t width)
{
    if (centred)
        k->layer_norm(out, x, gain, bias, rows, width, 1e-5f);
    else
        k->rms_norm(out, x, gain, rows, width, 1e-5f);
}

// absolute: what f32 loses when the mean is taken off.
static void check_norm(const rrt__kernels *k, bool centred, size_t width, double mean, double deviation,
                       double absolute)
{
    float *x = make(ROWS * width, 1, mean, deviation), *gain = make(width, 2, 1, 0.3),
          *bias = make(width, 3, 0, 1);
    float *expected = copy(x, ROWS * width), *got = copy(x, ROWS * width), *single = copy(x, width);
    run_norm(truth, centred, expected, x, gain, bias, ROWS, width);
    run_norm(k, centred, got, x, gain, bias, ROWS, width);
    assert_close(k, centred ? "layer_norm" : "rms_norm", got, expected, ROWS * width, 2e-6, absolute);
    for (size_t r = 0; r < ROWS; r++) { // alone, in place: the same bits
        memcpy(single, x + r * width, width * sizeof *x);
        run_norm(k, centred, single, single, gain, bias, 1, width);
        assert_memory_equal(single, got + r * width, width * sizeof *x);
    }
    free(x), free(gain), free(bias), free(expected), free(got), free(single);
}

static void check_norms(const rrt__kernels *k)
{
    for (int w = 0; w < WIDTH_COUNT; w++) {
        const double deviations[] = {1e-4, 1, 1e4};
        for (int d = 0; d < 3; d++) {
            check_norm(k, false, widths[w], 0, deviations[d], 1e-7);
            check_norm(k, false, widths[w], 3 * deviations[d], deviations[d], 1e-7);
            if (widths[w] > 1) check_norm(k, true, widths[w], 0, deviations[d], 3e-6);
        }
        // A mean of 100 costs two digits, and more where a sanitizer keeps the sums from being vectorised.
        if (widths[w] > 7) check_norm(k, true, widths[w], 100, 1, 4e-4);
        check_norm(k, false, widths[w], 0, 0, 0); // zeroes stay zeroes
        check_norm(k, true, widths[w], 0, 0, 0);  // and give the bias
    }
}

static void norms_match_their_formula(void **state)
{
    (void)state;
    each_variant(check_norms);
}

// --- rotary
// ------------------------------------------------------------------------------------------------------

static void check_rope(const rrt__kernels *k, size_t heads, size_t head_dim, size_t rotary)
{
    float *x = make(heads * head_dim, 4, 0, 2), *angles = make(rotary / 2, 5, 0, 3),
          *cos_sin = make(rotary, 6, 0, 1);
    for (size_t i = 0; i < rotary / 2; i++) {
        cos_sin[i] = cosf(angles[i]);
        cos_sin[i + rotary / 2] = sinf(angles[i]);
    }
    float *got = copy(x, heads * head_dim), *expected = copy(x, heads * head_dim);
    truth->rope(expected, cos_sin, heads, head_dim, rotary);
    k->rope(got, cos_sin, heads, head_dim, rotary);
    assert_close(k, "rope", got, expected, heads * head_dim, 1e-6, 1e-6);
    // By definition: pair (i, i + rotary/2) turned by its angle; the rest as it was.
    size_t last = (heads - 1) * head_dim, half = rotary / 2;
    for (size_t i = 0; i < half; i++) {
        double a = x[last + i], b = x[last + i + half];
        assert_near(got[last + i], a * cos(angles[i]) - b * sin(angles[i]), 3e-6);
        assert_near(got[last + i + half], a * sin(angles[i]) + b * cos(angles[i]), 3e-6);
    }
    for (size_t h = 0; h < heads; h++)
        assert_memory_equal(got + h * head_dim + rotary, x + h * head_dim + rotary,
                            (head_dim - rotary) * sizeof *x);
    free(x), free(angles), free(cos_sin), free(got), free(expected);
}

static void check_ropes(const rrt__kernels *k)
{
    for (int d = 0; d < HEAD_DIM_COUNT; d++)
        for (size_t rotary = 2; rotary <= head_dims[d]; rotary += rotary < 10 ? 2 : 14)
            for (size_t heads = 1; heads <= 3; heads++) check_rope(k, heads, head_dims[d], rotary);
}

static void rope_matches_its_formula(void **state)
{
    (void)state;
    each_variant(check_ropes);
}

// --- activations
// ---------------------------------------------------------------------------------------------------

static const float special[] = {0,  -0.0f, 1e-30f, -1e-30f, 1e-5f, -1e-5f, 20,   -20,
                                87, -87,   89,     -89,     1000,  -1000,  1e6f, -1e6f};
enum { SPECIAL_COUNT = sizeof special / sizeof *special };

static void check_activation(const rrt__kernels *k, size_t count, double deviation)
{
    float *x = make(count, 8, 0, deviation), *up = make(count, 9, 0, 2);
    for (size_t i = 0; i < count && i < SPECIAL_COUNT; i++) x[count - 1 - i] = special[i];
    float *silu = copy(x, count), *gelu = copy(x, count), *silu_truth = copy(x, count),
          *gelu_truth = copy(x, count), *gated = copy(x, count), *gated_truth = copy(x, count),
          *capped = copy(x, count), *capped_truth = copy(x, count);
    truth->gelu_mul(gated_truth, x, up, count);
    truth->softcap(capped_truth, 5, count);
    k->gelu_mul(gated, x, up, count);
    k->softcap(capped, 5, count);
    assert_close(k, "softcap", capped, capped_truth, count, 1e-6, 0);
    truth->silu_mul(silu_truth, x, up, count);
    truth->gelu(gelu_truth, x, count);
    k->silu_mul(silu, x, up, count);
    k->gelu(gelu, x, count);
    assert_close(k, "silu_mul", silu, silu_truth, count, 1e-6, 1e-30);
    float *gated_up = copy(up, count), *gated_up_truth = copy(up, count);
    k->sigmoid_mul(gated_up, x, count);
    truth->sigmoid_mul(gated_up_truth, x, count);
    assert_close(k, "sigmoid_mul", gated_up, gated_up_truth, count, 1e-6, 1e-30);
    free(gated_up), free(gated_up_truth);
    for (size_t i = 0; i < count; i++) {
        assert_close(k, "gelu", gelu + i, gelu_truth + i, 1, 1e-6, 1e-7 * fabs((double)x[i]));
        // Where x is far below 0, e^2u is known to 2u · 2^-23 only.
        assert_close(k, "gelu_mul", gated + i, gated_truth + i, 1, 1e-5, 1e-7 * fabs((double)x[i] * up[i]));
        // A thread's share of the columns begins anywhere: a value must not depend on its place.
        float alone[2];
        k->silu_mul(&alone[0], x + i, up + i, 1);
        k->gelu(&alone[1], x + i, 1);
        assert_memory_equal(&alone[0], silu + i, sizeof *x);
        assert_memory_equal(&alone[1], gelu + i, sizeof *x);
    }
    free(x), free(up), free(silu), free(gelu), free(silu_truth), free(gelu_truth);
    free(gated), free(gated_truth), free(capped), free(capped_truth);
}

static void check_activations(const rrt__kernels *k)
{
    for (size_t count = 0; count <= 40; count++) check_activation(k, count, 3);
    check_activation(k, 1000, 0.01);
    check_activation(k, 1000, 30);
}

static void activations_match_their_formula(void **state)
{
    (void)state;
    each_variant(check_activations);
}

// --- sums over a vocabulary
// ------------------------------------------------------------------------------------------

static void check_sum(const rrt__kernels *k, size_t count, double mean, double deviation)
{
    float *p = make(count, 16, mean, deviation), *q = make(count, 17, -mean, deviation);
    if (count > 2) p[1] = q[2] = (float)(mean - 1e9); // masked out
    double size = fabs(mean) + deviation;
    assert_near(k->log_sum_exp(p, count), truth->log_sum_exp(p, count), 1e-6 + 1e-7 * size);
    if (count > 2) p[1] = p[0], q[2] = q[0];
    assert_near(k->kl_divergence(p, q, count), truth->kl_divergence(p, q, count), 2e-6 * (1 + size));
    assert_near(k->kl_divergence(p, p, count), 0, 1e-12);
    free(p), free(q);
}

static void check_sums(const rrt__kernels *k)
{
    const size_t counts[] = {1, 2, 3, 31, 97, 1023, 1024, 1025, 3000, 49152};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        check_sum(k, counts[c], 0, 0.01);
        check_sum(k, counts[c], 0, 3);
        check_sum(k, counts[c], 10, 20);
        check_sum(k, counts[c], -5000, 3);
    }
    const float even[4] = {-7, -7, -7, -7};
    assert_near(k->log_sum_exp(even, 4), -7 + log(4), 1e-6);
    const float bad[4] = {1, NAN, 0, 0};
    assert_true(isnan(k->log_sum_exp(bad, 4)));
    assert_true(isnan(k->kl_divergence(even, bad, 4)));
}

static void sums_over_a_vocabulary_match_their_formula(void **state)
{
    (void)state;
    each_variant(check_sums);
    check_sums(truth);
}

// --- matrix products
// ---------------------------------------------------------------------------------------------------

static void check_gemm(size_t rows, size_t out, size_t in, int nth, int accumulate)
{
    float *x = make(rows * in, 18, 0, 1), *w = make(out * in, 19, 0, 1), *y = make(rows * out, 20, 0, 1);
    float *start = copy(y, rows * out);
    for (size_t i = 0; i < rows * out && !accumulate; i++) y[i] = NAN; // must not survive
    for (int ith = 0; ith < nth; ith++)
        rrt__gemm_share((rrt__team){ith, nth}, rrt__products_f32, y, x, w, rows, out, in, accumulate);
    for (size_t i = 0; i < rows * out; i++) {
        double sum = accumulate ? start[i] : 0;
        for (size_t k = 0; k < in; k++) sum += (double)x[i / out * in + k] * w[i % out * in + k];
        assert_near(y[i], sum, 1e-6 * (1 + (double)in / 4));
    }
    free(x), free(w), free(y), free(start);
}

static void products_match_sums_in_double(void **state)
{
    (void)state;
    const size_t outs[] = {1, 5, 16, 17, 33, 100}, ins[] = {1, 3, 31, 64, 100};
    for (size_t rows = 1; rows <= 17; rows++)
        for (int o = 0; o < 6; o++)
            for (int i = 0; i < 5; i++)
                for (int nth = 1; nth <= 3; nth++)
                    check_gemm(rows, outs[o], ins[i], nth, (int)(rows + outs[o]) % 2);
    check_gemm(1, 33, 100, 2, 0);
    check_gemm(1, 33, 100, 2, 1);
    check_gemm(300, 70, 300, 1, 0);
    check_gemm(0, 16, 16, 1, 0);
}

// To the nearest bfloat16, ties to even.
static float round_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, 4);
    return x;
}

static float factor_at(rrt__factor f, size_t i, size_t k)
{
    return round_bf16(f.values[f.is_transposed ? k * f.stride + i : i * f.stride + k]);
}

static void check_gemm_bf16(size_t rows, size_t columns, size_t inner, bool left, bool right, bool accumulate)
{
    size_t stride = columns + 3; // what lies beside the result stays
    float *x = make(rows * inner, 21, 0, 1), *w = make(columns * inner, 22, 0, 1),
          *y = make(rows * stride, 23, 0, 1);
    float *start = copy(y, rows * stride);
    rrt__factor a = {x, left ? rows : inner, left}, b = {w, right ? columns : inner, right};
    static rrt__gemm_bf16_scratch scratch;
    rrt__gemm_bf16(&scratch, y, stride, a, b, rows, columns, inner, accumulate);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < stride; j++) {
            double sum = accumulate || j >= columns ? start[i * stride + j] : 0;
            for (size_t k = 0; k < inner && j < columns; k++)
                sum += (double)factor_at(a, i, k) * factor_at(b, j, k);
            assert_near(y[i * stride + j], sum, 1e-6 * (1 + (double)inner / 4));
        }
    free(x), free(w), free(y), free(start);
}

static void bf16_products_match_those_of_rounded_factors(void **state)
{
    (void)state;
    if (!rrt__gemm_bf16_is_available()) skip();
    const size_t sizes[][3] = {{1, 1, 1}, {3, 7, 5}, {8, 48, 16}, {9, 49, 17}, {130, 390, 33}, {7, 50, 1300}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < 8; kind++)
            check_gemm_bf16(sizes[s][0], sizes[s][1], sizes[s][2], kind & 1, kind & 2, kind & 4);
}

// --- the same bits from every table
// -----------------------------------------------------------------------------------

enum { LONG = 1500 };

// What every kernel but kl_divergence makes of the same random values, one after the other.
static size_t run_all(const rrt__kernels *k, float *out)
{
    float *x = make(LONG, 1, 0, 3), *y = make(LONG, 2, 1, 2), *z = make(LONG, 3, 0, 1), *at = out;
    for (size_t width = 1; width < 600; width = width * 2 + 1, at += width) {
        k->rms_norm(at, x, y, 1, width, 1e-5f);
        k->layer_norm(at += width, x, y, z, 1, width, 1e-5f);
    }
    memcpy(at, x, LONG * sizeof *x);
    k->sigmoid_mul(at, y, LONG);
    k->silu_mul(at += LONG, x, y, LONG);
    k->gelu_mul(at += LONG, x, y, LONG);
    k->gelu(at += LONG, x, LONG);
    memcpy(at += LONG, x, LONG * sizeof *x);
    k->softcap(at, 2, LONG);
    memcpy(at += LONG, x, LONG * sizeof *x);
    k->rope(at, y, 10, 60, 22);
    memcpy(at += LONG, x, LONG * sizeof *x);
    at[LONG] = k->softmax(at, LONG);
    at += LONG + 1;
    *at++ = (float)k->log_sum_exp(x, LONG);
    free(x);
    free(y);
    free(z);
    return (size_t)(at - out);
}

static void every_table_gives_the_same_bits(void **state)
{
    (void)state;
    float *expected = make(20000, 1, 0, 0), *got = make(20000, 1, 0, 0);
    size_t count = run_all(&rrt__kernels_reference, expected);
    assert_true(count < 20000);
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        run_all(variants[v], got);
        assert_same_bits(variants[v], "a kernel", got, expected, count);
    }
    free(expected);
    free(got);
}

static void the_self_test_of_products_passes(void **state)
{
    (void)state;
    rrt_error err = {0};
    assert_ok(rrt__gemm_self_test(&err));
}

static void kernels_can_be_forced(void **state)
{
    (void)state;
    setenv("RRT_KERNELS", "reference", 1);
    assert_ptr_equal(rrt__kernels_get(), &rrt__kernels_reference);
    rrt_error err = {0};
    assert_ok(rrt__kernels_check(&err));
    setenv("RRT_KERNELS", "avx1024", 1);
    assert_fails(RRT_STATUS_ARGUMENT, "'avx1024'", rrt__kernels_check(&err));
    unsetenv("RRT_KERNELS");
    assert_ptr_not_equal(rrt__kernels_get(), &rrt__kernels_reference);
    assert_ok(rrt__kernels_check(&err));
}

// Tables that this processor lacks are passed over by the tests above: here they are reported.
static void skip_unless_it_runs(size_t variant)
{
    if (variant < VARIANT_COUNT && !rrt__kernels_can_run(variants[variant])) skip();
}

static void the_processor_runs_avx2(void **state)
{
    (void)state;
    skip_unless_it_runs(1);
}

static void the_processor_runs_avx512(void **state)
{
    (void)state;
    skip_unless_it_runs(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_match_their_formula),
        cmocka_unit_test(rope_matches_its_formula),
        cmocka_unit_test(activations_match_their_formula),
        cmocka_unit_test(sums_over_a_vocabulary_match_their_formula),
        cmocka_unit_test(products_match_sums_in_double),
        cmocka_unit_test(bf16_products_match_those_of_rounded_factors),
        cmocka_unit_test(the_self_test_of_products_passes),
        cmocka_unit_test(kernels_can_be_forced),
        cmocka_unit_test(every_table_gives_the_same_bits),
        cmocka_unit_test(the_processor_runs_avx2),
        cmocka_unit_test(the_processor_runs_avx512),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
