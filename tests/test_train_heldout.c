// Held-out text in training: the figures are those of rrt_eval_kl and rrt_eval_ppl, they are the same
// however often the run is broken off, and the model is the one that the run makes without them.
#include "training.h"

enum { HELDOUT = 100 };

// Random ids: text that the run is not trained on.
static size_t heldout_ids(int32_t ids[HELDOUT])
{
    for (size_t i = 0; i < HELDOUT; i++) ids[i] = (int32_t)(rrt__random_bits(7, 0, i) % 97);
    return HELDOUT;
}

static double kl_of(const rrt_model *model, const rrt_model *teacher)
{
    rrt_error err = {0};
    int32_t ids[HELDOUT];
    rrt_eval_kl_result result;
    const rrt_eval_options options = {.threads = 1, .context = CONTEXT};
    assert_ok(rrt_eval_kl(model, teacher, ids, heldout_ids(ids), &options, &result, &err));
    return result.kl;
}

static double loss_of(const rrt_model *model)
{
    rrt_error err = {0};
    int32_t ids[HELDOUT];
    rrt_eval_ppl_result result;
    const rrt_eval_options options = {.threads = 1, .context = CONTEXT};
    assert_ok(rrt_eval_ppl(model, ids, heldout_ids(ids), &options, &result, &err));
    return result.nll_per_token;
}

// The lines of a log that are measurements, without the seconds in them.
static void read_records(rrt__string *records, const char *path)
{
    rrt_error err = {0};
    rrt__string text = {0};
    records->length = 0;
    assert_ok(rrt__file_read(&text, path, &err));
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        const char *seconds = strstr(line, ",\"seconds\":"), *value = strstr(line, ",\"heldout");
        if (!value) continue;
        assert_true(seconds && seconds < value);
        assert_ok(rrt__string_append(records, line, (size_t)(seconds - line), &err));
        assert_ok(rrt__string_append(records, value, strlen(value), &err));
        assert_ok(rrt__string_append(records, "\n", 1, &err));
    }
    rrt__string_free(&text);
}

static size_t count_records(const char *path)
{
    size_t count = 0;
    rrt__string records = {0};
    read_records(&records, path);
    for (size_t i = 0; i < records.length; i++) count += records.data[i] == '\n';
    rrt__string_free(&records);
    return count;
}

static void measuring_does_not_change_the_model(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    int32_t ids[HELDOUT];
    rrt_model *teacher = open_golden("llama");
    rrt_train_options options = usual();
    for (int taught = 0; taught < 2; taught++)
        for (int threads = 1; threads < 3; threads++) {
            options = usual();
            options.teacher = taught ? teacher : NULL;
            options.threads = threads;
            options.overwrite = 1;
            assert_ok(train(in_folder("without"), &options, &result, &err));
            assert_true(isnan(result.heldout) && isnan(result.heldout_start));
            assert_int_equal(count_records(in_folder("without/log.jsonl")), 0);
            options.heldout = ids;
            options.n_heldout = heldout_ids(ids);
            options.heldout_every = 3 * BATCH * CONTEXT;
            assert_ok(train(in_folder("with"), &options, &result, &err));
            assert_same_file(in_folder("without"), in_folder("with"), "model.safetensors");
        }
    rrt_model_close(teacher);
}

static void the_figures_are_those_of_eval(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    int32_t ids[HELDOUT];
    rrt_model *teacher = open_golden("llama"), *student = open_student(), *trained;
    double kl = kl_of(student, teacher), loss = loss_of(student);
    rrt_model_close(student);
    rrt_train_options options = usual();
    options.heldout = ids;
    options.n_heldout = heldout_ids(ids);
    assert_ok(train(in_folder("plain"), &options, &result, &err));
    trained = open_path(in_folder("plain"));
    assert_near(result.heldout_start, loss, 0);
    assert_near(result.heldout, loss_of(trained), 0);
    rrt_model_close(trained);
    options.teacher = teacher;
    assert_ok(train(in_folder("taught"), &options, &result, &err));
    trained = open_path(in_folder("taught"));
    assert_near(result.heldout_start, kl, 0);
    assert_near(result.heldout, kl_of(trained, teacher), 0);
    rrt_model_close(trained);
    rrt_model_close(teacher);
    // 768 tokens, every 4 · 100: at the start, after 416 and at the end.
    assert_int_equal(count_records(in_folder("taught/log.jsonl")), 3);
    assert_int_equal(count_lines(in_folder("taught/log.jsonl")), STEPS + 3);
    assert_int_equal(count_lines(in_folder("taught/log.csv")), STEPS + 1);
}

static int stop_after(void *user, const char *stage, double done, double total)
{
    (void)done;
    (void)total;
    int *left = user;
    return strcmp(stage, "train") == 0 && --*left == 0;
}

static void a_resumed_run_measures_at_the_same_points(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result whole, pieces;
    int32_t ids[HELDOUT];
    rrt__string expected = {0}, got = {0};
    rrt_train_options options = usual();
    options.heldout = ids;
    options.n_heldout = heldout_ids(ids);
    options.heldout_every = 100; // of 32 tokens a step
    assert_ok(train(in_folder("whole"), &options, &whole, &err));
    options.resume = 1;
    rrt_status status = RRT_STATUS_CANCELLED;
    while (status == RRT_STATUS_CANCELLED) {
        int left = 3;
        const rrt_progress progress = {stop_after, &left};
        options.progress = &progress;
        status = train(in_folder("pieces"), &options, &pieces, &err);
    }
    assert_ok(status);
    assert_near(pieces.heldout_start, whole.heldout_start, 1e-8);
    assert_near(pieces.heldout, whole.heldout, 0);
    read_records(&expected, in_folder("whole/log.jsonl"));
    read_records(&got, in_folder("pieces/log.jsonl"));
    assert_string_equal(expected.data, got.data);
    assert_int_equal(count_records(in_folder("whole/log.jsonl")), 1 + STEPS * BATCH * CONTEXT / 100 + 1);
    options.progress = NULL;
    // Finished, and resumed once more: nothing is measured again.
    assert_ok(train(in_folder("pieces"), &options, &pieces, &err));
    assert_near(pieces.heldout, whole.heldout, 1e-8);
    read_records(&got, in_folder("pieces/log.jsonl"));
    assert_string_equal(expected.data, got.data);
    ids[0]++;
    assert_fails(RRT_STATUS_MISMATCH, "held-out text", train(in_folder("pieces"), &options, &pieces, &err));
    options.n_heldout = 0;
    assert_fails(RRT_STATUS_MISMATCH, "held-out text", train(in_folder("pieces"), &options, &pieces, &err));
    rrt__string_free(&expected);
    rrt__string_free(&got);
}

static void a_clock_measures_about_ten_times(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    int32_t ids[HELDOUT];
    rrt_train_options options = usual();
    options.tokens = 0;
    options.minutes = 0.01;
    options.heldout = ids;
    options.n_heldout = heldout_ids(ids);
    assert_ok(train(in_folder("clock"), &options, &result, &err));
    assert_in_range(count_records(in_folder("clock/log.jsonl")), 2, 12);
}

static void a_bad_heldout_text_leaves_nothing(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    const int32_t ids[] = {1, 97, 2};
    rrt_train_options options = usual();
    options.heldout = ids;
    options.n_heldout = 3;
    assert_fails(RRT_STATUS_ARGUMENT, "the held-out text", train(in_folder("bad"), &options, &result, &err));
    assert_false(rrt__path_exists(in_folder("bad")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measuring_does_not_change_the_model),
        cmocka_unit_test(the_figures_are_those_of_eval),
        cmocka_unit_test(a_resumed_run_measures_at_the_same_points),
        cmocka_unit_test(a_clock_measures_about_ten_times),
        cmocka_unit_test(a_bad_heldout_text_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
