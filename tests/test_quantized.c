// A model in one quantised file: that it computes what its weights say, whatever the batch, the chunks and
// the threads; what refuses it; and files that are damaged.
#include <stdio.h>

#include "base/file.h"
#include "models.h"
#include "rrt/bench.h"
#include "rrt/convert.h"

static const char *const families[] = {"llama", "neox", "gemma3", "olmo2", "phi3", "granite", "biases"};
static const char *const types[] = {"q8_0", "q6_0", "q4_1", "q4_0"};

// 1 + 3 x 2 + 1 with LoRA of other ranks everywhere, and gates.
static rrt_model *build(const char *family)
{
    rrt_error err = {0};
    rrt__plan plan;
    rrt_model *original = open_golden(family);
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 3, 2, 1, 1, &err));
    rrt_model *model = tie(original, &plan, RRT__NORMS_PER_DEPTH);
    add_random_loras(model);
    assert_ok(rrt__model_add_gates(model, &err));
    fill_gaussian(model->gates[1].weight, model->shape.hidden, 77, 0, 1);
    rrt_model_close(original);
    return model;
}

static void quantize(const rrt_model *model, const char *type, char file[80])
{
    rrt_error err = {0};
    char folder[64];
    temp_folder(folder);
    snprintf(file, 80, "%s/m.gguf", folder);
    assert_ok(rrt_model_quantize(model, file, &(rrt_quantize_options){.type = type, .threads = 2}, &err));
}

static void remove_file(char file[80])
{
    *strrchr(file, '/') = 0;
    remove_folder(file);
}

static rrt_model *round_trip_quantized(const rrt_model *model, const char *type)
{
    char file[80];
    quantize(model, type, file);
    rrt_model *again = open_stored(file);
    remove_file(file); // its map stays
    return again;
}

enum { COUNT = 40 };

static void fill_ids(int32_t ids[COUNT], const rrt_model *model)
{
    for (int i = 0; i < COUNT; i++) ids[i] = (int32_t)((size_t)(i * 7 + 3) % model->shape.vocab);
}

// Logits after all ids, appended in chunks.
static void run(float *logits, const rrt_model *model, size_t chunk, int threads)
{
    rrt_error err = {0};
    rrt_session *session;
    int32_t ids[COUNT];
    fill_ids(ids, model);
    assert_ok(rrt_session_open(&session, model, &(rrt_session_options){.threads = threads}, &err));
    for (size_t i = 0; i < COUNT; i += chunk)
        assert_ok(rrt_session_append(session, ids + i, COUNT - i < chunk ? COUNT - i : chunk, &err));
    memcpy(logits, rrt_session_logits(session), model->shape.vocab * sizeof *logits);
    rrt_session_close(session);
}

// A random model doubles noise from layer to layer: a seventh is what 8 bits leave after eight layers, a
// mistake leaves all.
static void assert_close_logits(const char *family, const char *what, const float *got, const float *expected,
                                size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += pow((double)got[i] - expected[i], 2);
        size += pow(expected[i], 2);
    }
    difference = sqrt(difference / size);
    double most = strcmp(family, "phi3") == 0 ? 0.4 : 0.15; // its attention factor makes attention steeper
    if (!(difference < most)) fail_msg("%s, %s: %g", family, what, difference);
}

// The quantised model against its own weights in f32: only the rounding of rows to 8 bits is between them.
static void a_quantised_model_computes_what_it_holds(void **state)
{
    (void)state;
    for (int f = 0; f < 7; f++)
        for (int t = 0; t < 4; t++) {
            rrt_error err = {0};
            rrt_model *model = build(families[f]), *packed = round_trip_quantized(model, types[t]);
            size_t vocab = model->shape.vocab;
            float *got = must_alloc(vocab, sizeof *got), *expected = must_alloc(vocab, sizeof *got);
            assert_true(rrt__storage_is_packed(packed->embedding->storage));
            assert_memory_equal(packed->gates[1].weight, model->gates[1].weight,
                                model->shape.hidden * sizeof(float));
            run(got, packed, COUNT, 1);
            assert_ok(rrt_model_unpack(packed, &err));
            run(expected, packed, COUNT, 1);
            assert_close_logits(families[f], types[t], got, expected, vocab);
            run(got, model, COUNT, 1);
            if (t == 0) assert_close_logits(families[f], "f32", got, expected, vocab);
            free(got);
            free(expected);
            rrt_model_close(packed);
            rrt_model_close(model);
        }
}

// Bit for bit: chunks of 1, 7 and all, one thread and two.
static void chunks_and_threads_change_no_bit(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 7, 32};
    for (int f = 0; f < 7; f++)
        for (int t = 0; t < 4; t++) {
            rrt_model *model = build(families[f]), *packed = round_trip_quantized(model, types[t]);
            size_t vocab = model->shape.vocab;
            float *got = must_alloc(vocab, sizeof *got), *expected = must_alloc(vocab, sizeof *got);
            run(expected, packed, COUNT, 1);
            for (int i = 0; i < 6; i++) {
                run(got, packed, chunks[i % 3], 1 + i / 3);
                assert_memory_equal(got, expected, vocab * sizeof *got);
            }
            free(got);
            free(expected);
            rrt_model_close(packed);
            rrt_model_close(model);
        }
}

// The same for folders whose weights run as they are, and for a model in f32 memory.
static void chunks_and_threads_change_no_bit_of_plain_weights(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"f32", "bf16", "f16", NULL};
    static const size_t chunks[] = {1, 2, 5, 7, 32};
    for (int f = 0; f < 7; f++)
        for (int t = 0; t < 4; t++) {
            rrt_error err = {0};
            char folder[64];
            rrt_model *model = build(families[f]), *stored = model;
            if (dtypes[t]) {
                temp_folder(folder);
                const rrt_save_options save = {.dtype = dtypes[t], .overwrite = 1};
                assert_ok(rrt_model_save(model, folder, &save, &err));
                stored = open_stored(folder);
                remove_folder(folder);
            }
            size_t vocab = model->shape.vocab;
            float *got = must_alloc(vocab, sizeof *got), *expected = must_alloc(vocab, sizeof *got);
            run(expected, stored, COUNT, 1);
            for (int i = 0; i < 10; i++) {
                run(got, stored, chunks[i % 5], 1 + i / 5);
                assert_memory_equal(got, expected, vocab * sizeof *got);
            }
            run(got, model, COUNT, 1);
            if (t == 0) assert_memory_equal(got, expected, vocab * sizeof *got); // groups and rows add alike
            free(got);
            free(expected);
            if (stored != model) rrt_model_close(stored);
            rrt_model_close(model);
        }
}

// Quantised while it is read, a model is what its quantised file is.
static void quantising_while_reading_gives_the_same_model(void **state)
{
    (void)state;
    for (int t = 0; t < 4; t++) {
        rrt_error err = {0};
        char folder[64];
        rrt_model *model = build("llama"), *file = round_trip_quantized(model, types[t]), *read;
        size_t vocab = model->shape.vocab;
        float *got = must_alloc(vocab, sizeof *got), *expected = must_alloc(vocab, sizeof *got);
        temp_folder(folder);
        const rrt_save_options save = {.dtype = "f32", .overwrite = 1};
        assert_ok(rrt_model_save(model, folder, &save, &err));
        rrt_open_options options = {.type = types[t], .threads = 2};
        assert_ok(rrt_model_open(&read, folder, &options, &err));
        run(got, read, COUNT, 1);
        run(expected, file, COUNT, 1);
        assert_memory_equal(got, expected, vocab * sizeof *got);
        rrt_model_close(read);
        options.type = "q3";
        assert_fails(RRT_STATUS_ARGUMENT, "'q3'", rrt_model_open(&read, folder, &options, &err));
        options.type = NULL;
        rrt__memory_available_max = 1000;
        assert_fails(RRT_STATUS_MEMORY, "0.00 GB are free", rrt_model_open(&read, folder, &options, &err));
        assert_ok(rrt_model_open_deferred(&read, folder, NULL, &err));
        assert_fails(RRT_STATUS_MEMORY, "as f32", rrt_model_unpack(read, &err));
        rrt_model_close(read);
        rrt__memory_available_max = SIZE_MAX;
        remove_folder(folder);
        free(got);
        free(expected);
        rrt_model_close(file);
        rrt_model_close(model);
    }
}

// What reads or changes f32 weights says so; what does not exist or is not known as well.
static void impossible_requests_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    char file[80];
    rrt_model *model = build("llama"), *packed;
    rrt_bench_result speed;
    quantize(model, "q8_0", file);
    packed = open_stored(file);
    rrt_quantize_options options = {.type = "q8_0"};
    assert_fails(RRT_STATUS_EXISTS, "m.gguf", rrt_model_quantize(model, file, &options, &err));
    options.overwrite = true;
    options.type = "q3";
    assert_fails(RRT_STATUS_ARGUMENT, "'q3'", rrt_model_quantize(model, file, &options, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "training needs f32", rrt_bench_train(packed, NULL, &speed, &err));
    rrt_model_close(packed);
    rrt_model_close(model);
    remove_file(file);
}

static void write_cut(const char *path, const rrt__string *bytes, size_t length)
{
    rrt_error err = {0};
    assert_ok(rrt__file_write(path, bytes->data, length, &err));
}

// Cut anywhere, or with any byte of its header changed: an error or a model, never a crash.
static void damaged_files_never_crash(void **state)
{
    (void)state;
    rrt_error err = {0};
    char file[80];
    rrt__string bytes = {0};
    rrt_model *model = build("llama"), *opened;
    quantize(model, "q4_0", file);
    assert_ok(rrt__file_read(&bytes, file, &err));
    for (size_t length = 0; length < bytes.length; length += 1 + length / 7) {
        write_cut(file, &bytes, length);
        assert_int_not_equal(rrt_model_open(&opened, file, NULL, &err), RRT_STATUS_OK);
    }
    for (size_t i = 0; i < 20000 && i < bytes.length; i += 13) {
        bytes.data[i] ^= 0x55;
        write_cut(file, &bytes, bytes.length);
        rrt_model_open(&opened, file, NULL, &err);
        rrt_model_close(opened);
        bytes.data[i] ^= 0x55;
    }
    // All of its data 0xff: scales that are no numbers.
    memset(bytes.data + bytes.length / 2, 0xff, bytes.length / 2);
    write_cut(file, &bytes, bytes.length);
    assert_fails(RRT_STATUS_NUMERIC, "finite", rrt_model_open(&opened, file, NULL, &err));
    rrt__string_free(&bytes);
    rrt_model_close(model);
    remove_file(file);
}

// A file that could not be opened takes no place, and not that of a good one.
static void a_scale_beyond_f16_leaves_the_old_file(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64], path[128];
    const rrt_quantize_options options = {.type = "q8_0", .overwrite = 1, .threads = 1};
    rrt_model *model = open_golden("llama"), *again;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    assert_ok(rrt_model_quantize(model, path, &options, &err));
    model->slots[1].matrix[RRT__MATRIX_DOWN].weight[7] = 3e38f; // its scale is beyond f16
    assert_fails(RRT_STATUS_NUMERIC, "not finite", rrt_model_quantize(model, path, &options, &err));
    assert_ok(rrt_model_open(&again, path, NULL, &err));
    rrt_model_close(again);
    rrt_model_close(model);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scale_beyond_f16_leaves_the_old_file),
        cmocka_unit_test(a_quantised_model_computes_what_it_holds),
        cmocka_unit_test(chunks_and_threads_change_no_bit),
        cmocka_unit_test(chunks_and_threads_change_no_bit_of_plain_weights),
        cmocka_unit_test(quantising_while_reading_gives_the_same_model),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(damaged_files_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
