// quantize, export, generate with exits and drafts, bench and simulate, as they are typed.
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

static void quantize_writes_a_file_that_runs(void **state)
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
    assert_error(2, "would destroy", "quantize %s %s q8_0 --force", file, file);
    assert_int_equal(run("quantize %s again.gguf q8_0", file)->code, 0); // from a quantised one
    assert_int_equal(run("quantize %s %s q9 --force", golden_path("llama"), file)->code, 2);
    assert_int_equal(run("quantize %s %s", golden_path("llama"), file)->code, 2);
}

static void every_export_format_runs_with_equal_logits(void **state)
{
    (void)state;
    static const char *const formats[] = {"hf", "peft", "gguf"}, *const paths[] = {"out-hf", "out-peft",
                                                                                   "out.gguf"};
    assert_int_equal(run("convert %s loops --loops 2 --rank 2", golden_path("llama"))->code, 0);
    for (int i = 0; i < 3; i++) {
        json_t *made = run_json("export loops %s --to %s", paths[i], formats[i]);
        assert_number(made, "max_logit_diff", 0, 1e-4);
        json_decref(made);
        assert_int_equal(run("logits -m %s --tokens 1,2", paths[i])->code, 0);
        assert_error(1, "--force", "export loops %s --to %s", paths[i], formats[i]);
    }
    assert_error(2, "would destroy", "export loops loops --to hf --force");
    assert_error(2, "hf, peft, gguf", "export loops x --to onnx");
    assert_error(2, "--to", "export loops x");
    assert_error(2, "looped", "export loops x --to peft --looped");
    assert_error(1, "without LoRA", "export loops x.gguf --to gguf --looped");
}

static void bench_has_a_row_for_each_test_and_batch(void **state)
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

static const char *const recursive = "recursive.gguf";

static void make_recursive(void)
{
    assert_int_equal(run("convert %s folder --loops 2 --rank 4", golden_path("llama"))->code, 0);
    assert_int_equal(run("quantize folder %s q8_0", recursive)->code, 0);
}

static void early_exits_save_loops_and_drafts_change_nothing(void **state)
{
    (void)state;
    make_recursive();
    json_t *all = run_json("generate -m %s -p 'the cat' -n 12 --ignore-eos", recursive);
    json_t *early =
        run_json("generate -m %s -p 'the cat' -n 12 --ignore-eos --exit loops:1 --kv copy", recursive);
    json_t *drafted = run_json("generate -m %s -p 'the cat' -n 12 --ignore-eos --draft-loops 1", recursive);
    assert_near(json_number_value(json_object_get(all, "mean_loops")), 2, 0);
    assert_near(json_number_value(json_object_get(early, "mean_loops")), 13.0 / 12,
                1e-7); // the first by the prompt
    assert_int_equal(json_integer_value(json_array_get(json_object_get(early, "exit_depths"), 1)), 1);
    assert_true(json_equal(json_object_get(drafted, "ids"), json_object_get(all, "ids")));
    assert_true(json_integer_value(json_object_get(drafted, "drafted")) >=
                json_integer_value(json_object_get(drafted, "accepted")));
    json_decref(all);
    json_decref(early);
    json_decref(drafted);
    assert_int_equal(run("generate -m %s -p a --exit often", recursive)->code, 2);
    assert_int_equal(run("generate -m %s -p a --exit loops:1 --kv never", recursive)->code, 2);
    assert_int_equal(run("generate -m %s -p a --draft-loops 2", recursive)->code, 2);
}

static void bench_measures_batching_exits_and_traces(void **state)
{
    (void)state;
    json_t *bench = run_json(
        "bench -m %s --batching depth,sequence --exit loops:1,unchanged -n 8 -b 2,3 -r 1 --html page.html",
        recursive);
    const json_t *rows = json_object_get(bench, "rows"), *first = json_array_get(rows, 0);
    assert_int_equal(json_array_size(rows), 6); // of sequence no token leaves early: one row a batch size
    assert_string_equal(json_string_value(json_object_get(first, "batching")), "depth");
    assert_string_equal(json_string_value(json_object_get(first, "exit")), "loops:1");
    assert_true(json_number_value(json_object_get(first, "mean_loops")) < 2);
    assert_true(json_is_number(json_object_get(first, "agreement")));
    assert_true(json_is_null(json_object_get(json_array_get(rows, 2), "agreement")));
    rrt__string page = {0};
    read_back(&page, "page.html");
    assert_non_null(strstr(page.data, "\"timeline\""));
    rrt__string_free(&page);
    json_decref(bench);
    write_text("trace.txt", "1 2 1\n2 2\n");
    bench = run_json("bench -m %s --batching depth --exit-trace trace.txt -n 8 -b 2 -r 1", recursive);
    assert_true(
        json_array_size(json_object_get(json_array_get(json_object_get(bench, "rows"), 0), "step_ms")) > 0);
    json_decref(bench);
    write_text("trace.txt", "1 3\n");
    assert_error(1, "leaves after 3", "bench -m %s --exit-trace trace.txt", recursive);
    assert_error(1, "no gates", "bench -m %s --exit gate:0.5 -n 8", recursive);
    assert_error(2, "'sometimes'", "bench -m %s --batching sometimes -n 8", recursive);
}

static void simulate_counts_the_steps_of_each_batching(void **state)
{
    (void)state;
    write_text(
        "times.json",
        "{\"cases\": [{\"name\": \"a\", \"loops\": 2, \"batch\": 2, \"step_ms\": [[1, 10], [2, 20]]}]}");
    write_text("trace.txt", "1 2 1\n2 2\n");
    json_t *made = run_json("simulate --timings times.json --trace trace.txt");
    const json_t *rows = json_object_get(made, "rows");
    static const char *const ways[] = {"static", "sequence", "sequence-exit", "depth"};
    static const int steps[] = {6, 6, 5, 4};
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(rows, i);
        assert_string_equal(json_string_value(json_object_get(row, "batching")), ways[i]);
        assert_int_equal(json_integer_value(json_object_get(row, "steps")), steps[i]);
        assert_int_equal(json_integer_value(json_object_get(row, "tokens")), 5);
    }
    // 8 rows of 10 ms each
    assert_near(json_number_value(json_object_get(json_array_get(rows, 3), "tokens_per_s")), 5 / 0.08, 1e-6);
    json_decref(made);
    write_text("trace.txt", "1 x\n");
    assert_error(1, "line 1", "simulate --timings times.json --trace trace.txt");
    write_text(
        "times.json",
        "{\"cases\": [{\"name\": \"a\", \"loops\": 2, \"batch\": 2, \"step_ms\": [[2, 10], [1, 20]]}]}");
    write_text("trace.txt", "1\n");
    assert_error(1, "step_ms", "simulate --timings times.json --trace trace.txt");
    assert_error(2, "--trace", "simulate --timings times.json");
}

static void generation_ends_where_the_context_is_full(void **state)
{
    (void)state;
    const char *model = golden_path("llama");
    json_t *json = run_json("generate -m %s -p 'the cat' -n 100 --ignore-eos -t 1 --ctx 12", model);
    const char *stop = json_string_value(json_object_get(json, "stop"));
    assert_string_equal(stop, "context");
    size_t prompt = 13 - json_array_size(json_object_get(json, "ids"));
    assert_true(prompt >= 2 && prompt < 12);
    json_decref(json);
    assert_error(2, "do not fit the context of 1 (", "generate -m %s -p 'the cat' --ctx 1", model);
    assert_error(2, "the model's context is 128 tokens", "generate -m %s -p 'the cat' --ctx 129", model);
}

// Weights whose products leave f32's range: every verb that runs the model says so, none prints a number.
static void every_verb_reports_weights_that_overflow(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[128];
    rrt_model *model = open_golden("llama");
    for (int s = 0; s < model->plan.n_slots; s++) {
        rrt__linear *o = &model->slots[s].matrix[RRT__MATRIX_O];
        for (size_t i = 0; i < o->out * o->in; i++) o->weight[i] *= 1e25f;
    }
    snprintf(path, sizeof path, "%s/overflow", workspace);
    assert_ok(rrt_model_save(model, path, &(rrt_save_options){.dtype = "f32"}, &err));
    rrt_model_close(model);
    write_text("text.txt", "the cat sat on the mat and the dog sat on the cat and so on and on and on\n");
    const char *const commands[] = {"logits -m overflow --tokens 5,6",
                                    "generate -m overflow -p the -n 2",
                                    "generate -m overflow -p the -n 2 --temp 1 --json",
                                    "eval ppl -m overflow -f text.txt -c 8 --json",
                                    "eval ppl -m overflow -f text.txt -c 8 --kv-type f16",
                                    "eval kl -m overflow --teacher overflow -f text.txt -c 8",
                                    "bench -m overflow -p 4 -n 0 -r 1",
                                    "bench -m overflow -p 0 -n 4 -r 1",
                                    "bench -m overflow -p 4 -n 4 -r 1 --batching depth -b 2",
                                    "teach -m overflow --data text.txt -o store --top 4 -c 8",
                                    "export overflow exported.gguf --to gguf"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        result *r = run("%s -t 1", commands[i]);
        if (r->code != 1 || !strstr(r->err.data, "finite"))
            fail_msg("%s: exit code %d, %s%s", commands[i], r->code, r->out.data, r->err.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_writes_a_file_that_runs),
        cmocka_unit_test(every_export_format_runs_with_equal_logits),
        cmocka_unit_test(bench_has_a_row_for_each_test_and_batch),
        cmocka_unit_test(early_exits_save_loops_and_drafts_change_nothing),
        cmocka_unit_test(bench_measures_batching_exits_and_traces),
        cmocka_unit_test(simulate_counts_the_steps_of_each_batching),
        cmocka_unit_test(generation_ends_where_the_context_is_full),
        cmocka_unit_test(every_verb_reports_weights_that_overflow),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
