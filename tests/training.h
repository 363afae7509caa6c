// What tests of training share: a folder with a short text, a tiny recursive student, and options for a run
// of it.
#ifndef TRAINING_H
#define TRAINING_H

#include "models.h"

enum { STEPS = 24, BATCH = 2, CONTEXT = 16 };

static char folder[64], text_path[128];

static inline int set_up(void **state)
{
    (void)state;
    temp_folder(folder);
    snprintf(text_path, sizeof text_path, "%s/text.txt", folder);
    FILE *file = fopen(text_path, "w");
    for (int i = 0; i < 120; i++)
        fprintf(file, "the cat sat on the mat, the rat ate %d oats; one loop and on we go.\n", i % 7);
    return fclose(file);
}

static inline int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static inline const char *in_folder(const char *name)
{
    static char paths[16][256];
    static int next;
    char *path = paths[next = (next + 1) % 16];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

// The same, which lasts.
static inline const char *lasting(char path[256], const char *name)
{
    return strcpy(path, in_folder(name));
}

static inline rrt_train_options usual(void)
{
    static const char *files[1];
    files[0] = text_path;
    rrt_train_options options = rrt_train_defaults();
    options.files = files;
    options.n_files = 1;
    options.tokens = STEPS * BATCH * CONTEXT;
    options.batch = BATCH;
    options.context = CONTEXT;
    options.learning_rate = 3e-3;
    options.threads = 1;
    options.checkpoint_steps = 5;
    return options;
}

// A recursive student of the golden model.
static inline rrt_model *open_student(void)
{
    rrt_error err = {0};
    rrt_model *original = open_golden("llama"), *student;
    const rrt_convert_options convert = {.loops = 2, .rank = 2, .init = RRT_INIT_AVERAGE, .threads = 1};
    assert_ok(rrt_convert(&student, original, &convert, NULL, &err));
    // The tokenizer comes with a folder.
    const rrt_save_options save = {.overwrite = 1};
    assert_ok(rrt_model_save(student, in_folder("student"), &save, &err));
    rrt_model_close(student);
    rrt_model_close(original);
    return open_path(in_folder("student"));
}

static inline rrt_status train(const char *out, const rrt_train_options *options, rrt_train_result *result,
                               rrt_error *err)
{
    rrt_model *student = open_student();
    rrt_status status = rrt_train(student, out, options, result, err);
    rrt_model_close(student);
    return status;
}

static inline void assert_same_file(const char *a, const char *b, const char *name)
{
    rrt_error err = {0};
    rrt__string left = {0}, right = {0};
    char path[4096];
    assert_ok(rrt__path_join(path, a, name, &err));
    assert_ok(rrt__file_read(&left, path, &err));
    assert_ok(rrt__path_join(path, b, name, &err));
    assert_ok(rrt__file_read(&right, path, &err));
    assert_int_equal(left.length, right.length);
    assert_memory_equal(left.data, right.data, left.length);
    rrt__string_free(&left);
    rrt__string_free(&right);
}

static inline size_t count_lines(const char *path)
{
    rrt_error err = {0};
    rrt__string text = {0};
    size_t lines = 0;
    assert_ok(rrt__file_read(&text, path, &err));
    for (size_t i = 0; i < text.length; i++) lines += text.data[i] == '\n';
    rrt__string_free(&text);
    return lines;
}

#endif
