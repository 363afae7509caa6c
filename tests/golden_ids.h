// Files of golden ids: a line is {"text": …, "plain": ids, "special": ids with special tokens parsed, if they
// differ}; null: not known.
#ifndef RRT__GOLDEN_IDS_H
#define RRT__GOLDEN_IDS_H

#include "test.h"

#include "base/file.h"
#include "base/json.h"
#include "rrt/tokenizer.h"

static const rrt_encode_options parse_special = {.parse_special = 1};

static inline void assert_ids(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                              const rrt_encode_options *options, const int32_t *expected, size_t n)
{
    rrt_error err = {0};
    int32_t *ids;
    size_t count;
    assert_ok(rrt_encode(tokenizer, text, length, options, &ids, &count, &err));
    bool same = count == n && (n == 0 || memcmp(ids, expected, n * sizeof *ids) == 0);
    if (!same) {
        print_error("'%.*s': %zu ids, %zu expected:", (int)length, text, count, n);
        for (size_t i = 0; i < count; i++) print_error(" %d", (int)ids[i]);
        fail();
    }
    rrt_ids_free(ids);
}

static inline void assert_golden_line(const rrt_tokenizer *tokenizer, const json_t *line)
{
    int32_t expected[4096];
    const json_t *text = json_object_get(line, "text"), *plain = json_object_get(line, "plain");
    for (int special = 0; special < 2; special++) {
        const json_t *ids = special ? json_object_get(line, "special") : plain;
        if (!ids) ids = plain;
        if (json_is_null(ids)) continue;
        size_t count = json_array_size(ids);
        assert_true(count <= sizeof expected / sizeof *expected);
        for (size_t i = 0; i < count; i++) expected[i] = (int32_t)json_integer_value(json_array_get(ids, i));
        assert_ids(tokenizer, json_string_value(text), json_string_length(text),
                   special ? &parse_special : NULL, expected, count);
    }
}

static inline void assert_golden(const rrt_tokenizer *tokenizer, const char *path)
{
    rrt_error err = {0};
    rrt__string file = {0};
    assert_ok(rrt__file_read(&file, path, &err));
    size_t lines = 0;
    for (char *at = file.data, *end; (end = strchr(at, '\n')); at = end + 1, lines++) {
        json_t *line;
        assert_ok(rrt__json_parse(&line, at, (size_t)(end - at), &err));
        assert_golden_line(tokenizer, line);
        json_decref(line);
    }
    assert_true(lines > 100);
    rrt__string_free(&file);
}

#endif
