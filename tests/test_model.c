// The forward pass against transformers: every family, storage type and kernel, whole, in chunks and token by
// token.
#include <sys/stat.h>

#include "kernels/kernels.h"
#include "models.h"

static const char *const names[] = {"llama",       "llama-tied",     "llama-bf16", "neox",  "gemma",
                                    "gemma2",      "gemma3",         "qwen2",      "qwen3", "smollm3",
                                    "biases",      "mistral",        "olmo2",      "phi3",  "granite",
                                    "neox-serial", "gemma3-wrapper", "hrm"};
enum { NAME_COUNT = sizeof names / sizeof *names };

static void assert_golden(const golden *g, const float *logits, const char *what)
{
    double difference = max_difference(logits, g->logits, g->count * g->vocab);
    if (!(difference <= LOGIT_TOLERANCE)) fail_msg("%s: logits are off by %g", what, difference);
}

static void check_against_golden(const char *name, const char *kernels)
{
    golden g = golden_open(name);
    rrt_model *model = open_golden(name);
    float *logits = must_alloc(g.count * g.vocab, sizeof *logits);
    for (int threads = 1; threads <= 2; threads++) {
        const rrt_session_options options = {.threads = threads};
        char what[128];
        snprintf(what, sizeof what, "%s, %s, %d threads", name, kernels, threads);
        step_logits(logits, model, g.ids, g.count, &options);
        assert_golden(&g, logits, what);
        prefix_logits(logits, model, g.ids, g.count, 1000, &options); // each prefix in one go
        assert_golden(&g, logits, what);
        prefix_logits(logits, model, g.ids, g.count, 7, &options);
        assert_golden(&g, logits, what);
    }
    free(logits);
    rrt_model_close(model);
    golden_close(&g);
}

static void every_family_matches_transformers(void **state)
{
    (void)state;
    static const char *const kernels[] = {"reference", "avx2", "avx512"};
    for (int k = 0; k < 3; k++) {
        setenv("RRT_KERNELS", kernels[k], 1);
        if (strcmp(rrt__kernels_get()->name, kernels[k]) != 0) {
            print_message("skipped: this processor cannot run %s\n", kernels[k]);
            continue;
        }
        for (int i = 0; i < NAME_COUNT; i++) check_against_golden(names[i], kernels[k]);
    }
    unsetenv("RRT_KERNELS");
}

static void the_description_counts_every_parameter_once(void **state)
{
    (void)state;
    rrt_model_info info;
    rrt_model *model = open_golden("llama-tied");
    rrt_model_describe(model, &info);
    assert_string_equal(info.family, "llama");
    assert_string_equal(info.sharing, "none");
    assert_int_equal(info.layers, 2);
    assert_int_equal(info.loops, 1);
    assert_int_equal(info.layers_per_block, 2);
    assert_int_equal(info.hidden, 36);
    assert_int_equal(info.head_dim, 24);
    assert_int_equal(info.params_embedding, 97 * 36); // tied: counted once
    assert_int_equal(info.params_shared, 2 * (2 * 72 * 36 + 2 * 24 * 36 + 3 * 24 * 36));
    assert_int_equal(info.params_norm, 5 * 36);
    assert_int_equal(info.params_lora, 0);
    assert_int_equal(info.params_total, info.params_body + info.params_embedding);
    assert_true(info.file_bytes > 2 * info.params_total); // f16, and two headers
    assert_true(info.file_bytes < 2 * info.params_total + 4096);
    rrt_model_close(model);

    model = open_golden("neox");
    rrt_model_describe(model, &info);
    assert_int_equal(info.params_embedding, 2 * 97 * 32);
    assert_int_equal(info.params_shared,
                     4 * (4 * 32 * 32 + 2 * 40 * 32 + 5 * 32 + 40)); // biases are not norms
    assert_int_equal(info.params_norm, (4 * 2 + 1) * 2 * 32);
    rrt_model_close(model);
}

static void saved_models_give_the_same_logits(void **state)
{
    (void)state;
    for (int i = 0; i < NAME_COUNT; i++) {
        rrt_model *model = open_golden(names[i]), *again = round_trip(model, "f32");
        assert_same_logits(model, 0, again, 0, 0);
        rrt_model_close(again);
        rrt_model_close(model);
    }
    // Weights that came from bf16 fit bf16; from f16 they fit f16.
    rrt_model *model = open_golden("llama-bf16"), *again = round_trip(model, "bf16");
    assert_same_logits(model, 0, again, 0, 0);
    rrt_model_close(again);
    rrt_model_close(model);
    model = open_golden("neox"), again = round_trip(model, "f16");
    assert_same_logits(model, 0, again, 0, 0);
    rrt_model_close(again);
    rrt_model_close(model);
}

// A text that is to stay within the original context is rotated by other angles, from its first token on.
static void short_texts_are_rotated_by_angles_of_their_own(void **state)
{
    (void)state;
    enum { SHORT = 8 };
    golden g = golden_open("phi3");
    rrt_model *model = open_golden("phi3");
    size_t vocab = model->shape.vocab;
    const json_t *rows = json_object_get(g.json, "short");
    float *logits = must_alloc(SHORT * vocab, sizeof *logits),
          *expected = must_alloc(SHORT * vocab, sizeof *expected);
    assert_int_equal(json_array_size(rows), SHORT);
    for (size_t i = 0; i < SHORT * vocab; i++)
        expected[i] = (float)json_number_value(json_array_get(json_array_get(rows, i / vocab), i % vocab));
    step_logits(logits, model, g.ids, SHORT, &(rrt_session_options){.tokens = SHORT});
    assert_true(max_difference(logits, expected, SHORT * vocab) <= LOGIT_TOLERANCE);
    step_logits(logits, model, g.ids, SHORT, &(rrt_session_options){.tokens = SHORT + 1});
    assert_true(max_difference(logits, g.logits, SHORT * vocab) <= LOGIT_TOLERANCE);
    assert_true(max_difference(logits, expected, SHORT * vocab) > 1e-3);
    free(logits);
    free(expected);
    rrt_model_close(model);
    golden_close(&g);
}

static void assert_shape_survives(const rrt__family *family, const rrt__shape *shape)
{
    rrt_error err = {0};
    rrt__plan plan;
    rrt_model *model;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, 1, 0, 0, &err));
    assert_ok(rrt__model_allocate(&model, family, shape, &plan, RRT__NORMS_TIED, &err));
    model->depths[0].attention = shape->window ? RRT__ATTENTION_LOCAL : 0;
    rrt_model *again = round_trip(model, "f32");
    const rrt__shape *s = &again->shape;
    assert_ptr_equal(again->family, family);
    assert_int_equal(s->hidden, shape->hidden);
    assert_int_equal(s->heads, shape->heads);
    assert_int_equal(s->kv_heads, shape->kv_heads);
    assert_int_equal(s->head_dim, shape->head_dim);
    assert_int_equal(s->ffn, shape->ffn);
    assert_int_equal(s->vocab, shape->vocab);
    assert_int_equal(s->context, shape->context);
    assert_int_equal(s->rotary, shape->rotary);
    assert_near(s->rope.base, shape->rope.base, 1e-8 * shape->rope.base);
    assert_near(s->local_rope_base, shape->local_rope_base, 1e-8 * shape->local_rope_base);
    assert_int_equal(s->window, shape->window);
    assert_int_equal(again->depths[0].attention, model->depths[0].attention);
    assert_near(s->attention_scale, shape->attention_scale, 1e-8);
    assert_near(s->attention_cap, shape->attention_cap, 1e-8);
    assert_near(s->logit_cap, shape->logit_cap, 1e-8);
    assert_near(s->norm_epsilon, shape->norm_epsilon, 1e-8 * shape->norm_epsilon);
    assert_int_equal(s->tied_head, shape->tied_head);
    rrt_model_close(again);
    rrt_model_close(model);
}

// No field of a shape falls back to a default that happens to be the golden's, for any family; and fractions
// of rotated values that have no short decimal come back as they were.
static void every_field_of_a_shape_survives_saving(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "neox", "gemma3", "gemma2"};
    for (int f = 0; f < 4; f++) {
        rrt_model *model = open_golden(families[f]);
        rrt__shape shape = {.hidden = 20,
                            .heads = 4,
                            .kv_heads = f == 1 ? 4 : 2,
                            .head_dim = 6,
                            .ffn = 7,
                            .vocab = 3,
                            .context = 99,
                            .rotary = f == 1 ? 4 : 6,
                            .rope.base = 123456.75,
                            .local_rope_base = f == 2 ? 1234.5 : 0,
                            .window = f >= 2 ? 77 : 0,
                            .attention_scale = f >= 2 ? 1 / sqrt(8.5) : 0,
                            .attention_cap = f == 3 ? 31.25 : 0,
                            .logit_cap = f >= 2 ? 15.5 : 0,
                            .norm_epsilon = 3e-7,
                            .tied_head = !model->shape.tied_head};
        if (f == 1) shape.hidden = shape.heads * shape.head_dim;
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) shape.has_bias[m] = model->shape.has_bias[m];
        assert_shape_survives(model->family, &shape);
        for (shape.head_dim = 2; shape.head_dim <= 110; shape.head_dim += 36) {
            if (f == 1) shape.hidden = shape.heads * shape.head_dim;
            for (shape.rotary = f == 1 ? 2 : shape.head_dim; shape.rotary <= shape.head_dim;
                 shape.rotary += 2)
                assert_shape_survives(model->family, &shape);
        }
        rrt_model_close(model);
    }
}

// What Hugging Face's tools look up beside the shape.
static void the_saved_config_has_what_transformers_looks_up(void **state)
{
    (void)state;
    static const char *const dtypes[][2] = {{"f32", "float32"}, {"bf16", "bfloat16"}, {"f16", "float16"}};
    rrt_error err = {0};
    rrt_model *model = open_golden("llama");
    for (int i = 0; i < 3; i++) {
        char folder[64], path[4096];
        json_t *config;
        temp_folder(folder);
        assert_ok(
            rrt_model_save(model, folder, &(rrt_save_options){.dtype = dtypes[i][0], .overwrite = 1}, &err));
        assert_ok(rrt__path_join(path, folder, "config.json", &err));
        assert_ok(rrt__json_read(&config, path, &err));
        assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), dtypes[i][1]);
        const rrt_tokenizer *tokenizer = rrt_model_tokenizer(model);
        assert_true(rrt_tokenizer_eos(tokenizer) >= 0);
        assert_int_equal(json_integer_value(json_object_get(config, "bos_token_id")),
                         rrt_tokenizer_bos(tokenizer));
        assert_int_equal(json_integer_value(json_object_get(config, "eos_token_id")),
                         rrt_tokenizer_eos(tokenizer));
        json_decref(config);
        remove_folder(folder);
    }
    rrt_model_close(model);
}

static void a_refused_save_leaves_the_folder_as_it_was(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[64];
    rrt_model *model = open_golden("llama");
    temp_folder(path);
    assert_fails(RRT_STATUS_EXISTS, path, rrt_model_save(model, path, NULL, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "f64",
                 rrt_model_save(model, path, &(rrt_save_options){.dtype = "f64", .overwrite = 1}, &err));
    model->slots[1].matrix[RRT__MATRIX_UP].weight[5] = NAN;
    assert_fails(RRT_STATUS_NUMERIC, "model.layers.1.mlp.up_proj.weight",
                 rrt_model_save(model, path, &(rrt_save_options){.overwrite = 1}, &err));
    DIR *folder = opendir(path); // the old content is untouched: empty
    int entries = 0;
    while (readdir(folder)) entries++;
    closedir(folder);
    assert_int_equal(entries, 2);
    remove_folder(path);
    rrt_model_close(model);
}

// f16 is the default, and near to f32.
static void f16_keys_and_values_stay_near_f32(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("llama");
    rrt_model *model = open_golden("llama");
    float *single = must_alloc(2 * g.vocab, sizeof *single), *half = single + g.vocab;
    for (int i = 0; i < 2; i++) {
        rrt_session *session;
        const rrt_session_options options = {.threads = 1, .kv_type = i ? NULL : "f32"};
        assert_ok(rrt_session_open(&session, model, &options, &err));
        assert_ok(rrt_session_append(session, g.ids, g.count, &err));
        memcpy(single + (size_t)i * g.vocab, rrt_session_logits(session), g.vocab * sizeof *single);
        rrt_session_close(session);
    }
    double difference = max_difference(single, half, g.vocab);
    assert_true(difference > 1e-5 && difference < 0.05);
    rrt_session *none;
    assert_fails(RRT_STATUS_ARGUMENT, "'q8' are not known: f16, f32 or q8_0",
                 rrt_session_open(&none, model, &(rrt_session_options){.kv_type = "q8"}, &err));
    assert_null(none);
    free(single);
    rrt_model_close(model);
    golden_close(&g);
}

static void sessions_refuse_what_does_not_fit(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = open_golden("llama");
    rrt_session *session;
    assert_ok(rrt_session_open(&session, model, NULL, &err));
    assert_null(rrt_session_logits(session));
    int32_t ids[129] = {0};
    ids[3] = 97;
    assert_fails(RRT_STATUS_ARGUMENT, "97", rrt_session_append(session, ids, 5, &err));
    ids[3] = -1;
    assert_fails(RRT_STATUS_ARGUMENT, "-1", rrt_session_append(session, ids, 5, &err));
    assert_int_equal(rrt_session_tokens(session), 0);
    ids[3] = 0;
    assert_fails(RRT_STATUS_ARGUMENT, "128", rrt_session_append(session, ids, 129, &err));
    assert_ok(rrt_session_append(session, ids, 128, &err));
    float before = rrt_session_logits(session)[0];
    assert_fails(RRT_STATUS_ARGUMENT, "128", rrt_session_append(session, ids, 1, &err));
    assert_ok(rrt_session_append(session, ids, 0, &err));
    assert_true(rrt_session_logits(session)[0] == before);
    rrt_session_close(session);
    assert_fails(RRT_STATUS_UNSUPPORTED, "2 loops",
                 rrt_session_open(&session, model, &(rrt_session_options){1, 2}, &err));
    assert_null(session);
    for (long n = 0; n < 2; n++) { // without memory it is NULL too
        session = (rrt_session *)ids;
        rrt__memory_fail_after = n;
        assert_fails(RRT_STATUS_MEMORY, "", rrt_session_open(&session, model, NULL, &err));
        rrt__memory_fail_after = -1;
        assert_null(session);
    }
    rrt_model_close(model);
}

static int stop(void *user, const char *stage, double done, double total)
{
    assert_string_equal(stage, "load");
    assert_true(done <= total);
    return --*(int *)user < 0;
}

static void loading_can_be_cancelled(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model;
    int steps = 5;
    const rrt_progress progress = {stop, &steps};
    const rrt_open_options options = {.progress = &progress};
    assert_fails(RRT_STATUS_CANCELLED, "",
                 rrt_model_open(&model, RRT_TEST_DATA "/models/llama", &options, &err));
    assert_null(model);
    steps = 1000;
    assert_ok(rrt_model_open(&model, RRT_TEST_DATA "/models/llama", &options, &err));
    rrt_model_close(model);
}

static int stop_saving(void *user, const char *stage, double done, double total)
{
    assert_string_equal(stage, "save");
    assert_true(done <= total);
    return --*(int *)user < 0;
}

// A save that is cancelled leaves what was there, and nothing else.
static void a_cancelled_save_leaves_what_was_there(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64], path[128];
    rrt_model *model = open_golden("llama");
    int steps;
    const rrt_progress progress = {stop_saving, &steps};
    rrt_save_options options = {.overwrite = 1, .progress = &progress};
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/model", folder);
    for (int shards = 0; shards < 2; shards++) {
        options.max_shard_bytes = shards ? 10000 : 0;
        steps = 5;
        assert_fails(RRT_STATUS_CANCELLED, "cancelled", rrt_model_save(model, path, &options, &err));
        assert_int_equal(rmdir(folder), 0); // it is empty
        assert_int_equal(mkdir(folder, 0700), 0);
    }
    steps = 1000;
    assert_ok(rrt_model_save(model, path, &options, &err));
    steps = 5;
    assert_fails(RRT_STATUS_CANCELLED, "cancelled", rrt_model_save(model, path, &options, &err));
    rrt_model *again = open_path(path);
    assert_same_logits(model, 0, again, 0, 0);
    rrt_model_close(again);
    remove_folder(folder);
    rrt_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_matches_transformers),
        cmocka_unit_test(short_texts_are_rotated_by_angles_of_their_own),
        cmocka_unit_test(the_description_counts_every_parameter_once),
        cmocka_unit_test(saved_models_give_the_same_logits),
        cmocka_unit_test(every_field_of_a_shape_survives_saving),
        cmocka_unit_test(the_saved_config_has_what_transformers_looks_up),
        cmocka_unit_test(a_refused_save_leaves_the_folder_as_it_was),
        cmocka_unit_test(f16_keys_and_values_stay_near_f32),
        cmocka_unit_test(sessions_refuse_what_does_not_fit),
        cmocka_unit_test(loading_can_be_cancelled),
        cmocka_unit_test(a_cancelled_save_leaves_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
