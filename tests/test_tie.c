// The index rules, the low-rank solver, and the calibrated fit of one tie.
#include <math.h>
#include <stdlib.h>

#include "convert/recipe.h"
#include "convert/tie.h"
#include "models.h"

static rrt_error err;

static void stepwise_takes_the_papers_layers(void **state)
{
    (void)state;
    // paper.md §1.2, 1-based
    static const int expected[][13] = {
        {18, 9, 1, 3, 5, 7, 9, 12, 14, 16, 18},
        {18, 6, 1, 4, 8, 11, 15, 18},
        {22, 11, 1, 3, 5, 7, 9, 11, 14, 16, 18, 20, 22},
        {16, 8, 1, 3, 5, 7, 10, 12, 14, 16},
        {12, 6, 1, 3, 5, 8, 10, 12},
        {6, 3, 1, 3, 6},
        {5, 1, 1},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        for (int k = 0; k < expected[i][1]; k++)
            assert_int_equal(rrt__stepwise(k, expected[i][1], expected[i][0]) + 1, expected[i][2 + k]);
}

static float *random_matrix(size_t rows, size_t columns, uint64_t seed)
{
    float *x = must_alloc(rows * columns, sizeof *x);
    for (size_t i = 0; i < rows * columns; i++) x[i] = (float)rrt__random_gaussian(seed, 0, i);
    return x;
}

// ‖(r - b·a)·l‖², by plain loops
static double error_of(const float *r, const float *b, const float *a, size_t rank, size_t out, size_t in,
                       const float *l)
{
    double sum = 0;
    for (size_t i = 0; i < out; i++) {
        for (size_t j = 0; j < in; j++) {
            double x = 0;
            for (size_t m = l ? j : 0; m < in; m++) {
                if (!l && m != j) continue;
                double d = r[i * in + m];
                for (size_t k = 0; k < rank; k++) d -= (double)b[i * rank + k] * a[k * in + m];
                x += d * (l ? l[m * in + j] : 1);
            }
            sum += x * x;
        }
    }
    return sum;
}

static float *product(const float *x, const float *y, size_t rows, size_t n)
{
    float *z = must_alloc(rows * n, sizeof *z);
    for (size_t i = 0; i < rows * n; i++)
        for (size_t k = 0; k < n; k++) z[i] += x[i / n * n + k] * y[k * n + i % n];
    return z;
}

static double squared(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)x[i] * x[i];
    return sum;
}

// Eckart–Young: what is lost is the sum of the energies that were left out, in either norm and for either
// orientation.
static void low_rank_is_optimal(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{24, 40}, {40, 24}, {32, 32}};
    for (int s = 0; s < 6; s++) {
        size_t out = shapes[s / 2][0], in = shapes[s / 2][1], side = out < in ? out : in, rank = 7;
        float *r = random_matrix(out, in, 1), *l = random_matrix(in, in, 2);
        for (size_t i = 0; i < in; i++)
            for (size_t j = 0; j < in; j++)
                l[i * in + j] = j > i ? 0 : i == j ? 3 + fabsf(l[i * in + j]) : l[i * in + j];
        float *b = must_alloc(out * side, sizeof *b), *a = must_alloc(side * in, sizeof *a), energies[64],
              alone[64];
        rrt__low_rank_room room;
        double total, kept = 0, left_out = 0;
        assert_ok(rrt__low_rank_open(&room, out, in, &err));
        float *weighed = s % 2 ? product(r, l, out, in) : r;
        total = squared(weighed, out * in);
        assert_ok(rrt__low_rank(&room, weighed, out, in, s % 2 ? l : NULL, side, b, a, energies, &err));
        for (size_t i = 0; i < side; i++) *(i < rank ? &kept : &left_out) += energies[i];
        assert_near(kept + left_out, total, 1e-4 * total);
        assert_true(error_of(r, b, a, side, out, in, s % 2 ? l : NULL) <
                    1e-8 * total); // full rank loses nothing
        assert_ok(rrt__low_rank_energies(&room, weighed, out, in, alone, &err));
        for (size_t i = 0; i < side; i++) assert_near(alone[i], energies[i], 1e-4 * energies[0]);
        assert_ok(rrt__low_rank(&room, weighed, out, in, s % 2 ? l : NULL, rank, b, a, energies, &err));
        assert_near(error_of(r, b, a, rank, out, in, s % 2 ? l : NULL), left_out, 1e-4 * total);
        for (size_t k = 0; k < rank; k++) { // the lengths are in b
            double length = 0;
            for (size_t i = 0; i < in; i++) length += (double)a[k * in + i] * a[k * in + i];
            assert_near(length, 1, 1e-5);
        }
        rrt__low_rank_close(&room);
        if (weighed != r) free(weighed);
        free(r), free(l), free(b), free(a);
    }
}

// Subspace iteration comes to the same from anywhere, and no step is worse than the one before.
static void low_rank_steps_approach_the_optimum(void **state)
{
    (void)state;
    enum { OUT = 24, IN = 40, RANK = 5 };
    float *r = random_matrix(OUT, IN, 1), *l = random_matrix(IN, IN, 2), *c = must_alloc(IN * IN, sizeof *c);
    float *a = random_matrix(RANK, IN, 3), *q = must_alloc(RANK * OUT, sizeof *q);
    float *b = must_alloc(OUT * RANK, sizeof *b), *exact = must_alloc(RANK * IN, sizeof *exact);
    float energies[RANK];
    rrt__low_rank_room room;
    for (size_t i = 0; i < IN * IN; i++) l[i] = i % IN > i / IN ? 0 : i % IN == i / IN ? 2 : 0.3f * l[i];
    for (size_t i = 0; i < IN * IN; i++)
        for (size_t k = 0; k < IN; k++) c[i] += l[i / IN * IN + k] * l[i % IN * IN + k];
    float *weighed = product(r, l, OUT, IN);
    assert_ok(rrt__low_rank_open(&room, OUT, IN, &err));
    assert_ok(rrt__low_rank(&room, weighed, OUT, IN, l, RANK, b, exact, energies, &err));
    double best = error_of(r, b, exact, RANK, OUT, IN, l), last = INFINITY;
    for (int step = 0; step < 60; step++) {
        assert_ok(rrt__low_rank_step(&room, r, OUT, IN, c, RANK, q, a, &err));
        for (size_t i = 0; i < OUT * RANK; i++) b[i] = q[i % RANK * OUT + i / RANK];
        double error = error_of(r, b, a, RANK, OUT, IN, l);
        assert_true(error <= last * (1 + 1e-5) && error >= best * (1 - 1e-5));
        last = error;
    }
    assert_near(last, best, 1e-3 * best);
    rrt__low_rank_close(&room);
    free(r), free(l), free(c), free(a), free(q), free(b), free(exact), free(weighed);
}

// A tie's alternation never raises the error it minimises, and with full rank it is zero.
static void calibrated_rounds_lower_the_error(void **state)
{
    (void)state;
    enum { OUT = 20, IN = 30, N = 3 };
    rrt__tie_depth depths[N] = {{0}};
    float *shared = must_alloc(OUT * IN, sizeof *shared);
    for (int l = 0; l < N; l++) {
        float *x = random_matrix(60, IN, 10 + (uint64_t)l), *moment = must_alloc(IN * IN, sizeof *moment);
        for (size_t i = 0; i < IN * IN; i++)
            for (size_t t = 0; t < 60; t++) moment[i] += x[t * IN + i / IN] * x[t * IN + i % IN] / 60;
        free(x);
        depths[l] = (rrt__tie_depth){.original = random_matrix(OUT, IN, 20 + (uint64_t)l),
                                     .moment = moment,
                                     .rank = 5,
                                     .a = must_alloc(IN * IN, sizeof(float)),
                                     .b = must_alloc(OUT * IN, sizeof(float))};
    }
    rrt__tie tie = {OUT, IN, shared, depths, N};
    double last = INFINITY;
    for (int rounds = 1; rounds <= 12; rounds++) {
        double error = 0;
        assert_ok(rrt__tie_calibrated(&tie, rounds, &err));
        for (int l = 0; l < N; l++) error += depths[l].residual * (1 - depths[l].kept);
        assert_true(error <= last * (1 + 1e-5));
        last = error;
    }
    float spectrum[N][OUT];
    for (int l = 0; l < N; l++) depths[l].rank = OUT, depths[l].energies = spectrum[l];
    assert_ok(rrt__tie_calibrated(&tie, 1, &err));
    assert_ok(rrt__tie_spectra(&tie, &err));
    for (int l = 0; l < N; l++) {
        double sum = 0;
        for (int i = 0; i < OUT; i++) sum += spectrum[l][i];
        assert_near(sum, depths[l].residual, 1e-4 * sum);
    }
    for (int l = 0; l < N; l++) assert_near(depths[l].kept, 1, 1e-4);
    for (int l = 0; l < N; l++)
        free((void *)(uintptr_t)depths[l].original), free((void *)(uintptr_t)depths[l].moment),
            free(depths[l].a), free(depths[l].b);
    free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stepwise_takes_the_papers_layers),
        cmocka_unit_test(low_rank_is_optimal),
        cmocka_unit_test(low_rank_steps_approach_the_optimum),
        cmocka_unit_test(calibrated_rounds_lower_the_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
