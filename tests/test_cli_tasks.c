// `rrt eval tasks` as a user meets it.
#include "cli.h"

#define ARC "{\"context\": \"the cat\", \"choices\": [\"runs\", \"on\"], \"gold\": 0}\n"
#define ARC_2 "{\"context\": \"one\", \"choices\": [\"loop\", \"cat\"], \"gold\": 1}\n"
#define LAMBADA "{\"context\": \"the cat runs\", \"target\": \"on\"}\n"

static const char *ask; // the verb with model and data

static int set_up(void **state)
{
    (void)state;
    static char text[8192];
    temp_folder(workspace);
    write_text("arc_easy.jsonl", ARC ARC_2);
    write_text("lambada_openai.jsonl", LAMBADA);
    snprintf(text, sizeof text, "eval tasks -m %s --data .", golden_path("llama"));
    ask = text;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

// Against the library, which test_tasks holds to the logits.
static rrt_task_result from_library(const char *task)
{
    rrt_error err = {0};
    rrt_task_result figures;
    rrt_model *model = open_golden("llama");
    assert_ok(rrt_eval_task(model, task, workspace, NULL, &figures, &err));
    rrt_model_close(model);
    return figures;
}

static void figures_are_those_of_the_library(void **state)
{
    (void)state;
    rrt_task_result arc = from_library("arc_easy"), lambada = from_library("lambada_openai");
    json_t *json = run_json("%s --tasks lambada_openai,arc_easy", ask);
    const json_t *tasks = json_object_get(json, "tasks"), *task = json_object_get(tasks, "arc_easy");
    assert_int_equal(json_object_size(tasks), 2);
    assert_number(task, "acc", arc.acc, 1e-9);
    assert_number(task, "acc_norm", arc.acc_norm, 1e-9);
    assert_number(task, "stderr", arc.acc_stderr, 1e-6);
    assert_number(task, "acc_norm_stderr", arc.acc_norm_stderr, 1e-6);
    assert_number(task, "n", 2, 0);
    task = json_object_get(tasks, "lambada_openai");
    assert_number(task, "perplexity", lambada.perplexity, 1e-4 * lambada.perplexity);
    assert_true(json_is_null(json_object_get(task, "acc_norm")));
    assert_true(json_is_null(json_object_get(task, "stderr"))); // of one question
    assert_number(json, "average", (arc.acc_norm + lambada.acc) / 2, 1e-9);
    json_decref(json);

    const char *table = run("%s --tasks lambada_openai,arc_easy --limit 1", ask)->out.data;
    assert_non_null(strstr(table, "|arc_easy      |     1|acc "));
    assert_non_null(strstr(table, "|      |acc_norm "));
    assert_non_null(strstr(table, "|      |perplexity|"));
}

static void samples_have_a_line_for_each_question(void **state)
{
    (void)state;
    rrt_error err = {0};
    json_t *json;
    rrt__string text = {0};
    json_decref(run_json("%s --tasks lambada_openai,arc_easy --samples samples", ask));
    read_back(&text, "samples");
    size_t lines = 0;
    for (char *at = text.data; (at = strchr(at, '\n')); at++) lines++;
    assert_int_equal(lines, 3);
    assert_ok(rrt__json_parse(&json, text.data, (size_t)(strchr(text.data, '\n') - text.data), &err));
    assert_string_equal(json_string_value(json_object_get(json, "task")), "lambada_openai");
    assert_near(json_number_value(json_array_get(json_object_get(json, "loglikelihoods"), 0)),
                -log(from_library("lambada_openai").perplexity), 1e-4);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(json, "characters"), 0)), 2);
    json_decref(json);
    rrt__string_free(&text);

    assert_error(1, "--force", "%s --tasks arc_easy --samples samples", ask);
    assert_int_equal(run("%s --tasks arc_easy --samples samples --force", ask)->code, 0);
    // After a failure nothing is left behind.
    write_text("piqa.jsonl", "{\"context\": \"the\"}\n");
    assert_error(1, "./piqa.jsonl: line 1: ", "%s --tasks arc_easy,piqa --samples none", ask);
    char command[128];
    snprintf(command, sizeof command, "ls %s/none* >/dev/null 2>&1", workspace);
    assert_int_not_equal(system(command), 0);
}

static void usage_errors_and_missing_files_are_told_apart(void **state)
{
    (void)state;
    assert_error(2, "--data", "eval tasks -m %s", golden_path("llama"));
    assert_error(2, "-m MODEL", "eval tasks --data .");
    assert_error(2, "'arc'", "%s --tasks arc", ask);
    assert_error(2, "''", "%s --tasks arc_easy,", ask);
    assert_error(2, "twice", "%s --tasks arc_easy,arc_easy", ask);
    assert_error(2, "out of range", "%s --limit 0", ask);
    assert_error(1, "3 loops", "%s --tasks arc_easy --loops 3", ask); // the model has none
    assert_error(1, "./hellaswag.jsonl", "%s", ask);                  // all seven are asked for
    assert_error(1, "tokenizer", "eval tasks -m %s --data . --tasks arc_easy", golden_path("neox"));
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_the_library),
        cmocka_unit_test(samples_have_a_line_for_each_question),
        cmocka_unit_test(usage_errors_and_missing_files_are_told_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
