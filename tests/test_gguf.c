// GGUF: reading what is sound, refusing by name what is not. The files are built in memory.
#include <stdlib.h>
#include <unistd.h>

#include "format/gguf.h"
#include "test.h"

// Types of metadata values and of tensors, as the file numbers them.
enum { UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 };
enum { F32 = 0, Q4_0 = 2, IQ2_XS = 17 };

static void put(rrt__string *file, const void *bytes, size_t size)
{
    assert_int_equal(rrt__string_append(file, bytes, size, NULL), RRT_STATUS_OK);
}

static void put_u32(rrt__string *file, uint32_t value)
{
    put(file, &value, sizeof value);
}

static void put_u64(rrt__string *file, uint64_t value)
{
    put(file, &value, sizeof value);
}

static void put_text(rrt__string *file, const char *text)
{
    put_u64(file, strlen(text));
    put(file, text, strlen(text));
}

static void put_header(rrt__string *file, uint32_t version, uint64_t n_tensors, uint64_t n_entries)
{
    put(file, "GGUF", 4);
    put_u32(file, version);
    put_u64(file, n_tensors);
    put_u64(file, n_entries);
}

static void put_key(rrt__string *file, const char *key, uint32_t type)
{
    put_text(file, key);
    put_u32(file, type);
}

static void put_array(rrt__string *file, const char *key, uint32_t type, uint64_t count)
{
    put_key(file, key, ARRAY);
    put_u32(file, type);
    put_u64(file, count);
}

static void put_tensor(rrt__string *file, const char *name, uint32_t n_dims, const uint64_t *dims,
                       uint32_t type, uint64_t offset)
{
    put_text(file, name);
    put_u32(file, n_dims);
    put(file, dims, n_dims * sizeof *dims);
    put_u32(file, type);
    put_u64(file, offset);
}

static void put_padding(rrt__string *file, size_t alignment)
{
    while (file->length % alignment) put(file, "", 1);
}

// A sound file with each kind of metadata and two tensors. Frees nothing: rrt__string_free is the caller's.
static rrt__string make_sample(uint32_t version)
{
    rrt__string file = {0};
    put_header(&file, version, 2, 9);
    put_key(&file, "general.alignment", UINT32);
    put_u32(&file, 64);
    put_key(&file, "name", STRING);
    put_text(&file, "Ünïcode");
    put_key(&file, "small", INT8);
    put(&file, "\xfb", 1); // -5
    put_key(&file, "huge", UINT64);
    put_u64(&file, UINT64_MAX);
    put_key(&file, "epsilon", FLOAT32);
    put(&file, &(float){0.5f}, 4);
    put_key(&file, "yes", BOOL);
    put(&file, "\1", 1);
    put_array(&file, "tokens", STRING, 3);
    put_text(&file, "a");
    put_text(&file, "");
    put_text(&file, "ccc");
    put_array(&file, "types", INT16, 2);
    put(&file, &(int16_t[2]){-7, 7}, 4);
    put_array(&file, "scores", FLOAT64, 2);
    put(&file, &(double[2]){0.25, -1}, 16);
    put_tensor(&file, "matrix", 2, (uint64_t[2]){3, 2}, F32, 64); // 2 rows of 3
    put_tensor(&file, "blocks", 1, (uint64_t[1]){32}, Q4_0, 0);
    put_padding(&file, 64);
    put(&file, "\0\x3c\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98\x98",
        18); // 16 times 0, 16 times 1
    put_padding(&file, 64);
    put(&file, &(float[6]){1, 2, 3, 4, 5, 6}, 24);
    return file;
}

static rrt_status ignore_string(void *user, size_t index, rrt__slice string, rrt_error *err)
{
    (void)err;
    *(size_t *)user += index + string.length;
    return RRT_STATUS_OK;
}

// Everything the interface offers, for sanitizers to watch.
static void walk(const rrt__gguf *gguf)
{
    static const char *const keys[] = {
        "general.alignment", "name", "small", "huge", "epsilon", "yes", "tokens", "types", "scores"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int64_t integer, integers[3];
        double real;
        float reals[3];
        bool flag;
        rrt__slice string;
        size_t count, sum = 0;
        rrt__gguf_int(gguf, keys[i], 0, 9, &integer, NULL);
        rrt__gguf_real_or(gguf, keys[i], 0, &real, NULL);
        rrt__gguf_bool_or(gguf, keys[i], false, &flag, NULL);
        rrt__gguf_string(gguf, keys[i], &string, NULL);
        rrt__gguf_each_string(gguf, keys[i], ignore_string, &sum, NULL);
        if (rrt__gguf_array_count(gguf, keys[i], &count, NULL) || count > 3) continue;
        rrt__gguf_ints(gguf, keys[i], integers, count, NULL);
        rrt__gguf_reals(gguf, keys[i], reals, count, NULL);
    }
    const rrt__tensor_table *table = rrt__gguf_tensors(gguf);
    for (size_t i = 0; i < table->count; i++) {
        const rrt__tensor *tensor = &table->tensors[i];
        float values[64];
        size_t count;
        assert_true(rrt__tensor_count(tensor, &count));
        if (count <= 64)
            rrt__tensor_read(tensor, tensor->shape[0], tensor->n_dims == 2 ? tensor->shape[1] : 0, values,
                             NULL);
    }
}

// Parses a copy that ends where the allocation ends, so that a read past the end is caught.
static rrt_status parse_copy(const char *bytes, size_t size, rrt_error *err)
{
    char *copy = malloc(size ? size : 1);
    rrt__gguf *gguf;
    memcpy(copy, bytes, size);
    rrt_status status = rrt__gguf_parse(&gguf, copy, size, "made.gguf", err);
    if (!status)
        walk(gguf);
    else
        assert_null(gguf);
    rrt__gguf_close(gguf);
    free(copy);
    return status;
}

static void refuse(rrt__string *file, rrt_status status, const char *text)
{
    rrt_error err;
    assert_fails(status, text, parse_copy(file->data, file->length, &err));
    assert_memory_equal(err.where, "made.gguf", 9);
    rrt__string_free(file);
}

typedef struct strings {
    char text[3][8];
} strings;

static rrt_status copy_string(void *user, size_t index, rrt__slice string, rrt_error *err)
{
    if (index == 2) return rrt__fail(err, RRT_STATUS_MISMATCH, "two are enough");
    memcpy(((strings *)user)->text[index], string.data, string.length);
    return RRT_STATUS_OK;
}

static void metadata_is_read_by_type_and_range(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string file = make_sample(3);
    rrt__gguf *gguf;
    int64_t integer, integers[2];
    double real;
    float reals[2];
    bool flag;
    rrt__slice name;
    size_t count;
    strings tokens = {0};
    assert_ok(rrt__gguf_parse(&gguf, file.data, file.length, "made.gguf", &err));
    assert_true(rrt__gguf_has(gguf, "small"));
    assert_false(rrt__gguf_has(gguf, "smal"));
    assert_ok(rrt__gguf_int(gguf, "small", -5, 0, &integer, &err));
    assert_int_equal(integer, -5);
    assert_fails(RRT_STATUS_FORMAT, "'small' is -5", rrt__gguf_int(gguf, "small", 0, 9, &integer, &err));
    assert_fails(RRT_STATUS_FORMAT, "'huge' is UINT64",
                 rrt__gguf_int(gguf, "huge", 0, INT64_MAX, &integer, &err));
    assert_fails(RRT_STATUS_FORMAT, "no 'absent'", rrt__gguf_int(gguf, "absent", 0, 9, &integer, &err));
    assert_ok(rrt__gguf_int_or(gguf, "absent", 0, 9, 4, &integer, &err));
    assert_int_equal(integer, 4);
    assert_ok(rrt__gguf_real_or(gguf, "epsilon", 1, &real, &err));
    assert_near(real, 0.5, 0);
    assert_fails(RRT_STATUS_FORMAT, "'small' is INT8", rrt__gguf_real_or(gguf, "small", 1, &real, &err));
    assert_ok(rrt__gguf_bool_or(gguf, "yes", false, &flag, &err));
    assert_true(flag);
    assert_fails(RRT_STATUS_FORMAT, "a BOOL of 0 or 1", rrt__gguf_bool_or(gguf, "small", false, &flag, &err));
    assert_ok(rrt__gguf_string(gguf, "name", &name, &err));
    assert_int_equal(name.length, strlen("Ünïcode"));
    assert_memory_equal(name.data, "Ünïcode", name.length);
    assert_ok(rrt__gguf_array_count(gguf, "tokens", &count, &err));
    assert_int_equal(count, 3);
    assert_fails(RRT_STATUS_FORMAT, "an array is expected",
                 rrt__gguf_array_count(gguf, "name", &count, &err));
    assert_fails(RRT_STATUS_MISMATCH, "'tokens', item 2",
                 rrt__gguf_each_string(gguf, "tokens", copy_string, &tokens, &err));
    assert_string_equal(tokens.text[0], "a");
    assert_string_equal(tokens.text[1], "");
    assert_fails(RRT_STATUS_FORMAT, "an array of INT16",
                 rrt__gguf_each_string(gguf, "types", copy_string, &tokens, &err));
    assert_ok(rrt__gguf_ints(gguf, "types", integers, 2, &err));
    assert_int_equal(integers[0], -7);
    assert_int_equal(integers[1], 7);
    assert_fails(RRT_STATUS_FORMAT, "has 2 items", rrt__gguf_ints(gguf, "types", integers, 1, &err));
    assert_fails(RRT_STATUS_FORMAT, "an array of integers",
                 rrt__gguf_ints(gguf, "scores", integers, 2, &err));
    assert_ok(rrt__gguf_reals(gguf, "scores", reals, 2, &err));
    assert_near(reals[0], 0.25, 0);
    assert_near(reals[1], -1, 0);
    assert_fails(RRT_STATUS_FORMAT, "an array of floats", rrt__gguf_reals(gguf, "types", reals, 2, &err));
    rrt__gguf_close(gguf);
    rrt__string_free(&file);
}

static void tensors_are_read_with_their_values(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__gguf *gguf;
    rrt__string file = make_sample(2);
    assert_ok(rrt__gguf_parse(&gguf, file.data, file.length, "made.gguf", &err));
    const rrt__tensor_table *table = rrt__gguf_tensors(gguf);
    assert_int_equal(table->count, 2);
    float matrix[6], blocks[32];
    assert_ok(rrt__tensor_read(rrt__tensor_table_find(table, "matrix"), 2, 3, matrix, &err));
    for (int i = 0; i < 6; i++) assert_near(matrix[i], i + 1, 0);
    assert_ok(rrt__tensor_read(rrt__tensor_table_find(table, "blocks"), 32, 0, blocks, &err));
    for (int i = 0; i < 32; i++) assert_near(blocks[i], i / 16, 0);
    rrt__gguf_close(gguf);
    rrt__string_free(&file);
}

static void a_file_is_opened_and_a_cut_one_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__gguf *gguf;
    char path[] = "/tmp/rrt-test-gguf-XXXXXX";
    rrt__string file = make_sample(3);
    close(mkstemp(path));
    assert_ok(rrt__file_write(path, file.data, file.length, &err));
    assert_ok(rrt__gguf_open(&gguf, path, &err));
    walk(gguf);
    rrt__gguf_close(gguf);
    assert_ok(rrt__file_write(path, file.data, file.length - 1, &err));
    assert_fails(RRT_STATUS_FORMAT, "fetch it again", rrt__gguf_open(&gguf, path, &err));
    assert_memory_equal(err.where, path, strlen(path));
    assert_ok(rrt__file_write(path, "", 0, &err));
    assert_fails(RRT_STATUS_FORMAT, "ends at byte 0", rrt__gguf_open(&gguf, path, &err));
    unlink(path);
    assert_fails(RRT_STATUS_IO, "No such file", rrt__gguf_open(&gguf, path, &err));
    assert_null(gguf);
    rrt__string_free(&file);
}

static void a_file_without_tensors_needs_no_padding(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string file = {0};
    put_header(&file, 3, 0, 0);
    assert_ok(parse_copy(file.data, file.length, &err));
    rrt__string_free(&file);
}

static void impossible_headers_are_refused(void **state)
{
    (void)state;
    rrt__string file = {0};
    put(&file, "<htm", 4);
    refuse(&file, RRT_STATUS_FORMAT, "3c 68 74 6d");
    put_header(&file, 1, 0, 0);
    refuse(&file, RRT_STATUS_UNSUPPORTED, "GGUF version 1");
    put_header(&file, 4, 0, 0);
    refuse(&file, RRT_STATUS_UNSUPPORTED, "GGUF version 4");
    put_header(&file, 3u << 24, 0, 0);
    refuse(&file, RRT_STATUS_UNSUPPORTED, "big-endian");
    put_header(&file, 3, (uint64_t)1 << 63, 0);
    refuse(&file, RRT_STATUS_FORMAT, "the number of tensors is 9223372036854775808 (byte 8)");
    put_header(&file, 3, 0, (uint64_t)1 << 63);
    refuse(&file, RRT_STATUS_FORMAT, "the number of metadata entries is 9223372036854775808 (byte 16)");
}

// A file whose only entry begins like this. put_u64(…, 0) after it makes it long enough for one entry.
static rrt__string begin_entry(const char *key, uint32_t type)
{
    rrt__string file = {0};
    put_header(&file, 3, 0, 1);
    put_key(&file, key, type);
    return file;
}

static void impossible_keys_are_refused(void **state)
{
    (void)state;
    rrt__string file = begin_entry("", UINT64);
    put_u64(&file, 0);
    refuse(&file, RRT_STATUS_FORMAT, "metadata entry 0");
    file = begin_entry("\xc0\xaf", UINT64);
    put_u64(&file, 0);
    refuse(&file, RRT_STATUS_FORMAT, "not valid UTF-8");
    put_header(&file, 3, 0, 1);
    put_u64(&file, 3);
    put(&file, "a\0b\0\0\0\0", 7);
    refuse(&file, RRT_STATUS_FORMAT, "the key before byte 35");
    put_header(&file, 3, 0, 1);
    put_u64(&file, 65536);
    for (int i = 0; i < 65536 + 12; i++) put(&file, "k", 1);
    refuse(&file, RRT_STATUS_FORMAT, "the key has 65536 bytes (byte 24), at most 65535");
    put_header(&file, 3, 0, 1);
    put_u64(&file, 1000);
    put_u64(&file, 0);
    refuse(&file, RRT_STATUS_FORMAT, "the key needs 1000 bytes at byte 32");
    put_header(&file, 3, 0, 3);
    for (int i = 0; i < 3; i++) {
        put_key(&file, i == 1 ? "other" : "twin", UINT32);
        put_u32(&file, 1);
    }
    refuse(&file, RRT_STATUS_FORMAT, "'twin' is there twice");
}

static void impossible_values_are_refused(void **state)
{
    (void)state;
    rrt__string file = begin_entry("odd", 13);
    put_u64(&file, 0);
    refuse(&file, RRT_STATUS_UNSUPPORTED, "type is number 13 (byte 35)");
    file = begin_entry("short", UINT64);
    put_u32(&file, 0);
    refuse(&file, RRT_STATUS_FORMAT, "the value needs 8 bytes at byte 41");
    file = begin_entry("text", STRING);
    put_u64(&file, UINT64_MAX);
    refuse(&file, RRT_STATUS_FORMAT, "a string needs 18446744073709551615 bytes");
    rrt__string nested = {0}, many = {0}, strange = {0}, texts = {0};
    put_header(&nested, 3, 0, 1);
    put_array(&nested, "nested", ARRAY, 1);
    refuse(&nested, RRT_STATUS_UNSUPPORTED, "an array of arrays");
    put_header(&strange, 3, 0, 1);
    put_array(&strange, "strange", 99, 1);
    refuse(&strange, RRT_STATUS_UNSUPPORTED, "type is number 99");
    put_header(&many, 3, 0, 1);
    put_array(&many, "many", UINT64, (uint64_t)1 << 61); // × 8 is 0 modulo 2^64
    refuse(&many, RRT_STATUS_FORMAT, "metadata 'many'");
    put_header(&texts, 3, 0, 1);
    put_array(&texts, "texts", STRING, (uint64_t)1 << 63);
    put_text(&texts, "only one");
    refuse(&texts, RRT_STATUS_FORMAT, "a string needs 8 bytes");
}

static void refuse_alignment(uint32_t type, uint64_t alignment, const char *text)
{
    rrt__string file = begin_entry("general.alignment", type);
    put(&file, &alignment, type == UINT64 ? 8 : 4);
    refuse(&file, RRT_STATUS_FORMAT, text);
}

static void impossible_alignments_are_refused(void **state)
{
    (void)state;
    refuse_alignment(UINT32, 0, "'general.alignment' is 0");
    refuse_alignment(UINT32, 48, "general.alignment is 48, a power of two is expected");
    refuse_alignment(UINT64, UINT64_MAX, "an integer is expected");
    refuse_alignment(UINT64, (uint64_t)1 << 62, "is possible");
    refuse_alignment(FLOAT32, 32, "an integer is expected");
}

// One tensor of 3 dimensions at most in a file with 64 bytes of data.
static void refuse_tensor(const char *name, uint32_t n_dims, uint64_t innermost, uint64_t outermost,
                          uint32_t type, uint64_t offset, rrt_status status, const char *text)
{
    rrt__string file = {0};
    put_header(&file, 3, 1, 0);
    put_tensor(&file, name, n_dims, (uint64_t[5]){innermost, outermost, 1, 1, 1}, type, offset);
    put_padding(&file, 32);
    for (int i = 0; i < 8; i++) put_u64(&file, 0);
    refuse(&file, status, text);
}

static void impossible_tensors_are_refused(void **state)
{
    (void)state;
    const char *too_long = "12345678901234567890123456789012345678901234567890123456789012345"; // 65
    refuse_tensor("", 1, 4, 1, F32, 0, RRT_STATUS_FORMAT, "tensor 0");
    refuse_tensor("\xff", 1, 4, 1, F32, 0, RRT_STATUS_FORMAT, "not valid UTF-8");
    refuse_tensor(too_long, 1, 4, 1, F32, 0, RRT_STATUS_FORMAT, "a tensor's name has 65 bytes");
    refuse_tensor("w", 5, 4, 1, F32, 0, RRT_STATUS_FORMAT, "5 dimensions (byte 33)");
    refuse_tensor("w", 2, 0, 4, F32, 0, RRT_STATUS_FORMAT, "dimension 1 is 0 (byte 37)");
    refuse_tensor("w", 2, 4, UINT64_MAX, F32, 0, RRT_STATUS_FORMAT, "overflows");
    refuse_tensor("w", 2, (uint64_t)1 << 32, (uint64_t)1 << 32, F32, 0, RRT_STATUS_FORMAT, "overflows");
    refuse_tensor("w", 2, (uint64_t)1 << 31, (uint64_t)1 << 31, F32, 0, RRT_STATUS_FORMAT,
                  "overflows"); // × 4 bytes
    refuse_tensor("w", 2, 48, 2, Q4_0, 0, RRT_STATUS_FORMAT,
                  "48 values, a multiple of 32 is expected for Q4_0");
    refuse_tensor("w", 0, 1, 1, Q4_0, 0, RRT_STATUS_FORMAT, "1 values, a multiple of 32");
    refuse_tensor("w", 1, 32, 1, IQ2_XS, 0, RRT_STATUS_UNSUPPORTED,
                  "its type is IQ2_XS (number 17): F32, F16, BF16, Q4_0");
    refuse_tensor("w", 1, 32, 1, 4, 0, RRT_STATUS_UNSUPPORTED, "its type is unknown (number 4)");
    refuse_tensor("w", 1, 32, 1, UINT32_MAX, 0, RRT_STATUS_UNSUPPORTED, "Q6_K, I8 are read");
    refuse_tensor("w", 1, 4, 1, F32, 8, RRT_STATUS_FORMAT, "offset 8 is not a multiple of the alignment 32");
    refuse_tensor("w", 1, 17, 1, F32, 0, RRT_STATUS_FORMAT,
                  "it has 68 bytes at 64 + 0, but the file ends at byte 128");
    refuse_tensor("w", 1, 4, 1, F32, 96, RRT_STATUS_FORMAT, "tensor 'w'");
    refuse_tensor("w", 1, 4, 1, F32, UINT64_MAX - 31, RRT_STATUS_FORMAT, "fetch it again");
}

static void twins_and_overlaps_are_refused(void **state)
{
    (void)state;
    for (int overlaps = 0; overlaps < 2; overlaps++) {
        rrt__string file = {0};
        put_header(&file, 3, 2, 0);
        put_tensor(&file, "w", 1, (uint64_t[1]){16}, F32, 0);
        put_tensor(&file, overlaps ? "v" : "w", 1, (uint64_t[1]){8}, F32, overlaps ? 32 : 64);
        put_padding(&file, 32);
        for (int i = 0; i < 12; i++) put_u64(&file, 0);
        refuse(&file, RRT_STATUS_FORMAT, overlaps ? "'w' and 'v' overlap" : "'w' is there twice");
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    rrt__string file = make_sample(3);
    for (size_t size = 0; size < file.length; size++) {
        rrt_error err = {0};
        assert_int_equal(parse_copy(file.data, size, &err), RRT_STATUS_FORMAT);
        assert_true(err.message[0] && err.where[0]);
    }
    rrt__string_free(&file);
}

static void any_changed_byte_is_survived(void **state)
{
    (void)state;
    rrt__string file = make_sample(3);
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x0f};
    for (size_t at = 0; at < file.length; at++)
        for (size_t i = 0; i < sizeof changes; i++) {
            file.data[at] = (char)(file.data[at] ^ changes[i]);
            parse_copy(file.data, file.length, NULL);
            file.data[at] = (char)(file.data[at] ^ changes[i]);
        }
    rrt__string_free(&file);
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string file = make_sample(3);
    rrt__gguf *gguf = NULL;
    rrt_status status = RRT_STATUS_MEMORY;
    long n = 0;
    for (; status; n++) {
        rrt__memory_fail_after = n;
        status = rrt__gguf_parse(&gguf, file.data, file.length, "made.gguf", &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    assert_true(n > 3);
    rrt__gguf_close(gguf);
    rrt__string_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_is_read_by_type_and_range),
        cmocka_unit_test(tensors_are_read_with_their_values),
        cmocka_unit_test(a_file_is_opened_and_a_cut_one_refused),
        cmocka_unit_test(a_file_without_tensors_needs_no_padding),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(impossible_keys_are_refused),
        cmocka_unit_test(impossible_values_are_refused),
        cmocka_unit_test(impossible_alignments_are_refused),
        cmocka_unit_test(impossible_tensors_are_refused),
        cmocka_unit_test(twins_and_overlaps_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(any_changed_byte_is_survived),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
