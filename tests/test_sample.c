// Choosing a token: the filters one by one, determinism, and that the choices follow the distribution.
#include <math.h>

#include "rrt/session.h"
#include "test.h"

enum { VOCAB = 5, DRAWS = 20000 };

// Probabilities 0.1, 0.4, 0.05, 0.25, 0.2 at temperature 1.
static const double probabilities[VOCAB] = {0.1, 0.4, 0.05, 0.25, 0.2};

static void make_logits(float logits[VOCAB])
{
    for (int i = 0; i < VOCAB; i++) logits[i] = (float)log(probabilities[i]) + 3;
}

// Shares of DRAWS draws at positions 0, 1, 2, …
static void draw(double shares[VOCAB], rrt_sampling sampling)
{
    rrt_error err = {0};
    float logits[VOCAB];
    make_logits(logits);
    memset(shares, 0, VOCAB * sizeof *shares);
    for (uint64_t i = 0; i < DRAWS; i++) {
        int32_t id;
        assert_ok(rrt_sample(logits, VOCAB, &sampling, i, &id, &err));
        assert_in_range(id, 0, VOCAB - 1);
        shares[id] += 1.0 / DRAWS;
    }
}

// expected need not be normalised. 0.015 is four standard deviations of a share of one half.
static void assert_shares(rrt_sampling sampling, const double expected[VOCAB])
{
    double shares[VOCAB], total = 0;
    draw(shares, sampling);
    for (int i = 0; i < VOCAB; i++) total += expected[i];
    for (int i = 0; i < VOCAB; i++) {
        assert_near(shares[i], expected[i] / total, 0.015);
        if (expected[i] == 0) assert_true(shares[i] == 0);
    }
}

static void choices_follow_the_distribution(void **state)
{
    (void)state;
    assert_shares((rrt_sampling){.temperature = 1}, probabilities);
    assert_shares((rrt_sampling){.temperature = 1, .seed = 99}, probabilities);
    double squared[VOCAB]; // half the temperature squares the probabilities
    for (int i = 0; i < VOCAB; i++) squared[i] = probabilities[i] * probabilities[i];
    assert_shares((rrt_sampling){.temperature = 0.5f}, squared);
}

static void filters_keep_the_likeliest_tokens(void **state)
{
    (void)state;
    const double two[VOCAB] = {0, 0.4, 0, 0.25, 0}, three[VOCAB] = {0, 0.4, 0, 0.25, 0.2},
                 one[VOCAB] = {0, 1, 0, 0, 0};
    assert_shares((rrt_sampling){.temperature = 1, .top_k = 2}, two);
    assert_shares((rrt_sampling){.temperature = 1, .top_k = 1}, one);
    assert_shares((rrt_sampling){.temperature = 1, .top_k = 50}, probabilities);
    // The smallest set with at least the probability: 0.4 + 0.25 < 0.7 takes a third.
    assert_shares((rrt_sampling){.temperature = 1, .top_p = 0.6f}, two);
    assert_shares((rrt_sampling){.temperature = 1, .top_p = 0.7f}, three);
    assert_shares((rrt_sampling){.temperature = 1, .top_p = 0.0001f}, one);
    assert_shares((rrt_sampling){.temperature = 1, .top_p = 1}, probabilities);
    // At least half as likely as the most likely: 0.2 stays, 0.1 does not.
    assert_shares((rrt_sampling){.temperature = 1, .min_p = 0.49f}, three);
    assert_shares((rrt_sampling){.temperature = 1, .min_p = 1}, one);
    // top_k first: of 0.4 and 0.25, top_p is taken of what is left (0.4 / 0.65 = 0.615).
    assert_shares((rrt_sampling){.temperature = 1, .top_k = 2, .top_p = 0.6f}, one);
    assert_shares((rrt_sampling){.temperature = 1, .top_k = 3, .min_p = 0.6f}, two);
}

static void greedy_takes_the_first_of_the_likeliest(void **state)
{
    (void)state;
    rrt_error err = {0};
    float logits[VOCAB] = {-1, 7, 7, 3, -2}; // the lower id where two are alike
    int32_t id;
    for (uint64_t position = 0; position < 10; position++) {
        assert_ok(
            rrt_sample(logits, VOCAB, &(rrt_sampling){.top_p = 0.1f, .seed = position}, position, &id, &err));
        assert_int_equal(id, 1);
        assert_ok(
            rrt_sample(logits, VOCAB, &(rrt_sampling){.temperature = 1, .top_k = 1}, position, &id, &err));
        assert_int_equal(id, 1);
    }
}

static void the_same_seed_makes_the_same_choices(void **state)
{
    (void)state;
    rrt_error err = {0};
    float logits[VOCAB];
    make_logits(logits);
    int differ = 0;
    for (uint64_t i = 0; i < 200; i++) {
        int32_t a, b, c;
        assert_ok(rrt_sample(logits, VOCAB, &(rrt_sampling){.temperature = 1, .seed = 5}, i, &a, &err));
        assert_ok(rrt_sample(logits, VOCAB, &(rrt_sampling){.temperature = 1, .seed = 5}, i, &b, &err));
        assert_ok(rrt_sample(logits, VOCAB, &(rrt_sampling){.temperature = 1, .seed = 6}, i, &c, &err));
        assert_int_equal(a, b);
        differ += a != c;
    }
    assert_true(differ > 50);
}

static void extreme_logits_are_sampled_and_nan_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    int32_t id;
    const float wide[3] = {-3e38f, 3e38f, 0}; // a difference past f32
    assert_ok(rrt_sample(wide, 3, &(rrt_sampling){.temperature = 0.1f}, 0, &id, &err));
    assert_int_equal(id, 1);
    const float masked[3] = {-INFINITY, -INFINITY, 2};
    for (uint64_t i = 0; i < 100; i++) {
        assert_ok(rrt_sample(masked, 3, &(rrt_sampling){.temperature = 1}, i, &id, &err));
        assert_int_equal(id, 2);
    }
    const float bad[3] = {0, NAN, 1};
    assert_fails(RRT_STATUS_NUMERIC, "token 1", rrt_sample(bad, 3, &(rrt_sampling){0}, 0, &id, &err));
    assert_fails(RRT_STATUS_NUMERIC, "token 1",
                 rrt_sample(bad, 3, &(rrt_sampling){.temperature = 1}, 0, &id, &err));
}

static void impossible_settings_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    float logits[VOCAB];
    int32_t id;
    make_logits(logits);
    const rrt_sampling bad[] = {{.temperature = NAN},
                                {.temperature = -1},
                                {.temperature = INFINITY},
                                {.temperature = 1, .top_k = -5},
                                {.temperature = 1, .top_p = -1},
                                {.top_p = 1.5f},
                                {.top_p = NAN},
                                {.min_p = -0.1f},
                                {.min_p = 2},
                                {.min_p = NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(RRT_STATUS_ARGUMENT, "is possible", rrt_sample(logits, VOCAB, &bad[i], 0, &id, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "0 logits", rrt_sample(logits, 0, &(rrt_sampling){0}, 0, &id, &err));
    const float none[2] = {-INFINITY, -INFINITY};
    assert_fails(RRT_STATUS_NUMERIC, "no token",
                 rrt_sample(none, 2, &(rrt_sampling){.temperature = 1}, 0, &id, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_follow_the_distribution),
        cmocka_unit_test(filters_keep_the_likeliest_tokens),
        cmocka_unit_test(greedy_takes_the_first_of_the_likeliest),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(the_same_seed_makes_the_same_choices),
        cmocka_unit_test(extreme_logits_are_sampled_and_nan_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
