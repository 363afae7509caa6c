// Text as it is shown: no half characters, and nothing of a stop string, however the tokens cut it.
#include <stdlib.h>

#include "base/rng.h"
#include "base/utf8.h"
#include "infer/reply_text.h"
#include "serve/metrics.h"

#include "test.h"

static rrt__stops stops_of(const char *const *texts, size_t count)
{
    rrt__stops stops = {.count = count};
    for (size_t i = 0; i < count; i++) {
        stops.texts[i] = (char *)texts[i];
        stops.lengths[i] = strlen(texts[i]);
    }
    return stops;
}

// Adds a text in pieces of random length; what was shown must end before the first stop string.
static void check(const char *text, const char *expected, const rrt__stops *stops, uint64_t seed)
{
    rrt_error err = {0};
    rrt__reply_text t = {0};
    rrt__string shown = {0};
    const char *bytes;
    size_t length = strlen(text), taken;
    assert_ok(rrt__string_append(&shown, "", 0, &err));
    for (size_t at = 0, step = 0; at < length && !t.is_stopped; step++) {
        size_t count = 1 + rrt__random_bits(seed, 0, step) % 5;
        if (count > length - at) count = length - at;
        assert_ok(rrt__reply_text_add(&t, stops, text + at, count, &err));
        at += count;
        taken = rrt__reply_text_take(&t, stops, false, &bytes);
        assert_int_equal(rrt__utf8_first_invalid(bytes, taken), taken);
        assert_ok(rrt__string_append(&shown, bytes, taken, &err));
    }
    taken = rrt__reply_text_take(&t, stops, true, &bytes);
    assert_ok(rrt__string_append(&shown, bytes, taken, &err));
    assert_string_equal(shown.data, expected);
    rrt__reply_text_free(&t);
    rrt__string_free(&shown);
}

static void nothing_of_a_stop_string_is_shown(void **state)
{
    (void)state;
    static const char *const words[] = {"\n\n", "aab", "ende", "é!"};
    const rrt__stops stops = stops_of(words, 4), none = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        check("a text", "a text", &stops, seed);
        check("aaaab", "aa", &stops, seed);
        check("aaaaaaaa", "aaaaaaaa", &stops, seed);
        check("one\n\ntwo", "one", &stops, seed);
        check("das end end und ende", "das end end und ", &stops, seed);
        check("\xe2\x82\xac \xf0\x9f\x98\x80 \xc3\xa9?", "\xe2\x82\xac \xf0\x9f\x98\x80 \xc3\xa9?", &stops,
              seed);
        check("\xf0\x9f\x98\x80\xc3\xa9!x", "\xf0\x9f\x98\x80", &stops, seed);
        check("ends in en", "ends in en", &stops, seed);
        check("aaaab", "aaaab", &none, seed);
        check("", "", &stops, seed);
    }
}

static void latencies_are_counted_in_their_buckets(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__metrics metrics;
    rrt__string text = {0};
    rrt__metrics_open(&metrics);
    rrt__metrics_observe(&metrics, RRT__LATENCY_INTER_TOKEN, 0.01); // a bound belongs to its bucket
    rrt__metrics_observe(&metrics, RRT__LATENCY_INTER_TOKEN, 0.3);
    rrt__metrics_observe(&metrics, RRT__LATENCY_INTER_TOKEN, 1000);
    assert_ok(rrt__metrics_print(&metrics, "a\"b\\", 3, &text, &err));
    static const char *const expected[] = {
        "rrt_inter_token_latency_seconds_bucket{model_name=\"a\\\"b\\\\\",le=\"0.01\"} 1\n",
        "le=\"0.2\"} 1\n",
        "le=\"0.3\"} 2\n",
        "rrt_inter_token_latency_seconds_bucket{model_name=\"a\\\"b\\\\\",le=\"+Inf\"} 3\n",
        "rrt_inter_token_latency_seconds_count{model_name=\"a\\\"b\\\\\"} 3\n",
        "rrt_batch_occupancy{model_name=\"a\\\"b\\\\\",depth=\"3\"} 0\n"};
    const char *at = text.data;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        at = strstr(at, expected[i]);
        if (!at) fail_msg("%s is missing", expected[i]);
    }
    rrt__string_free(&text);
    rrt__metrics_close(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_a_stop_string_is_shown),
        cmocka_unit_test(latencies_are_counted_in_their_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
