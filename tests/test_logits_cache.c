// A teacher's store: the answers against the model's own logits, and everything that is wrong with files.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "format/dtype.h"
#include "models.h"
#include "train/logits_cache.h"
#include "train/top.h"

enum { VOCAB = 97, HEADER_BYTES = 512 };

static char folder[64];
static rrt_model *teacher;
static const char *text_file; // of about 290 tokens

static const char *in_folder(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next = (next + 1) % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb"); // rrt__file_write waits for the disk
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    static char path[128];
    char text[1024] = "";
    temp_folder(folder);
    teacher = open_golden("llama");
    while (strlen(text) < 900) strcat(text, "the cat sat on the mat and the rat ate the fat oat. ");
    snprintf(path, sizeof path, "%s/text", folder);
    write_bytes(path, text, strlen(text));
    text_file = path;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rrt_model_close(teacher);
    remove_folder(folder);
    return 0;
}

static rrt_status teach(const rrt_model *model, const char *store, const rrt_teach_options *options,
                        rrt_teach_result *result, rrt_error *err)
{
    return rrt_teach(model, &text_file, 1, store, options, result, err);
}

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) count += entry->d_name[0] != '.';
    if (dir) closedir(dir);
    return count;
}

// --- the k greatest

static void the_top_k_are_found_in_order(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    float x[COUNT];
    uint32_t ids[COUNT];
    for (uint64_t round = 0; round < 50; round++) {
        size_t count = 1 + rrt__random_bits(1, round, 1000) % COUNT,
               k = 1 + rrt__random_bits(1, round, 1001) % count;
        // Few values, so that many are equal; infinities too.
        for (size_t i = 0; i < count; i++) x[i] = (float)(rrt__random_bits(1, round, i) % (2 + round));
        if (round % 3 == 0) x[count / 2] = -INFINITY;
        if (round % 5 == 0) x[count / 3] = INFINITY;
        rrt__top(ids, k, x, count);
        for (size_t r = 0; r < k; r++) { // exactly r others go before it
            size_t before = 0;
            for (size_t i = 0; i < count; i++)
                before += x[i] > x[ids[r]] || (x[i] == x[ids[r]] && i < ids[r]);
            assert_int_equal(before, r);
        }
    }
}

// --- teacher_signal

// Every row of the store against the logits of sessions of the model.
static void check_answers(const rrt_model *model, const char *path, const rrt_teach_result *result)
{
    rrt_error err = {0};
    rrt__logits_cache *store;
    rrt__dataset *dataset;
    assert_ok(rrt__logits_cache_open(&store, path, &err));
    size_t context = rrt__logits_cache_context(store), top = rrt__logits_cache_top(store);
    assert_ok(rrt__dataset_open(&dataset, path, model->tokenizer, VOCAB, context, &err));
    assert_int_equal(rrt__logits_cache_vocab(store), VOCAB);
    assert_true(rrt__logits_cache_fingerprint(store) == rrt__dataset_fingerprint(dataset));
    assert_true(rrt__logits_cache_windows(store) <= rrt__dataset_windows(dataset));
    assert_int_equal(result->tokens, rrt__logits_cache_windows(store) * context);
    int32_t *ids = must_alloc(2 * context, sizeof *ids);
    float *logits = must_alloc(context * VOCAB, sizeof *logits);
    for (size_t w = 0; w < rrt__logits_cache_windows(store); w++) {
        rrt__dataset_window(dataset, w, ids, ids + context);
        step_logits(logits, model, ids, context, &(rrt_session_options){.threads = 1});
        for (size_t i = 0; i < context; i++) {
            rrt__logits_cache_row row = rrt__logits_cache_at(store, w, i);
            const float *x = logits + i * VOCAB;
            double sum = 0, before = 0;
            for (size_t v = 0; v < VOCAB; v++) sum += exp(x[v]);
            for (size_t k = 0; k < top; k++) {
                double log_p = rrt__f16_to_f32(row.log_p[k]), expected = x[row.ids[k]] - log(sum);
                assert_near(log_p, expected, 1e-4 - expected * 0x1p-11);
                assert_true(log_p <= before);
                before = log_p;
                for (size_t other = 0; other < k; other++) assert_true(row.ids[other] != row.ids[k]);
            }
            size_t greater = 0; // than the last one kept, but for rounding
            for (size_t v = 0; v < VOCAB; v++) greater += x[v] > x[row.ids[top - 1]] + 1e-4f;
            assert_true(greater < top);
        }
    }
    free(ids);
    free(logits);
    rrt__dataset_close(dataset);
    rrt__logits_cache_close(store);
}

static void cached_rows_are_the_teachers_logits(void **state)
{
    (void)state;
    rrt_error err = {0};
    const rrt_teach_options cases[] = {
        {.context = 16, .top = 5, .threads = 1},
        {.context = 16, .top = 1, .threads = 2},
        {.context = 100, .top = 64, .threads = 2},
        {.context = 7, .top = VOCAB, .threads = 3},
        {.threads = 1}, // all defaults: what the model can see
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rrt_teach_result result;
        const char *path = in_folder("store");
        assert_ok(teach(teacher, path, &cases[i], &result, &err));
        check_answers(teacher, path, &result);
        struct stat shard, answers;
        assert_int_equal(stat(in_folder("store/0000.tokens"), &shard), 0);
        assert_int_equal(stat(in_folder("store/teacher.topk"), &answers), 0);
        assert_int_equal(result.bytes, shard.st_size + answers.st_size);
        assert_int_equal(count_entries(path), 2);
        remove_folder(path);
    }
}

// A window begins with BOS where the tokenizer adds it; several files; the teacher's name.
static void bos_and_several_files_are_cached_too(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[64];
    copy_golden(path, "llama");
    update_json(path, "tokenizer_config.json", json_pack("{s:b}", "add_bos_token", 1));
    rrt_model *model = open_path(path);
    const char *const files[] = {text_file, text_file};
    const rrt_teach_options options = {.context = 50, .top = 9, .threads = 1, .teacher_name = "a teacher"};
    rrt_teach_result one, result;
    rrt__logits_cache *store;
    assert_ok(teach(model, in_folder("one"), &options, &one, &err));
    check_answers(model, in_folder("one"), &one);
    assert_ok(rrt_teach(model, files, 2, in_folder("store"), &options, &result, &err));
    check_answers(model, in_folder("store"), &result);
    assert_true(result.tokens >= 2 * one.tokens);
    assert_ok(rrt__logits_cache_open(&store, in_folder("store"), &err));
    assert_string_equal(rrt__logits_cache_teacher(store), "a teacher");
    rrt__logits_cache_close(store);
    rrt_model_close(model);
    remove_folder(path);
    remove_folder(in_folder("one"));
    remove_folder(in_folder("store"));
}

static void max_tokens_is_cut_to_whole_windows(void **state)
{
    (void)state;
    rrt_error err = {0};
    // The same bytes for the same number of threads; BLAS does not promise more.
    rrt_teach_options options = {.context = 16, .top = 4, .max_tokens = 40, .threads = 3};
    rrt_teach_result result;
    rrt__string first = {0}, again = {0};
    assert_ok(teach(teacher, in_folder("store"), &options, &result, &err));
    assert_int_equal(result.tokens, 32); // whole windows
    check_answers(teacher, in_folder("store"), &result);
    assert_ok(rrt__file_read(&first, in_folder("store/teacher.topk"), &err));
    options.overwrite = 1;
    assert_ok(teach(teacher, in_folder("store"), &options, &result, &err));
    assert_ok(rrt__file_read(&again, in_folder("store/teacher.topk"), &err));
    assert_int_equal(first.length, again.length);
    assert_memory_equal(first.data, again.data, first.length);
    options.max_tokens = 1000000; // more than there are
    assert_ok(teach(teacher, in_folder("store"), &options, &result, &err));
    assert_true(result.tokens > 32 && result.tokens < 1000);
    rrt__string_free(&first);
    rrt__string_free(&again);
    remove_folder(in_folder("store"));
}

static int cancel(void *user, const char *stage, double done, double total)
{
    (void)user;
    return strcmp(stage, "teach") == 0 && done >= total / 2;
}

static void impossible_requests_leave_nothing_behind(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_teach_result result;
    rrt_teach_options options = {.context = 16, .top = 4, .threads = 1};
    const char *store = in_folder("store"), *missing = in_folder("nothere");
    rrt_model *neox = open_golden("neox");
    assert_fails(RRT_STATUS_UNSUPPORTED, "tokenizer.json", teach(neox, store, &options, &result, &err));
    rrt_model_close(neox);
    assert_fails(RRT_STATUS_ARGUMENT, "can see 2 to 128",
                 teach(teacher, store, &(rrt_teach_options){.context = 129}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "windows of 1",
                 teach(teacher, store, &(rrt_teach_options){.context = 1}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "vocabulary has 97",
                 teach(teacher, store, &(rrt_teach_options){.top = 98}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "15 tokens are less",
                 teach(teacher, store, &(rrt_teach_options){.context = 16, .max_tokens = 15}, &result, &err));
    assert_fails(RRT_STATUS_IO, "nothere", rrt_teach(teacher, &missing, 1, store, &options, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "no file", rrt_teach(teacher, NULL, 0, store, &options, &result, &err));
    write_bytes(in_folder("short"), "the", 3);
    const char *brief = in_folder("short");
    assert_fails(RRT_STATUS_ARGUMENT, "too few",
                 rrt_teach(teacher, &brief, 1, store, &options, &result, &err));
    const rrt_progress progress = {cancel, NULL};
    options.progress = &progress;
    assert_fails(RRT_STATUS_CANCELLED, "cancelled", teach(teacher, store, &options, &result, &err));
    options.progress = NULL;
    float weight = teacher->final_norm.gain[3];
    teacher->final_norm.gain[3] = NAN;
    assert_fails(RRT_STATUS_NUMERIC, "token 0 is not finite", teach(teacher, store, &options, &result, &err));
    teacher->final_norm.gain[3] = weight;
    assert_int_equal(count_entries(folder), 2); // the texts: nothing was left behind

    assert_ok(teach(teacher, store, &options, &result, &err));
    assert_true(rrt_store_exists(store) && !rrt_store_exists(folder) && !rrt_store_exists(missing));
    assert_fails(RRT_STATUS_EXISTS, "--force", teach(teacher, store, &options, &result, &err));
    options.overwrite = 1;
    assert_ok(teach(teacher, store, &options, &result, &err));
    assert_fails(RRT_STATUS_EXISTS, "is not replaced", teach(teacher, folder, &options, &result, &err));
    remove_folder(store);
    unlink(brief);
}

// A limit on the size of files stands in for a full disk.
static void a_full_disk_leaves_no_cache(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_teach_result result;
    const rrt_teach_options options = {.context = 16, .top = 64, .threads = 1};
    const rlim_t limits[] = {400, 3000, 20000}; // shard, answers' last block, answers
    struct rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    for (size_t i = 0; i < 3; i++) {
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limits[i], old.rlim_max});
        rrt_status status = teach(teacher, in_folder("store"), &options, &result, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        signal(SIGXFSZ, handler);
        assert_int_equal(status, RRT_STATUS_IO);
        assert_non_null(strstr(err.message, "cannot write: File too large"));
        assert_non_null(strstr(err.where, i == 0 ? "0000.tokens" : "teacher.topk"));
        assert_int_equal(count_entries(folder), 1); // the text
    }
}

// --- files

typedef struct file_header { // as in store.c
    char magic[8];
    uint64_t context, top, vocab, windows, fingerprint, rows_hash;
    char teacher[448];
    uint64_t header_hash;
} file_header;

// A store of 2 windows of 3 tokens, top 2 of 10.
static rrt__string make_file(void)
{
    rrt_error err = {0};
    rrt__logits_cache_writer writer = {0};
    rrt__logits_cache_shape shape = {3, 2, 10, 2, 42, "hand"};
    rrt__string file = {0};
    uint64_t bytes;
    unsigned char rows[6][16] = {0};
    for (uint32_t r = 0; r < 6; r++) {
        const uint32_t ids[2] = {r, 9 - r};
        const uint16_t log_p[2] = {rrt__f32_to_f16(-0.5f), rrt__f32_to_f16(-1 - (float)r)};
        memcpy(rows[r], ids, sizeof ids);
        memcpy(rows[r] + sizeof ids, log_p, sizeof log_p);
    }
    assert_int_equal(rrt__logits_cache_row_bytes(2), 16);
    assert_ok(rrt__logits_cache_create(&writer, folder, &shape, &err));
    assert_ok(rrt__logits_cache_append(&writer, rows, 1, &err));
    assert_ok(rrt__logits_cache_append(&writer, rows[1], 5, &err));
    assert_ok(rrt__logits_cache_finish(&writer, &bytes, &err));
    rrt__logits_cache_discard(&writer);
    assert_ok(rrt__file_read(&file, in_folder("teacher.topk"), &err));
    assert_int_equal(file.length, bytes);
    assert_int_equal(bytes, HEADER_BYTES + 6 * 16);
    return file;
}

static rrt_status open_bytes(rrt__logits_cache **store, const void *bytes, size_t length, rrt_error *err)
{
    write_bytes(in_folder("teacher.topk"), bytes, length);
    return rrt__logits_cache_open(store, folder, err);
}

static void a_cache_is_read_as_it_was_written(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__logits_cache *store;
    rrt__string file = make_file();
    assert_ok(open_bytes(&store, file.data, file.length, &err));
    assert_int_equal(rrt__logits_cache_context(store), 3);
    assert_int_equal(rrt__logits_cache_top(store), 2);
    assert_int_equal(rrt__logits_cache_vocab(store), 10);
    assert_int_equal(rrt__logits_cache_windows(store), 2);
    assert_int_equal(rrt__logits_cache_fingerprint(store), 42);
    assert_string_equal(rrt__logits_cache_teacher(store), "hand");
    for (uint32_t r = 0; r < 6; r++) {
        rrt__logits_cache_row row = rrt__logits_cache_at(store, r / 3, r % 3);
        assert_true(row.ids[0] == r && row.ids[1] == 9 - r);
        assert_true(rrt__f16_to_f32(row.log_p[1]) == -1 - (float)r);
    }
    rrt__logits_cache_close(store);
    rrt__logits_cache_close(NULL);
    rrt__string_free(&file);
}

static void damaged_caches_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__logits_cache *store;
    rrt__string file = make_file();
    for (size_t at = 0; at < file.length; at++) { // whatever byte is changed
        file.data[at] ^= 0x08;
        assert_fails(RRT_STATUS_FORMAT, "teacher.topk", open_bytes(&store, file.data, file.length, &err));
        assert_non_null(strstr(err.hint, "rrt teach"));
        assert_null(store);
        file.data[at] ^= 0x08;
    }
    for (size_t length = 0; length < file.length; length += 5)
        assert_fails(RRT_STATUS_FORMAT, "teacher.topk", open_bytes(&store, file.data, length, &err));
    assert_ok(rrt__string_append(&file, "more bytes", 8, &err));
    assert_fails(RRT_STATUS_FORMAT, "announced", open_bytes(&store, file.data, file.length, &err));
    rrt__string_free(&file);
    unlink(in_folder("teacher.topk"));
    assert_fails(RRT_STATUS_IO, "teacher.topk", rrt__logits_cache_open(&store, folder, &err));
}

// Headers and rows whose own checksums are right and whose values are not.
static void caches_that_lie_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__logits_cache *store;
    rrt__string file = make_file();
    file_header good, bad;
    memcpy(&good, file.data, sizeof good);
    static const uint64_t sizes[] = {0,
                                     1,
                                     4,
                                     7,
                                     11,
                                     1u << 31,
                                     UINT64_C(1) << 32,
                                     UINT64_C(1) << 61,
                                     UINT64_C(1) << 62,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX};
    for (size_t field = 0; field < 3; field++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            bad = good;
            *(field == 0 ? &bad.context : field == 1 ? &bad.top : &bad.windows) = sizes[i];
            bad.header_hash = rrt__hash(0, &bad, offsetof(file_header, header_hash));
            memcpy(file.data, &bad, sizeof bad);
            assert_int_equal(open_bytes(&store, file.data, file.length, &err), RRT_STATUS_FORMAT);
        }
    static const uint64_t vocabs[] = {0, 1, 9, UINT64_C(1) << 31, UINT64_MAX};
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++) {
        bad = good;
        bad.vocab = vocabs[i];
        bad.header_hash = rrt__hash(0, &bad, offsetof(file_header, header_hash));
        memcpy(file.data, &bad, sizeof bad);
        assert_fails(RRT_STATUS_FORMAT, vocabs[i] == 9 ? "id 9" : "impossible",
                     open_bytes(&store, file.data, file.length, &err));
    }
    bad = good;
    memset(bad.teacher, 'x', sizeof bad.teacher); // without an end
    bad.header_hash = rrt__hash(0, &bad, offsetof(file_header, header_hash));
    memcpy(file.data, &bad, sizeof bad);
    assert_fails(RRT_STATUS_FORMAT, "impossible", open_bytes(&store, file.data, file.length, &err));
    static const uint16_t halves[] = {0x7e00, 0xfe00, 0xfc00, 0x7c00, 0x3c00, 0x0001}; // NaN, ±inf, > 0
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        memcpy(file.data + file.length - 8, &halves[i], 2);
        bad = good;
        bad.rows_hash = rrt__hash(0, file.data + HEADER_BYTES, file.length - HEADER_BYTES);
        bad.header_hash = rrt__hash(0, &bad, offsetof(file_header, header_hash));
        memcpy(file.data, &bad, sizeof bad);
        assert_fails(RRT_STATUS_FORMAT, "logit 0 of token 5",
                     open_bytes(&store, file.data, file.length, &err));
    }
    rrt__string_free(&file);
    unlink(in_folder("teacher.topk"));
}

static void running_out_of_memory_leaves_no_cache(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_teach_result result;
    rrt__logits_cache *store = NULL;
    const rrt_teach_options options = {.context = 16, .top = 4, .max_tokens = 32, .threads = 1};
    const char *path = in_folder("store");
    rrt_status status = RRT_STATUS_MEMORY;
    long n = 0;
    for (; status; n++) {
        rrt__memory_fail_after = n;
        status = teach(teacher, path, &options, &result, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
        if (status) assert_int_equal(count_entries(folder), 1); // the text
    }
    assert_true(n > 15);
    status = RRT_STATUS_MEMORY;
    for (n = 0; status; n++) {
        rrt__memory_fail_after = n;
        status = rrt__logits_cache_open(&store, path, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    rrt__logits_cache_close(store);
    remove_folder(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_top_k_are_found_in_order),
        cmocka_unit_test(cached_rows_are_the_teachers_logits),
        cmocka_unit_test(bos_and_several_files_are_cached_too),
        cmocka_unit_test(max_tokens_is_cut_to_whole_windows),
        cmocka_unit_test(impossible_requests_leave_nothing_behind),
        cmocka_unit_test(a_full_disk_leaves_no_cache),
        cmocka_unit_test(a_cache_is_read_as_it_was_written),
        cmocka_unit_test(damaged_caches_are_refused),
        cmocka_unit_test(caches_that_lie_are_refused),
        cmocka_unit_test(running_out_of_memory_leaves_no_cache),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
