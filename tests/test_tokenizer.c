// The tokenizer against Hugging Face's ids (tools/make-tokenizer-golden.py), and against hostile sources and
// texts.
#include "golden_ids.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_inside.h"

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}"
#define DECODER "\"decoder\": {\"type\": \"ByteLevel\"}"
#define AROUND ", \"pre_tokenizer\": " BYTE_LEVEL ", " DECODER "}"
#define MODEL "\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"Ġ\": 2, \"ab\": 3}, \"merges\": [\"a b\"]}"
#define TINY                                                                                                 \
    "{" MODEL ", \"added_tokens\": [{\"id\": 4, \"content\": \"<s>\", \"special\": true}, {\"id\": 5, "      \
    "\"content\": \"  \"}]" AROUND

static rrt_status load(rrt_tokenizer **out, const char *text, const char *config_text, rrt_error *err)
{
    json_t *json = NULL, *config = NULL;
    *out = NULL;
    rrt_status status = rrt__json_parse(&json, text, strlen(text), err);
    if (!status && config_text) status = rrt__json_parse(&config, config_text, strlen(config_text), err);
    if (!status) status = rrt__tokenizer_from_json(out, json, config, err);
    json_decref(json);
    json_decref(config);
    return status;
}

static void assert_refused(rrt_status status, const char *says, const char *json)
{
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_fails(status, says, load(&tokenizer, json, NULL, &err));
    assert_null(tokenizer);
}

// Text of random characters of one to four bytes.
static size_t random_text(char *out, size_t characters, uint64_t stream)
{
    static const uint32_t limits[] = {0x80, 0x250, 0x3000, 0x110000};
    size_t length = 0;
    for (size_t i = 0; i < characters; i++) {
        uint64_t bits = rrt__random_bits(1, stream, i);
        uint32_t c = (uint32_t)(bits >> 8) % limits[bits % 4];
        length += rrt__utf8_encode(c >= 0xd800 && c < 0xe000 ? ' ' : c, out + length);
    }
    return length;
}

static void assert_round_trip(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                              const rrt_encode_options *options)
{
    rrt_error err = {0};
    int32_t *ids;
    size_t count;
    assert_ok(rrt_encode(tokenizer, text, length, options, &ids, &count, &err));
    char *back;
    size_t back_length;
    assert_ok(rrt_decode(tokenizer, ids, count, &back, &back_length, &err));
    assert_int_equal(back_length, length);
    assert_memory_equal(back, text, length);
    rrt_text_free(back);
    rrt_ids_free(ids);
}

static void smollm_gives_the_ids_of_hugging_face(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(rrt_tokenizer_open(&tokenizer, RRT_TEST_DATA "/tokenizer-smollm", &err));
    assert_golden(tokenizer, RRT_TEST_DATA "/tokenizer-smollm/golden.jsonl");
    assert_int_equal(rrt_tokenizer_vocab(tokenizer), 448);
    assert_int_equal(rrt_tokenizer_bos(tokenizer), 1);
    assert_int_equal(rrt_tokenizer_eos(tokenizer), 2);
    assert_false(rrt_tokenizer_adds_bos(tokenizer));
    assert_true(rrt_tokenizer_ends(tokenizer, 0) && rrt_tokenizer_ends(tokenizer, 2));
    assert_false(rrt_tokenizer_ends(tokenizer, 1) || rrt_tokenizer_ends(tokenizer, -1));
    assert_false(rrt_tokenizer_ends(tokenizer, 448));
    assert_string_equal(rrt__tokenizer_chat_template(tokenizer), "{{ messages }}");
    char text[400];
    for (uint64_t i = 0; i < 300; i++)
        assert_round_trip(tokenizer, text, random_text(text, 100, i), i % 2 ? &parse_special : NULL);
    rrt_tokenizer_close(tokenizer);
}

// SentencePiece as Gemma and Llama 2 have it, the newer way to write Llama 2's, and Qwen's byte-level one.
static void other_kinds_give_the_ids_of_hugging_face(void **state)
{
    (void)state;
    static const char *const kinds[] = {"gemma", "llama2", "llama2-first", "metaspace", "qwen"};
    rrt_error err = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        rrt_tokenizer *tokenizer;
        char path[512], golden[600];
        snprintf(path, sizeof path, RRT_TEST_DATA "/tokenizer-%s", kinds[i]);
        snprintf(golden, sizeof golden, "%s/golden.jsonl", path);
        assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
        assert_int_equal(rrt_tokenizer_adds_space(tokenizer), i > 0 && i < 4);
        assert_golden(tokenizer, golden);
        rrt_tokenizer_close(tokenizer);
    }
}

static void neox_gives_the_ids_of_hugging_face(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(rrt_tokenizer_open(&tokenizer, RRT_TEST_DATA "/tokenizer-neox", &err));
    assert_golden(tokenizer, RRT_TEST_DATA "/tokenizer-neox/golden.jsonl");
    assert_int_equal(rrt_tokenizer_eos(tokenizer), 0);
    assert_null(rrt__tokenizer_chat_template(tokenizer));
    rrt_tokenizer_close(tokenizer);
}

static void write_and_compare(const rrt_tokenizer *tokenizer, const char *golden)
{
    rrt_error err = {0};
    rrt_tokenizer *again;
    rrt__string first = {0}, second = {0};
    char folder[] = "/tmp/rrt-tokenizer-XXXXXX", json[64], config[64];
    assert_non_null(mkdtemp(folder));
    snprintf(json, sizeof json, "%s/tokenizer.json", folder);
    snprintf(config, sizeof config, "%s/tokenizer_config.json", folder);
    assert_ok(rrt__tokenizer_write(tokenizer, folder, &err));
    assert_ok(rrt__file_read(&first, json, &err));
    assert_ok(rrt_tokenizer_open(&again, folder, &err));
    assert_golden(again, golden);
    assert_int_equal(rrt_tokenizer_bos(again), rrt_tokenizer_bos(tokenizer));
    assert_int_equal(rrt_tokenizer_eos(again), rrt_tokenizer_eos(tokenizer));
    assert_int_equal(rrt_tokenizer_adds_bos(again), rrt_tokenizer_adds_bos(tokenizer));
    assert_ok(rrt__tokenizer_write(again, folder, &err));
    assert_ok(rrt__file_read(&second, json, &err));
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    rrt__string_free(&first);
    rrt__string_free(&second);
    rrt_tokenizer_close(again);
    unlink(json);
    unlink(config);
    rmdir(folder);
}

static void a_written_tokenizer_gives_the_same_ids(void **state)
{
    (void)state;
    static const char *const kinds[] = {"smollm", "neox"};
    for (size_t i = 0; i < 2; i++) {
        rrt_error err = {0};
        rrt_tokenizer *tokenizer;
        char folder[PATH_MAX], golden[PATH_MAX];
        snprintf(folder, sizeof folder, "%s/tokenizer-%s", RRT_TEST_DATA, kinds[i]);
        snprintf(golden, sizeof golden, "%s/tokenizer-%s/golden.jsonl", RRT_TEST_DATA, kinds[i]);
        assert_ok(rrt_tokenizer_open(&tokenizer, folder, &err));
        write_and_compare(tokenizer, golden);
        rrt_tokenizer_close(tokenizer);
    }
}

static void smollm2_gives_the_ids_of_hugging_face(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    char path[PATH_MAX];
    const char *folder = getenv("RRT_MODELS");
    snprintf(path, sizeof path, "%s/smollm2-135m.gguf", folder ? folder : RRT_SOURCE_DIR "/models");
    if (!rrt__path_exists(path)) {
        print_message("skipped: there is no %s\n", path);
        skip();
    }
    assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
    assert_golden(tokenizer, RRT_TEST_DATA "/smollm2-tokenizer.golden.jsonl");
    assert_int_equal(rrt_tokenizer_vocab(tokenizer), 49152);
    assert_int_equal(rrt_tokenizer_bos(tokenizer), 1);
    assert_int_equal(rrt_tokenizer_eos(tokenizer), 2);
    assert_non_null(rrt__tokenizer_chat_template(tokenizer));
    write_and_compare(tokenizer, RRT_TEST_DATA "/smollm2-tokenizer.golden.jsonl");
    rrt_tokenizer_close(tokenizer);
}

static void special_tokens_are_parsed_only_on_demand(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(load(&tokenizer, TINY, "{\"bos_token\": \"<s>\", \"add_bos_token\": true}", &err));
    assert_true(rrt_tokenizer_adds_bos(tokenizer));
    assert_ids(tokenizer, "ab<s>  a", 8, &parse_special, (const int32_t[]){3, 4, 5, 0}, 4);
    assert_ids(tokenizer, "ab<s>  a", 8, NULL, (const int32_t[]){3, 5, 0},
               3); // "<s>" has no byte tokens here
    assert_ids(tokenizer, "a", 1, &(const rrt_encode_options){.add_bos = 1}, (const int32_t[]){4, 0}, 2);
    assert_ids(tokenizer, "", 0, NULL, NULL, 0);
    size_t length;
    assert_memory_equal(rrt_token_bytes(tokenizer, 4, &length), "<s>", 3);
    assert_int_equal(length, 3);
    assert_memory_equal(rrt_token_bytes(tokenizer, 2, &length), " ", 1);
    assert_int_equal(length, 1);
    assert_null(rrt_token_bytes(tokenizer, 6, &length));
    assert_null(rrt_token_bytes(tokenizer, -1, &length));
    char *text; // ids that the tokenizer lacks give nothing
    assert_ok(rrt_decode(tokenizer, (const int32_t[]){3, 6, 4, -1, 2}, 5, &text, &length, &err));
    assert_string_equal(text, "ab<s> ");
    assert_int_equal(length, 6);
    rrt_text_free(text);
    assert_ok(rrt_decode(tokenizer, NULL, 0, &text, &length, &err));
    assert_string_equal(text, "");
    rrt_text_free(text);
    rrt_tokenizer_close(tokenizer);
}

#define SPLIT(pattern, behavior, invert)                                                                     \
    "{" MODEL ", \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\","      \
    "\"pattern\": " pattern ", \"behavior\": \"" behavior "\", \"invert\": " invert "},"                     \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}, " DECODER "}"

static void splits_follow_their_pattern_and_behavior(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text;
        int32_t ids[6];
        size_t count;
    } cases[] = {
        {SPLIT("{\"String\": \"a\"}", "Isolated", "false"), "ab b", {0, 1, 2, 1}, 4},
        {SPLIT("{\"String\": \"a\"}", "Removed", "false"), "ab b", {1, 2, 1}, 3},
        {SPLIT("{\"String\": \"a\"}", "Removed", "true"), "ab b", {0}, 1},
        {SPLIT("{\"Regex\": \"[^\\\\sb]|\\\\S{3}\"}", "Isolated", "false"), "ab ab", {0, 1, 2, 0, 1}, 5},
        {SPLIT("{\"Regex\": \"\\\\p{Lu}\"}", "Isolated", "false"), "ab", {3}, 1},
        {SPLIT("{\"String\": \"\"}", "Isolated", "false"), "ab", {3}, 1},
        {SPLIT("{\"String\": \"b\"}", "MergedWithNext", "false"), "ab ab", {0, 1, 2, 0, 1}, 5},
        {SPLIT("{\"String\": \"b\"}", "MergedWithPrevious", "false"), "ab ab", {3, 2, 3}, 3},
        {SPLIT("{\"Regex\": \"(?=b)\"}", "Isolated", "false"), "ab ab", {0, 1, 2, 0, 1}, 5},
        {SPLIT("{\"Regex\": \"[ab]\"}", "Contiguous", "false"), "ab ab", {3, 2, 3}, 3},
        {SPLIT("{\"Regex\": \"^a\"}", "Isolated", "false"), "ab ab", {0, 1, 2, 3}, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rrt_error err = {0};
        rrt_tokenizer *tokenizer;
        assert_ok(load(&tokenizer, cases[i].json, NULL, &err));
        assert_ids(tokenizer, cases[i].text, strlen(cases[i].text), NULL, cases[i].ids, cases[i].count);
        rrt_tokenizer_close(tokenizer);
    }
    static const char *const refused[] = {
        "\\\\h+", "\\\\G",   "[\\\\b]", "[a[bc]]", "[a&&b]", "\\\\p{Han}", "(?<n>a)", "(*ACCEPT)",
        "a{,3}",  "a{1,2}+", "[]a]",    "\\\\1",   "\\\\",   "(?i)a",      "(?R)",    "\\\\p{L"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char json[1000];
        snprintf(json, sizeof json, SPLIT("{\"Regex\": \"%s\"}", "Isolated", "false"), refused[i]);
        assert_refused(RRT_STATUS_UNSUPPORTED, "regular expression", json);
    }
    assert_refused(RRT_STATUS_FORMAT, "is wrong", SPLIT("{\"Regex\": \"(a\"}", "Isolated", "false"));
    assert_refused(RRT_STATUS_UNSUPPORTED, "behavior", SPLIT("{\"String\": \"a\"}", "Joined", "false"));
}

static void impossible_models_are_refused(void **state)
{
    (void)state;
    assert_refused(RRT_STATUS_FORMAT, "model", "{}");
    assert_refused(RRT_STATUS_FORMAT, "model", "[]");
    assert_refused(RRT_STATUS_FORMAT, "an object", "{\"model\": 3" AROUND);
    assert_refused(RRT_STATUS_UNSUPPORTED, "'Unigram'", "{\"model\": {\"type\": \"Unigram\"}" AROUND);
    assert_refused(RRT_STATUS_UNSUPPORTED, "\"dropout\"",
                   "{\"model\": {\"dropout\": 0.1, \"vocab\": {\"a\": 0}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "'a' is not an integer",
                   "{\"model\": {\"vocab\": {\"a\": 1e400}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "0 tokens", "{\"model\": {\"vocab\": {}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "out of range",
                   "{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "out of range",
                   "{\"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "the id 0",
                   "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "'a' is not an integer",
                   "{\"model\": {\"vocab\": {\"a\": \"0\"}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "is empty",
                   "{\"model\": {\"vocab\": {\"\": 0}, \"merges\": []}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "\"merges\" is missing", "{\"model\": {\"vocab\": {\"a\": 0}}" AROUND);
    static const char *const merges[] = {"3",          "\"a\"",   "\"a b c\"", "\" a\"", "[\"a\"]",
                                         "[\"a\", 3]", "\"a x\"", "\"b a\"",   "\"\""};
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        char json[1000];
        snprintf(json, sizeof json,
                 "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\", %s]}" AROUND,
                 merges[i]);
        assert_refused(RRT_STATUS_FORMAT, "model.merges[1]", json);
    }
    assert_refused(RRT_STATUS_FORMAT, "merge 0 has the same pair",
                   "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\", [\"a\", "
                   "\"b\"]]}" AROUND);
}

#define WITH_ADDED(tokens) "{" MODEL ", \"added_tokens\": [" tokens "]" AROUND

static void unknown_or_wrong_parts_are_refused(void **state)
{
    (void)state;
    assert_refused(RRT_STATUS_FORMAT, "added_tokens[0]", WITH_ADDED("3"));
    assert_refused(RRT_STATUS_FORMAT, "\"content\"", WITH_ADDED("{\"id\": 4}"));
    assert_refused(RRT_STATUS_FORMAT, "the id 3", WITH_ADDED("{\"id\": 3, \"content\": \"x\"}"));
    assert_refused(RRT_STATUS_FORMAT, "the id 0", WITH_ADDED("{\"id\": 3, \"content\": \"a\"}"));
    assert_refused(RRT_STATUS_FORMAT, "out of range", WITH_ADDED("{\"id\": 9, \"content\": \"x\"}"));
    assert_refused(RRT_STATUS_FORMAT, "is empty", WITH_ADDED("{\"id\": 4, \"content\": \"\"}"));
    assert_refused(RRT_STATUS_FORMAT, "without gaps", WITH_ADDED("{\"id\": 5, \"content\": \"x\"}"));
    assert_refused(RRT_STATUS_UNSUPPORTED, "Metaspace after ByteLevel",
                   "{" MODEL ", \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" BYTE_LEVEL
                   ", {\"type\": \"Metaspace\", \"replacement\": \"▁\"}]}, " DECODER "}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "'UnicodeScripts'",
                   "{" MODEL ", \"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, " DECODER "}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "'Fuse'",
                   "{" MODEL ", \"pre_tokenizer\": " BYTE_LEVEL ", \"decoder\": {\"type\": \"Fuse\"}}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "'Precompiled' is not known",
                   "{" MODEL ", \"normalizer\": {\"type\": \"Sequence\","
                   " \"normalizers\": [{\"type\": \"Precompiled\"}]}" AROUND);
    assert_refused(RRT_STATUS_UNSUPPORTED, "can match nothing",
                   "{" MODEL ", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x*\"},"
                   " \"content\": \"\"}" AROUND);
    assert_refused(RRT_STATUS_FORMAT, "\"cls\" is not a token",
                   "{" MODEL ", \"post_processor\": {\"type\": \"BertProcessing\"}" AROUND);
    assert_refused(RRT_STATUS_UNSUPPORTED, "more than one token in front",
                   "{" MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": ["
                   "{\"SpecialToken\": {\"id\": \"a\"}}, {\"SpecialToken\": {\"id\": \"b\"}}, "
                   "{\"Sequence\": {\"id\": \"A\"}}]}" AROUND);
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_fails(RRT_STATUS_FORMAT, "eos_token",
                 load(&tokenizer, TINY, "{\"eos_token\": \"nowhere\"}", &err));
    assert_fails(RRT_STATUS_FORMAT, "bos_token", load(&tokenizer, TINY, "{\"bos_token\": 3}", &err));
    assert_fails(RRT_STATUS_FORMAT, "add_bos_token", load(&tokenizer, TINY, "{\"add_bos_token\": 3}", &err));
    assert_fails(RRT_STATUS_IO, "/nowhere", rrt_tokenizer_open(&tokenizer, "/nowhere", &err));
    assert_fails(RRT_STATUS_IO, "/nowhere.json", rrt_tokenizer_open(&tokenizer, "/nowhere.json", &err));
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    int32_t *ids;
    size_t count;
    assert_ok(load(&tokenizer, TINY, NULL, &err));
    static const char *const bad[] = {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80",
                                      "ab\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(RRT_STATUS_FORMAT, "at byte 2",
                     rrt_encode(tokenizer, bad[i], strlen(bad[i]), NULL, &ids, &count, &err));
        assert_null(ids);
    }
    assert_fails(RRT_STATUS_ARGUMENT, "in one call",
                 rrt_encode(tokenizer, "", INT32_MAX, NULL, &ids, &count, &err));
    rrt_tokenizer_close(tokenizer);
}

// A megabyte without a place to cut, and combining marks whose order has to be sorted: nothing is quadratic.
static void long_texts_take_no_quadratic_time(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    static const char *const units[] = {"a",      " ",      "\n",           "1",  "!",  "'",
                                        "\u00e9", "\u3000", "\u0301\u0323", "<|", "  x"};
    static const char *const folders[] = {RRT_TEST_DATA "/tokenizer-smollm", RRT_TEST_DATA "/tokenizer-neox",
                                          RRT_TEST_DATA "/tokenizer-llama2"};
    rrt_error err = {0};
    char *text = malloc(LENGTH + 1);
    for (size_t k = 0; k < 3; k++) {
        rrt_tokenizer *tokenizer;
        assert_ok(rrt_tokenizer_open(&tokenizer, folders[k], &err));
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            size_t unit = strlen(units[i]), length = LENGTH / unit * unit;
            for (size_t at = 0; at < length; at += unit) memcpy(text + at, units[i], unit);
            text[length++] = 'x'; // what \s+(?!\S) has to step back from
            clock_t start = clock();
            int32_t *ids;
            size_t count;
            assert_ok(rrt_encode(tokenizer, text, length, &parse_special, &ids, &count, &err));
            rrt_ids_free(ids);
            assert_true((clock() - start) / CLOCKS_PER_SEC < 20); // seconds: sanitizers and valgrind included
        }
        rrt_tokenizer_close(tokenizer);
    }
    free(text);
}

// As a conversation of very many short messages is encoded: special tokens between parts that are plain text.
static void many_ranges_of_plain_text_take_no_quadratic_time(void **state)
{
    (void)state;
    enum { MESSAGES = 200000 };
    static const char unit[] = "<|endoftext|><|endoftext|>";
    size_t length = strlen(unit), count;
    char *text = malloc(MESSAGES * length + 1);
    rrt__range *plain = malloc(MESSAGES * sizeof *plain);
    for (size_t i = 0; i < MESSAGES; i++) {
        memcpy(text + i * length, unit, length + 1);
        plain[i] = (rrt__range){i * length, i * length + length / 2}; // the first of each two is not one
    }
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    int32_t *ids, end;
    assert_ok(rrt_tokenizer_open(&tokenizer, RRT_TEST_DATA "/tokenizer-smollm", &err));
    assert_ok(rrt_encode(tokenizer, text, length / 2, &parse_special, &ids, &count, &err));
    assert_int_equal(count, 1);
    end = ids[0];
    rrt_ids_free(ids);
    clock_t start = clock();
    assert_ok(rrt__encode_text(tokenizer, text, MESSAGES * length, &parse_special, plain, MESSAGES, &ids,
                               &count, &err));
    assert_true((clock() - start) / CLOCKS_PER_SEC < 20);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) found += ids[i] == end;
    assert_int_equal(found, MESSAGES);
    assert_int_equal(count % MESSAGES, 0);
    assert_true(count / MESSAGES > 2);
    rrt_ids_free(ids);
    rrt_tokenizer_close(tokenizer);
    free(plain);
    free(text);
}

// A text is said to have too many tokens only if it has, and spaces and letters without end are.
static void a_text_is_called_too_long_only_if_it_is(void **state)
{
    (void)state;
    static const char *const folders[] = {RRT_TEST_DATA "/tokenizer-smollm", RRT_TEST_DATA "/tokenizer-neox",
                                          RRT_TEST_DATA "/tokenizer-llama2"};
    enum { PIECES = 300, MAX_BYTES = 1 << 16 };
    rrt_error err = {0};
    char *text = malloc(MAX_BYTES);
    int n_said = 0;
    for (size_t k = 0; k < 3; k++) {
        rrt_tokenizer *tokenizer;
        uint64_t n_drawn = 0;
        assert_ok(rrt_tokenizer_open(&tokenizer, folders[k], &err));
        int32_t vocab = rrt_tokenizer_vocab(tokenizer), best = 0, *ids;
        size_t longest = 0, length, count;
        for (int32_t id = 0; id < vocab; id++)
            if (rrt_token_bytes(tokenizer, id, &length) && length > longest) {
                longest = length;
                best = id;
            }
        for (int round = 0; round < 50; round++) {
            size_t at = 0;
            for (int i = 0; i < PIECES; i++) {
                int32_t id = rrt__random_bits(k, 0, n_drawn++) % 2
                                 ? best
                                 : (int32_t)(rrt__random_bits(k, 1, n_drawn++) % (uint64_t)vocab);
                const char *bytes = rrt_token_bytes(tokenizer, id, &length);
                if (rrt__utf8_first_invalid(bytes, length) < length || at + length > MAX_BYTES) continue;
                memcpy(text + at, bytes, length);
                at += length;
            }
            assert_ok(rrt_encode(tokenizer, text, at, &parse_special, &ids, &count, &err));
            rrt_ids_free(ids);
            for (size_t tokens = 1; tokens < count + 10; tokens++) {
                bool said = rrt__tokenizer_exceeds(tokenizer, text, at, tokens);
                n_said += said;
                assert_false(said && count <= tokens);
            }
        }
        memset(text, ' ', MAX_BYTES);
        assert_true(rrt__tokenizer_exceeds(tokenizer, text, MAX_BYTES, 10));
        rrt_tokenizer_close(tokenizer);
    }
    assert_true(n_said > 0);
    free(text);
}

// Whichever request for memory fails, the call says so and nothing leaks.
static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    json_t *json;
    assert_ok(rrt__json_parse(&json, TINY, strlen(TINY), &err));
    for (long n = 0;; n++) {
        rrt__memory_fail_after = n;
        rrt_status status = rrt__tokenizer_from_json(&tokenizer, json, NULL, &err);
        rrt__memory_fail_after = -1;
        if (!status) break;
        assert_int_equal(status, RRT_STATUS_MEMORY);
        assert_true(n < 10000);
    }
    json_decref(json);
    for (long n = 0;; n++) {
        int32_t *ids;
        size_t count;
        rrt__memory_fail_after = n;
        rrt_status status = rrt_encode(tokenizer, "ab<s>  a ab", 11, &parse_special, &ids, &count, &err);
        rrt__memory_fail_after = -1;
        if (!status) {
            rrt_ids_free(ids);
            break;
        }
        assert_int_equal(status, RRT_STATUS_MEMORY);
        assert_true(n < 10000);
    }
    rrt_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm_gives_the_ids_of_hugging_face),
        cmocka_unit_test(neox_gives_the_ids_of_hugging_face),
        cmocka_unit_test(other_kinds_give_the_ids_of_hugging_face),
        cmocka_unit_test(smollm2_gives_the_ids_of_hugging_face),
        cmocka_unit_test(a_written_tokenizer_gives_the_same_ids),
        cmocka_unit_test(special_tokens_are_parsed_only_on_demand),
        cmocka_unit_test(splits_follow_their_pattern_and_behavior),
        cmocka_unit_test(impossible_models_are_refused),
        cmocka_unit_test(unknown_or_wrong_parts_are_refused),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(long_texts_take_no_quadratic_time),
        cmocka_unit_test(many_ranges_of_plain_text_take_no_quadratic_time),
        cmocka_unit_test(a_text_is_called_too_long_only_if_it_is),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
