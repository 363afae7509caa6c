// Runs that train exits and gates, and students whose loops share keys and values.
#include "model/parameters.h"
#include "training.h"

// Mean -ln p with so many loops, on the text that was trained on.
static double nll_with_loops(const char *path, int loops)
{
    rrt_error err = {0};
    rrt__string text = {0};
    rrt_model *model = open_path(path);
    int32_t *ids;
    size_t count;
    rrt_eval_ppl_result result;
    assert_ok(rrt__file_read(&text, text_path, &err));
    assert_ok(rrt_encode(rrt_model_tokenizer(model), text.data, text.length, NULL, &ids, &count, &err));
    const rrt_eval_options options = {.threads = 1, .loops = loops, .context = CONTEXT, .max_tokens = 800};
    assert_ok(rrt_eval_ppl(model, ids, count, &options, &result, &err));
    rrt_ids_free(ids);
    rrt__string_free(&text);
    rrt_model_close(model);
    return result.nll_per_token;
}

// An exit that is trained gets better than one that is not, whatever it learns from.
static void trained_exits_are_better_than_untrained_ones(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    assert_ok(train(in_folder("exits-none"), &options, &result, &err));
    double untrained = nll_with_loops(in_folder("exits-none"), 1);
    options.exit_loss = RRT_EXIT_LOSS_WEIGHTED;
    assert_ok(train(in_folder("exits-weighted"), &options, &result, &err));
    assert_true(nll_with_loops(in_folder("exits-weighted"), 1) < untrained - 0.1);
    options.exit_loss = RRT_EXIT_LOSS_AGGRESSIVE;
    options.exit_kd = 1;
    options.exit_weight = 1;
    assert_ok(train(in_folder("exits-kd"), &options, &result, &err));
    assert_true(nll_with_loops(in_folder("exits-kd"), 1) < untrained - 0.1);

    options.resume = 1;
    options.exit_weight = 0.3;
    assert_fails(RRT_STATUS_MISMATCH, "exit_weight 1, now it is 0.3",
                 train(in_folder("exits-kd"), &options, &result, &err));
    options = usual();
    options.exit_kd = 1;
    assert_fails(RRT_STATUS_ARGUMENT, "choose an exit loss", train(in_folder("e1"), &options, &result, &err));
    options = usual();
    options.exit_loss = RRT_EXIT_LOSS_WEIGHTED;
    rrt_model *plain = open_golden("llama");
    assert_fails(RRT_STATUS_UNSUPPORTED, "no loop boundary",
                 rrt_train(plain, in_folder("e2"), &options, &result, &err));
    rrt_model_close(plain);
}

// Gates are learnt beside a model that stays what it is, and come and go with its files.
static void gates_are_learnt_without_changing_the_model(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    options.gates = 1;
    options.rate_shared = options.rate_lora = options.rate_norm = options.rate_embedding = 0;
    assert_ok(train(in_folder("gates"), &options, &result, &err));
    assert_true(result.loss < 0.6); // ln 2 = 0.69 is what knowing nothing costs
    rrt_model *before = open_path(in_folder("student")), *after = open_path(in_folder("gates"));
    assert_null(before->gates);
    assert_true(after->gates[0].weight[0] != 0 && after->gates[0].bias[0] != 0);
    assert_same_logits(before, 0, after, 0, 0);
    assert_same_logits(before, 1, after, 1, 0);
    rrt_model *again = round_trip(after, "f32");
    assert_memory_equal(after->gates[0].weight, again->gates[0].weight, after->shape.hidden * sizeof(float));
    rrt_model_close(before);
    rrt_model_close(after);
    rrt_model_close(again);

    // A model that learns beside them becomes the same model.
    options = usual();
    assert_ok(train(in_folder("gates-none"), &options, &result, &err));
    options.gates = 1;
    assert_ok(train(in_folder("gates-too"), &options, &result, &err));
    before = open_path(in_folder("gates-none"));
    after = open_path(in_folder("gates-too"));
    assert_same_logits(before, 0, after, 0, 0);
    rrt_model_close(before);
    rrt_model_close(after);
    options.tokens *= 2;
    options.resume = 1;
    assert_ok(train(in_folder("gates-too"), &options, &result, &err));

    options = usual();
    options.rate_shared = options.rate_lora = options.rate_norm = options.rate_embedding = 0;
    assert_fails(RRT_STATUS_ARGUMENT, "nothing is trained", train(in_folder("g1"), &options, &result, &err));
    options = usual();
    options.gates = 1;
    rrt_model *plain = open_golden("llama");
    assert_fails(RRT_STATUS_UNSUPPORTED, "gates stand at loop boundaries",
                 rrt_train(plain, in_folder("g2"), &options, &result, &err));
    rrt_model_close(plain);
    update_json(in_folder("gates"), "config.json",
                json_pack("{s:{s:i, s:b, s:s, s:i, s:[iiii], s:s}}", "rrt", "format_version", 1, "gates", 1,
                          "sharing", "none", "loops", 1, "plan", 0, 1, 2, 3, "norms", "tied"));
    assert_fails(RRT_STATUS_FORMAT, "no loop boundary",
                 rrt_model_open(&plain, in_folder("gates"), NULL, &err));
}

// Loops that share keys and values learn, and stay so.
static void students_with_shared_keys_and_values_learn(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_train_result result;
    rrt_train_options options = usual();
    options.share_kv = 1;
    options.exit_loss = RRT_EXIT_LOSS_WEIGHTED;
    options.recompute = 1;
    assert_ok(train(in_folder("shared-kv"), &options, &result, &err));
    assert_true(result.loss < 4.0);
    rrt_model *model = open_path(in_folder("shared-kv"));
    assert_true(model->shares_kv && model->depths[2].lora[RRT__MATRIX_K].rank == 0);
    rrt_model_close(model);
    assert_true(nll_with_loops(in_folder("shared-kv"), 0) < 4.0);
    options.tokens *= 2;
    options.resume = 1;
    assert_ok(train(in_folder("shared-kv"), &options, &result, &err));

    rrt_model *teacher = open_golden("llama");
    options = usual();
    options.share_kv = 1;
    options.teacher = teacher;
    options.match_tokens = 100;
    assert_fails(RRT_STATUS_UNSUPPORTED, "hidden-state distillation",
                 train(in_folder("k1"), &options, &result, &err));
    rrt_model_close(teacher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trained_exits_are_better_than_untrained_ones),
        cmocka_unit_test(gates_are_learnt_without_changing_the_model),
        cmocka_unit_test(students_with_shared_keys_and_values_learn),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
