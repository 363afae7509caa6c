// How often layers run, chosen when a model is opened: another number of loops, layers of a plain model
// again.
#include "looped.h"

static rrt_model *open_with(const char *path, rrt_open_options options)
{
    rrt_error err = {0};
    rrt_model *model;
    assert_ok(rrt_model_open(&model, path, &options, &err));
    return model;
}

static void more_loops_than_trained_match_pytorch(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        golden g = golden_open(names[i]);
        rrt_model_info info;
        char path[512];
        snprintf(path, sizeof path, RRT_TEST_DATA "/models/%s", names[i]);
        int trained = (int)json_array_size(json_object_get(g.json, "loops"));
        rrt_model *more = open_with(path, (rrt_open_options){.loops = trained + 1}),
                  *fewer = open_with(path, (rrt_open_options){.loops = trained - 1}), *again;
        check_exit(more, &g, 0, json_object_get(g.json, "one_loop_more"), names[i]);
        check_exit(fewer, &g, 0, json_array_get(json_object_get(g.json, "loops"), (size_t)trained - 2),
                   names[i]);
        rrt_model_describe(more, &info);
        assert_int_equal(info.loops, trained + 1);
        assert_int_equal(info.trained_loops, trained);
        again = round_trip(more, "f32"); // a model of its own
        check_exit(again, &g, 0, json_object_get(g.json, "one_loop_more"), names[i]);
        rrt_model_describe(again, &info);
        assert_int_equal(info.trained_loops, trained + 1);
        rrt_model_close(again);
        rrt_model_close(fewer);
        rrt_model_close(more);
        golden_close(&g);
    }
}

// Loops beyond have the last one's LoRA, norms and gate; prelude and coda stay where they are.
static void loops_beyond_have_the_last_ones_lora(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64];
    rrt__plan plan;
    rrt_model *original = open_golden("llama");
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 3, 1, 1, 1, &err));
    rrt_model *model = tie(original, &plan, RRT__NORMS_PER_DEPTH);
    add_random_loras(model);
    assert_ok(rrt__model_add_gates(model, &err));
    fill_gaussian(model->gates[1].weight, model->shape.hidden, 9, 0, 1);
    temp_folder(folder);
    assert_ok(rrt_model_save(model, folder, &(rrt_save_options){.overwrite = true}, &err));
    rrt_model *more = open_with(folder, (rrt_open_options){.loops = 5});
    assert_same_logits(more, 3, model, 3, 0);
    assert_same_logits(more, 2, model, 2, 0);
    for (int n = 4; n <= 5; n++) {
        const rrt__depth *depth = &more->depths[n], *last = &model->depths[3];
        assert_int_equal(depth->lora[RRT__MATRIX_UP].rank, last->lora[RRT__MATRIX_UP].rank);
        assert_memory_equal(depth->norm[RRT__NORM_MLP].gain, last->norm[RRT__NORM_MLP].gain,
                            model->shape.hidden * sizeof(float));
        assert_memory_equal(more->gates[n - 2].weight, model->gates[1].weight,
                            model->shape.hidden * sizeof(float));
    }
    assert_other_logits(more, model, 1e-3);
    rrt_model_close(more);
    rrt_model_close(model);
    rrt_model_close(original);
    remove_folder(folder);
}

// A layer that runs again is the same as two layers of the same weights; scaled norms are those of convert.
static void layers_of_a_plain_model_run_again(void **state)
{
    (void)state;
    static const int layers[] = {0, 1, 2, 1, 2, 3};
    char path[512];
    rrt_error err = {0};
    snprintf(path, sizeof path, RRT_TEST_DATA "/models/llama");
    rrt_model *plain = open_golden("llama"),
              *repeated = open_with(path, (rrt_open_options){.repeat = "1-2x2"}), *by_hand;
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, 6, 0, 0, &err));
    by_hand = create_like(plain, &plan, RRT__NORMS_TIED);
    for (int d = 0; d < 6; d++) {
        copy_weights(&by_hand->slots[d], &plain->slots[layers[d]]);
        copy_vectors(by_hand, d, plain, layers[d]);
    }
    assert_same_logits(repeated, 0, by_hand, 0, 0);
    assert_same_logits(repeated, 1, plain, 0, 0);
    assert_int_equal(repeated->plan.n_slots, 4);
    rrt_model *scaled = open_with(path, (rrt_open_options){.repeat = "1-2x2:0.25"});
    for (int d = 3; d < 5; d++)
        for (size_t i = 0; i < plain->shape.hidden; i++) {
            by_hand->depths[d].norm[RRT__NORM_ATTENTION].gain[i] *= 0.25f;
            by_hand->depths[d].norm[RRT__NORM_MLP].gain[i] *= 0.25f;
        }
    assert_same_logits(scaled, 0, by_hand, 0, 0);
    rrt_model_close(scaled);
    rrt_model_close(repeated);
    rrt_model_close(by_hand);
    rrt_model_close(plain);
}

static void impossible_loops_and_repeats_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        rrt_open_options options;
        rrt_status status;
        const char *says;
    } cases[] = {
        {"llama", {.loops = 2}, RRT_STATUS_UNSUPPORTED, "no loop boundary"},
        {"llama", {.repeat = "1-2"}, RRT_STATUS_ARGUMENT, "FIRST-LAST"},
        {"llama", {.repeat = "1-2x"}, RRT_STATUS_ARGUMENT, "FIRST-LAST"},
        {"llama", {.repeat = "1-2x2:"}, RRT_STATUS_ARGUMENT, "FIRST-LAST"},
        {"llama", {.repeat = "1-2x2:0"}, RRT_STATUS_ARGUMENT, "FIRST-LAST"},
        {"llama", {.repeat = "1-2x2:nan"}, RRT_STATUS_ARGUMENT, "FIRST-LAST"},
        {"llama", {.repeat = "-1x2"}, RRT_STATUS_ARGUMENT, "FIRST-LAST"},
        {"llama", {.repeat = "2-1x2"}, RRT_STATUS_ARGUMENT, "layers 0 to 3"},
        {"llama", {.repeat = "1-4x2"}, RRT_STATUS_ARGUMENT, "layers 0 to 3"},
        {"llama", {.repeat = "1-2x1"}, RRT_STATUS_ARGUMENT, "2 to"},
        {"llama", {.repeat = "1-2x99999999999999999999"}, RRT_STATUS_ARGUMENT, "layers 0 to 3"},
        {"llama", {.repeat = "0-3x1000"}, RRT_STATUS_ARGUMENT, "at most"},
        {"ouro", {.repeat = "0-1x2"}, RRT_STATUS_UNSUPPORTED, "has loops"},
        {"ouro", {.loops = 1000}, RRT_STATUS_ARGUMENT, "at most"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        rrt_error err = {0};
        rrt_model *model;
        snprintf(path, sizeof path, RRT_TEST_DATA "/models/%s", cases[i].name);
        rrt_status status = rrt_model_open(&model, path, &cases[i].options, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].says))
            fail_msg("%zu: %s", i, err.message);
        assert_null(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_loops_than_trained_match_pytorch),
        cmocka_unit_test(loops_beyond_have_the_last_ones_lora),
        cmocka_unit_test(layers_of_a_plain_model_run_again),
        cmocka_unit_test(impossible_loops_and_repeats_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
