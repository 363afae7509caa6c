// The ground floor: UTF-8, memory, random numbers, teams, JSON getters, error records.
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/team.h"
#include "base/utf8.h"
#include "test.h"

// --- UTF-8

static void utf8_carries_every_valid_codepoint_and_no_other(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x110000; c++) {
        char bytes[4];
        uint32_t back;
        size_t n = rrt__utf8_encode(c, bytes), expected = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        assert_int_equal(n, expected);
        bool valid = (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
        assert_int_equal(rrt__utf8_decode(bytes, n, &back), valid ? n : 0);
        if (valid) assert_int_equal(back, c);
        for (size_t cut = 0; cut < n; cut++) assert_int_equal(rrt__utf8_decode(bytes, cut, &back), 0);
    }
}

static void invalid_utf8_is_found(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xbf",         "\xc0\x80",         "\xc1\xbf",
        "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", // overlong
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",                                                          // no codepoint
        "\xc3(",        "\xe2\x82(",    "\xf0\x9f\x98(",    "\xe2(\xa1", // broken off
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[16];
        uint32_t codepoint;
        assert_int_equal(rrt__utf8_decode(bad[i], strlen(bad[i]), &codepoint), 0);
        snprintf(text, sizeof text, "aé%s", bad[i]);
        assert_int_equal(rrt__utf8_first_invalid(text, strlen(text)), 3);
    }
    assert_int_equal(rrt__utf8_first_invalid("a\0b", 3), 3); // NUL is a character
    assert_int_equal(rrt__utf8_first_invalid("", 0), 0);
}

static void a_character_that_may_still_be_completed_is_held(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t held;
    } cases[] = {
        {"", 0},
        {"a", 0},
        {"aé", 0},
        {"a\xc3", 1},
        {"a\xe2\x82", 2},
        {"a\xe2", 1},
        {"€", 0},
        {"\xf0\x9f\x98", 3},
        {"\xf0\x9f", 2},
        {"\xf0", 1},
        {"😀", 0},
        {"a\x80", 0},
        {"\x80\x80\x80\x80", 0},
        {"\xff", 0},
        {"\xc0", 0},
        {"\xf5", 0},
        {"\xe2\x82\xac\x82", 0},
        // What no byte could complete is not held back: overlong, a surrogate, past the last codepoint.
        {"\xe0\x80", 0},
        {"\xed\xa0", 0},
        {"\xf0\x80", 0},
        {"\xf4\x90", 0},
        {"\xe0\xa0", 2},
        {"\xf4\x8f", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(rrt__utf8_incomplete_tail(cases[i].text, strlen(cases[i].text)), cases[i].held);
}

// As many U+FFFD as Python's errors="replace" makes of the whole: the first stands for so many bytes.
static void broken_utf8_is_counted_as_in_python(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t first;
    } cases[] = {{"\xe2\x82"
                  "a",
                  2},
                 {"\xf0\x9f\x98", 3},
                 {"\xf0\x9f\x98"
                  "a",
                  3},
                 {"\xf0\x80\x80", 1},
                 {"\xed\xa0\x80", 1},
                 {"\xc0\xaf", 1},
                 {"\xff", 1},
                 {"\x80", 1},
                 {"\xf4\x90", 1},
                 {"\xe2", 1},
                 {"\xe2\x82\xe2\x82", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(rrt__utf8_broken(cases[i].text, strlen(cases[i].text)), cases[i].first);
}

static void unprintable_bytes_become_question_marks(void **state)
{
    (void)state;
    char text[] = "a\033[1m\x7f\r\né€😀\x80\xc2\x85\xff.";
    rrt__utf8_make_printable(text);
    assert_string_equal(text, "a?[1m???é€😀????.");
}

// --- memory

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    size_t product;
    void *memory;
    assert_true(rrt__size_mul(SIZE_MAX / 2, 2, &product));
    assert_int_equal(product, SIZE_MAX - 1);
    assert_false(rrt__size_mul(SIZE_MAX / 2 + 1, 2, &product));
    assert_fails(RRT_STATUS_MEMORY, "the thing", rrt__alloc(&memory, SIZE_MAX, 8, "the thing", &err));
    assert_fails(RRT_STATUS_MEMORY, "the thing", rrt__alloc(&memory, SIZE_MAX - 8, 1, "the thing", &err));
    rrt__arena arena = {0};
    assert_fails(RRT_STATUS_MEMORY, "the thing",
                 rrt__arena_alloc(&arena, &memory, SIZE_MAX / 2, 4, "the thing", &err));
    assert_fails(RRT_STATUS_MEMORY, "the thing",
                 rrt__arena_alloc(&arena, &memory, SIZE_MAX, 1, "the thing", &err));
    rrt__arena_free(&arena);
    char *array = NULL;
    size_t capacity = 0;
    assert_fails(RRT_STATUS_MEMORY, "array", rrt__array_reserve(&array, &capacity, SIZE_MAX / 4, 16, &err));
    assert_int_equal(capacity, 0);
}

// Big and small pieces in turns: all aligned, zeroed, and none lies in another.
static void arena_pieces_are_aligned_zeroed_and_apart(void **state)
{
    (void)state;
    rrt_error err = {0};
    enum { COUNT = 200 };
    rrt__arena arena = {0};
    unsigned char *pieces[COUNT];
    size_t sizes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = i % 7 == 3 ? 70000 + i : i % 11 == 5 ? 64 * 1024 : (i * 37) % 500;
        assert_ok(rrt__arena_alloc(&arena, &pieces[i], sizes[i], 1, "a piece", &err));
        assert_int_equal((uintptr_t)pieces[i] % 64, 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)(i + 1), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], (unsigned char)(i + 1));
    // A big piece does not retire the chunk in use: the small ones around it are neighbours.
    char *before, *big, *after;
    assert_ok(rrt__arena_alloc(&arena, &before, 64, 1, "a piece", &err));
    assert_ok(rrt__arena_alloc(&arena, &big, 1 << 20, 1, "a piece", &err));
    assert_ok(rrt__arena_alloc(&arena, &after, 64, 1, "a piece", &err));
    assert_ptr_equal(after, before + 64);
    rrt__arena_free(&arena);
    assert_null(arena.chunks);
}

static void strings_and_arrays_grow(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string text = {0};
    for (int i = 0; i < 1000; i++) assert_ok(rrt__string_append(&text, "ab\0", 3, &err));
    assert_int_equal(text.length, 3000);
    assert_memory_equal(text.data + 2997, "ab\0", 4); // and its NUL
    assert_ok(rrt__string_append(&text, NULL, 0, &err));
    assert_int_equal(text.length, 3000);
    rrt__string_free(&text);
    assert_null(text.data);
    int *numbers = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        assert_ok(rrt__array_reserve(&numbers, &capacity, (size_t)i + 1, sizeof *numbers, &err));
        numbers[i] = i;
    }
    for (int i = 0; i < 1000; i++) assert_int_equal(numbers[i], i);
    rrt__free(numbers);
}

static void allocations_fail_from_the_chosen_one_on(void **state)
{
    (void)state;
    rrt_error err = {0};
    void *memory[3] = {0};
    rrt__memory_fail_after = 2;
    assert_ok(rrt__alloc(&memory[0], 1, 1, "first", &err));
    assert_ok(rrt__alloc(&memory[1], 1, 1, "second", &err));
    assert_fails(RRT_STATUS_MEMORY, "third", rrt__alloc(&memory[2], 1, 1, "third", &err));
    assert_fails(RRT_STATUS_MEMORY, "fourth",
                 rrt__alloc(&memory[2], 1, 1, "fourth", &err)); // and all after it
    rrt__memory_fail_after = -1;
    assert_ok(rrt__alloc(&memory[2], 1, 1, "fifth", &err));
    for (int i = 0; i < 3; i++) rrt__free(memory[i]);
}

// --- random numbers

static void random_numbers_follow_their_key_and_distribution(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    // The values are part of the contract: the same seed gives the same model on every machine.
    assert_true(rrt__random_bits(1, 2, 3) == rrt__random_bits(1, 2, 3));
    assert_true(rrt__random_bits(1, 2, 3) != rrt__random_bits(2, 1, 3));
    assert_true(rrt__random_bits(1, 2, 3) != rrt__random_bits(1, 3, 2));
    assert_true(rrt__random_bits(0, 0, 0) != rrt__random_bits(0, 0, 1));
    double mean = 0, square = 0, fourth = 0, uniform_mean = 0, uniform_square = 0, pairs = 0, before = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        double u = rrt__random_uniform(5, 6, i), g = rrt__random_gaussian(5, 6, i);
        assert_true(u >= 0 && u < 1 && isfinite(g));
        uniform_mean += u / COUNT;
        uniform_square += u * u / COUNT;
        mean += g / COUNT;
        square += g * g / COUNT;
        fourth += g * g * g * g / COUNT;
        pairs += g * before / COUNT;
        before = g;
    }
    // About five standard errors each.
    assert_near(uniform_mean, 0.5, 0.004);
    assert_near(uniform_square, 1.0 / 3, 0.004);
    assert_near(mean, 0, 0.012);
    assert_near(square, 1, 0.016);
    assert_near(fourth, 3, 0.12);
    assert_near(pairs, 0, 0.012);
}

// --- teams

static void shares_cover_the_work_once_and_evenly(void **state)
{
    (void)state;
    for (int nth = 1; nth <= 9; nth++)
        for (size_t count = 0; count <= 100; count++)
            for (size_t grain = 1; grain <= 16; grain += 5) {
                size_t next = 0, least = SIZE_MAX, most = 0;
                for (int ith = 0; ith < nth; ith++) {
                    rrt__share share = rrt__team_share((rrt__team){ith, nth}, count, grain);
                    assert_int_equal(share.begin, next);
                    assert_true(share.end >= share.begin && share.end <= count);
                    if (share.end < count) assert_int_equal(share.end % grain, 0);
                    size_t grains = (share.end - share.begin + grain - 1) / grain;
                    least = grains < least ? grains : least;
                    most = grains > most ? grains : most;
                    next = share.end;
                }
                assert_int_equal(next, count);  // exactly once each
                assert_true(most - least <= 1); // evenly
            }
}

enum { ROUNDS = 50, MAX_THREADS = 4 };

typedef struct meeting {
    int rounds[MAX_THREADS]; // how far each thread is; written by itself alone
    atomic_int seen, ran, wrong;
} meeting;

// Between two barriers, all the others have to be in the same round.
// The last thread of a team comes late, as it does where another program has its core.
static void come_late(rrt__team team, void *seconds)
{
    const struct timespec late = {.tv_nsec = (long)(*(double *)seconds * 1e9)};
    if (team.nth > 1 && team.ith == team.nth - 1) nanosleep(&late, NULL);
    if (team.nth == 1) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    rrt__team_barrier(team);
}

static void a_team_shrinks_while_a_core_is_missing(void **state)
{
    (void)state;
    rrt__team_fit fit = {0};
    double late = 0.03, never = 0;
    for (int i = 0; i < 10 && fit.limit != 1; i++) rrt__team_run_fitting(&fit, 2, come_late, &late);
    assert_int_equal(fit.limit, 1);
    for (int i = 0; i < 2000 && fit.limit != 2; i++) rrt__team_run_fitting(&fit, 2, come_late, &never);
    assert_int_equal(fit.limit, 2);
}

static void meet(rrt__team team, void *argument)
{
    meeting *m = argument;
    atomic_fetch_add(&m->ran, 1);
    for (int round = 0; round < ROUNDS; round++) {
        m->rounds[team.ith] = round;
        rrt__team_barrier(team);
        for (int i = 0; i < team.nth; i++)
            if (m->rounds[i] != round) atomic_fetch_add(&m->wrong, 1);
        rrt__team_barrier(team);
    }
    atomic_fetch_or(&m->seen, 1 << team.ith);
    if (team.nth > MAX_THREADS) atomic_fetch_add(&m->wrong, 1);
}

static void a_team_runs_all_its_threads_in_step(void **state)
{
    (void)state;
    for (int n = 1; n <= MAX_THREADS; n++) {
        meeting m = {0};
        rrt__team_run(n, meet, &m);
        assert_int_equal(m.ran, n);
        assert_int_equal(m.seen, (1 << n) - 1);
        assert_int_equal(m.wrong, 0);
    }
    assert_true(rrt__team_threads(0) >= 1);
    assert_int_equal(rrt__team_threads(-1), rrt__team_threads(0));
    assert_int_equal(rrt__team_threads(3), 3);
    assert_int_equal(rrt__team_threads(100000), RRT__MAX_THREADS);
}

// --- JSON

static void bad_json_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    json_t *json;
    const char *twice = "{\"a\": 1, \"a\": 2}", *broken = "{\"a\": 1,\n \"b\" 2}", *junk = "{} x";
    assert_fails(RRT_STATUS_FORMAT, "duplicate", rrt__json_parse(&json, twice, strlen(twice), &err));
    assert_fails(RRT_STATUS_FORMAT, "line 2", rrt__json_parse(&json, broken, strlen(broken), &err));
    assert_fails(RRT_STATUS_FORMAT, "not valid JSON", rrt__json_parse(&json, junk, strlen(junk), &err));
    assert_fails(RRT_STATUS_FORMAT, "it is empty", rrt__json_parse(&json, "", 0, &err));
    assert_fails(RRT_STATUS_FORMAT, "it is empty", rrt__json_parse(&json, " \n\t", 3, &err));
    assert_fails(RRT_STATUS_IO, "/nowhere", rrt__json_read(&json, "/nowhere", &err));
    assert_null(json);
}

// Numbers that jansson refuses are read where nobody uses them, refused where somebody does, and written back
// as they were (what Python's json module wrote, and reads).
static void numbers_that_do_not_fit_are_kept_but_not_used(void **state)
{
    (void)state;
    rrt_error err = {0};
    json_t *json;
    rrt__string first = {0};
    int64_t i;
    double r;
    const char *source =
        "{\n  \"large\": 1000000000000000019884624838656,\n  \"low\": -18446744073709551616,\n"
        "  \"inf\": Infinity,\n  \"neg\": -Infinity,\n  \"nan\": NaN,\n"
        "  \"most\": 9223372036854775807,\n  \"least\": -9223372036854775808,\n"
        "  \"real\": 0.1,\n  \"small\": 1e-320,\n  \"two\": 2.0,\n  \"third\": "
        "0.3333333333333333,\n"
        "  \"text\": \"NaN 1e999 \\\\\\\" 99999999999999999999\",\n  \"list\": [\n    NaN,\n    "
        "1e-06\n  ]\n}\n";
    assert_ok(rrt__json_parse(&json, source, strlen(source), &err));
    assert_fails(RRT_STATUS_FORMAT, "\"large\" is 1e+30: from 1 to 9 is possible",
                 rrt__json_int(json, "large", 1, 9, &i, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"nan\" is NaN: from", rrt__json_int(json, "nan", 1, 9, &i, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"inf\" is Infinity: a finite",
                 rrt__json_real_or(json, "inf", 0, &r, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"neg\" is -Infinity", rrt__json_real_or(json, "neg", 0, &r, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"nan\" is NaN", rrt__json_real_or(json, "nan", 0, &r, &err));
    assert_ok(rrt__json_real_or(json, "large", 0, &r, &err));
    assert_true(r == 1e30);
    assert_ok(rrt__json_int(json, "most", 0, INT64_MAX, &i, &err));
    assert_true(i == INT64_MAX);
    char path[] = "/tmp/rrt-json-XXXXXX";
    close(mkstemp(path));
    assert_ok(rrt__json_write(json, path, &err));
    json_decref(json);
    assert_ok(rrt__file_read(&first, path, &err));
    assert_string_equal(first.data, source);
    rrt__string_free(&first);
    unlink(path);
    static const char *const read[] = {"[1e400, -1E+400, 123e99999999999999999999]", "[0e999, 0.0000e+400]",
                                       "[1.7976931348623157e308, 1.7976931348623159e308, 0.01e310]",
                                       "[1e-400, 10e307, 9223372036854775808]"};
    for (size_t k = 0; k < sizeof read / sizeof *read; k++) {
        assert_ok(rrt__json_parse(&json, read[k], strlen(read[k]), &err));
        json_decref(json);
    }
    static const char *const refused[] = {"[nan]",
                                          "[inf]",
                                          "[+Infinity]",
                                          "[1NaN]",
                                          "[-NaN]",
                                          "[01e999]",
                                          "[1.e999]",
                                          "[99999999999999999999x]",
                                          "[1e]",
                                          "[NaN1]",
                                          "[1e+]",
                                          "NaN",
                                          "[99999999999999999999",
                                          "[.5]",
                                          "[\"\\"};
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++)
        assert_int_equal(rrt__json_parse(&json, refused[k], strlen(refused[k]), &err), RRT_STATUS_FORMAT);
    // Errors name the place in the text as it is.
    const char *late = "{\"a\": NaN,\n \"b\": 99999999999999999999, \"c\" 1}";
    assert_fails(RRT_STATUS_FORMAT, "(line 2, column 33, byte 44)",
                 rrt__json_parse(&json, late, strlen(late), &err));
    const char *next = "{\"b\": [99999999999999999999, Infinity],\n \"c\" 1}";
    assert_fails(RRT_STATUS_FORMAT, "(line 2, column 6, byte 46)",
                 rrt__json_parse(&json, next, strlen(next), &err));
}

static void json_getters_check_type_and_range(void **state)
{
    (void)state;
    rrt_error err = {0};
    json_t *json, *inner;
    const char *source = "{\"i\": 7, \"r\": 1.5, \"s\": \"text\", \"b\": true, \"n\": null, \"o\": {}, "
                         "\"l\": [], \"z\": \"a\\u0000b\"}",
               *text;
    int64_t i;
    double r;
    bool b;
    assert_ok(rrt__json_parse(&json, source, strlen(source), &err));
    assert_ok(rrt__json_int(json, "i", 7, 7, &i, &err));
    assert_int_equal(i, 7);
    assert_fails(RRT_STATUS_FORMAT, "\"i\" is 7: from 8 to 9", rrt__json_int(json, "i", 8, 9, &i, &err));
    assert_fails(RRT_STATUS_FORMAT, "from 1 to 6", rrt__json_int(json, "i", 1, 6, &i, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"r\" has the wrong type: an integer",
                 rrt__json_int(json, "r", 0, 9, &i, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"x\" is missing", rrt__json_int(json, "x", 0, 9, &i, &err));
    assert_ok(rrt__json_int_or(json, "x", 0, 9, -3, &i, &err));
    assert_int_equal(i, -3);
    assert_ok(rrt__json_int_or(json, "n", 0, 9, 4, &i, &err)); // null is absent
    assert_int_equal(i, 4);
    assert_fails(RRT_STATUS_FORMAT, "\"s\"", rrt__json_int_or(json, "s", 0, 9, 4, &i, &err));
    assert_ok(rrt__json_real_or(json, "i", 0, &r, &err)); // a whole number is a number
    assert_true(r == 7);
    assert_ok(rrt__json_real_or(json, "x", 2.5, &r, &err));
    assert_true(r == 2.5);
    assert_fails(RRT_STATUS_FORMAT, "a number", rrt__json_real_or(json, "s", 0, &r, &err));
    assert_ok(rrt__json_bool_or(json, "b", false, &b, &err));
    assert_true(b);
    assert_fails(RRT_STATUS_FORMAT, "true or false", rrt__json_bool_or(json, "i", false, &b, &err));
    assert_ok(rrt__json_string(json, "s", &text, &err));
    assert_string_equal(text, "text");
    assert_fails(RRT_STATUS_FORMAT, "NUL", rrt__json_string(json, "z", &text, &err));
    assert_fails(RRT_STATUS_FORMAT, "a string", rrt__json_string_or(json, "l", "", &text, &err));
    assert_ok(rrt__json_object(json, "o", &inner, &err));
    assert_fails(RRT_STATUS_FORMAT, "an object", rrt__json_object(json, "l", &inner, &err));
    assert_ok(rrt__json_array(json, "l", &inner, &err));
    assert_fails(RRT_STATUS_FORMAT, "an array", rrt__json_array(json, "o", &inner, &err));
    assert_fails(RRT_STATUS_FORMAT, "\"x\" is missing", rrt__json_array(json, "x", &inner, &err));
    json_decref(json);
}

// --- error records

static void errors_say_where_what_and_how_to_fix(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_status status = rrt__fail(&err, RRT_STATUS_FORMAT, "%d \033 things", 3);
    status = rrt__at(&err, status, "tensor '%s'", "x");
    status = rrt__hint(&err, rrt__at(&err, status, "file"), "do that");
    assert_int_equal(status, RRT_STATUS_FORMAT);
    assert_string_equal(err.where, "file: tensor 'x'");
    assert_string_equal(err.message, "3 ? things");
    assert_string_equal(err.hint, "do that");
    rrt__fail(&err, RRT_STATUS_IO, "again"); // forgets the old place and advice
    assert_string_equal(err.where, "");
    assert_string_equal(err.hint, "");
    char text[600];
    memset(text, 'x', sizeof text);
    memcpy(text + 510, "é", 3); // would be cut in the middle
    rrt__at(&err, RRT_STATUS_IO, "%s", text);
    assert_int_equal(rrt__utf8_first_invalid(err.where, strlen(err.where)), strlen(err.where));
    assert_int_equal(rrt__fail(NULL, RRT_STATUS_IO, "nobody listens"), RRT_STATUS_IO);
}

static void the_hash_changes_with_any_bit_and_not_with_the_cuts(void **state)
{
    (void)state;
    unsigned char bytes[64], zeros[64] = {0};
    for (int i = 0; i < 64; i++) bytes[i] = (unsigned char)(37 * i + 1);
    uint64_t whole = rrt__hash(0, bytes, 60);
    for (size_t cut = 0; cut <= 60; cut += 8)
        assert_true(rrt__hash(rrt__hash(0, bytes, cut), bytes + cut, 60 - cut) == whole);
    for (size_t bit = 0; bit < 60 * 8; bit++) { // any change shows
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
        assert_true(rrt__hash(0, bytes, 60) != whole);
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
    }
    for (size_t size = 8; size < 64; size += 8) // zeros do not vanish
        assert_true(rrt__hash(0, zeros, size) != rrt__hash(0, zeros, size + 8));
    assert_true(rrt__hash(0, zeros, 0) == 0);
    assert_true(rrt__hash(0, "abc", 3) == rrt__hash(0, "abc\0\0\0\0", 8)); // as the header says
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_carries_every_valid_codepoint_and_no_other),
        cmocka_unit_test(invalid_utf8_is_found),
        cmocka_unit_test(a_character_that_may_still_be_completed_is_held),
        cmocka_unit_test(broken_utf8_is_counted_as_in_python),
        cmocka_unit_test(unprintable_bytes_become_question_marks),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(arena_pieces_are_aligned_zeroed_and_apart),
        cmocka_unit_test(strings_and_arrays_grow),
        cmocka_unit_test(allocations_fail_from_the_chosen_one_on),
        cmocka_unit_test(random_numbers_follow_their_key_and_distribution),
        cmocka_unit_test(the_hash_changes_with_any_bit_and_not_with_the_cuts),
        cmocka_unit_test(shares_cover_the_work_once_and_evenly),
        cmocka_unit_test(a_team_runs_all_its_threads_in_step),
        cmocka_unit_test(a_team_shrinks_while_a_core_is_missing),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(numbers_that_do_not_fit_are_kept_but_not_used),
        cmocka_unit_test(json_getters_check_type_and_range),
        cmocka_unit_test(errors_say_where_what_and_how_to_fix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
