// What is wrong with options and inputs is known before the work, and nothing is left behind; what a conversion
// says of its result.
#include "cli.h"

static char source[4096];

static int set_up(void **state)
{
    (void)state;
    temp_folder(workspace);
    snprintf(source, sizeof source, "%s", golden_path("llama"));
    write_text("text", "the cat sat on the mat and the rat ate the fat oat");
    write_text("empty", "");
    write_text("bad", "the cat \xff sat");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

// Whether the workspace has no entry whose name begins so, hidden or not.
static void assert_nothing_left(const char *name)
{
    char command[4096];
    snprintf(command, sizeof command, "cd %s && ls -A | grep -q '%s'", workspace, name);
    if (system(command) == 0) fail_msg("something is left of %s", name);
}

static void test_a_target_is_a_part_of_the_body(void **state)
{
    (void)state;
    static const char *const wrong[] = {"160%", "100%", "0%", "-5%",  "nan%", "nan",
                                        "inf",  "60%x", "0",  "-64M", ""};
    // Known from the option alone: there is no such source.
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_error(2, "--target-params", "convert nowhere none --target-params=%s --calib text", wrong[i]);
    // And from the source's shape: there is no such text.
    assert_error(2, "no less than the body", "convert %s none --target-params 1M --calib nowhere", source);
    assert_error(2, "no less than the whole body",
                 "convert %s none --init calibrated --calib nowhere --lora-budget 1M", source);
    assert_error(2, "no plan of 2 to 3 loops", "convert %s none --target-params 10 --calib text", source);
    assert_nothing_left("none");
}

static void test_gguf_files_are_named_so(void **state)
{
    (void)state;
    assert_error(2, "write to none.gguf", "quantize nowhere none q8_0");
    assert_error(2, "ends in .gguf", "quantize nowhere none.gguf/ q8_0");
    assert_error(2, "ends in .gguf", "quantize nowhere .gguf q8_0");
    assert_error(2, "ends in .gguf", "export nowhere none --to gguf");
    assert_error(1, "nowhere", "quantize nowhere none.GGUF q8_0");
    assert_nothing_left("none");
}

static void test_text_that_cannot_be_read_leaves_no_folder(void **state)
{
    (void)state;
    static const struct {
        const char *file, *what;
        int code;
    } cases[] = {{"nothere", "nothere", 1},
                 {".", "regular file", 1},
                 {"empty", "empty: the file is empty", 1},
                 {"bad", "not valid UTF-8", 1},
                 {"/dev/null", "regular file", 1},
                 {"text bad", "UTF-8", 1},
                 {"text nothere", "nothere", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_error(cases[i].code, cases[i].what, "train %s -o run --tokens 64 --ctx 8 --batch 2 --data %s",
                     source, cases[i].file);
        assert_error(cases[i].code, cases[i].what,
                     "train %s -o run --tokens 64 --ctx 8 --batch 2 --resume auto --data %s", source,
                     cases[i].file);
        assert_error(cases[i].code, cases[i].what, "teach -m %s -o run --ctx 8 --data %s", source,
                     cases[i].file);
        assert_nothing_left("run");
    }
    // The files are looked at before a model is opened.
    assert_error(1, "nothere", "train nomodel -o run --tokens 64 --data nothere");
    assert_error(1, "nothere", "teach -m nomodel -o run --data nothere");
    assert_nothing_left("run");
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (; *text; text++) count += *text == '\n';
    return count;
}

static void test_a_conversion_is_summed_up(void **state)
{
    (void)state;
    result *r = run("convert %s summary --loops 2 --rank 2 -t 1", source);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "plan    cycle 2 x 2, norms tied\n"));
    assert_non_null(strstr(r->out.data, "tied    layers 0+2 1+3\n"));
    assert_non_null(strstr(r->out.data, "\nbody    "));
    assert_non_null(strstr(r->out.data, "\ntotal   "));
    assert_non_null(strstr(r->out.data, "\nfile    "));
    assert_non_null(strstr(r->out.data, "\ntime    "));
    assert_non_null(strstr(r->out.data, "the 5 matrices with most left, of 28;")); // 4 depths of 7
    assert_true(count_lines(r->out.data) <= 16);
    r = run("convert %s table --loops 2 --rank 2 --verbose -t 1", source);
    assert_int_equal(r->code, 0);
    assert_true(count_lines(r->out.data) >= 28 + 7);
    json_t *json = run_json("convert %s json --loops 2 --rank 2", source);
    assert_int_equal(json_array_size(json_object_get(json, "report")), 28);
    json_decref(json);
    r = run("convert %s kept --keep 0,2-3 --loops 2 --prelude 1 --norms per-depth -t 1", source);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "\nkept    layers 0 2 3\n"));
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_target_is_a_part_of_the_body),
        cmocka_unit_test(test_gguf_files_are_named_so),
        cmocka_unit_test(test_text_that_cannot_be_read_leaves_no_folder),
        cmocka_unit_test(test_a_conversion_is_summed_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
