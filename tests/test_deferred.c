// Models whose matrices stay in their files: that what is made of them is the same as from memory, bit for
// bit; what they refuse; and models in several GGUF files.
#include <stdio.h>

#include "base/file.h"
#include "format/gguf_write.h"
#include "models.h"
#include "pass/stream.h"
#include "rrt/convert.h"
#include "rrt/export.h"

static const char *const families[] = {"llama", "neox", "gemma3", "phi3"};
enum { FAMILY_COUNT = sizeof families / sizeof *families };

static rrt_model *open_deferred(const char *path)
{
    rrt_error err = {0};
    rrt_model *model;
    assert_ok(rrt_model_open_deferred(&model, path, NULL, &err));
    return model;
}

static void golden_path(char path[512], const char *family)
{
    snprintf(path, 512, "%s/models/%s", RRT_TEST_DATA, family);
}

static void assert_same_file(const char *folder_a, const char *folder_b, const char *name)
{
    rrt_error err = {0};
    rrt__string bytes[2] = {{0}, {0}};
    const char *const folders[] = {folder_a, folder_b};
    for (int i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folders[i], name);
        assert_ok(rrt__file_read(&bytes[i], path, &err));
    }
    if (bytes[0].length != bytes[1].length || memcmp(bytes[0].data, bytes[1].data, bytes[0].length) != 0)
        fail_msg("%s differs", name);
    for (int i = 0; i < 2; i++) rrt__string_free(&bytes[i]);
}

// Whatever is written of a model, from memory and from its files.
static void write_all(const rrt_model *model, const char *folder)
{
    rrt_error err = {0};
    char path[512];
    rrt_model *converted;
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    assert_ok(rrt_model_quantize(model, path, &(rrt_quantize_options){.type = "q4_1", .threads = 3}, &err));
    snprintf(path, sizeof path, "%s/saved", folder);
    assert_ok(rrt_model_save(model, path, &(rrt_save_options){.dtype = "bf16"}, &err));
    snprintf(path, sizeof path, "%s/exported", folder);
    assert_ok(rrt_model_export(model, path, &(rrt_export_options){.format = "hf"}, NULL, &err));
    static const rrt_convert_options options[] = {
        {.init = RRT_INIT_STEPWISE, .loops = 2, .norms = "folded"},
        {.init = RRT_INIT_AVERAGE, .loops = 2, .rank = 3},
        {.init = RRT_INIT_LOWER, .loops = 2},
        {.init = RRT_INIT_RANDOM, .loops = 2, .seed = 7},
        {.sharing = "none", .layers = 2},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        snprintf(path, sizeof path, "%s/converted-%zu", folder, i);
        assert_ok(rrt_convert(&converted, model, &options[i], NULL, &err));
        assert_ok(rrt_model_save(converted, path, NULL, &err));
        rrt_model_close(converted);
    }
}

static void deferred_models_write_the_same_bytes(void **state)
{
    (void)state;
    for (int f = 0; f < FAMILY_COUNT; f++) {
        char path[512], folders[2][64];
        golden_path(path, families[f]);
        rrt_model *models[] = {open_path(path), open_deferred(path)};
        for (int i = 0; i < 2; i++) {
            temp_folder(folders[i]);
            write_all(models[i], folders[i]);
            rrt_model_close(models[i]);
        }
        static const char *const files[] = {"m.gguf",
                                            "saved/model.safetensors",
                                            "saved/config.json",
                                            "exported/model.safetensors",
                                            "converted-0/model.safetensors",
                                            "converted-1/model.safetensors",
                                            "converted-2/model.safetensors",
                                            "converted-3/model.safetensors",
                                            "converted-4/model.safetensors"};
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            assert_same_file(folders[0], folders[1], files[i]);
        for (int i = 0; i < 2; i++) remove_folder(folders[i]);
    }
}

// Depth by depth, as a session has it.
static void streaming_depth_by_depth_matches_the_golden(void **state)
{
    (void)state;
    for (int f = 0; f < FAMILY_COUNT; f++) {
        rrt_error err = {0};
        char path[512];
        golden_path(path, families[f]);
        golden g = golden_open(families[f]);
        rrt_model *model = open_deferred(path);
        float *logits = must_alloc(g.count * g.vocab, sizeof *logits);
        assert_ok(rrt__stream_logits(model, g.ids, g.count, 2, logits, &err));
        double apart = max_difference(logits, g.logits, g.count * g.vocab);
        if (!(apart <= LOGIT_TOLERANCE * 10)) fail_msg("%s: %g", families[f], apart);
        free(logits);
        rrt_model_close(model);
        golden_close(&g);
    }
}

static void deferred_models_refuse_what_needs_their_weights(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[512];
    golden_path(path, "llama");
    rrt_model *model = open_deferred(path), *converted;
    rrt_session *session;
    const int32_t ids[] = {1, 2, 3, 4};
    assert_ok(rrt_session_open(&session, model, &(rrt_session_options){0}, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "left in their files", rrt_session_append(session, ids, 4, &err));
    rrt_session_close(session);
    const rrt_convert_options calibrated = {
        .init = RRT_INIT_CALIBRATED, .loops = 2, .calibration_ids = ids, .calibration_count = 4};
    assert_fails(RRT_STATUS_UNSUPPORTED, "left in their files",
                 rrt_convert(&converted, model, &calibrated, NULL, &err));
    assert_ok(rrt_model_unpack(model, &err));
    assert_ok(rrt_session_open(&session, model, &(rrt_session_options){0}, &err));
    assert_ok(rrt_session_append(session, ids, 4, &err));
    rrt_session_close(session);
    rrt_model_close(model);
}

// What a look tells.
static void a_deferred_model_can_be_described(void **state)
{
    (void)state;
    char path[512];
    rrt_model_info info;
    rrt_model_type types[RRT_MODEL_TYPES];
    golden_path(path, "llama");
    rrt_model *model = open_deferred(path);
    rrt_model_describe(model, &info);
    assert_string_equal(info.name, "llama");
    assert_int_equal(rrt_model_types(model, types), 1);
    assert_string_equal(types[0].name, "F32");
    assert_int_equal(types[0].tensors, 4 * 9 + 3);
    assert_int_equal(types[0].bytes, info.params_total * sizeof(float));
    rrt_model_close(model);
}

// A part of a model of `count` files with one tensor, named by a letter.
typedef struct part {
    uint32_t no, count, tensors;
    const char *tensor;
} part;

static void write_part(const char *folder, const char *name, part p)
{
    rrt_error err = {0};
    char path[512];
    size_t shape = 4;
    const float values[4] = {(float)p.no};
    rrt__gguf_writer w = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(rrt__gguf_write_u32(&w, "split.no", p.no, &err));
    assert_ok(rrt__gguf_write_u32(&w, "split.count", p.count, &err));
    if (p.tensors) assert_ok(rrt__gguf_write_u32(&w, "split.tensors.count", p.tensors, &err));
    assert_ok(rrt__gguf_write_tensor(&w, p.tensor, RRT__DTYPE_F32, 1, &shape, &err));
    assert_ok(rrt__gguf_writer_begin(&w, path, &err));
    assert_ok(rrt__gguf_write_data(&w, values, sizeof values, &err));
    assert_ok(rrt__gguf_writer_finish(&w, &err));
    rrt__gguf_writer_free(&w);
}

static rrt_status open_in(const char *folder, const char *name, rrt__gguf **out, rrt_error *err)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return rrt__gguf_open(out, path, err);
}

static const char *const parts[] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf",
                                    "m-00003-of-00003.gguf"};

static void any_part_opens_the_whole_split_model(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64];
    rrt__gguf *gguf;
    temp_folder(folder);
    write_part(folder, parts[0], (part){0, 3, 3, "c"});
    write_part(folder, parts[1], (part){1, 3, 3, "a"});
    assert_fails(RRT_STATUS_IO, parts[2], open_in(folder, parts[0], &gguf, &err));
    write_part(folder, parts[2], (part){2, 3, 3, "b"});
    for (int i = 0; i < 3; i++) { // any one
        float values[4];
        assert_ok(open_in(folder, parts[i], &gguf, &err));
        const rrt__tensor_table *table = rrt__gguf_tensors(gguf);
        assert_int_equal(table->count, 3);
        assert_ok(rrt__tensor_read(rrt__tensor_table_find(table, "b"), 4, 0, values, &err));
        assert_true(values[0] == 2);
        rrt__gguf_close(gguf);
    }
    remove_folder(folder);
}

static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64];
    rrt__gguf *gguf;
    temp_folder(folder);
    for (uint32_t i = 0; i < 3; i++)
        write_part(folder, parts[i], (part){i, 3, 3, (const char *[]){"a", "b", "c"}[i]});
    write_part(folder, parts[1], (part){2, 3, 3, "b"});
    assert_fails(RRT_STATUS_FORMAT, "part 3 of 3", open_in(folder, parts[0], &gguf, &err));
    write_part(folder, parts[1], (part){1, 2, 3, "b"});
    assert_fails(RRT_STATUS_FORMAT, "part 2 of 2", open_in(folder, parts[0], &gguf, &err));
    write_part(folder, parts[1], (part){1, 3, 3, "c"});
    assert_fails(RRT_STATUS_FORMAT, "twice", open_in(folder, parts[0], &gguf, &err));
    write_part(folder, parts[1], (part){1, 3, 3, "b"});
    write_part(folder, parts[0], (part){0, 3, 4, "a"});
    assert_fails(RRT_STATUS_FORMAT, "4 are expected", open_in(folder, parts[2], &gguf, &err));
    write_part(folder, parts[0], (part){3, 3, 3, "a"});
    assert_fails(RRT_STATUS_FORMAT, "split.no", open_in(folder, parts[0], &gguf, &err));
    write_part(folder, parts[0], (part){0, 70000, 3, "a"});
    assert_fails(RRT_STATUS_FORMAT, "split.count", open_in(folder, parts[0], &gguf, &err));
    write_part(folder, "renamed.gguf", (part){0, 3, 3, "a"});
    assert_fails(RRT_STATUS_FORMAT, "-00001-of-00003.gguf", open_in(folder, "renamed.gguf", &gguf, &err));
    // A part that is no GGUF file at all.
    char path[512];
    write_part(folder, parts[0], (part){0, 3, 3, "a"});
    snprintf(path, sizeof path, "%s/%s", folder, parts[2]);
    assert_ok(rrt__file_write(path, "version https://git-lfs.github.com/spec/v1\noid", 46, &err));
    assert_fails(RRT_STATUS_FORMAT, "LFS", open_in(folder, parts[0], &gguf, &err));
    remove_folder(folder);
}

// No request for memory that fails leaks, or leaves a result behind.
static void running_out_of_memory_leaves_no_file(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[512], folder[64], file[512];
    golden_path(path, "neox");
    temp_folder(folder);
    snprintf(file, sizeof file, "%s/m.gguf", folder);
    rrt_status status = RRT_STATUS_MEMORY;
    for (long n = 0; status; n++) {
        rrt_model *model = NULL;
        rrt__memory_fail_after = n;
        status = rrt_model_open_deferred(&model, path, NULL, &err);
        if (!status)
            status =
                rrt_model_quantize(model, file, &(rrt_quantize_options){.type = "q4_0", .threads = 2}, &err);
        rrt__memory_fail_after = -1;
        rrt_model_close(model);
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
        if (status) assert_false(rrt__path_exists(file));
    }
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deferred_models_write_the_same_bytes),
        cmocka_unit_test(streaming_depth_by_depth_matches_the_golden),
        cmocka_unit_test(deferred_models_refuse_what_needs_their_weights),
        cmocka_unit_test(a_deferred_model_can_be_described),
        cmocka_unit_test(any_part_opens_the_whole_split_model),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(running_out_of_memory_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
