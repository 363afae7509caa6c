// The families that were trained with loops (Nanbeige, Ouro, HRM-Text) against PyTorch written from their
// structures (tools/looped_models.py): every exit, gates, texts with exits, gradients, and their files.
#include "checkpoint/checkpoint.h"
#include "engines.h"
#include "looped.h"
#include "pass/backward.h"
#include "pass/exit.h"
#include "rrt/convert.h"
#include "rrt/export.h"
#include "train/step.h"

static void check_exits(const rrt_model *model, const golden *g, const char *what)
{
    const json_t *loops = json_object_get(g->json, "loops");
    assert_int_equal(json_array_size(loops), model->plan.loops);
    for (int n = 1; n <= model->plan.loops; n++)
        check_exit(model, g, n, json_array_get(loops, (size_t)n - 1), what);
}

static void every_exit_matches_pytorch(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        golden g = golden_open(names[i]);
        rrt_model *model = open_golden(names[i]);
        check_exits(model, &g, names[i]);
        rrt_model_close(model);
        golden_close(&g);
    }
}

static void gates_match_pytorch(void **state)
{
    (void)state;
    golden g = golden_open("ouro");
    rrt_model *model = open_golden("ouro");
    size_t loops = (size_t)model->plan.loops;
    float *expected = must_alloc(g.count * loops, sizeof *expected);
    read_rows(expected, json_object_get(g.json, "gates"));
    for (size_t last = 0; last < g.count; last++) {
        rrt_error err = {0};
        rrt_session *session;
        size_t count;
        assert_ok(rrt_session_open(&session, model, &(rrt_session_options){.kv_type = "f32"}, &err));
        assert_ok(rrt_session_append(session, g.ids, last + 1, &err));
        const float *gates = rrt_session_gates(session, &count);
        assert_int_equal(count, loops);
        assert_true(max_difference(gates, expected + last * loops, loops) < 1e-4);
        rrt_session_close(session);
    }
    free(expected);
    rrt_model_close(model);
    golden_close(&g);
}

static void expect_greedy(const json_t *wanted, const heard *got, const char *what)
{
    const json_t *ids = json_object_get(wanted, "ids"), *depths = json_object_get(wanted, "depths");
    assert_int_equal(got->count, json_array_size(ids));
    for (int i = 0; i < got->count; i++) {
        if (got->ids[i] == json_integer_value(json_array_get(ids, (size_t)i)) &&
            got->loops[i] == json_integer_value(json_array_get(depths, (size_t)i)))
            continue;
        fail_msg("%s: token %d is %d after %d loops", what, i, got->ids[i], got->loops[i]);
    }
}

// Texts that leave by the cumulative gate, all requests in one batch; every token's truth was computed from
// the whole text before it.
static void texts_that_leave_by_the_gate_match_pytorch(void **state)
{
    (void)state;
    golden g = golden_open("ouro");
    rrt_model *model = open_golden("ouro");
    const json_t *greedy = json_object_get(g.json, "greedy");
    for (int threads = 1; threads <= 2; threads++) {
        heard heard_of[8] = {0};
        char rules[8][32];
        rrt_engine *engine = open_engine(model, (rrt_engine_options){.threads = threads, .kv_type = "f32"});
        for (size_t i = 0; i < json_array_size(greedy); i++) {
            const json_t *wanted = json_array_get(greedy, i);
            snprintf(rules[i], sizeof rules[i], "gate:%g",
                     json_number_value(json_object_get(wanted, "threshold")));
            submit(engine,
                   (rrt_request){.prompt = g.ids,
                                 .prompt_tokens = g.count,
                                 .max_tokens = json_array_size(json_object_get(wanted, "ids")),
                                 .exit = rules[i],
                                 .kv = "recompute",
                                 .ignore_end = true},
                   &heard_of[i]);
        }
        run_engine(engine);
        for (size_t i = 0; i < json_array_size(greedy); i++)
            expect_greedy(json_array_get(greedy, i), &heard_of[i], rules[i]);
        rrt_engine_close(engine);
    }
    rrt_model_close(model);
    golden_close(&g);
}

// The threshold of config.json is the rule of requests that name none; 1 means never.
static void the_files_threshold_is_the_usual_rule(void **state)
{
    (void)state;
    golden g = golden_open("ouro");
    char folder[64];
    copy_golden(folder, "ouro");
    for (int leaves = 0; leaves < 2; leaves++) {
        const json_t *wanted = json_array_get(json_object_get(g.json, "greedy"), 0);
        if (leaves) update_json(folder, "config.json", json_pack("{s:f}", "early_exit_threshold", 0.3));
        rrt_model *model = open_path(folder), *again = round_trip(model, "f32");
        assert_true(again->exit_threshold == model->exit_threshold);
        rrt_engine *engine = open_engine(again, (rrt_engine_options){.threads = 1, .kv_type = "f32"});
        heard h = {0};
        submit(engine,
               (rrt_request){.prompt = g.ids,
                             .prompt_tokens = g.count,
                             .max_tokens = json_array_size(json_object_get(wanted, "ids")),
                             .kv = "recompute",
                             .ignore_end = true},
               &h);
        run_engine(engine);
        if (leaves) expect_greedy(wanted, &h, "by the file's threshold");
        for (int i = 0; i < h.count && !leaves; i++) assert_int_equal(h.loops[i], model->plan.loops);
        rrt_engine_close(engine);
        rrt_model_close(again);
        rrt_model_close(model);
    }
    remove_folder(folder);
    golden_close(&g);
}

// --- gradients

typedef struct listing {
    rrt__parameter parameters[128];
    size_t count;
} listing;

static rrt_status list_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    listing *list = user;
    assert_true(list->count < 128);
    list->parameters[list->count++] = *p;
    return RRT_STATUS_OK;
}

static const rrt__tensor *golden_gradient(const rrt__safetensors *file, const char *loss, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", loss, name);
    return rrt__tensor_table_find(rrt__safetensors_tensors(file), full);
}

static void compare_gradients(const rrt_model *gradient, const rrt__safetensors *file, const char *loss,
                              const char *what)
{
    listing list = {.count = 0};
    size_t compared = 0;
    rrt__model_each_parameter(gradient, &gradient->family->hf, list_one, &list, NULL);
    for (size_t i = 0; i < list.count; i++) {
        const rrt__parameter *p = &list.parameters[i];
        size_t count = rrt__parameter_count(p);
        const rrt__tensor *tensor = golden_gradient(file, loss, p->name);
        double apart = 0, size = 1e-14;
        rrt_error err = {0};
        if (!tensor) continue;
        float *expected = must_alloc(count, sizeof *expected);
        assert_ok(rrt__tensor_read_values(tensor, 0, count, expected, &err));
        for (size_t k = 0; k < count; k++) {
            apart += pow((double)p->values[k] - expected[k], 2);
            size += pow(expected[k], 2);
        }
        if (!(sqrt(apart / size) <= 1e-4)) fail_msg("%s: %s is off by %g", what, p->name, sqrt(apart / size));
        free(expected);
        compared++;
    }
    assert_true(compared > 0);
}

static void check_gradients(const char *name, const char *loss, bool gates, bool recompute, int threads)
{
    golden g = golden_open(name);
    char path[512];
    rrt_error err = {0};
    rrt__safetensors *file;
    rrt__stepper stepper;
    rrt_model *model = open_golden(name);
    int rows = (int)g.count - 1;
    const rrt__optimizer_options options = {
        .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .scale = {!gates, !gates, !gates, !gates, gates}};
    const rrt__step_options step = {.sequences = 1,
                                    .context = rows,
                                    .recompute = recompute,
                                    .threads = threads,
                                    .exits = {RRT_EXIT_LOSS_NONE, 0, false, gates}};
    const rrt__batch batch = {1, rows, g.ids, g.ids + 1, NULL};
    rrt__loss_sums sums = {0};
    snprintf(path, sizeof path, RRT_TEST_DATA "/models/%s/gradients.safetensors", name);
    assert_ok(rrt__safetensors_open(&file, path, &err));
    assert_ok(rrt__stepper_create(&stepper, model, NULL, &options, &step, &err));
    rrt__stepper_gradients(&stepper, &batch, 1.0f / (float)rows, &sums);
    double expected = json_number_value(json_object_get(g.json, gates ? "gate_loss" : "ce"));
    double got = (gates ? sums.gates : sums.loss) / rows;
    if (!(fabs(got - expected) < 1e-5 * expected)) fail_msg("%s: loss %.8g, not %.8g", name, got, expected);
    compare_gradients(stepper.optimizer.gradient, file, loss, name);
    rrt__stepper_free(&stepper);
    rrt__safetensors_close(file);
    rrt_model_close(model);
    golden_close(&g);
}

static void gradients_match_pytorch(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        check_gradients(names[i], "CE", false, false, 1);
        check_gradients(names[i], "CE", false, false, 3);
        check_gradients(names[i], "CE", false, true, 2);
    }
    check_gradients("ouro", "GATES", true, false, 1);
    check_gradients("ouro", "GATES", true, true, 2);
}

// --- files

static void their_folders_are_those_of_the_family(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        golden g = golden_open(names[i]);
        char folder[64], path[128];
        rrt_error err = {0};
        json_t *config;
        rrt_model *model = open_golden(names[i]);
        temp_folder(folder);
        assert_ok(rrt_model_save(model, folder, &(rrt_save_options){.overwrite = true}, &err));
        snprintf(path, sizeof path, "%s/config.json", folder);
        assert_ok(rrt__json_read(&config, path, &err));
        assert_null(json_object_get(config, "rrt"));
        assert_string_equal(json_string_value(json_object_get(config, "model_type")), model->family->name);
        assert_int_equal(json_integer_value(json_object_get(config, "num_hidden_layers")),
                         model->plan.n_slots);
        json_decref(config);
        rrt_model *again = open_path(folder);
        check_exits(again, &g, names[i]);
        rrt_model_close(again);
        remove_folder(folder);
        rrt_model_close(model);
        golden_close(&g);
    }
}

static void exports_give_the_same_logits(void **state)
{
    (void)state;
    static const char *const formats[] = {"hf", "gguf"};
    for (int i = 0; i < NAME_COUNT; i++)
        for (int f = 0; f < 2; f++) {
            golden g = golden_open(names[i]);
            char folder[64], path[128];
            rrt_error err = {0};
            rrt_model *model = open_golden(names[i]);
            temp_folder(folder);
            snprintf(path, sizeof path, "%s/model%s", folder, f ? ".gguf" : "");
            assert_ok(rrt_model_export(model, path, &(rrt_export_options){.format = formats[f], .threads = 1},
                                       NULL, &err));
            rrt_model *again = open_path(path);
            assert_string_equal(again->family->name, model->family->name);
            assert_int_equal(again->gates != NULL, model->gates != NULL);
            check_exits(again, &g, names[i]);
            assert_same_logits(model, 0, again, 0, 0);
            rrt_model_close(again);
            remove_folder(folder);
            rrt_model_close(model);
            golden_close(&g);
        }
}

// A quantised model's text does not depend on its company, the chunks of its prompt or the threads, and its
// gate and norms are there.
static void quantised_texts_are_the_same_in_every_batch(void **state)
{
    (void)state;
    static const char *const rules[] = {"gate:0.5", "state:0.4", NULL};
    enum { PROMPT = 40, MADE = 12, REQUESTS = 3 };
    for (int i = 0; i < NAME_COUNT; i++) {
        rrt_model *model = open_golden(names[i]), *packed;
        rrt_error err = {0};
        char folder[64], path[80];
        int32_t prompt[PROMPT];
        heard alone[REQUESTS] = {0};
        temp_folder(folder);
        snprintf(path, sizeof path, "%s/m.gguf", folder);
        assert_ok(
            rrt_model_quantize(model, path, &(rrt_quantize_options){.type = "q8_0", .threads = 1}, &err));
        packed = open_stored(path);
        remove_folder(folder);
        assert_int_equal(packed->plan.norms_loops, model->plan.norms_loops);
        assert_int_equal(packed->gates != NULL, model->gates != NULL);
        fill_prompt(prompt, PROMPT, 3, model);
        for (int way = 0; way < 4; way++) { // alone; together, with few rows; two threads
            rrt_engine *engine = NULL;
            heard found[REQUESTS] = {0};
            for (int r = 0; r < REQUESTS; r++) {
                const char *rule = rules[r] && (model->gates || r > 0) ? rules[r] : NULL;
                if (!engine || way == 0)
                    engine = open_engine(packed, (rrt_engine_options){.threads = way == 3 ? 2 : 1,
                                                                      .requests = 3,
                                                                      .rows = way == 2 ? 5 : 0,
                                                                      .no_prefix_reuse = true});
                submit(engine,
                       (rrt_request){.prompt = prompt,
                                     .prompt_tokens = PROMPT - (size_t)r * 9,
                                     .max_tokens = MADE,
                                     .exit = rule,
                                     .ignore_end = true},
                       &found[r]);
                if (way > 0) continue;
                run_engine(engine);
                rrt_engine_close(engine);
            }
            if (way > 0) run_engine(engine);
            for (int r = 0; r < REQUESTS; r++) {
                if (way == 0) alone[r] = found[r];
                assert_heard_equal(&found[r], &alone[r]);
            }
            if (way > 0) rrt_engine_close(engine);
        }
        rrt_model_close(packed);
        rrt_model_close(model);
    }
}

// HRM-Text's two stacks, whose logits test_model.c compares with transformers'.
static void two_stacks_keep_their_plan_in_every_file(void **state)
{
    (void)state;
    static const char *const formats[] = {"hf", "gguf"};
    static const short slots[] = {0, 1, 0, 1, 0, 1, 2, 3};
    static const rrt__depth_entry entries[] = {RRT__ENTRY_START, RRT__ENTRY_AGAIN, RRT__ENTRY_AGAIN,
                                               RRT__ENTRY_SWITCH, RRT__ENTRY_SWITCH};
    rrt_error err = {0};
    char folder[64], path[128];
    rrt_model *model = open_golden("hrm"), *again, *unused;
    assert_int_equal(model->plan.n_depths, 16);
    for (int d = 0; d < 16; d++) assert_int_equal(model->plan.slot[d], slots[d % 8]);
    for (int i = 0; i < 5; i++) assert_int_equal(model->depths[2 * i].entry, entries[i]);
    temp_folder(folder);
    for (int f = 0; f < 2; f++) {
        snprintf(path, sizeof path, "%s/%s.gguf", folder, formats[f]);
        assert_ok(rrt_model_export(model, path, &(rrt_export_options){.format = formats[f], .threads = 1},
                                   NULL, &err));
        again = open_path(path);
        assert_same_logits(model, 0, again, 0, 0);
        rrt_model_close(again);
    }
    snprintf(path, sizeof path, "%s/q.gguf", folder);
    assert_ok(rrt_model_quantize(model, path, &(rrt_quantize_options){.type = "q8_0", .threads = 1}, &err));
    again = open_stored(path);
    assert_int_equal(memcmp(again->plan.slot, model->plan.slot, sizeof again->plan.slot), 0);
    assert_same_logits(model, 0, again, 0, 0.5);
    rrt_model_close(again);
    assert_int_equal(rrt_convert(&unused, model, &(rrt_convert_options){.loops = 2}, NULL, &err),
                     RRT_STATUS_UNSUPPORTED);
    assert_int_equal(rrt__tape_create(&(rrt__tape){0}, model, model, 4, 4, false, 1, rrt__products_f32, &err),
                     RRT_STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.message, "two stacks"));
    rrt_model_close(model);
    remove_folder(folder);
}

// The first tokens attend to each other both ways, in a session and in an engine; the rest is causal.
static void prompts_attend_both_ways_where_asked(void **state)
{
    (void)state;
    enum { PREFIX = 12 };
    golden g = golden_open("hrm");
    rrt_error err = {0};
    rrt_model *model = open_golden("hrm");
    size_t vocab = g.vocab, rows = g.count - PREFIX + 1;
    float *expected = must_alloc(rows * vocab, sizeof *expected);
    assert_true(model->prefix_lm);
    read_rows(expected, json_object_get(g.json, "prefix"));
    rrt_session *session;
    assert_ok(
        rrt_session_open(&session, model, &(rrt_session_options){.kv_type = "f32", .prefix_lm = true}, &err));
    assert_ok(rrt_session_append(session, g.ids, PREFIX, &err));
    for (size_t r = 0; r < rows; r++) {
        if (r) assert_ok(rrt_session_append(session, g.ids + PREFIX - 1 + r, 1, &err));
        assert_true(max_difference(rrt_session_logits(session), expected + r * vocab, vocab) < TOLERANCE);
    }
    rrt_session_close(session);
    for (int way = 0; way < 3; way++) { // room for 30 rows, and next to nothing beside others
        heard h = {0}, other = {0}, causal = {0};
        rrt_engine *engine = open_engine(
            model, (rrt_engine_options){
                       .threads = 1 + way / 2, .requests = 3, .rows = way == 1 ? 14 : 0, .kv_type = "f32"});
        rrt_request request = {.prompt = g.ids, .prompt_tokens = PREFIX, .max_tokens = 1, .ignore_end = true};
        submit(engine, request, &causal);
        request.prefix_lm = true;
        submit(engine, request, &other);
        submit(engine, request, &h);
        run_engine(engine);
        size_t best = rrt__argmax(expected, vocab);
        assert_int_equal(h.ids[0], best);
        assert_int_equal(other.ids[0], best);
        assert_int_equal(h.stats.cached_tokens, 0);
        rrt_engine_close(engine);
    }
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.requests = 1, .rows = PREFIX - 1});
    uint64_t id;
    assert_int_equal(
        rrt_engine_submit(engine, &(rrt_request){.prompt = g.ids, .prompt_tokens = PREFIX, .prefix_lm = true},
                          &id, &err),
        RRT_STATUS_ARGUMENT);
    rrt_engine_close(engine);
    free(expected);
    rrt_model_close(model);
    golden_close(&g);
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *key, *value, *says;
    } cases[] = {
        {"nanbeige", "loop_share_kv", "true", "loop_share_kv"},
        {"nanbeige", "emb_neighbor_num", "4", "emb_neighbor_num"},
        {"nanbeige", "loop_loss_weights", "[0.5]", "loop_loss_weights"},
        {"nanbeige", "enable_depth_attention", "true", "enable_depth_attention"},
        {"nanbeige", "qk_layernorm", "true", "qk_layernorm"},
        {"nanbeige", "num_loops", "0", "num_loops"},
        {"nanbeige", "num_loops", "100000", "num_loops"},
        {"nanbeige", "num_loops", "1000", "at most"},
        {"hrm", "H_cycles", "100000", "H_cycles"},
        {"hrm", "H_cycles", "1024", "are not possible"},
        {"hrm", "attention_bias", "true", "attention_bias"},
        {"hrm", "num_layers_per_stack", "3", "hold only"},
        {"ouro", "total_ut_steps", "\"4\"", "total_ut_steps"},
        {"ouro", "early_exit_threshold", "-1", "early_exit_threshold"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[64];
        rrt_error err = {0};
        rrt_model *model;
        copy_golden(folder, cases[i].name);
        update_json(folder, "config.json",
                    json_pack("{s:o}", cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL)));
        assert_true(rrt_model_open(&model, folder, NULL, &err) != RRT_STATUS_OK);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s: %s", cases[i].key, err.message);
        remove_folder(folder);
    }
}

// One loop: an ordinary model, whose gate has no boundary to stand at.
static void one_loop_is_a_plain_model(void **state)
{
    (void)state;
    golden g = golden_open("ouro");
    char folder[64];
    copy_golden(folder, "ouro");
    update_json(folder, "config.json", json_pack("{s:i}", "total_ut_steps", 1));
    rrt_model *model = open_path(folder);
    assert_int_equal(model->plan.loops, 1);
    assert_null(model->gates);
    check_exit(model, &g, 0, json_array_get(json_object_get(g.json, "loops"), 0), "one loop");
    rrt_model_close(model);
    remove_folder(folder);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exit_matches_pytorch),
        cmocka_unit_test(gates_match_pytorch),
        cmocka_unit_test(texts_that_leave_by_the_gate_match_pytorch),
        cmocka_unit_test(the_files_threshold_is_the_usual_rule),
        cmocka_unit_test(gradients_match_pytorch),
        cmocka_unit_test(their_folders_are_those_of_the_family),
        cmocka_unit_test(exports_give_the_same_logits),
        cmocka_unit_test(quantised_texts_are_the_same_in_every_batch),
        cmocka_unit_test(two_stacks_keep_their_plan_in_every_file),
        cmocka_unit_test(prompts_attend_both_ways_where_asked),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(one_loop_is_a_plain_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
