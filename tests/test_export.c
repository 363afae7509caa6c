// Exports and what is read back: equal logits in every format, whatever the plan; what no format can hold;
// adapters that are damaged, hostile, or say what we do not do.
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "format/safetensors.h"
#include "models.h"
#include "rrt/convert.h"
#include "rrt/export.h"
#include "tokenizer/tokenizer.h"

// 1 + 3 x 2 + 1, LoRA of other ranks everywhere.
static rrt_model *build(const char *family, rrt__sharing sharing, rrt__norms_mode norms)
{
    rrt_error err = {0};
    rrt__plan plan;
    rrt_model *original = open_golden(family);
    assert_ok(rrt__plan_make(&plan, sharing, 3, 2, 1, 1, &err));
    rrt_model *model = tie(original, &plan, norms);
    add_random_loras(model);
    model->tokenizer = rrt__tokenizer_share(original->tokenizer);
    rrt_model_close(original);
    return model;
}

// Exports to folder/x.
static rrt_model *export_to(char folder[64], const rrt_model *model, const rrt_export_options *options)
{
    rrt_error err = {0};
    char path[80];
    double difference = -1;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/x", folder);
    assert_ok(rrt_model_export(model, path, options, &difference, &err));
    assert_in_range((int)(difference * 1e6), 0, options->dtype ? 1000000 : 100);
    return open_path(path);
}

static void check(const rrt_model *model, const rrt_export_options *options, rrt__sharing expected)
{
    char folder[64];
    rrt_model *again = export_to(folder, model, options);
    assert_same_logits(model, 0, again, 0, options->dtype ? 1 : 1e-4);
    assert_int_equal(again->plan.sharing, expected);
    assert_int_equal(again->plan.n_depths, model->plan.n_depths);
    assert_int_equal(again->tokenizer != NULL, model->tokenizer != NULL);
    rrt_model_close(again);
    remove_folder(folder);
}

static void every_format_keeps_the_logits(void **state)
{
    (void)state;
    static const char *const families[] = {"llama",  "llama-tied", "gemma", "neox",    "qwen2",  "qwen3",
                                           "biases", "olmo2",      "phi3",  "granite", "mistral"};
    for (int f = 0; f < (int)(sizeof families / sizeof *families); f++) {
        for (int s = RRT__SHARING_CYCLE; s <= RRT__SHARING_SEQUENCE; s++) {
            rrt_model *model =
                build(families[f], s, s == RRT__SHARING_CYCLE ? RRT__NORMS_PER_DEPTH : RRT__NORMS_TIED);
            bool has_peft = f < 3;
            check(model, &(rrt_export_options){.format = "hf", .threads = 1}, RRT__SHARING_NONE);
            if (has_peft) check(model, &(rrt_export_options){.format = "peft", .threads = 2}, s);
            check(model, &(rrt_export_options){.format = "gguf", .threads = 2}, RRT__SHARING_NONE);
            rrt_model_close(model);
        }
    }
}

static void exports_in_half_precision_stay_close(void **state)
{
    (void)state;
    rrt_model *model = build("llama", RRT__SHARING_CYCLE, RRT__NORMS_TIED);
    static const char *const formats[] = {"hf", "gguf"}, *const dtypes[] = {"f16", "bf16"};
    for (int i = 0; i < 4; i++)
        check(model, &(rrt_export_options){.format = formats[i / 2], .dtype = dtypes[i % 2]},
              RRT__SHARING_NONE);
    rrt_model_close(model);
}

// An adapter without LoRA, and an export of what was never converted.
static void models_without_lora_are_exported_too(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__plan plan;
    rrt_model *original = open_golden("llama");
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 2, 2, 0, 0, &err));
    rrt_model *tied = tie(original, &plan, RRT__NORMS_TIED);
    check(tied, &(rrt_export_options){.format = "peft"}, RRT__SHARING_CYCLE);
    check(original, &(rrt_export_options){.format = "hf"}, RRT__SHARING_NONE);
    check(original, &(rrt_export_options){.format = "peft"}, RRT__SHARING_NONE);
    check(original, &(rrt_export_options){.format = "gguf"}, RRT__SHARING_NONE);
    rrt_model_close(tied);
    rrt_model_close(original);
}

static void looped_gguf_keeps_the_loops_but_takes_no_lora(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__plan plan;
    const rrt_export_options looped = {.format = "gguf", .looped = true};
    rrt_model *original = open_golden("llama");
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 3, 2, 0, 0, &err));
    rrt_model *tied = tie(original, &plan, RRT__NORMS_TIED);
    check(tied, &looped, RRT__SHARING_CYCLE);
    add_random_loras(tied);
    assert_fails(RRT_STATUS_UNSUPPORTED, "without LoRA",
                 rrt_model_export(tied, "/tmp/x.gguf", &looped, NULL, &err));
    rrt_model_close(tied);
    rrt_model_close(original);
}

static void what_a_format_cannot_hold_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64], path[80];
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/x", folder);
    rrt_model *neox = build("neox", RRT__SHARING_CYCLE, RRT__NORMS_TIED);
    rrt_model *smollm3 = build("smollm3", RRT__SHARING_CYCLE, RRT__NORMS_TIED);
    const rrt_export_options hf = {.format = "hf"}, peft = {.format = "peft"}, gguf = {.format = "gguf"};
    assert_fails(RRT_STATUS_UNSUPPORTED, "gpt_neox", rrt_model_export(neox, path, &peft, NULL, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "pattern", rrt_model_export(smollm3, path, &gguf, NULL, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "hf, peft or gguf",
                 rrt_model_export(neox, path, &(rrt_export_options){.format = "onnx"}, NULL, &err));
    assert_ok(rrt__model_share_kv(neox, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "share keys", rrt_model_export(neox, path, &hf, NULL, &err));
    assert_int_equal(rrt__path_exists(path), 0);
    assert_int_equal(rmdir(folder), 0); // nothing was left behind
    rrt_model_close(neox);
    rrt_model_close(smollm3);
}

// Overwriting replaces an adapter with its base, but no folder that holds more.
static void overwriting_replaces_only_what_an_export_wrote(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64], path[80], more[96];
    rrt_model *model = build("llama", RRT__SHARING_CYCLE, RRT__NORMS_TIED);
    rrt_export_options options = {.format = "peft"};
    rrt_model_close(export_to(folder, model, &options));
    snprintf(path, sizeof path, "%s/x", folder);
    assert_fails(RRT_STATUS_EXISTS, "--force", rrt_model_export(model, path, &options, NULL, &err));
    options.overwrite = true;
    assert_ok(rrt_model_export(model, path, &options, NULL, &err));
    options.format = "hf";
    assert_ok(rrt_model_export(model, path, &options, NULL, &err));
    snprintf(more, sizeof more, "%s/base", path);
    assert_false(rrt__path_exists(more));
    snprintf(more, sizeof more, "%s/more", path);
    assert_int_equal(mkdir(more, 0777), 0);
    assert_fails(RRT_STATUS_EXISTS, "more", rrt_model_export(model, path, &options, NULL, &err));
    remove_folder(folder);
    rrt_model_close(model);
}

// --- adapters of others
// --------------------------------------------------------------------------------------------------------

// An adapter of one tensor pair on q of layer 1 of the tiny llama, [rank, 32] and [32, rank].
static void write_adapter(const char *folder, json_t *config, const char *a_name, size_t rank, size_t width)
{
    rrt_error err = {0};
    char path[4096], base[4096];
    float values[40 * 32];
    for (int i = 0; i < 40 * 32; i++) values[i] = (float)(i % 7) / 50;
    const rrt__safetensors_entry entries[] = {
        {a_name, 2, {rank, width}, values},
        {"base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight", 2, {32, rank}, values}};
    snprintf(base, sizeof base, "%s/models/llama", RRT_TEST_DATA);
    json_t *whole = json_pack("{s:s, s:s, s:i, s:i}", "peft_type", "LORA", "base_model_name_or_path", base,
                              "r", 4, "lora_alpha", 8);
    json_object_update(whole, config);
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    assert_ok(rrt__json_write(whole, path, &err));
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    assert_ok(rrt__safetensors_write(path, entries, 2, RRT__DTYPE_F32, &err));
    json_decref(config);
    json_decref(whole);
}

static const char *const q_a = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";

// Added to a model that runs, adapters are not merged, and add up; the model may be quantised.
static void adapters_that_are_not_merged_add_up(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64], packed[80];
    rrt_model *merged, *model, *base = open_golden("llama");
    const char *loras[] = {folder, folder};
    rrt_open_options options = {.loras = loras, .n_loras = 1};
    temp_folder(folder);
    write_adapter(folder, json_object(), q_a, 4, 32);
    merged = open_path(folder);
    assert_ok(rrt_model_open(&model, RRT_TEST_DATA "/models/llama", &options, &err));
    assert_int_equal(model->depths[1].lora[RRT__MATRIX_Q].rank, 4);
    assert_same_logits(merged, 0, model, 0, 1e-4);
    rrt_model_close(model);
    assert_ok(rrt_model_open(&model, folder, NULL, &err));
    assert_int_equal(model->depths[1].lora[RRT__MATRIX_Q].rank, 4);
    assert_same_logits(merged, 0, model, 0, 1e-4);
    rrt_model_close(model);

    options.n_loras = 2;
    float *weight = merged->slots[1].matrix[RRT__MATRIX_Q].weight,
          *plain = base->slots[1].matrix[RRT__MATRIX_Q].weight;
    for (int i = 0; i < 32 * 32; i++) weight[i] += weight[i] - plain[i];
    assert_ok(rrt_model_open(&model, RRT_TEST_DATA "/models/llama", &options, &err));
    assert_int_equal(model->depths[1].lora[RRT__MATRIX_Q].rank, 8);
    assert_string_equal(model->name, "llama"); // the model's own
    assert_same_logits(merged, 0, model, 0, 1e-4);
    rrt_model_close(model);

    snprintf(packed, sizeof packed, "%s.gguf", folder);
    assert_ok(rrt_model_quantize(base, packed, &(rrt_quantize_options){.type = "q8_0"}, &err));
    assert_ok(rrt_model_open(&model, packed, &options, &err));
    assert_int_equal(model->slots[1].matrix[RRT__MATRIX_Q].storage, RRT__STORAGE_Q8_0);
    assert_same_logits(merged, 0, model, 0, 0.3);
    rrt_model_close(model);
    loras[1] = "/nowhere";
    assert_fails(RRT_STATUS_IO, "nowhere", rrt_model_open(&model, packed, &options, &err));
    assert_null(model);
    loras[1] = folder;
    unlink(packed);
    char recursive[64];
    rrt_model *tied;
    temp_folder(recursive);
    assert_ok(rrt_convert(&tied, base, &(rrt_convert_options){.loops = 2}, NULL, &err));
    assert_ok(rrt_model_save(tied, recursive, &(rrt_save_options){.overwrite = 1}, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "recursive", rrt_model_open(&model, recursive, &options, &err));
    remove_folder(recursive);
    rrt_model_close(tied);
    rrt_model_close(merged);
    rrt_model_close(base);
    remove_folder(folder);
}

// W + alpha / r · B·A, by hand.
static void a_foreign_adapter_adds_its_scaled_product(void **state)
{
    (void)state;
    char folder[64];
    const double alphas[] = {8.0 / 4, 8.0 / 2, 5.0 / 4}; // plain, rslora, by pattern
    for (int i = 0; i < 3; i++) {
        temp_folder(folder);
        json_t *config = i == 0   ? json_object()
                         : i == 1 ? json_pack("{s:b}", "use_rslora", 1)
                                  : json_pack("{s:{s:i, s:i}}", "alpha_pattern", "0.self_attn.q_proj", 3,
                                              "1.self_attn.q_proj", 5);
        write_adapter(folder, config, q_a, 4, 32);
        rrt_model *model = open_path(folder), *base = open_golden("llama");
        float *weight = base->slots[1].matrix[RRT__MATRIX_Q].weight;
        for (int row = 0; row < 32; row++)
            for (int column = 0; column < 32; column++)
                for (int r = 0; r < 4; r++)
                    weight[row * 32 + column] +=
                        (float)(alphas[i] * ((row * 4 + r) % 7) / 50 * ((r * 32 + column) % 7) / 50);
        assert_same_logits(base, 0, model, 0, 1e-4);
        assert_int_equal(model->plan.sharing, RRT__SHARING_NONE);
        assert_int_equal(model->depths[1].lora[RRT__MATRIX_Q].rank, 0);
        rrt_model_close(model);
        rrt_model_close(base);
        remove_folder(folder);
    }
}

static json_t *flag(const char *key)
{
    return json_pack("{s:b}", key, 1);
}

static void adapters_that_rrt_cannot_follow_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *what;
        json_t *config;
        const char *a_name;
        size_t rank, width;
        rrt_status status;
    } cases[] = {
        {"use_dora", flag("use_dora"), q_a, 4, 32, RRT_STATUS_UNSUPPORTED},
        {"bias", json_pack("{s:s}", "bias", "all"), q_a, 4, 32, RRT_STATUS_UNSUPPORTED},
        {"IA3", json_pack("{s:s}", "peft_type", "IA3"), q_a, 4, 32, RRT_STATUS_UNSUPPORTED},
        {"trainable_token_indices", json_pack("{s:[i]}", "trainable_token_indices", 1), q_a, 4, 32,
         RRT_STATUS_UNSUPPORTED},
        {"regular expression", json_pack("{s:{s:i}}", "alpha_pattern", ".*q_proj$", 1), q_a, 4, 32,
         RRT_STATUS_UNSUPPORTED},
        {"peft_type", json_pack("{s:i}", "peft_type", 3), q_a, 4, 32, RRT_STATUS_FORMAT},
        {"\"r\" is 0.5", json_pack("{s:f}", "r", 0.5), q_a, 4, 32, RRT_STATUS_MISMATCH},
        {"\"r\" is 8", json_pack("{s:{s:i}}", "rank_pattern", "q_proj", 8), q_a, 4, 32, RRT_STATUS_MISMATCH},
        {"\"r\"", json_pack("{s:s}", "r", "4"), q_a, 4, 32, RRT_STATUS_FORMAT},
        {"lora_alpha", json_pack("{s:f}", "lora_alpha", 9e15), q_a, 4, 32, RRT_STATUS_FORMAT},
        {"alpha_pattern", json_pack("{s:i}", "alpha_pattern", 7), q_a, 4, 32, RRT_STATUS_FORMAT},
        {"layer_replication", json_pack("{s:[[i, i]]}", "layer_replication", 0, 5), q_a, 4, 32,
         RRT_STATUS_FORMAT},
        {"layer_replication", json_pack("{s:[[i, i]]}", "layer_replication", 2, 1), q_a, 4, 32,
         RRT_STATUS_FORMAT},
        {"layer_replication", json_pack("{s:{}}", "layer_replication"), q_a, 4, 32, RRT_STATUS_FORMAT},
        {"has 1 layers", json_pack("{s:[[i, i]]}", "layer_replication", 0, 1), q_a, 4, 32,
         RRT_STATUS_MISMATCH},
        {"not there", json_pack("{s:s}", "base_model_name_or_path", "/nowhere"), q_a, 4, 32, RRT_STATUS_IO},
        {"lora_B", json_object(), "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", 4, 32,
         RRT_STATUS_FORMAT},
        {"lora_A is missing", json_object(), "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight",
         4, 32, RRT_STATUS_FORMAT},
        {"only LoRA", json_object(), "base_model.model.lm_head.weight", 4, 32, RRT_STATUS_UNSUPPORTED},
        {"rank 40", json_object(), q_a, 40, 32, RRT_STATUS_FORMAT},
        {"rank 0", json_object(), q_a, 4, 31, RRT_STATUS_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rrt_error err = {0};
        rrt_model *model;
        char folder[64];
        temp_folder(folder);
        write_adapter(folder, cases[i].config, cases[i].a_name, cases[i].rank, cases[i].width);
        assert_fails(cases[i].status, cases[i].what, rrt_model_open(&model, folder, NULL, &err));
        assert_null(model);
        remove_folder(folder);
    }
}

// What is no JSON, and no tensors.
static void damaged_adapters_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model;
    char folder[64], path[96];
    temp_folder(folder);
    write_adapter(folder, json_object(), q_a, 4, 32);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    assert_ok(rrt__file_write(path, "short", 5, &err));
    assert_fails(RRT_STATUS_FORMAT, "adapter_model", rrt_model_open(&model, folder, NULL, &err));
    assert_int_equal(unlink(path), 0);
    assert_fails(RRT_STATUS_IO, "adapter_model", rrt_model_open(&model, folder, NULL, &err));
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    assert_ok(rrt__file_write(path, "{\"peft_type\"", 12, &err));
    assert_fails(RRT_STATUS_FORMAT, "adapter_config", rrt_model_open(&model, folder, NULL, &err));
    assert_ok(rrt__file_write(path, "[1]", 3, &err));
    assert_fails(RRT_STATUS_FORMAT, "adapter_config", rrt_model_open(&model, folder, NULL, &err));
    remove_folder(folder);
}

// Layers repeated in an order that is no plan of ours: unrolled.
static void a_replication_that_is_no_plan_is_unrolled(void **state)
{
    (void)state;
    char folder[64];
    temp_folder(folder);
    write_adapter(folder, json_pack("{s:[[i, i], [i, i]]}", "layer_replication", 0, 4, 1, 3), q_a, 4, 32);
    rrt_model *model = open_path(folder);
    assert_int_equal(model->plan.sharing, RRT__SHARING_NONE);
    assert_int_equal(model->plan.n_depths, 6);
    rrt_model_close(model);
    remove_folder(folder);
}

// Every plan that can be is known again by its list.
static void every_plan_is_recognised_by_its_list(void **state)
{
    (void)state;
    rrt_error err = {0};
    for (int sharing = RRT__SHARING_CYCLE; sharing <= RRT__SHARING_SEQUENCE; sharing++)
        for (int i = 0; i < 4 * 4 * 3 * 3; i++) {
            rrt__plan plan, again;
            assert_ok(rrt__plan_make(&plan, sharing, 2 + i % 4, 1 + i / 4 % 4, i / 16 % 3, i / 48, &err));
            assert_true(rrt__plan_recognise(&again, plan.slot, plan.n_depths, plan.n_slots));
            assert_int_equal(again.loops, plan.loops);
            assert_int_equal(again.layers_per_block, plan.layers_per_block);
            assert_int_equal(again.prelude, plan.prelude);
            assert_int_equal(again.sharing, plan.layers_per_block == 1 ? RRT__SHARING_CYCLE : sharing);
        }
    const short others[][4] = {{0, 2, 1, 3}, {1, 2, 3, 0}, {0, 0, 1, 0}, {0, 1, 1, 3}};
    for (int i = 0; i < 4; i++) {
        rrt__plan plan;
        assert_false(rrt__plan_recognise(&plan, others[i], 4, 4));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_keeps_the_logits),
        cmocka_unit_test(exports_in_half_precision_stay_close),
        cmocka_unit_test(models_without_lora_are_exported_too),
        cmocka_unit_test(what_a_format_cannot_hold_is_refused),
        cmocka_unit_test(looped_gguf_keeps_the_loops_but_takes_no_lora),
        cmocka_unit_test(overwriting_replaces_only_what_an_export_wrote),
        cmocka_unit_test(a_foreign_adapter_adds_its_scaled_product),
        cmocka_unit_test(adapters_that_rrt_cannot_follow_are_refused),
        cmocka_unit_test(damaged_adapters_are_refused),
        cmocka_unit_test(a_replication_that_is_no_plan_is_unrolled),
        cmocka_unit_test(every_plan_is_recognised_by_its_list),
        cmocka_unit_test(adapters_that_are_not_merged_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
