// Conversions of storage types, and the table of tensors.
#include <math.h>
#include <stdlib.h>

#include "format/tensors.h"
#include "test.h"

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// What the 16 bits mean, by the definition of the format.
static double half_by_definition(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return half >> 15 ? -value : value;
}

static void every_f16_is_converted_as_defined(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float value = rrt__f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) != 0x7c00)
            assert_true((double)value == half_by_definition((uint16_t)h));
        else if (h & 1023)
            assert_true(isnan(value));
        else
            assert_true(isinf(value));
        assert_int_equal(signbit(value) != 0, h >> 15);
    }
}

// Between any two neighbours: the middle goes to the even one, one float below and above to the nearest.
static void f32_to_f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double low = half_by_definition((uint16_t)h),
               high = half_by_definition((uint16_t)(h + 1)); // 65536 at the end
        float middle = (float)((low + high) / 2);
        assert_int_equal(rrt__f32_to_f16((float)low), h);
        assert_int_equal(rrt__f32_to_f16(-(float)low), h | 0x8000);
        assert_int_equal(rrt__f32_to_f16(middle), h % 2 ? h + 1 : h);
        assert_int_equal(rrt__f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(rrt__f32_to_f16(nextafterf(middle, 1e9f)), h + 1);
    }
    assert_int_equal(rrt__f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(rrt__f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(rrt__f32_to_f16(1e-30f), 0);
    assert_true(isnan(rrt__f16_to_f32(rrt__f32_to_f16(NAN))));
}

static void f32_to_bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(rrt__f32_to_bf16(float_of(0x3f808000)), 0x3f80); // the middle: to the even one below
    assert_int_equal(rrt__f32_to_bf16(float_of(0x3f818000)), 0x3f82); // … above
    assert_int_equal(rrt__f32_to_bf16(float_of(0x3f808001)), 0x3f81);
    assert_int_equal(rrt__f32_to_bf16(float_of(0xbf807fff)), 0xbf80);
    assert_int_equal(rrt__f32_to_bf16(float_of(0x7f7fffff)), 0x7f80); // overflow
    assert_int_equal(rrt__f32_to_bf16(float_of(0x7f800001)) & 0x7fff,
                     0x7fc0); // a NaN whose high half looks like infinity
}

static size_t decode_hex(const char *text, unsigned char *out)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1]};
        out[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return n;
}

// gguf-py is the oracle: tools/make-dtype-golden.py.
static void blocks_match_gguf_py(void **state)
{
    (void)state;
    FILE *file = fopen(RRT_TEST_DATA "/dtype.golden", "r");
    assert_non_null(file);
    char name[16], raw[1024], values[4096];
    bool seen[RRT__DTYPE_COUNT] = {0};
    while (fscanf(file, "%15s %1023s %4095s", name, raw, values) == 3) {
        unsigned char block[513], expected[2048];
        float out[512];
        rrt__dtype dtype = 0;
        while (strcmp(rrt__dtype_name(dtype), name) != 0) dtype++;
        size_t n_bytes = decode_hex(raw, block + 1),
               count = decode_hex(values, expected) / sizeof *out; // misaligned
        assert_int_equal(n_bytes / rrt__dtype_block_bytes(dtype) * rrt__dtype_block_values(dtype), count);
        rrt__dtype_to_f32(dtype, block + 1, count, out);
        for (size_t i = 0; i < count; i++) {
            float value;
            memcpy(&value, expected + i * sizeof value, sizeof value);
            if (out[i] != value)
                fail_msg("%s, value %zu: %.9g, expected %.9g", name, i, (double)out[i], (double)value);
        }
        seen[dtype] = true;
    }
    fclose(file);
    for (rrt__dtype dtype = 0; dtype < RRT__DTYPE_COUNT; dtype++)
        if (!seen[dtype] && dtype != RRT__DTYPE_I8)
            fail_msg("no golden values for %s", rrt__dtype_name(dtype));
}

static const float data[6] = {1, 2, 3, 4, 5, 6};

static rrt__tensor make_tensor(const char *name, const float *values, size_t rows, size_t columns)
{
    return (rrt__tensor){.name = name,
                         .n_dims = 2,
                         .shape = {rows, columns},
                         .data = (const unsigned char *)values,
                         .size_bytes = rows * columns * sizeof *values,
                         .file_offset = 100,
                         .path = "a.file"};
}

static void the_tensor_table_finds_names_and_refuses_overlaps(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__tensor_table table = {0};
    assert_ok(rrt__tensor_table_seal(&table, &err));
    assert_null(rrt__tensor_table_find(&table, "b"));
    rrt__tensor b = make_tensor("b", data, 1, 2), a = make_tensor("a", data + 2, 2, 2),
                empty = make_tensor("e", data + 2, 0, 1);
    assert_ok(rrt__tensor_table_add(&table, &b, &err));
    assert_ok(rrt__tensor_table_add(&table, &a, &err));
    assert_ok(rrt__tensor_table_add(&table, &empty, &err));
    assert_ok(rrt__tensor_table_seal(&table, &err));
    assert_string_equal(table.tensors[0].name, "a");
    assert_ptr_equal(rrt__tensor_table_find(&table, "b")->data, data);
    assert_null(rrt__tensor_table_find(&table, "c"));
    rrt__tensor twin = make_tensor("a", data + 6, 0, 1), across = make_tensor("across", data + 1, 1, 2);
    assert_ok(rrt__tensor_table_add(&table, &twin, &err));
    assert_fails(RRT_STATUS_FORMAT, "'a' is there twice", rrt__tensor_table_seal(&table, &err));
    assert_ok(rrt__tensor_table_add(&table, &across, &err));
    assert_fails(RRT_STATUS_FORMAT, "'b' and 'across' overlap", rrt__tensor_table_seal(&table, &err));
    rrt__tensor_table_free(&table);
}

static void tensors_are_read_only_in_their_shape(void **state)
{
    (void)state;
    rrt_error err = {0};
    float out[6];
    rrt__tensor tensor = make_tensor("w", data, 2, 3);
    assert_ok(rrt__tensor_read(&tensor, 2, 3, out, &err));
    assert_memory_equal(out, data, sizeof data);
    assert_fails(RRT_STATUS_MISMATCH, "its shape is [2, 3], [3, 2] is expected",
                 rrt__tensor_read(&tensor, 3, 2, out, &err));
    assert_string_equal(err.where, "a.file: tensor 'w'");
    assert_fails(RRT_STATUS_MISMATCH, "[6] is expected", rrt__tensor_read(&tensor, 6, 0, out, &err));
    tensor.n_dims = 1;
    tensor.shape[0] = 6;
    assert_ok(rrt__tensor_read(&tensor, 6, 0, out, &err));
    tensor.n_dims = 4;
    for (int i = 0; i < 4; i++) tensor.shape[i] = SIZE_MAX;
    size_t count;
    assert_false(rrt__tensor_count(&tensor, &count));
    assert_fails(RRT_STATUS_MISMATCH, "18446744073709551615]", rrt__tensor_read(&tensor, 6, 0, out, &err));
}

static void reading_names_what_is_not_finite(void **state)
{
    (void)state;
    enum { COUNT = 10000 }; // several chunks
    rrt_error err = {0};
    float *values = calloc(COUNT, sizeof *values), *out = calloc(COUNT, sizeof *out);
    rrt__tensor tensor = make_tensor("w", values, 100, 100);
    values[9001] = NAN;
    assert_fails(RRT_STATUS_NUMERIC, "value 9001 is", rrt__tensor_read(&tensor, 100, 100, out, &err));
    assert_non_null(strstr(err.message, "byte 36104")); // 100 + 4 × 9001
    values[5000] = -INFINITY;
    assert_fails(RRT_STATUS_NUMERIC, "value 5000 is -inf", rrt__tensor_read(&tensor, 100, 100, out, &err));
    free(values);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_is_converted_as_defined),
        cmocka_unit_test(f32_to_f16_rounds_to_nearest_even),
        cmocka_unit_test(f32_to_bf16_rounds_to_nearest_even),
        cmocka_unit_test(blocks_match_gguf_py),
        cmocka_unit_test(the_tensor_table_finds_names_and_refuses_overlaps),
        cmocka_unit_test(tensors_are_read_only_in_their_shape),
        cmocka_unit_test(reading_names_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
