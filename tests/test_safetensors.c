// safetensors: round trips, sharded folders, and refusing by name what is damaged.
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/safetensors.h"
#include "test.h"

typedef struct fixture {
    char folder[64];
    char path[128]; // folder/model.safetensors
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    strcpy(f->folder, "/tmp/rrt-test-safetensors-XXXXXX");
    if (!mkdtemp(f->folder)) return -1;
    snprintf(f->path, sizeof f->path, "%s/model.safetensors", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "1.safetensors",
                                        "2.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        unlink(path);
    }
    rmdir(f->folder);
    free(f);
    return 0;
}

static const float matrix[6] = {1,     -2,    3.14159274f,
                                1e-3f, 65504, 1.00048828125f}; // the last: between two halves
static const rrt__safetensors_entry sample[] = {{"matrix", 2, {2, 3}, matrix},
                                                {"scalar", 0, {0}, matrix},
                                                {"empty", 1, {0}, matrix},
                                                {"Größe", 1, {4}, matrix}};
enum { SAMPLE_COUNT = sizeof sample / sizeof *sample };

static void read_sample(const char *path, float out[6])
{
    rrt_error err = {0};
    rrt__safetensors *file;
    assert_ok(rrt__safetensors_open(&file, path, &err));
    const rrt__tensor_table *table = rrt__safetensors_tensors(file);
    assert_int_equal(table->count, SAMPLE_COUNT);
    assert_int_equal(rrt__tensor_table_find(table, "scalar")->n_dims, 0);
    assert_int_equal(rrt__tensor_table_find(table, "empty")->size_bytes, 0);
    assert_int_equal(rrt__tensor_table_find(table, "matrix")->file_offset % 8, 0);
    assert_ok(rrt__tensor_read(rrt__tensor_table_find(table, "Größe"), 4, 0, out, &err));
    assert_ok(rrt__tensor_read(rrt__tensor_table_find(table, "matrix"), 2, 3, out, &err));
    rrt__safetensors_close(file);
}

static void tensors_survive_writing_and_reading(void **state)
{
    fixture *f = *state;
    rrt_error err = {0};
    float out[6];
    assert_ok(rrt__safetensors_write(f->path, sample, SAMPLE_COUNT, RRT__DTYPE_F32, &err));
    read_sample(f->path, out);
    assert_memory_equal(out, matrix, sizeof matrix);
    assert_ok(rrt__safetensors_write(f->path, sample, SAMPLE_COUNT, RRT__DTYPE_F16, &err));
    read_sample(f->folder, out); // a folder with model.safetensors
    for (int i = 0; i < 6; i++) assert_near(out[i], matrix[i], fabsf(matrix[i]) * 0x1p-11f);
    assert_near(out[5], 1, 0); // to even
    assert_ok(rrt__safetensors_write(f->path, sample, SAMPLE_COUNT, RRT__DTYPE_BF16, &err));
    read_sample(f->path, out);
    for (int i = 0; i < 6; i++) assert_near(out[i], matrix[i], fabsf(matrix[i]) * 0x1p-8f);
    assert_ok(rrt__safetensors_write(f->path, NULL, 0, RRT__DTYPE_F32, &err));
}

static void tensors_of_many_chunks_come_back_whole(void **state)
{
    fixture *f = *state;
    enum { COUNT = 3 * 4096 + 5 };
    rrt_error err = {0};
    rrt__safetensors *file;
    float *values = malloc(COUNT * sizeof *values), *out = malloc(COUNT * sizeof *out);
    for (int i = 0; i < COUNT; i++) values[i] = (float)i;
    rrt__safetensors_entry entry = {"long", 1, {COUNT}, values};
    assert_ok(rrt__safetensors_write(f->path, &entry, 1, RRT__DTYPE_F32, &err));
    assert_ok(rrt__safetensors_open(&file, f->path, &err));
    assert_ok(rrt__tensor_read(&rrt__safetensors_tensors(file)->tensors[0], COUNT, 0, out, &err));
    assert_memory_equal(out, values, COUNT * sizeof *out);
    struct stat info;
    assert_int_equal(stat(f->path, &info), 0);
    assert_int_equal(rrt__safetensors_file_bytes(file), info.st_size);
    rrt__safetensors_close(file);
    free(values);
    free(out);
}

static void refuse_entry(const char *path, const char *name, int n_dims, size_t size, float value,
                         rrt__dtype dtype, rrt_status status, const char *text)
{
    rrt_error err;
    rrt__safetensors_entry entry = {name, n_dims, {size, 1, 1, 1}, &value};
    assert_fails(status, text, rrt__safetensors_write(path, &entry, 1, dtype, &err));
}

static void what_cannot_be_written_is_refused(void **state)
{
    fixture *f = *state;
    rrt_error err = {0};
    refuse_entry(f->path, "w", 1, 1, 1, RRT__DTYPE_Q8_0, RRT_STATUS_ARGUMENT, "cannot hold Q8_0");
    refuse_entry(f->path, "", 1, 1, 1, RRT__DTYPE_F32, RRT_STATUS_ARGUMENT, "cannot be a tensor's name");
    refuse_entry(f->path, "\xff", 1, 1, 1, RRT__DTYPE_F32, RRT_STATUS_ARGUMENT, "cannot be a tensor's name");
    refuse_entry(f->path, "__metadata__", 1, 1, 1, RRT__DTYPE_F32, RRT_STATUS_ARGUMENT,
                 "cannot be a tensor's name");
    refuse_entry(f->path, "w", 5, 1, 1, RRT__DTYPE_F32, RRT_STATUS_ARGUMENT, "5 dimensions");
    refuse_entry(f->path, "w", 1, SIZE_MAX / 4, 1, RRT__DTYPE_F32, RRT_STATUS_ARGUMENT, "overflows");
    refuse_entry(f->path, "w", 1, 1, NAN, RRT__DTYPE_F32, RRT_STATUS_NUMERIC, "tensor 'w'");
    refuse_entry(f->path, "w", 1, 1, 65520, RRT__DTYPE_F16, RRT_STATUS_NUMERIC, "no finite number in F16");
    refuse_entry(f->path, "w", 1, 1, INFINITY, RRT__DTYPE_BF16, RRT_STATUS_NUMERIC, "value 0 is inf");
    rrt__safetensors_entry twins[] = {sample[0], sample[1], sample[0]};
    assert_fails(RRT_STATUS_ARGUMENT, "twice",
                 rrt__safetensors_write(f->path, twins, 3, RRT__DTYPE_F32, &err));
    assert_fails(RRT_STATUS_IO, "No such file",
                 rrt__safetensors_write("/no/such/folder/x", sample, 1, RRT__DTYPE_F32, &err));
    assert_fails(RRT_STATUS_IO, "No space left",
                 rrt__safetensors_write("/dev/full", sample, 1, RRT__DTYPE_F32, &err));
    assert_string_equal(err.where, "/dev/full");
}

// Header and n_data zero bytes, in a block that ends where the file ends.
static rrt_status parse_made(const char *header, size_t n_data, rrt__safetensors **file, char **memory,
                             rrt_error *err)
{
    uint64_t length = strlen(header);
    size_t size = sizeof length + length + n_data;
    *memory = calloc(size, 1);
    memcpy(*memory, &length, sizeof length);
    memcpy(*memory + sizeof length, header, length);
    return rrt__safetensors_parse(file, *memory, size, "made.safetensors", err);
}

static void refuse(const char *header, size_t n_data, rrt_status status, const char *text)
{
    rrt_error err;
    rrt__safetensors *file;
    char *memory;
    assert_fails(status, text, parse_made(header, n_data, &file, &memory, &err));
    assert_memory_equal(err.where, "made.safetensors", 16);
    assert_null(file);
    free(memory);
}

#define TENSOR(name, dtype, shape, begin, end)                                                               \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void files_of_other_writers_are_read(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__safetensors *file;
    char *memory;
    // Not in the order of the data, integers between, an escaped name, unknown members, spaces at the end.
    const char *header = "{" TENSOR("b", "F32", "[1]", "12", "16") "," TENSOR(
        "ids", "I64", "[1]", "4",
        "12") ","
              "\"\\u0061\":{\"shape\":[2,1],\"note\":null,\"dtype\":\"BF16\",\"data_offsets\":[0,4]},"
              "\"__metadata__\":{\"format\":\"pt\"}}  ";
    assert_ok(parse_made(header, 16, &file, &memory, &err));
    const rrt__tensor_table *table = rrt__safetensors_tensors(file);
    assert_int_equal(table->count, 2);
    assert_int_equal(rrt__tensor_table_find(table, "a")->dtype, RRT__DTYPE_BF16);
    assert_null(rrt__tensor_table_find(table, "ids"));
    rrt__safetensors_close(file);
    free(memory);
}

static void impossible_headers_are_refused(void **state)
{
    (void)state;
    rrt_error err;
    rrt__safetensors *file;
    assert_fails(RRT_STATUS_FORMAT, "0 bytes are too few",
                 rrt__safetensors_parse(&file, NULL, 0, "made", &err));
    assert_fails(RRT_STATUS_FORMAT, "too few", rrt__safetensors_parse(&file, "{}\0\0\0\0", 7, "made", &err));
    assert_fails(RRT_STATUS_FORMAT, "claims 3 bytes (byte 0): at most 2",
                 rrt__safetensors_parse(&file, "\3\0\0\0\0\0\0\0{}", 10, "made", &err));
    assert_fails(RRT_STATUS_FORMAT, "claims 18446744073709551615 bytes",
                 rrt__safetensors_parse(&file, "\377\377\377\377\377\377\377\377{}", 10, "made", &err));
    refuse("", 0, RRT_STATUS_FORMAT, "does not begin with '{'");
    refuse(" {}", 0, RRT_STATUS_FORMAT, "does not begin with '{'");
    refuse("[]", 0, RRT_STATUS_FORMAT, "does not begin with '{'");
    refuse("{", 0, RRT_STATUS_FORMAT, "not valid JSON");
    refuse("{}x", 0, RRT_STATUS_FORMAT, "not valid JSON");
    refuse("{\"\xff\":1}", 0, RRT_STATUS_FORMAT, "not valid JSON");
    refuse("{" TENSOR("w", "F32", "[]", "0", "4") "," TENSOR("w", "F32", "[]", "4", "8") "}", 8,
           RRT_STATUS_FORMAT, "duplicate");
    refuse("{\"__metadata__\":[]}", 0, RRT_STATUS_FORMAT, "\"__metadata__\" is not");
    refuse("{\"__metadata__\":{\"step\":3}}", 0, RRT_STATUS_FORMAT, "at \"step\"");
}

static void a_header_over_100_mb_is_refused(void **state)
{
    (void)state;
    rrt_error err;
    rrt__safetensors *file;
    size_t size = 8 + 100 * 1000 * 1000 + 1;
    char *memory = calloc(size, 1); // its pages are never touched
    memcpy(memory, &(uint64_t){100 * 1000 * 1000 + 1}, 8);
    assert_fails(RRT_STATUS_FORMAT, "at most 100000000",
                 rrt__safetensors_parse(&file, memory, size, "made", &err));
    free(memory);
}

static void impossible_tensors_are_refused(void **state)
{
    (void)state;
    refuse("{\"\":{}}", 0, RRT_STATUS_FORMAT, "its name is empty");
    refuse("{\"w\":1}", 0, RRT_STATUS_FORMAT, "tensor 'w'");
    refuse("{\"w\":{}}", 0, RRT_STATUS_FORMAT, "\"dtype\" is missing");
    refuse("{" TENSOR("w", "F8_E4M3", "[4]", "0", "4") "}", 4, RRT_STATUS_UNSUPPORTED,
           "its dtype is F8_E4M3");
    refuse("{" TENSOR("w", "F32", "4", "0", "4") "}", 4, RRT_STATUS_FORMAT, "\"shape\" has the wrong type");
    refuse("{" TENSOR("w", "F32", "[1,1,1,1,1]", "0", "4") "}", 4, RRT_STATUS_UNSUPPORTED, "5 dimensions");
    refuse("{" TENSOR("w", "F32", "[1.0]", "0", "4") "}", 4, RRT_STATUS_FORMAT, "\"shape\": item 0");
    refuse("{" TENSOR("w", "F32", "[1,-1]", "0", "4") "}", 4, RRT_STATUS_FORMAT, "\"shape\": item 1");
    refuse("{" TENSOR("w", "F32", "[1]", "0", "4,4") "}", 4, RRT_STATUS_FORMAT, "has 3 items");
    refuse("{" TENSOR("w", "F32", "[1]", "0", "-4") "}", 4, RRT_STATUS_FORMAT, "\"data_offsets\": item 1");
    refuse("{" TENSOR("w", "F32", "[1]", "4", "0") "}", 4, RRT_STATUS_FORMAT, "it lies at [4, 0)");
    refuse("{" TENSOR("w", "F32", "[1]", "0", "4") "}", 3, RRT_STATUS_FORMAT, "which has 3 bytes");
    refuse("{" TENSOR("w", "F32", "[3]", "0", "8") "}", 8, RRT_STATUS_FORMAT, "make 12 bytes, but it has 8");
    refuse("{" TENSOR("w", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, RRT_STATUS_FORMAT,
           "overflows");
    refuse("{" TENSOR("w", "F32", "[4611686018427387904]", "0", "0") "}", 0, RRT_STATUS_FORMAT, "overflows");
    refuse("{" TENSOR("w", "I64", "[1]", "0", "4") "}", 4, RRT_STATUS_FORMAT, "I64 make 8 bytes");
}

static void holes_and_overlaps_are_refused(void **state)
{
    (void)state;
    refuse("{" TENSOR("w", "F32", "[1]", "4", "8") "}", 8, RRT_STATUS_FORMAT,
           "a hole: tensor 'w' begins at byte 4");
    refuse("{" TENSOR("w", "F32", "[1]", "0", "4") "}", 5, RRT_STATUS_FORMAT,
           "a hole: the tensors end at byte 4");
    refuse("{}", 1, RRT_STATUS_FORMAT, "a hole");
    refuse("{" TENSOR("v", "F32", "[2]", "0", "8") "," TENSOR("w", "F32", "[1]", "4", "8") "}", 8,
           RRT_STATUS_FORMAT, "an overlap: tensor 'w'");
    refuse("{" TENSOR("v", "F32", "[1]", "0", "4") "," TENSOR("w", "I64", "[1]", "0", "8") "}", 8,
           RRT_STATUS_FORMAT, "an overlap");
    refuse("{" TENSOR("v", "F32", "[1]", "0", "4") "," TENSOR("w", "F32", "[1]", "8", "12") "}", 12,
           RRT_STATUS_FORMAT, "a hole");
}

static void write_index(const fixture *f, const char *json)
{
    rrt_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", f->folder);
    assert_ok(rrt__file_write(path, json, strlen(json), &err));
}

static void write_shard(const fixture *f, const char *name, const rrt__safetensors_entry *entry)
{
    rrt_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    assert_ok(rrt__safetensors_write(path, entry, 1, RRT__DTYPE_F32, &err));
}

static void refuse_index(const fixture *f, const char *json, rrt_status status, const char *text)
{
    rrt_error err;
    rrt__safetensors *file;
    write_index(f, json);
    assert_fails(status, text, rrt__safetensors_open(&file, f->folder, &err));
    assert_null(file);
}

static void a_sharded_folder_is_read_as_one(void **state)
{
    fixture *f = *state;
    rrt_error err = {0};
    rrt__safetensors *file;
    float out[6];
    assert_fails(RRT_STATUS_IO, "neither model.safetensors nor",
                 rrt__safetensors_open(&file, f->folder, &err));
    write_shard(f, "1.safetensors", &sample[0]);
    write_shard(f, "2.safetensors", &sample[3]);
    write_index(f, "{\"metadata\":{\"total_size\":40},\"weight_map\":{\"matrix\":\"1.safetensors\",\"Größe\":"
                   "\"2.safetensors\"}}");
    assert_ok(rrt__safetensors_open(&file, f->folder, &err));
    const rrt__tensor_table *table = rrt__safetensors_tensors(file);
    assert_int_equal(table->count, 2);
    assert_non_null(strstr(rrt__tensor_table_find(table, "matrix")->path, "/1.safetensors"));
    assert_ok(rrt__tensor_read(rrt__tensor_table_find(table, "matrix"), 2, 3, out, &err));
    assert_memory_equal(out, matrix, sizeof matrix);
    rrt__safetensors_close(file);
}

static void impossible_indices_are_refused(void **state)
{
    fixture *f = *state;
    write_shard(f, "1.safetensors", &sample[0]);
    write_shard(f, "2.safetensors", &sample[0]);
    refuse_index(f, "", RRT_STATUS_FORMAT, "not valid JSON");
    refuse_index(f, "{}", RRT_STATUS_FORMAT, "\"weight_map\" is missing");
    refuse_index(f, "{\"weight_map\":{\"matrix\":3}}", RRT_STATUS_FORMAT, "not a plain file name");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"\"}}", RRT_STATUS_FORMAT, "not a plain file name");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"../1.safetensors\"}}", RRT_STATUS_FORMAT,
                 "'../1.safetensors' is not a plain");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"/etc/passwd\"}}", RRT_STATUS_FORMAT,
                 "not a plain file name");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"..\"}}", RRT_STATUS_FORMAT, "not a plain file name");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"1.safetensors\\u0000\"}}", RRT_STATUS_FORMAT,
                 "not a plain file name");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"3.safetensors\"}}", RRT_STATUS_IO, "3.safetensors");
    refuse_index(f, "{\"weight_map\":{\"other\":\"1.safetensors\"}}", RRT_STATUS_FORMAT,
                 "'other' is not in the shard '1.safetensors'");
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"2.safetensors\",\"b\":\"1.safetensors\"}}",
                 RRT_STATUS_FORMAT, "'b' is not in");
}

// A tensor that lies in two shards, each of which the index names.
static void a_tensor_in_two_shards_is_refused(void **state)
{
    fixture *f = *state;
    rrt_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/2.safetensors", f->folder);
    write_shard(f, "1.safetensors", &sample[0]);
    assert_ok(rrt__safetensors_write(path, sample, SAMPLE_COUNT, RRT__DTYPE_F32, &err));
    refuse_index(f, "{\"weight_map\":{\"matrix\":\"1.safetensors\",\"scalar\":\"2.safetensors\"}}",
                 RRT_STATUS_FORMAT, "'matrix' is there twice");
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    fixture *f = *state;
    rrt_error err = {0};
    rrt__safetensors *file = NULL;
    rrt_status status = RRT_STATUS_MEMORY;
    write_shard(f, "1.safetensors", &sample[0]);
    write_shard(f, "2.safetensors", &sample[3]);
    write_index(f, "{\"weight_map\":{\"matrix\":\"1.safetensors\",\"Größe\":\"2.safetensors\"}}");
    long n = 0;
    for (; status; n++) {
        rrt__memory_fail_after = n;
        status = rrt__safetensors_open(&file, f->folder, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    assert_true(n > 3);
    rrt__safetensors_close(file);
    for (n = 0, status = RRT_STATUS_MEMORY; status; n++) {
        rrt__memory_fail_after = n;
        status = rrt__safetensors_write(f->path, sample, SAMPLE_COUNT, RRT__DTYPE_F32, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    assert_true(n > 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tensors_survive_writing_and_reading), TEST(tensors_of_many_chunks_come_back_whole),
        TEST(what_cannot_be_written_is_refused),   TEST(files_of_other_writers_are_read),
        TEST(impossible_headers_are_refused),      TEST(a_header_over_100_mb_is_refused),
        TEST(impossible_tensors_are_refused),      TEST(holes_and_overlaps_are_refused),
        TEST(a_sharded_folder_is_read_as_one),     TEST(impossible_indices_are_refused),
        TEST(a_tensor_in_two_shards_is_refused),   TEST(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
