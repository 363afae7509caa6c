// Every verb on the families that were trained with loops, as a user would type it. Their tiny models get the
// tokenizer of another one.
#include "cli.h"

static const char *const names[] = {"nanbeige", "ouro"};
static const int loops[] = {2, 4};
enum { NAME_COUNT = 2 };

static int set_up(void **state)
{
    (void)state;
    temp_folder(workspace);
    char text[2048] = "";
    while (strlen(text) < 1500)
        strcat(text, "the cat sat on the mat and the rat ate the fat oat. one loop, two loops: ");
    write_text("text", text);
    for (int i = 0; i < NAME_COUNT; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "cp -r '%s/models/%s' %s/%s && cp '%s/models/llama/tokenizer.json' "
                 "'%s/models/llama/tokenizer_config.json'"
                 " %s/%s",
                 RRT_TEST_DATA, names[i], workspace, names[i], RRT_TEST_DATA, RRT_TEST_DATA, workspace,
                 names[i]);
        if (system(command) != 0) return 1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

static void inspect_tells_plan_norm_and_gate(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        json_t *json = run_json("inspect %s", names[i]);
        assert_string_equal(json_string_value(json_object_get(json, "family")), names[i]);
        assert_number(json, "loops", loops[i], 0);
        assert_true(json_is_true(json_object_get(json, "loop_norm")));
        double bytes = json_number_value(json_object_get(json, "kv_bytes_per_token"));
        json_decref(json);
        result *r = run("inspect %s --loops %d --json", names[i], 2 * loops[i]);
        assert_int_equal(r->code, 0);
        assert_non_null(strstr(r->err.data, "more than the"));
        json = json_loads(r->out.data, 0, NULL);
        assert_number(json, "kv_bytes_per_token", 2 * bytes, 0);
        assert_number(json, "trained_loops", loops[i], 0);
        json_decref(json);
    }
    assert_non_null(strstr(run("inspect ouro")->out.data, "gates"));
    assert_non_null(strstr(run("logits -m ouro --tokens 1,2")->out.data, "gate after loop 4"));
}

static void texts_are_generated_with_exits_and_other_loops(void **state)
{
    (void)state;
    json_t *json = run_json("generate -m ouro -p 'the cat' -n 12 --ignore-eos --exit gate:0.5");
    assert_int_equal(json_array_size(json_object_get(json, "exit_depths")), 12);
    double mean = json_number_value(json_object_get(json, "mean_loops"));
    assert_true(mean >= 1 && mean <= 4);
    json_decref(json);
    json = run_json("generate -m ouro -p 'the cat' -n 12 --ignore-eos --loops 2");
    assert_number(json, "mean_loops", 2, 0);
    json_decref(json);
    assert_int_equal(run("generate -m nanbeige -p 'the cat' -n 4 --loops 5")->code, 0);
    assert_error(1, "has no gates", "generate -m nanbeige -p 'the cat' -n 4 --exit gate:0.5");
    json = run_json("generate -m %s -p 'the cat' -n 4 --ignore-eos --repeat 1-2x3:0.5", golden_path("llama"));
    assert_number(json, "mean_loops", 3, 0);
    json_decref(json);
    assert_error(2, "layers 0 to 3", "generate -m %s -p 'the cat' -n 4 --repeat 1-9x3", golden_path("llama"));
    assert_int_equal(run("bench -m ouro -p 8 -n 4 -b 1,3 -r 1")->code, 0);
    assert_int_equal(run("bench -m ouro --batching depth,sequence --exit gate:0.5 -n 8 -b 2 -r 1")->code, 0);
}

static void they_are_measured_quantised_and_exported(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        json_t *json = run_json("eval ppl -m %s -f text --ctx 32 --loops 1", names[i]), *other;
        double first = json_number_value(json_object_get(json, "ppl"));
        other = run_json("eval exits -m %s -f text --ctx 32 --exit state:0.5", names[i]);
        assert_number(json_array_get(json_object_get(other, "loops"), 0), "ppl", first, 1e-3 * first);
        json_decref(json);
        json_decref(other);
        assert_int_equal(run("quantize %s %s.gguf q8_0", names[i], names[i])->code, 0);
        json = run_json("eval kl -m %s.gguf --teacher %s -f text --ctx 32", names[i], names[i]);
        assert_true(json_number_value(json_object_get(json, "kl")) < 1); // with random weights
        json_decref(json);
        json = run_json("quantize %s %s-1.gguf q8_0 --loops 1", names[i], names[i]);
        json_decref(json);
        json = run_json("eval ppl -m %s-1.gguf -f text --ctx 32", names[i]);
        assert_number(json, "ppl", first, 0.1 * first);
        json_decref(json);
        json = run_json("export %s %s-out.gguf --to gguf", names[i], names[i]);
        assert_number(json, "max_logit_diff", 0, 1e-4);
        json_decref(json);
        json = run_json("export %s %s-out --to hf", names[i], names[i]);
        assert_number(json, "max_logit_diff", 0, 1e-4);
        json_decref(json);
        assert_error(1, "PEFT", "export %s peft --to peft", names[i]);
        assert_int_equal(run("teach -m %s --data text --ctx 32 -o %s-store", names[i], names[i])->code, 0);
    }
}

#define STEPS "--data text --tokens 512 --ctx 32 --batch 2 --lr 1e-3"
#define FREEZE " --lr-shared 0 --lr-embeddings 0 --lr-norms 0"

static void they_are_relaxed_and_trained(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        assert_int_equal(run("train %s -o %s-full " STEPS, names[i], names[i])->code, 0);
        json_t *json = run_json("inspect %s-full", names[i]);
        assert_number(json, "loops", loops[i], 0);
        json_decref(json);
        assert_int_equal(run("convert %s %s-relaxed --rank 2 --norms per-depth", names[i], names[i])->code,
                         0);
        json = run_json("eval kl -m %s-relaxed --teacher %s -f text --ctx 32", names[i], names[i]);
        assert_number(json, "kl", 0, 1e-6);
        json_decref(json);
        assert_int_equal(run("train %s-relaxed -o %s-lora " STEPS FREEZE, names[i], names[i])->code, 0);
        assert_error(1, "in loops already", "convert %s none --loops 3", names[i]);
        assert_error(1, "in loops already", "convert %s none --init calibrated --calib text", names[i]);
    }
}

static void gates_are_trained_on_a_frozen_body(void **state)
{
    (void)state;
    assert_int_equal(run("train ouro -o gated --gates " STEPS FREEZE)->code, 0);
    json_t *json = run_json("eval kl -m gated --teacher ouro -f text --ctx 32");
    assert_number(json, "kl", 0, 1e-9);
    json_decref(json);
    char *before = strdup(strstr(run("logits -m ouro --tokens 1,2")->out.data, "gate after"));
    assert_string_not_equal(before, strstr(run("logits -m gated --tokens 1,2")->out.data, "gate after"));
    free(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inspect_tells_plan_norm_and_gate),
        cmocka_unit_test(texts_are_generated_with_exits_and_other_loops),
        cmocka_unit_test(they_are_measured_quantised_and_exported),
        cmocka_unit_test(they_are_relaxed_and_trained),
        cmocka_unit_test(gates_are_trained_on_a_frozen_body),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
