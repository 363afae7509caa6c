// Calibrated exit thresholds: what they promise is what the rule then does, on the same windows, on those
// behind them and where the engine runs freely; and they are kept with the weights that they hold for.
#include "engines.h"
#include "pass/exit.h"
#include "rrt/eval.h"

enum { LENGTH = 16, WINDOWS = 24, HALF = WINDOWS / 2, PROMPT = LENGTH / 2 };

static const layout loops_of_three = {3, 1, 1, 1, false};
static char folder[64], file[80];

// The later loops change little, so that some tokens may leave.
static void write_model(double rest)
{
    rrt_error err = {0};
    rrt__plan plan;
    rrt_model *original = open_golden("llama");
    const layout *l = &loops_of_three;
    assert_ok(
        rrt__plan_make(&plan, RRT__SHARING_CYCLE, l->loops, l->layers_per_block, l->prelude, l->coda, &err));
    rrt_model *model = tie(original, &plan, RRT__NORMS_PER_DEPTH);
    for (int n = 2; n <= l->loops; n++)
        for (int d = rrt__plan_loop(&plan, n).begin; d < rrt__plan_loop(&plan, n).end; d++)
            for (int place = RRT__NORM_ATTENTION; place <= RRT__NORM_MLP; place++) {
                rrt__norm *norm = &model->depths[d].norm[place];
                for (size_t i = 0; norm->gain && i < norm->width; i++) norm->gain[i] *= (float)rest;
            }
    assert_ok(rrt_model_quantize(
        model, file, &(rrt_quantize_options){.type = "q8_0", .threads = 1, .overwrite = true}, &err));
    rrt_model_close(model);
    rrt_model_close(original);
}

static void make_ids(const rrt_model *model, int32_t ids[WINDOWS * LENGTH])
{
    fill_prompt(ids, WINDOWS * LENGTH, 3, model);
}

static rrt_eval_exits_result eval(const rrt_model *model, const int32_t *ids, size_t windows,
                                  const char *rule, const char *kv, const char *kv_type)
{
    rrt_error err = {0};
    rrt_eval_exits_result result;
    const rrt_eval_options options = {.threads = 1, .context = LENGTH, .kv_type = kv_type};
    assert_ok(
        rrt_eval_exits(model, ids, windows * LENGTH, &options, &(rrt_exit_options){rule, kv}, &result, &err));
    return result;
}

// The same by the engine: greedy, from the middle of each window on. Returns the share that agrees.
static double free_by_engine(const rrt_model *model, const int32_t *ids, const char *rule, const char *kv,
                             const char *kv_type)
{
    double agreed = 0;
    size_t vocab = model->shape.vocab;
    float *logits = must_alloc(LENGTH * vocab, sizeof *logits);
    for (size_t w = 0; w < HALF; w++) {
        heard made = {0};
        rrt_engine *engine = open_engine(model, (rrt_engine_options){.threads = 1, .kv_type = kv_type});
        made.engine = engine;
        submit(engine,
               (rrt_request){.prompt = ids + w * LENGTH,
                             .prompt_tokens = PROMPT,
                             .max_tokens = LENGTH - PROMPT,
                             .exit = rule,
                             .kv = kv,
                             .ignore_end = 1},
               &made);
        run_engine(engine);
        rrt_engine_close(engine);
        int32_t text[LENGTH];
        memcpy(text, ids + w * LENGTH, PROMPT * sizeof *text);
        memcpy(text + PROMPT, made.ids, (LENGTH - PROMPT) * sizeof *text);
        prefix_logits(logits, model, text, LENGTH - 1, LENGTH, &(rrt_session_options){.threads = 1});
        for (size_t at = PROMPT; at + 1 < LENGTH; at++)
            agreed += (int32_t)rrt__argmax(logits + at * vocab, vocab) == text[at + 1];
    }
    free(logits);
    return agreed / (HALF * (LENGTH - 1 - PROMPT));
}

static void check_promise(const rrt_model *model, const int32_t *ids, const rrt_eval_exits_promise *p,
                          const char *name, const char *kv, const char *kv_type)
{
    char rule[64];
    snprintf(rule, sizeof rule, "%s:%.17g", name, p->threshold);
    rrt_eval_exits_result same = eval(model, ids, HALF, rule, kv, kv_type),
                          behind = eval(model, ids + HALF * LENGTH, HALF, rule, kv, kv_type);
    assert_near(same.agreement, p->agreement, 1e-9);
    assert_near(same.mean_loops, p->mean_loops, 1e-9);
    assert_near(same.ppl, p->ppl, 1e-9 * p->ppl);
    assert_near(behind.agreement, p->held_out_agreement, 1e-9);
    assert_true(p->agreement_bound >= p->wanted && p->agreement_bound < p->agreement);
    assert_near(free_by_engine(model, ids, rule, kv, kv_type), p->free_agreement, 1e-9);
    rrt_eval_exits_free(&same);
    rrt_eval_exits_free(&behind);
}

static void promises_are_what_the_rule_does(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *kv, *kv_type;
    } cases[] = {
        {"margin", "propagate", "f32"}, {"confidence", "copy", "f16"}, {"state", "recompute", "q8_0"}};
    int32_t ids[WINDOWS * LENGTH];
    int found = 0;
    write_model(0.02);
    rrt_model *model = open_path(file);
    make_ids(model, ids);
    for (int i = 0; i < 3; i++) {
        char rule[32];
        snprintf(rule, sizeof rule, "%s:0.5", cases[i].rule);
        rrt_eval_exits_result r = eval(model, ids, WINDOWS, rule, cases[i].kv, cases[i].kv_type);
        for (int w = 0; w < RRT_EVAL_EXITS_WANTED; w++) {
            assert_int_equal(r.calibrated[w].tokens, HALF * (LENGTH - 1));
            if (isnan(r.calibrated[w].threshold)) continue;
            check_promise(model, ids, &r.calibrated[w], cases[i].rule, cases[i].kv, cases[i].kv_type);
            found++;
        }
        rrt_eval_exits_free(&r);
    }
    assert_true(found >= 3);
    rrt_model_close(model);
}

static rrt_status submit_once(const rrt_model *model, const char *rule, const char *kv, rrt_error *err)
{
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.threads = 1});
    const int32_t prompt[] = {1, 2, 3};
    uint64_t id;
    rrt_status status = rrt_engine_submit(
        engine, &(rrt_request){.prompt = prompt, .prompt_tokens = 3, .max_tokens = 2, .exit = rule, .kv = kv},
        &id, err);
    rrt_engine_close(engine);
    return status;
}

static void thresholds_are_kept_with_their_weights(void **state)
{
    (void)state;
    rrt_error err = {0};
    int32_t ids[WINDOWS * LENGTH];
    char path[128];
    json_t *json;
    write_model(0.02);
    rrt_model *model = open_path(file);
    make_ids(model, ids);
    assert_fails(RRT_STATUS_UNSUPPORTED, "none is stored", submit_once(model, "agreement:90%", NULL, &err));
    const rrt_exit_options margin = {"margin:0.5", "propagate"}, state_copy = {"state:0.5", "copy"};
    rrt_eval_exits_result r = eval(model, ids, WINDOWS, margin.rule, margin.kv, NULL);
    assert_false(isnan(r.calibrated[0].threshold));
    assert_ok(rrt_exit_thresholds_save(file, model, &margin, NULL, &r, &err));
    assert_ok(rrt_exit_thresholds_save(file, model, &state_copy, NULL, &r, &err));
    rrt_model_close(model);

    model = open_path(file);
    assert_ok(submit_once(model, "agreement:90%", NULL, &err));
    assert_ok(submit_once(model, "agreement:0.9", "copy", &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "--kv recompute",
                 submit_once(model, "agreement:90%", "recompute", &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "", submit_once(model, "agreement:99.9%", NULL, &err));
    const char *const wrong[] = {"agreement",   "agreement:",   "agreement:95",
                                 "agreement:x", "agreement:0%", "agreement:95%x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(RRT_STATUS_ARGUMENT, "agreement", submit_once(model, wrong[i], NULL, &err));
    rrt__exit_rule rule;
    assert_ok(
        rrt__exit_rule_parse(&rule, "agreement:90%", model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    assert_int_equal(rule.kind, RRT__EXIT_MARGIN);
    assert_near(rule.limit, r.calibrated[0].threshold, 0);
    rrt_model_close(model);

    // What is in the file is checked as what a user types.
    snprintf(path, sizeof path, "%s.exits.json", file);
    assert_ok(rrt__json_read(&json, path, &err));
    json_t *first = json_array_get(json_object_get(json, "thresholds"), 0);
    json_object_set_new(first, "rule", json_string("loops"));
    json_object_set_new(first, "threshold", json_real(1e300));
    json_object_set_new(first, "agreement", json_real(1));
    assert_ok(rrt__json_write(json, path, &err));
    model = open_path(file);
    assert_fails(RRT_STATUS_ARGUMENT, "loops", submit_once(model, "agreement:100%", NULL, &err));
    rrt_model_close(model);
    json_array_clear(json_object_get(json, "thresholds"));
    assert_ok(rrt__json_write(json, path, &err));
    json_decref(json);
    model = open_path(file);
    assert_fails(RRT_STATUS_UNSUPPORTED, "none is stored", submit_once(model, "agreement:90%", NULL, &err));
    rrt_model_close(model);

    write_model(0.1); // other weights
    model = open_path(file);
    assert_fails(RRT_STATUS_UNSUPPORTED, "of other weights", submit_once(model, "agreement:90%", NULL, &err));
    rrt_model_close(model);
    rrt_eval_exits_free(&r);
}

static void damaged_threshold_files_are_named(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model;
    char path[128];
    static const char *const texts[] = {"{", "[]", "{}", "{\"weights\": \"x\"}",
                                        "{\"weights\": 1, \"thresholds\": []}"};
    write_model(0.02);
    snprintf(path, sizeof path, "%s.exits.json", file);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        FILE *out = fopen(path, "w");
        fputs(texts[i], out);
        fclose(out);
        assert_fails(RRT_STATUS_FORMAT, "exits.json", rrt_model_open(&model, file, NULL, &err));
    }
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_are_what_the_rule_does),
        cmocka_unit_test(thresholds_are_kept_with_their_weights),
        cmocka_unit_test(damaged_threshold_files_are_named),
    };
    temp_folder(folder);
    snprintf(file, sizeof file, "%s/m.gguf", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_folder(folder);
    return failed;
}
