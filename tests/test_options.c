// Command-line options as a table: every kind, every way to write it, everything that is wrong.
#include "base/guess.h"
#include "base/memory.h"
#include "base/options.h"
#include "test.h"

typedef struct values {
    bool flag;
    int number;
    size_t size;
    uint64_t seed;
    double real;
    const char *text;
    rrt__list files;
    char *positional[3];
    int n_positional;
} values;

static rrt_status parse(values *v, rrt_error *err, int argc, const char *const *arguments)
{
    char *argv[16] = {(char *)(uintptr_t) "verb"};
    *v = (values){.number = 5, .size = 6, .seed = 7, .real = 8, .text = "default"};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Values"),
        {'f', "flag", NULL, RRT__OPTION_FLAG, &v->flag, 0, 0, ""},
        {'n', "number", "N", RRT__OPTION_INT, &v->number, -3, 10, ""},
        {0, "size", "N", RRT__OPTION_SIZE, &v->size, 1, 1e12, ""},
        {0, "seed", "S", RRT__OPTION_SEED, &v->seed, 0, 0, ""},
        {0, "real", "R", RRT__OPTION_REAL, &v->real, 0, 1, ""},
        {'t', "text", "TEXT", RRT__OPTION_STRING, &v->text, 0, 0, ""},
        {'d', "data", "FILE ...", RRT__OPTION_LIST, &v->files, 0, 0, ""},
    };
    for (int i = 0; i < argc; i++) argv[i + 1] = (char *)(uintptr_t)arguments[i];
    return rrt__options_parse(options, sizeof options / sizeof *options, argc + 1, argv, v->positional, 3,
                              &v->n_positional, err);
}

#define PARSE(...)                                                                                           \
    parse(&v, &err, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                           \
          (const char *[]){__VA_ARGS__})
#define REFUSE(what, ...) assert_fails(RRT_STATUS_ARGUMENT, what, PARSE(__VA_ARGS__))

static void every_kind_of_option_is_read(void **state)
{
    (void)state;
    rrt_error err = {0};
    values v;
    assert_ok(parse(&v, &err, 0, NULL));
    assert_true(!v.flag && v.number == 5 && v.size == 6 && v.seed == 7 && v.real == 8 &&
                strcmp(v.text, "default") == 0);
    assert_ok(PARSE("-f", "-n", "-3", "--size", "9", "--seed", "18446744073709551615", "--real", "0.25",
                    "--text", "x y"));
    assert_true(v.flag && v.number == -3 && v.size == 9 && v.seed == UINT64_MAX && v.real == 0.25);
    assert_string_equal(v.text, "x y");
    assert_ok(PARSE("--number=10", "--text=", "--real=1e-3", "-t", "-n"));
    assert_true(v.number == 10 && v.real == 1e-3);
    assert_string_equal(v.text, "-n"); // a value may look like an option; the last one wins
    assert_ok(PARSE("--text=a=b"));
    assert_string_equal(v.text, "a=b");
    assert_ok(PARSE("-n7", "-ta text", "-t=", "-f"));
    assert_true(v.number == 7 && v.flag);
    assert_string_equal(v.text, "="); // glued: all behind the letter
}

static void sizes_may_have_suffixes(void **state)
{
    (void)state;
    rrt_error err = {0};
    values v;
    static const struct {
        const char *text;
        size_t value;
    } cases[] = {{"12k", 12000},     {"12K", 12000}, {"3M", 3000000},         {"1.5M", 1500000},
                 {"2G", 2000000000}, {"1", 1},       {"1000G", 1000000000000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(PARSE("--size", cases[i].text));
        assert_int_equal(v.size, cases[i].value);
    }
    REFUSE("'12q' is not a whole number", "--size", "12q");
    REFUSE("'5GB' is not a whole number such as 500, 64k, 12M or 5G", "--size", "5GB");
    REFUSE("1 to 1000000000000", "--size", "1e300");
    REFUSE("1 to 1000000000000", "--size", "0");
    REFUSE("'1kk'", "--size", "1kk");
    REFUSE("'k'", "--size", "k");
    REFUSE("'0.0001k'", "--size", "0.0001k");
    REFUSE("out of range", "--size", "1001G");
    REFUSE("'5k' is not a whole number", "-n", "5k"); // only sizes have suffixes
}

static void wrong_values_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    values v;
    REFUSE("--number: 11 is out of range: -3 to 10", "-n", "11");
    REFUSE("--number: -4 is out of range", "--number", "-4");
    REFUSE("'1.5' is not a whole number", "-n", "1.5");
    REFUSE("'' is not", "-n", "");
    REFUSE("'x' is not a number", "--real", "x");
    REFUSE("'nan'", "--real", "nan");
    REFUSE("out of range", "--real", "1.0001");
    REFUSE("'inf'", "-n", "inf");
    REFUSE("1e300 is out of range", "-n", "1e300");
    REFUSE("-1e300 is out of range", "-n", "-1e300");
    REFUSE("'inf' is not a number", "--real", "inf");
    REFUSE("'1e999' is not a number", "--real", "1e999");
    REFUSE("'-1'", "--seed", "-1");
    REFUSE("'18446744073709551616'", "--seed", "18446744073709551616");
    REFUSE("'1.0'", "--seed", "1.0");
    REFUSE("--flag takes no value", "--flag=1");
    REFUSE("--number needs a value: N", "-n");
    REFUSE("--text needs a value", "a", "--text");
}

static void unknown_options_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    values v;
    REFUSE("'--colour'", "--colour", "red");
    REFUSE("'-x'", "-x");
    REFUSE("'--numbe'", "--numbe", "3"); // no abbreviations
    REFUSE("'--numbers'", "--numbers", "3");
    REFUSE("'-number'", "-number", "3"); // a long name has two dashes
    assert_non_null(strstr(err.hint, "did you mean '--number'?"));
    REFUSE("'--n'", "--n", "3"); // a letter has one
    REFUSE("'-fn'", "-fn", "3"); // flags are not glued together
    assert_non_null(strstr(err.hint, "--help"));
}

static const char *guess(const char *typed)
{
    static const char *const words[] = {"generate", "chat", "serve", "convert", "max-tokens", "temp", "seed"};
    rrt__guess g = rrt__guess_begin(typed, strlen(typed));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) rrt__guess_offer(&g, words[i]);
    return g.best ? g.best : "";
}

static void a_word_that_may_be_meant_is_guessed(void **state)
{
    (void)state;
    assert_string_equal(guess("generat"), "generate");
    assert_string_equal(guess("gnerate"), "generate");
    assert_string_equal(guess("genreate"), "generate"); // two letters swapped are one change
    assert_string_equal(guess("generation"), "generate");
    assert_string_equal(guess("temperature"), "temp"); // one is the beginning of the other
    assert_string_equal(guess("max"), "max-tokens");
    assert_string_equal(guess("chit"), "chat");
    assert_string_equal(guess("dance"), "");
    assert_string_equal(guess("x"), "");
    assert_string_equal(guess(""), "");
    assert_string_equal(guess("a-word-that-is-longer-than-any-option-has-ever-been"), "");
}

static void arguments_are_told_from_options(void **state)
{
    (void)state;
    rrt_error err = {0};
    values v;
    assert_ok(PARSE("one", "-f", "two", "--", "--text"));
    assert_int_equal(v.n_positional, 3);
    assert_string_equal(v.positional[1], "two");
    assert_string_equal(v.positional[2], "--text"); // after "--" nothing is an option
    assert_string_equal(v.text, "default");
    assert_ok(PARSE("-", "--", "--"));
    assert_string_equal(v.positional[0], "-"); // standard input
    assert_string_equal(v.positional[1], "--");
    REFUSE("'four' is one argument too many", "one", "two", "three", "four");
}

static void assert_list(rrt__list *list, const char *expected)
{
    char joined[256] = "";
    for (size_t i = 0; i < list->count; i++) strcat(strcat(joined, list->items[i]), "|");
    assert_string_equal(joined, expected);
    rrt__list_free(list);
    assert_true(list->items == NULL && list->count == 0);
}

static void a_list_ends_at_the_next_option(void **state)
{
    (void)state;
    rrt_error err = {0};
    values v;
    assert_ok(PARSE("-f"));
    assert_list(&v.files, "");
    assert_ok(PARSE("one", "--data", "a", "b", "c", "-n", "3", "two"));
    assert_int_equal(v.n_positional, 2); // the next option ended the list
    assert_list(&v.files, "a|b|c|");
    assert_ok(PARSE("--data", "a", "--data", "b", "-f", "-d", "c", "d"));
    assert_list(&v.files, "a|b|c|d|");
    assert_ok(PARSE("--data=a", "one", "--data=", "--data", "-", "b", "--", "two"));
    assert_int_equal(v.n_positional, 2); // --data=a has that one value; "--" ends a list
    assert_list(&v.files, "a||-|b|");
    assert_ok(PARSE("-da", "one", "-d", "b"));
    assert_int_equal(v.n_positional, 1);
    assert_list(&v.files, "a|b|");
    assert_ok(PARSE("--data", "-f", "a")); // as elsewhere, the first value may look like an option
    assert_true(!v.flag);
    assert_list(&v.files, "-f|a|");
    REFUSE("--data needs a value: FILE ...", "--data");
    REFUSE("--data needs a value", "--data", "a", "-d");
    assert_list(&v.files, "a|"); // what was read before the error is the caller's to free
    rrt__memory_fail_after = 0;
    rrt_status status = PARSE("--data", "a");
    rrt__memory_fail_after = -1;
    assert_int_equal(status, RRT_STATUS_MEMORY);
    const char *many[15] = {"--data"};
    for (int i = 1; i < 15; i++) many[i] = "x";
    assert_ok(parse(&v, &err, 15, many));
    assert_int_equal(v.files.count, 14);
    rrt__list_free(&v.files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_option_is_read),
        cmocka_unit_test(sizes_may_have_suffixes),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(unknown_options_are_refused),
        cmocka_unit_test(arguments_are_told_from_options),
        cmocka_unit_test(a_list_ends_at_the_next_option),
        cmocka_unit_test(a_word_that_may_be_meant_is_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
