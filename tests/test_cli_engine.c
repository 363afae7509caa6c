// quantize, export and bench, as they are typed.
#include "cli.h"

static const char *const file = "made.gguf";

static int set_up(void **state)
{
    (void)state;
    temp_folder(workspace);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

static void test_quantize(void **state)
{
    (void)state;
    json_t *made = run_json("quantize %s %s q4_0", golden_path("llama"), file);
    json_t *about = run_json("inspect %s", file), *source = run_json("inspect %s", golden_path("llama"));
    assert_int_equal(json_integer_value(json_object_get(made, "file_bytes")),
                     json_integer_value(json_object_get(about, "file_bytes")));
    assert_true(json_equal(json_object_get(about, "params"), json_object_get(source, "params")));
    json_decref(about);
    json_decref(made);
    json_decref(source);
    assert_int_equal(run("generate -m %s -p 'the cat' -n 4", file)->code, 0);
    result *again = run("quantize %s %s q4_0", golden_path("llama"), file);
    assert_int_equal(again->code, 1);
    assert_non_null(strstr(again->err.data, "--force"));
    assert_int_equal(run("quantize %s %s q8_0 --force", file, file)->code, 0); // from a quantised one
    assert_int_equal(run("quantize %s %s q9 --force", golden_path("llama"), file)->code, 2);
    assert_int_equal(run("quantize %s %s", golden_path("llama"), file)->code, 2);
}

static void test_export(void **state)
{
    (void)state;
    static const char *const formats[] = {"hf", "peft", "gguf"};
    assert_int_equal(run("convert %s loops --loops 2 --rank 2", golden_path("llama"))->code, 0);
    for (int i = 0; i < 3; i++) {
        json_t *made = run_json("export loops out-%s --to %s", formats[i], formats[i]);
        assert_number(made, "max_logit_diff", 0, 1e-4);
        json_decref(made);
        assert_int_equal(run("logits -m out-%s --tokens 1,2", formats[i])->code, 0);
        assert_error(1, "--force", "export loops out-%s --to %s", formats[i], formats[i]);
    }
    assert_error(2, "would destroy", "export loops loops --to hf --force");
    assert_error(2, "hf, peft, gguf", "export loops x --to onnx");
    assert_error(2, "--to", "export loops x");
    assert_error(2, "looped", "export loops x --to hf --looped");
    assert_error(1, "without LoRA", "export loops x --to gguf --looped");
}

static void test_bench(void **state)
{
    (void)state;
    static const char *const tests[] = {"pp8", "tg4", "tg4"};
    json_t *bench = run_json("bench -m %s -p 8 -n 4 -b 1,3 -r 2", file), *row;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(bench, "rows")), 3);
    json_array_foreach(json_object_get(bench, "rows"), i, row)
    {
        assert_string_equal(json_string_value(json_object_get(row, "test")), tests[i]);
        assert_int_equal(json_integer_value(json_object_get(row, "batch")), i == 2 ? 3 : 1);
        assert_true(json_number_value(json_object_get(row, "tokens_per_s_mean")) > 0);
    }
    json_decref(bench);
    assert_int_equal(run("bench -m %s -p 100000", file)->code, 2);
    assert_int_equal(run("bench -m %s -b 1,x", file)->code, 2);
    assert_int_equal(run("bench -m %s -b ''", file)->code, 2);
    assert_non_null(strstr(run("bench -m %s --train -c 8 -b 1 -r 1", file)->out.data, "train"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quantize), cmocka_unit_test(test_export),
                                       cmocka_unit_test(test_bench)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
