// Sharded folders as they are written: where the cuts are, what the index says, and that nothing is lost.
#include "format/safetensors.h"
#include "models.h"

static const float values[12] = {1, -2, 3.5f, 0, 1e-3f, 65504, -0.0f, 8, 9, 10, 11, 12};
static const rrt__safetensors_entry sample[] = {{"c", 2, {2, 3}, values},  // 24 bytes as F32
                                                {"a", 1, {2}, values + 6}, // 8
                                                {"empty", 1, {0}, values}, // 0
                                                {"Größe", 1, {12}, values} /* 48 */,
                                                {"b", 0, {0}, values + 2}}; // 4
enum { SAMPLE_COUNT = sizeof sample / sizeof *sample, SAMPLE_BYTES = 24 + 8 + 0 + 48 + 4 };

static int set_up(void **state)
{
    *state = must_alloc(64, 1);
    temp_folder(*state);
    return 0;
}

static int tear_down(void **state)
{
    remove_folder(*state);
    free(*state);
    return 0;
}

static int count_files(const char *path)
{
    int files = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) files += entry->d_name[0] != '.';
    closedir(folder);
    return files;
}

static bool exists(const char *folder, const char *name)
{
    char path[4096];
    return !rrt__path_join(path, folder, name, NULL) && rrt__path_exists(path);
}

static json_t *read_index(const char *folder)
{
    rrt_error err = {0};
    char path[4096];
    json_t *index;
    assert_ok(rrt__path_join(path, folder, "model.safetensors.index.json", &err));
    assert_ok(rrt__json_read(&index, path, &err));
    return index;
}

// Both folders hold the same tensors, bit for bit.
static void assert_same_tensors(const char *folder, const char *other)
{
    rrt_error err = {0};
    rrt__safetensors *files[2];
    assert_ok(rrt__safetensors_open(&files[0], folder, &err));
    assert_ok(rrt__safetensors_open(&files[1], other, &err));
    const rrt__tensor_table *a = rrt__safetensors_tensors(files[0]), *b = rrt__safetensors_tensors(files[1]);
    assert_true(a->count > 0);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const rrt__tensor *x = &a->tensors[i], *y = &b->tensors[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->shape, y->shape, (size_t)x->n_dims * sizeof *x->shape);
        assert_int_equal(x->size_bytes, y->size_bytes);
        assert_memory_equal(x->data, y->data, x->size_bytes);
    }
    rrt__safetensors_close(files[1]);
    rrt__safetensors_close(files[0]);
}

// The sample's tensors go to these shards, from 1; no shard at all means one plain file.
static void check_cuts(rrt__dtype dtype, uint64_t limit, const int shard[SAMPLE_COUNT])
{
    rrt_error err = {0};
    char folder[64], single[64];
    temp_folder(folder);
    temp_folder(single);
    assert_ok(rrt__safetensors_write_folder(folder, sample, SAMPLE_COUNT,
                                            &(rrt__safetensors_options){dtype, limit}, &err));
    assert_ok(rrt__safetensors_write_folder(single, sample, SAMPLE_COUNT,
                                            &(rrt__safetensors_options){dtype, UINT64_MAX}, &err));
    assert_int_equal(count_files(single), 1);
    assert_same_tensors(single, folder);
    int n_shards = shard[SAMPLE_COUNT - 1];
    assert_true(exists(folder, "model.safetensors") == (n_shards == 0));
    assert_int_equal(count_files(folder), n_shards ? n_shards + 1 : 1);
    if (n_shards) {
        json_t *expected = json_pack("{s:{s:i}, s:{}}", "metadata", "total_size",
                                     dtype == RRT__DTYPE_F32 ? SAMPLE_BYTES : SAMPLE_BYTES / 2, "weight_map");
        for (int i = 0; i < SAMPLE_COUNT; i++)
            json_object_set_new(json_object_get(expected, "weight_map"), sample[i].name,
                                json_sprintf("model-%05d-of-%05d.safetensors", shard[i], n_shards));
        json_t *index = read_index(folder);
        assert_true(json_equal(index, expected));
        json_decref(index);
        json_decref(expected);
    }
    remove_folder(single);
    remove_folder(folder);
}

static void shards_are_cut_at_the_limit(void **state)
{
    (void)state;
    check_cuts(RRT__DTYPE_F32, SAMPLE_BYTES, (int[]){0, 0, 0, 0, 0});
    check_cuts(RRT__DTYPE_F32, SAMPLE_BYTES - 1, (int[]){1, 1, 1, 1, 2});
    check_cuts(RRT__DTYPE_F32, 32, (int[]){1, 1, 1, 2, 3}); // one exactly full, one too large: alone
    check_cuts(RRT__DTYPE_F32, 31, (int[]){1, 2, 2, 3, 4});
    check_cuts(RRT__DTYPE_F32, 1, (int[]){1, 2, 3, 4, 5});
    check_cuts(RRT__DTYPE_BF16, SAMPLE_BYTES / 2, (int[]){0, 0, 0, 0, 0}); // the limit is of stored bytes
    check_cuts(RRT__DTYPE_F16, 16, (int[]){1, 1, 1, 2, 3});
}

// The index and the shards list tensors in the order given, not in that of their names.
static void tensors_keep_their_order(void **state)
{
    const char *folder = *state, *tensor;
    rrt_error err = {0};
    rrt__safetensors *file;
    json_t *shard;
    size_t i = 0;
    assert_ok(rrt__safetensors_write_folder(folder, sample, SAMPLE_COUNT,
                                            &(rrt__safetensors_options){RRT__DTYPE_F32, 40}, &err));
    json_t *index = read_index(folder);
    json_object_foreach(json_object_get(index, "weight_map"), tensor, shard)
        assert_string_equal(tensor, sample[i++].name);
    json_decref(index);
    assert_ok(rrt__safetensors_open(&file, folder, &err));
    const rrt__tensor_table *table = rrt__safetensors_tensors(file);
    assert_true(rrt__tensor_table_find(table, "c")->file_offset <
                rrt__tensor_table_find(table, "a")->file_offset);
    rrt__safetensors_close(file);
}

// What leaves no choice makes one file, whatever the limit.
static void one_tensor_or_none_makes_one_file(void **state)
{
    const char *folder = *state;
    rrt_error err = {0};
    rrt__safetensors *file;
    for (size_t count = 0; count < 2; count++) {
        assert_ok(rrt__safetensors_write_folder(folder, sample, count,
                                                &(rrt__safetensors_options){RRT__DTYPE_F32, 1}, &err));
        assert_int_equal(count_files(folder), 1);
        assert_ok(rrt__safetensors_open(&file, folder, &err));
        assert_int_equal(rrt__safetensors_tensors(file)->count, count);
        rrt__safetensors_close(file);
    }
}

static void what_cannot_be_written_is_refused(void **state)
{
    const char *folder = *state;
    rrt_error err;
    const float bad[1] = {NAN};
    rrt__safetensors_entry twins[] = {sample[0], sample[1], sample[0]},
                           nan[] = {sample[0], {"w", 1, {1}, bad}},
                           huge[] = {sample[0], {"w", 1, {SIZE_MAX / 4}, values}},
                           endless[] = {{"v", 1, {SIZE_MAX / 16}, values},
                                        {"w", 1, {SIZE_MAX / 16}, values},
                                        {"x", 1, {SIZE_MAX / 16}, values}};
    assert_fails(RRT_STATUS_ARGUMENT, "twice",
                 rrt__safetensors_write_folder(folder, twins, 3,
                                               &(rrt__safetensors_options){RRT__DTYPE_F32, 24}, &err));
    assert_non_null(strstr(err.where, "model-00003-of-00003.safetensors: tensor 'c'"));
    assert_fails(RRT_STATUS_ARGUMENT, "twice",
                 rrt__safetensors_write_folder(folder, twins, 3,
                                               &(rrt__safetensors_options){RRT__DTYPE_F32, 1000}, &err));
    assert_fails(
        RRT_STATUS_NUMERIC, "model-00002-of-00002.safetensors: tensor 'w'",
        rrt__safetensors_write_folder(folder, nan, 2, &(rrt__safetensors_options){RRT__DTYPE_F32, 24}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "tensor 'w'",
                 rrt__safetensors_write_folder(folder, huge, 2,
                                               &(rrt__safetensors_options){RRT__DTYPE_F32, 24}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "tensor 'x'", // all together pass 63 bits
                 rrt__safetensors_write_folder(folder, endless, 3,
                                               &(rrt__safetensors_options){RRT__DTYPE_F32, 24}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "cannot hold Q8_0",
                 rrt__safetensors_write_folder(folder, sample, 2,
                                               &(rrt__safetensors_options){RRT__DTYPE_Q8_0, 1}, &err));
    assert_fails(RRT_STATUS_IO, "No such file",
                 rrt__safetensors_write_folder("/no/such/folder", sample, 2,
                                               &(rrt__safetensors_options){RRT__DTYPE_F32, 1}, &err));
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    const char *folder = *state;
    rrt_error err = {0};
    rrt_status status = RRT_STATUS_MEMORY;
    long n = 0;
    for (; status; n++) {
        rrt__memory_fail_after = n;
        status = rrt__safetensors_write_folder(folder, sample, SAMPLE_COUNT,
                                               &(rrt__safetensors_options){RRT__DTYPE_F32, 30}, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    assert_true(n > 3);
}

// The number of a folder's shards, each of which keeps to the limit or holds a single tensor.
static int count_shards(const char *path, uint64_t limit)
{
    rrt_error err = {0};
    int shards = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char shard[4096];
        uint64_t bytes = 0;
        rrt__safetensors *file;
        if (strncmp(entry->d_name, "model-", 6) != 0) continue;
        assert_ok(rrt__path_join(shard, path, entry->d_name, &err));
        assert_ok(rrt__safetensors_open(&file, shard, &err));
        const rrt__tensor_table *table = rrt__safetensors_tensors(file);
        for (size_t i = 0; i < table->count; i++) bytes += table->tensors[i].size_bytes;
        assert_true(table->count == 1 || bytes <= limit);
        rrt__safetensors_close(file);
        shards++;
    }
    closedir(folder);
    return shards;
}

// Saved whole and in at least so many shards: the same files but for the cuts, and the same model again.
static void check_model(const rrt_model *model, rrt_save_options options, int min_shards)
{
    rrt_error err = {0};
    char folder[64], single[64];
    temp_folder(folder);
    temp_folder(single);
    options.overwrite = 1;
    assert_ok(rrt_model_save(model, folder, &options, &err));
    assert_true(count_shards(folder, options.max_shard_bytes) >= min_shards);
    assert_false(exists(folder, "model.safetensors"));
    options.max_shard_bytes = 0;
    assert_ok(rrt_model_save(model, single, &options, &err));
    assert_true(exists(single, "model.safetensors"));
    assert_int_equal(count_shards(single, 0), 0);
    assert_same_tensors(single, folder);
    rrt_model *again = open_path(folder), *expected = open_path(single);
    assert_same_logits(again, 0, expected, 0, 0);
    rrt_model_close(expected);
    rrt_model_close(again);
    // What a save in shards left does not stay beside one in a single file.
    assert_ok(rrt_model_save(model, folder, &options, &err));
    assert_int_equal(count_files(folder), count_files(single));
    remove_folder(single);
    remove_folder(folder);
}

static void sharded_models_are_the_same_models(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char *const names[] = {"llama", "llama-tied", "llama-bf16", "neox"};
    for (int i = 0; i < 4; i++) {
        rrt_model *model = open_golden(names[i]);
        check_model(model, (rrt_save_options){.dtype = "f32", .max_shard_bytes = 16000}, 3);
        check_model(model, (rrt_save_options){.dtype = "bf16", .max_shard_bytes = 8000}, 3);
        check_model(model, (rrt_save_options){.max_shard_bytes = 1}, 12);
        rrt_model_close(model);
    }
    rrt_model *original = open_golden("neox");
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 2, 2, 0, 0, &err));
    rrt_model *recursive = tie(original, &plan, RRT__NORMS_PER_DEPTH);
    add_random_loras(recursive);
    check_model(recursive, (rrt_save_options){.max_shard_bytes = 16000}, 3);
    rrt_model_close(recursive);
    rrt_model_close(original);
}

// A shard that cannot be written leaves the model that was there before, and nothing beside it.
static void a_failed_shard_leaves_the_old_model(void **state)
{
    const char *folder = *state;
    rrt_error err = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/model", folder);
    rrt_model *model = open_golden("llama");
    assert_ok(rrt_model_save(model, path, NULL, &err));
    int files = count_files(path);
    const rrt_save_options options = {.max_shard_bytes = 16000, .overwrite = 1};
    model->slots[3].matrix[RRT__MATRIX_DOWN].weight[5] = NAN;
    assert_fails(RRT_STATUS_NUMERIC, "mlp.down_proj", rrt_model_save(model, path, &options, &err));
    assert_null(strstr(err.where, "model-00001"));
    assert_int_equal(count_files(folder), 1);
    assert_int_equal(count_files(path), files);
    assert_true(exists(path, "model.safetensors"));
    remove_folder(path);
    rrt_model_close(model);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_cut_at_the_limit), TEST(tensors_keep_their_order),
        TEST(one_tensor_or_none_makes_one_file),       TEST(what_cannot_be_written_is_refused),
        TEST(running_out_of_memory_leaks_nothing),     cmocka_unit_test(sharded_models_are_the_same_models),
        TEST(a_failed_shard_leaves_the_old_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
