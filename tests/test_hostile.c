// Folders that lie: every one is refused by name, quickly, and without a leak. And memory that runs out
// anywhere.
#include <time.h>

#include "format/safetensors.h"
#include "models.h"

static void assert_refused(const char *folder, rrt_status expected, const char *text)
{
    rrt_error err = {0};
    rrt_model *model;
    assert_fails(expected, text, rrt_model_open(&model, folder, NULL, &err));
    assert_null(model);
    assert_int_equal(err.status, expected);
    if (strncmp(err.where, folder, strlen(folder)) != 0)
        fail_msg("where does not begin with the path: %s", err.where);
    const char *rest = err.where + strlen(folder);
    if (strncmp(rest, ": ", 2) == 0 && strncmp(rest + 2, folder, strlen(folder)) == 0)
        fail_msg("where names the path twice: %s", err.where);
}

// The golden model with some keys of config.json changed is refused.
static void refuse_config(const char *name, json_t *changes, rrt_status expected, const char *text)
{
    char path[64];
    copy_golden(path, name);
    update_json(path, "config.json", changes);
    assert_refused(path, expected, text);
    remove_folder(path);
}

static void settings_that_would_change_the_result_are_refused(void **state)
{
    (void)state;
    const rrt_status unsupported = RRT_STATUS_UNSUPPORTED;
    refuse_config(
        "llama", json_pack("{s:s}", "model_type", "mamba"), unsupported,
        "llama, mistral, smollm3, qwen2, qwen3, olmo2, phi3, granite, gemma, gemma2, gemma3_text, gpt_neox, "
        "nanbeige, ouro, hrm_text");
    refuse_config("llama", json_pack("{s:{s:s, s:f}}", "rope_scaling", "type", "spiral", "factor", 2.0),
                  unsupported, "spiral");
    refuse_config("llama",
                  json_pack("{s:{s:s, s:f}}", "rope_parameters", "rope_type", "llama3", "factor", 2.0),
                  RRT_STATUS_FORMAT, "low_freq_factor");
    refuse_config("llama", json_pack("{s:{s:s}}", "rope_scaling", "rope_type", "linear"), RRT_STATUS_FORMAT,
                  "factor");
    refuse_config("llama",
                  json_pack("{s:{s:s, s:f}}", "rope_scaling", "rope_type", "longrope", "factor", 2.0),
                  RRT_STATUS_FORMAT, "short_factor");
    refuse_config("llama", json_pack("{s:i}", "rope_scaling", 7), RRT_STATUS_FORMAT, "rope_scaling");
    refuse_config("llama",
                  json_pack("{s:{s:s, s:f}, s:f}", "rope_scaling", "rope_type", "linear", "factor", 2.0,
                            "partial_rotary_factor", 0.5),
                  unsupported, "partial_rotary_factor");
    refuse_config("llama", json_pack("{s:{s:{s:f}}}", "rope_parameters", "full_attention", "rope_theta", 1e4),
                  unsupported, "each kind");
    refuse_config("gemma3",
                  json_pack("{s:{s:{s:s, s:f}}}", "rope_parameters", "sliding_attention", "rope_type",
                            "linear", "factor", 2.0),
                  unsupported, "local");
    refuse_config("llama", json_pack("{s:{s:s}}", "quantization_config", "quant_method", "gptq"), unsupported,
                  "gptq");
    // Biases that are promised have to be there, and none that are not.
    refuse_config("llama", json_pack("{s:b}", "attention_bias", 1), RRT_STATUS_MISMATCH, "parameters");
    refuse_config("llama", json_pack("{s:b}", "mlp_bias", 1), RRT_STATUS_MISMATCH, "parameters");
    refuse_config("neox", json_pack("{s:b}", "attention_bias", 0), unsupported, "attention.dense.bias");
    refuse_config("gemma3",
                  json_pack("{s:[s,s,s,s]}", "layer_types", "full_attention", "full_attention",
                            "full_attention", "chunked_attention"),
                  unsupported, "\"layer_types\"[3]");
    refuse_config("gemma3", json_pack("{s:[s]}", "layer_types", "full_attention"), RRT_STATUS_FORMAT,
                  "lists 1 layers");
    refuse_config("gemma3", json_pack("{s:n}", "sliding_window"), unsupported, "sliding_window");
    refuse_config("gemma2", json_pack("{s:f}", "attn_logit_softcapping", -1.0), RRT_STATUS_FORMAT, "cap");
    refuse_config("gemma3", json_pack("{s:b}", "use_bidirectional_attention", 1), unsupported,
                  "use_bidirectional_attention");
    refuse_config("smollm3", json_pack("{s:[i]}", "no_rope_layers", 1), RRT_STATUS_FORMAT, "no_rope_layers");
    refuse_config("llama", json_pack("{s:s}", "hidden_act", "relu"), unsupported, "relu");
    refuse_config("neox", json_pack("{s:i}", "head_dim", 8), unsupported, "head_dim");
    refuse_config("neox", json_pack("{s:s}", "hidden_act", "gelu_new"), unsupported, "gelu_new");
}

static void impossible_configs_are_refused(void **state)
{
    (void)state;
    const rrt_status format = RRT_STATUS_FORMAT;
    refuse_config("llama", json_pack("{s:n}", "hidden_size"), format, "hidden_size");
    refuse_config("llama", json_pack("{s:i}", "hidden_size", 0), format, "hidden_size");
    refuse_config("llama", json_pack("{s:s}", "hidden_size", "32"), format, "an integer");
    refuse_config("llama", json_pack("{s:i}", "num_key_value_heads", 3), format, "evenly");
    refuse_config("llama", json_pack("{s:i}", "head_dim", 7), format, "rotated");
    refuse_config("llama", json_pack("{s:f}", "rms_norm_eps", -1.0), format, "epsilon");
    refuse_config("llama", json_pack("{s:{s:f}}", "rope_parameters", "rope_theta", 0.0), format, "rope base");
    refuse_config("llama", json_pack("{s:i}", "num_hidden_layers", 1025), format, "1024");
    refuse_config("neox", json_pack("{s:{s:f}}", "rope_parameters", "partial_rotary_factor", 1.5), format,
                  "1.5");
}

static void configs_of_another_model_are_refused(void **state)
{
    (void)state;
    // Wider or deeper than the files: refused by size before anything is allocated.
    refuse_config("llama", json_pack("{s:i}", "hidden_size", 64), RRT_STATUS_MISMATCH, "different models");
    refuse_config("llama", json_pack("{s:i}", "num_hidden_layers", 5), RRT_STATUS_MISMATCH, "parameters");
    // Smaller: a tensor has another shape.
    refuse_config("llama", json_pack("{s:i}", "hidden_size", 16), RRT_STATUS_MISMATCH,
                  "model.embed_tokens.weight");
    refuse_config("llama", json_pack("{s:i}", "intermediate_size", 39), RRT_STATUS_MISMATCH,
                  "mlp.gate_proj.weight");
    refuse_config("llama", json_pack("{s:i}", "num_key_value_heads", 1), RRT_STATUS_MISMATCH,
                  "k_proj.weight");
    refuse_config("llama-tied", json_pack("{s:i, s:b}", "num_hidden_layers", 1, "tie_word_embeddings", 0),
                  RRT_STATUS_FORMAT, "'lm_head.weight' is missing");
}

static void absurd_sizes_cost_nothing(void **state)
{
    (void)state;
    clock_t start = clock();
    refuse_config("llama",
                  json_pack("{s:i, s:i, s:i}", "hidden_size", 1 << 20, "num_hidden_layers", 1024,
                            "intermediate_size", 1 << 20),
                  RRT_STATUS_MISMATCH, "parameters");
    refuse_config("llama", json_pack("{s:i}", "vocab_size", 1 << 24), RRT_STATUS_MISMATCH, "parameters");
    refuse_config("llama", json_pack("{s:I}", "vocab_size", (json_int_t)1 << 40), RRT_STATUS_FORMAT,
                  "vocab_size");
    // A huge context is only a limit: nothing is taken for it before it is used.
    char path[64];
    copy_golden(path, "llama");
    update_json(path, "config.json", json_pack("{s:i}", "max_position_embeddings", 1 << 24));
    rrt_error err = {0};
    rrt_model *model = open_path(path);
    rrt_session *session;
    assert_ok(rrt_session_open(&session, model, &(rrt_session_options){.threads = 1}, &err));
    assert_ok(rrt_session_append(session, (int32_t[]){1, 2, 3}, 3, &err));
    rrt_session_close(session);
    rrt_model_close(model);
    remove_folder(path);
    assert_true(clock() - start < CLOCKS_PER_SEC);
}

static json_t *plan(const char *sharing, int loops, int prelude, json_t *list)
{
    return json_pack("{s:{s:i, s:s, s:i, s:i, s:o}}", "rrt", "format_version", 1, "sharing", sharing, "loops",
                     loops, "prelude", prelude, "plan", list);
}

static void recursion_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    const rrt_status format = RRT_STATUS_FORMAT;
    json_t *future = json_pack("{s:{s:i}}", "rrt", "format_version", 2);
    refuse_config("llama", future, RRT_STATUS_UNSUPPORTED, "format_version 2 is newer");
    refuse_config("llama", json_pack("{s:{}}", "rrt"), format, "format_version");
    refuse_config("llama", json_pack("{s:i}", "rrt", 1), format, "an object");
    refuse_config("llama", plan("cycle", 2, 0, json_pack("[i,i,i,i]", 0, 1, 0, 2)), format, "\"plan\"[3]");
    refuse_config("llama", plan("cycle", 2, 0, json_pack("[i,i,s,i]", 0, 1, "0", 1)), format, "\"plan\"[2]");
    refuse_config("llama", plan("cycle", 2, 0, json_pack("[i,i]", 0, 0)), format, "num_hidden_layers");
    refuse_config("llama", plan("cycle", 3, 0, json_pack("[i,i,i,i]", 0, 1, 0, 1)), format, "loops");
    refuse_config("llama", plan("cycle", 2, 4, json_pack("[i,i,i,i]", 0, 1, 2, 3)), format, "prelude");
    refuse_config("llama", plan("spiral", 2, 0, json_pack("[i,i,i,i]", 0, 1, 0, 1)), format, "spiral");
    refuse_config("llama", plan("none", 2, 0, json_pack("[i,i,i,i]", 0, 1, 0, 1)), format, "without sharing");
    refuse_config("llama", plan("cycle", 2, 0, json_array()), format, "0 depths");
    json_t *norms = plan("cycle", 2, 0, json_pack("[i,i,i,i]", 0, 1, 0, 1));
    json_object_set_new(json_object_get(norms, "rrt"), "norms", json_string("wild"));
    refuse_config("llama", norms, format, "wild");
    json_t *kv = plan("cycle", 2, 0, json_pack("[i,i,i,i]", 0, 1, 0, 1));
    json_object_set_new(json_object_get(kv, "rrt"), "kv", json_string("wild"));
    refuse_config("llama", kv, RRT_STATUS_UNSUPPORTED, "wild");
    kv = plan("sequence", 2, 0, json_pack("[i,i,i,i]", 0, 0, 1, 1));
    json_object_set_new(json_object_get(kv, "rrt"), "kv", json_string("shared"));
    refuse_config("llama", kv, format, "no loops that could share");
}

// --- weights
// -------------------------------------------------------------------------------------------------

// Writes the llama's tensors again, one changed on the way; extra is added where it has a name.
static void rewrite(const char *folder, const char *victim, size_t rows, float value,
                    rrt__safetensors_entry extra)
{
    rrt_error err = {0};
    rrt__safetensors *file;
    char path[4096];
    assert_ok(rrt__safetensors_open(&file, RRT_TEST_DATA "/models/llama", &err));
    const rrt__tensor_table *table = rrt__safetensors_tensors(file);
    rrt__safetensors_entry *entries = must_alloc(table->count + 1, sizeof *entries);
    float **values = must_alloc(table->count, sizeof *values);
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const rrt__tensor *t = &table->tensors[i];
        size_t columns = t->n_dims == 2 ? t->shape[1] : 0;
        values[i] = must_alloc(t->size_bytes / 4 + 1024, sizeof(float));
        assert_ok(rrt__tensor_read(t, t->shape[0], columns, values[i], &err));
        bool is_victim = strcmp(t->name, victim) == 0;
        if (is_victim && rows == 0) continue; // missing
        if (is_victim) values[i][1] = value;
        entries[count++] = (rrt__safetensors_entry){.name = t->name,
                                                    .n_dims = t->n_dims,
                                                    .shape = {is_victim ? rows : t->shape[0], columns},
                                                    .values = values[i]};
    }
    if (extra.name) entries[count++] = extra;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(rrt__safetensors_write(path, entries, count, RRT__DTYPE_F32, &err));
    for (size_t i = 0; i < table->count; i++) free(values[i]);
    free(values);
    free(entries);
    rrt__safetensors_close(file);
}

static void refuse_weights(const char *victim, size_t rows, rrt__safetensors_entry extra, rrt_status expected,
                           const char *text)
{
    char path[64];
    copy_golden(path, "llama");
    rewrite(path, victim, rows, 1, extra);
    assert_refused(path, expected, text);
    remove_folder(path);
}

// Overwrites the first value of a tensor in the file itself: the writer would not write a NaN.
static void poison(const char *folder, const char *name)
{
    rrt_error err = {0};
    rrt__safetensors *file;
    char path[4096];
    assert_ok(rrt__safetensors_open(&file, folder, &err));
    long offset = (long)rrt__tensor_table_find(rrt__safetensors_tensors(file), name)->file_offset;
    rrt__safetensors_close(file);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *out = fopen(path, "r+b");
    float bad = NAN;
    fseek(out, offset, SEEK_SET);
    fwrite(&bad, sizeof bad, 1, out);
    fclose(out);
}

static void missing_misshaped_or_nan_weights_are_refused(void **state)
{
    (void)state;
    const rrt__safetensors_entry none = {0};
    static float zeros[64 * 1024];
    // Values enough are there, so the size check does not see it.
    const rrt__safetensors_entry filler = {.name = "filler", .n_dims = 1, .shape = {8192}, .values = zeros};
    refuse_weights("model.layers.2.mlp.up_proj.weight", 0, filler, RRT_STATUS_FORMAT,
                   "model.layers.2.mlp.up_proj.weight");
    refuse_weights("model.layers.2.mlp.up_proj.weight", 41, none, RRT_STATUS_MISMATCH,
                   "model.layers.2.mlp.up_proj.weight");
    refuse_weights("model.norm.weight", 33, none, RRT_STATUS_MISMATCH, "model.norm.weight");

    char path[64];
    copy_golden(path, "llama");
    poison(path, "model.layers.3.self_attn.o_proj.weight");
    assert_refused(path, RRT_STATUS_NUMERIC, "model.layers.3.self_attn.o_proj.weight");
    remove_folder(path);
}

static void lora_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static float zeros[64 * 1024];
    rrt__safetensors_entry a = {
        .name = "rrt.depths.1.mlp.up_proj.lora_A.weight", .n_dims = 2, .values = zeros};
    a.shape[0] = 33, a.shape[1] = 32; // up is [40, 32]
    refuse_weights("", 0, a, RRT_STATUS_FORMAT, "rrt.depths.1.mlp.up_proj.lora_A.weight");
    a.shape[0] = 4, a.shape[1] = 1; // claims a rank that the file does not hold
    refuse_weights("", 0, a, RRT_STATUS_FORMAT, "rrt.depths.1.mlp.up_proj.lora_A.weight");
    a.shape[0] = 4, a.shape[1] = 32;
    refuse_weights("", 0, a, RRT_STATUS_FORMAT, "lora_B.weight' is missing");
}

static void missing_files_are_named(void **state)
{
    (void)state;
    char path[64], file[128];
    static const struct {
        const char *model, *file, *text;
    } cases[] = {{"llama", "config.json", "config.json"},
                 {"llama", "model.safetensors", "model.safetensors"},
                 {"llama-tied", "model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        copy_golden(path, cases[i].model);
        snprintf(file, sizeof file, "%s/%s", path, cases[i].file);
        assert_int_equal(unlink(file), 0);
        assert_refused(path, RRT_STATUS_IO, cases[i].text);
        remove_folder(path);
    }
    assert_refused("/nowhere/at/all", RRT_STATUS_IO, "");
}

// It may be any kind that others know: the weights are of use without it.
static void a_model_opens_without_its_tokenizer(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[64];
    copy_golden(path, "llama");
    rrt_model *model = open_path(path);
    assert_ok(rrt_model_check_tokenizer(model, &err));
    update_json(path, "tokenizer.json", json_pack("{s:{s:s}}", "model", "type", "Unigram"));
    rrt_model *without = open_path(path);
    assert_null(rrt_model_tokenizer(without));
    assert_fails(RRT_STATUS_UNSUPPORTED, "Unigram", rrt_model_check_tokenizer(without, &err));
    assert_non_null(strstr(err.where, path));
    assert_same_logits(without, 0, model, 0, 0);
    rrt_model_close(without);
    rrt_model_close(model);
    // So does a damaged one, and one whose model says something odd about its tokens.
    update_json(path, "tokenizer.json", json_pack("{s:i}", "model", 7));
    without = open_path(path);
    assert_fails(RRT_STATUS_FORMAT, "model", rrt_model_check_tokenizer(without, &err));
    rrt_model_close(without);
    copy_file(RRT_TEST_DATA "/models/llama", path, "tokenizer.json");
    update_json(path, "config.json", json_pack("{s:f}", "eos_token_id", 1e30));
    without = open_path(path);
    assert_fails(RRT_STATUS_FORMAT, "\"eos_token_id\" is 1e+30: from 0",
                 rrt_model_check_tokenizer(without, &err));
    rrt_model_close(without);
    remove_folder(path);
    model = open_golden("neox");
    assert_fails(RRT_STATUS_UNSUPPORTED, "lacks tokenizer.json", rrt_model_check_tokenizer(model, &err));
    rrt_model_close(model);
}

static void ids_beyond_the_embedding_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[64];
    rrt_model *llama = open_golden("llama");
    rrt__shape shape = llama->shape;
    shape.vocab = 50;
    rrt_model *small;
    assert_ok(rrt__model_allocate(&small, llama->family, &shape, &llama->plan, RRT__NORMS_TIED, &err));
    temp_folder(path);
    assert_ok(rrt_model_save(small, path, &(rrt_save_options){.overwrite = 1}, &err));
    copy_file(RRT_TEST_DATA "/models/llama", path, "tokenizer.json");
    rrt_model *opened = open_path(path);
    int32_t *ids;
    size_t count;
    assert_fails(RRT_STATUS_UNSUPPORTED, "', but the model's embedding has only 50 rows",
                 rrt_encode(rrt_model_tokenizer(opened), "the cat", 7, NULL, &ids, &count, &err));
    assert_null(ids);
    assert_ok(rrt_encode(rrt_model_tokenizer(opened), "e", 1, NULL, &ids, &count, &err));
    assert_int_equal(count, 1);
    rrt_ids_free(ids);
    rrt_model_close(opened);
    remove_folder(path);
    rrt_model_close(small);
    rrt_model_close(llama);
}

// Every allocation fails once: the status is MEMORY, and nothing leaks (the address sanitizer looks).
static rrt_status use(const char *folder, rrt_error *err)
{
    rrt_model *model = NULL;
    rrt_session *session = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    rrt_eval_ppl_result ppl;
    rrt_status status = rrt_model_open(&model, folder, NULL, err);
    if (!status) status = rrt_session_open(&session, model, &(rrt_session_options){.threads = 1}, err);
    if (!status) status = rrt_encode(rrt_model_tokenizer(model), "the cat", 7, NULL, &ids, &count, err);
    for (size_t i = 0; !status && i < count; i++) {
        status = rrt_session_append(session, ids + i, 1, err);
        // The session is as it was: the same call works once there is memory again.
        if (status) {
            assert_int_equal(rrt_session_tokens(session), i);
            rrt__memory_fail_after = -1;
            assert_int_equal(rrt_session_append(session, ids + i, 1, err), RRT_STATUS_OK);
        }
    }
    if (!status)
        status = rrt_eval_ppl(model, ids, count, &(rrt_eval_options){.threads = 1, .context = 3}, &ppl, err);
    rrt_ids_free(ids);
    rrt_session_close(session);
    rrt_model_close(model);
    return status;
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    static const char *const folders[] = {RRT_TEST_DATA "/models/llama", RRT_TEST_DATA "/models/llama-tied"};
    for (int f = 0; f < 2; f++) {
        rrt_status status = RRT_STATUS_MEMORY;
        long failures = -1;
        while (status) {
            rrt_error err = {0};
            rrt__memory_fail_after = ++failures;
            status = use(folders[f], &err);
            rrt__memory_fail_after = -1;
            if (status && status != RRT_STATUS_MEMORY)
                fail_msg("request %ld: %s: %s: %s", failures, rrt_status_name(status), err.where,
                         err.message);
        }
        assert_true(failures > 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_that_would_change_the_result_are_refused),
        cmocka_unit_test(impossible_configs_are_refused),
        cmocka_unit_test(configs_of_another_model_are_refused),
        cmocka_unit_test(absurd_sizes_cost_nothing),
        cmocka_unit_test(recursion_that_contradicts_itself_is_refused),
        cmocka_unit_test(missing_misshaped_or_nan_weights_are_refused),
        cmocka_unit_test(lora_that_does_not_fit_is_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(a_model_opens_without_its_tokenizer),
        cmocka_unit_test(ids_beyond_the_embedding_are_refused),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
