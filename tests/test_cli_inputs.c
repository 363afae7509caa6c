// What is wrong with options and inputs is known before the work, and nothing is left behind; what a
// conversion says of its result.
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

static void a_target_is_less_than_the_whole_body(void **state)
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

static void a_gguf_file_needs_a_name_that_ends_in_gguf(void **state)
{
    (void)state;
    assert_error(2, "write to none.gguf", "quantize nowhere none q8_0");
    assert_error(2, "ends in .gguf", "quantize nowhere none.gguf/ q8_0");
    assert_error(2, "ends in .gguf", "quantize nowhere .gguf q8_0");
    assert_error(2, "ends in .gguf", "export nowhere none --to gguf");
    assert_error(1, "nowhere", "quantize nowhere none.GGUF q8_0");
    assert_nothing_left("none");
}

static void text_that_cannot_be_read_leaves_no_folder(void **state)
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

static void a_conversion_is_summed_up(void **state)
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

// The model that a conversion would make is told to the parameter; time and memory are guesses.
static void a_dry_run_of_convert_writes_nothing(void **state)
{
    (void)state;
    static const char *const options[] = {
        "--loops 2 --rank 3", "--loops 2 --rank 100 --prelude 1 --coda 1 --norms per-depth",
        "--loops 2 --init calibrated --calib text --rank 2", "--sharing none --layers 2",
        "--layers 3 --loops 2 --prelude 1 --init calibrated --calib text"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        json_t *dry = run_json("convert %s dry %s --dry-run", source, options[i]);
        assert_nothing_left("dry");
        json_t *wet = run_json("convert %s wet %s --force", source, options[i]),
               *guess = json_object_get(dry, "params"), *made = json_object_get(wet, "params");
        assert_true(json_is_true(json_object_get(dry, "dry_run")));
        assert_true(json_equal(json_object_get(guess, "total"), json_object_get(made, "total")));
        assert_true(json_equal(json_object_get(guess, "body"), json_object_get(made, "body")));
        assert_true(json_equal(json_object_get(guess, "lora"), json_object_get(made, "lora")));
        assert_true(json_number_value(json_object_get(dry, "seconds")) >= 0);
        assert_true(json_number_value(json_object_get(dry, "peak_rss_bytes")) > 0);
        json_decref(dry);
        json_decref(wet);
    }
    json_t *search = run_json("convert %s dry --target-params 70%% --calib text --dry-run", source);
    assert_true(json_integer_value(json_object_get(search, "plans")) > 1);
    json_decref(search);
    result *r = run("convert %s dry --loops 2 --rank 3 --dry-run", source);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "\ntime    about "));
    assert_non_null(strstr(r->out.data, "\nmemory  about "));
    // What a conversion refuses, a dry run refuses.
    assert_error(2, "nothing for a LoRA", "convert %s dry --sharing none --rank 2 --dry-run", source);
    assert_error(2, "no plan of 2 to 3 loops", "convert %s dry --target-params 10 --calib text --dry-run",
                 source);
    assert_nothing_left("dry");
}

static void a_dry_run_of_train_writes_nothing(void **state)
{
    (void)state;
    json_decref(run_json("convert %s student --loops 2 --rank 2", source));
    json_t *dry = run_json(
               "train student -o dry --data text --teacher %s --tokens 1000 --ctx 8 --batch 2 --dry-run",
               source),
           *info = run_json("inspect student");
    assert_number(dry, "steps", 63, 0); // of 16 tokens
    assert_number(dry, "tokens", 63 * 16, 0);
    assert_true(json_equal(json_object_get(dry, "params_total"),
                           json_object_get(json_object_get(info, "params"), "total")));
    assert_true(json_number_value(json_object_get(dry, "seconds")) > 0);
    assert_true(json_number_value(json_object_get(dry, "tokens_per_s")) > 0);
    json_decref(dry);
    json_decref(info);
    dry = run_json("train student -o dry --data text --minutes 1 --lr-shared 0 --lr-embeddings 0 --lr-norms "
                   "0 --dry-run");
    assert_true(json_integer_value(json_object_get(dry, "params_trained")) <
                json_integer_value(json_object_get(dry, "params_total")));
    assert_true(json_integer_value(json_object_get(dry, "steps")) > 0);
    json_decref(dry);
    result *r = run("train --from-scratch %s -o dry --data text --tokens 1k --dry-run", source);
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out.data, "\ntime    about "));
    assert_error(1, "nothere", "train student -o dry --data nothere --tokens 1k --dry-run");
    assert_error(2, "how long", "train student -o dry --data text --dry-run");
    assert_error(1, "exists already", "train student -o wet --data text --tokens 1k --dry-run");
    assert_nothing_left("dry");
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_less_than_the_whole_body),
        cmocka_unit_test(a_gguf_file_needs_a_name_that_ends_in_gguf),
        cmocka_unit_test(text_that_cannot_be_read_leaves_no_folder),
        cmocka_unit_test(a_conversion_is_summed_up),
        cmocka_unit_test(a_dry_run_of_convert_writes_nothing),
        cmocka_unit_test(a_dry_run_of_train_writes_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
