// Folders with a tokenizer.model and no tokenizer.json, against SentencePiece's ids and transformers'
// (tools/make-sentencepiece-golden.py), and models that are refused.
#include "golden_ids.h"
#include "models.h"

#include "tokenizer/tokenizer.h"

#define PLAIN RRT_TEST_DATA "/tokenizer-sentencepiece"
#define SYMBOLS RRT_TEST_DATA "/tokenizer-sentencepiece-symbols"
#define UNIGRAM RRT_TEST_DATA "/tokenizer-sentencepiece-unigram"

enum { PIECES = 400, IM_START = PIECES, IM_END, END_OF_TEXT, THINK, THINK_ENDS, ALL };

static rrt_tokenizer *open_tokenizer(const char *path)
{
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
    return tokenizer;
}

static void assert_golden_at(const char *path, const char *ids)
{
    rrt_tokenizer *tokenizer = open_tokenizer(path);
    assert_golden(tokenizer, ids);
    rrt_tokenizer_close(tokenizer);
}

// The plain folder, whose config gets changes.
static void copy_plain(char folder[64], json_t *changes)
{
    temp_folder(folder);
    copy_file(PLAIN, folder, "tokenizer.model");
    copy_file(PLAIN, folder, "tokenizer_config.json");
    if (changes) update_json(folder, "tokenizer_config.json", changes);
}

static void a_model_alone_gives_the_ids_of_sentencepiece(void **state)
{
    (void)state;
    assert_golden_at(PLAIN, PLAIN "/golden.jsonl");
    assert_golden_at(SYMBOLS, SYMBOLS "/golden.jsonl");
}

static void without_legacy_it_gives_the_ids_of_transformers(void **state)
{
    (void)state;
    char folder[64];
    copy_plain(folder, json_pack("{s:b}", "legacy", 0));
    rrt_tokenizer *tokenizer = open_tokenizer(folder);
    int32_t *ids, expected[] = {264, IM_END, 264, 10 + 3};
    size_t count;
    rrt_error err = {0};
    assert_ok(rrt_encode(tokenizer, "the<|im_end|> the\n", 18, &parse_special, &ids, &count, &err));
    assert_int_equal(count, 4);
    assert_memory_equal(ids, expected, sizeof expected);
    rrt_ids_free(ids);
    assert_golden(tokenizer, PLAIN "/newer.jsonl");
    rrt_tokenizer_close(tokenizer);
    remove_folder(folder);
}

// A user-defined piece cuts the text; what is left between two is no byte or control piece for its name.
static void names_of_bytes_and_specials_are_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"foo<0x41>foo", "foo<s>foo"};
    rrt_tokenizer *tokenizer = open_tokenizer(SYMBOLS);
    for (int i = 0; i < 2; i++) {
        rrt_error err = {0};
        int32_t *ids;
        size_t count;
        assert_ok(rrt_encode(tokenizer, texts[i], strlen(texts[i]), NULL, &ids, &count, &err));
        assert_true(count > 5); // "▁", "foo", "<", …, ">", "foo"
        rrt_ids_free(ids);
    }
    rrt_tokenizer_close(tokenizer);
}

// What a chat shows and what ends it: <think> is no special token, so it is parsed, and shown, as text.
static void added_tokens_are_what_the_config_says(void **state)
{
    (void)state;
    rrt_tokenizer *tokenizer = open_tokenizer(PLAIN);
    rrt_error err = {0};
    int32_t *ids;
    size_t count, length;
    assert_int_equal(rrt_tokenizer_vocab(tokenizer), ALL);
    assert_int_equal(rrt_tokenizer_bos(tokenizer), IM_START);
    assert_int_equal(rrt_tokenizer_eos(tokenizer), IM_END);
    assert_true(rrt_tokenizer_adds_bos(tokenizer) && rrt_tokenizer_adds_space(tokenizer));
    for (int32_t id = 0; id < ALL; id++) // </s> by its text
        assert_int_equal(rrt_tokenizer_ends(tokenizer, id) != 0,
                         id == 2 || id == IM_END || id == END_OF_TEXT);
    assert_ok(rrt_encode(tokenizer, "<think></think>", 15, NULL, &ids, &count, &err));
    assert_int_equal(count, 2);
    assert_true(ids[0] == THINK && ids[1] == THINK_ENDS);
    const char *bytes = rrt_token_bytes(tokenizer, THINK, &length);
    assert_int_equal(length, 7);
    assert_memory_equal(bytes, "<think>", 7);
    rrt_ids_free(ids);
    assert_ok(rrt_encode(tokenizer, "<|im_end|>", 10, NULL, &ids, &count, &err));
    assert_true(count > 1);
    rrt_ids_free(ids);
    rrt_tokenizer_close(tokenizer);
}

static void write_json(const char *folder, const char *name, json_t *json)
{
    rrt_error err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_non_null(json);
    assert_ok(rrt__json_write(json, path, &err));
    json_decref(json);
}

static void the_older_files_declare_added_tokens_as_well(void **state)
{
    (void)state;
    char folder[64];
    copy_plain(folder,
               json_pack("{s:n, s:s, s:s}", "added_tokens_decoder", "bos_token", "<s>", "eos_token", "</s>"));
    write_json(folder, "added_tokens.json",
               json_pack("{s:i, s:i, s:i, s:i, s:i}", "<|im_start|>", IM_START, "<|im_end|>", IM_END,
                         "<|endoftext|>", END_OF_TEXT, "<think>", THINK, "</think>", THINK_ENDS));
    write_json(folder, "special_tokens_map.json",
               json_pack("{s:{s:s, s:b}, s:s, s:[s]}", "bos_token", "content", "<|im_start|>", "lstrip", 0,
                         "eos_token", "<|im_end|>", "additional_special_tokens", "<|endoftext|>"));
    assert_golden_at(folder, PLAIN "/golden.jsonl");
    rrt_tokenizer *tokenizer = open_tokenizer(folder);
    assert_int_equal(rrt_tokenizer_bos(tokenizer), IM_START);
    assert_int_equal(rrt_tokenizer_eos(tokenizer), IM_END);
    rrt_tokenizer_close(tokenizer);
    remove_folder(folder);
}

// As transformers does: a named token that no file gives an id gets the next one; an id between the pieces
// and the added tokens stays empty; a piece takes the name that is declared for its id.
static void added_tokens_may_leave_gaps_and_rename_pieces(void **state)
{
    (void)state;
    char folder[64];
    size_t length;
    json_t *added = json_pack("{s:{s:s, s:b}, s:{s:s, s:b}}", "403", "content", "<far>", "special", 1, "5",
                              "content", "<five>", "special", 1);
    copy_plain(folder, json_pack("{s:o, s:s, s:s, s:s, s:s}", "added_tokens_decoder", added, "bos_token",
                                 "<s>", "eos_token", "<far>", "unk_token", "<unk>", "pad_token", "<pad>"));
    rrt_tokenizer *tokenizer = open_tokenizer(folder);
    assert_int_equal(rrt_tokenizer_vocab(tokenizer), 405);
    assert_int_equal(rrt_tokenizer_eos(tokenizer), 403);
    assert_memory_equal(rrt_token_bytes(tokenizer, 404, &length), "<pad>", 5);
    assert_memory_equal(rrt_token_bytes(tokenizer, 402, &length), "[PAD402]", 8);
    assert_memory_equal(rrt_token_bytes(tokenizer, 5, &length), "<five>", 6);
    assert_ids(tokenizer, "<far><five><pad>", 16, &parse_special, (int32_t[]){403, 5, 404}, 3);
    rrt_tokenizer_close(tokenizer);
    remove_folder(folder);
}

static void a_model_file_may_stand_alone_and_a_tokenizer_json_goes_first(void **state)
{
    (void)state;
    char folder[64];
    rrt_tokenizer *tokenizer = open_tokenizer(PLAIN "/tokenizer.model");
    assert_int_equal(rrt_tokenizer_vocab(tokenizer), PIECES);
    assert_int_equal(rrt_tokenizer_bos(tokenizer), 1);
    assert_int_equal(rrt_tokenizer_eos(tokenizer), 2);
    assert_true(rrt_tokenizer_adds_bos(tokenizer));
    rrt_tokenizer_close(tokenizer);
    copy_plain(folder, NULL);
    copy_file(RRT_TEST_DATA "/tokenizer-smollm", folder, "tokenizer.json");
    copy_file(RRT_TEST_DATA "/tokenizer-smollm", folder, "tokenizer_config.json");
    assert_golden_at(folder, RRT_TEST_DATA "/tokenizer-smollm/golden.jsonl");
    remove_folder(folder);
}

// --- through the formats --------------------------------------------------------------------------------

static void what_is_written_gives_the_same_ids(void **state)
{
    (void)state;
    static const char *const from[] = {PLAIN, SYMBOLS};
    for (int i = 0; i < 2; i++) {
        rrt_error err = {0};
        char folder[64], ids[512], path[128];
        rrt__string text = {0};
        rrt_tokenizer *tokenizer = open_tokenizer(from[i]);
        temp_folder(folder);
        assert_ok(rrt__tokenizer_write(tokenizer, folder, &err));
        snprintf(ids, sizeof ids, "%s/golden.jsonl", from[i]);
        assert_golden_at(folder, ids);
        snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
        assert_ok(rrt__file_read(&text, path, &err));
        assert_null(strstr(text.data, "LlamaTokenizer")); // it would make another pipeline of it
        assert_non_null(strstr(text.data, "\"model_max_length\": 1000000000000000019884624838656"));
        rrt__string_free(&text);
        rrt_tokenizer_close(tokenizer);
        remove_folder(folder);
    }
}

// A model's folder, a quantised file and a GGUF file for other programs.
static void models_keep_it_in_every_format(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model;
    char folder[64], saved[64], packed[80], exported[80];
    copy_plain(folder, NULL);
    copy_file(RRT_TEST_DATA "/models/llama", folder, "config.json");
    update_json(folder, "config.json",
                json_pack("{s:i, s:i, s:i}", "vocab_size", ALL + 11, "bos_token_id", IM_START, "eos_token_id",
                          IM_END));
    assert_ok(rrt_model_create(&model, folder, 1, &err));
    temp_folder(saved);
    assert_ok(rrt_model_save(model, saved, &(rrt_save_options){.overwrite = 1}, &err));
    assert_golden_at(saved, PLAIN "/golden.jsonl");
    copy_file(saved, folder, "model.safetensors");
    rrt_model_close(model);
    model = open_path(folder); // with weights, and no tokenizer.json
    assert_golden(rrt_model_tokenizer(model), PLAIN "/golden.jsonl");
    snprintf(packed, sizeof packed, "%s-packed.gguf", saved);
    snprintf(exported, sizeof exported, "%s.gguf", saved);
    assert_ok(rrt_model_quantize(model, packed, &(rrt_quantize_options){.type = "q8_0"}, &err));
    assert_golden_at(packed, PLAIN "/golden.jsonl");
    assert_ok(rrt_model_export(model, exported, &(rrt_export_options){.format = "gguf"}, NULL, &err));
    assert_golden_at(exported, PLAIN "/golden.jsonl");
    rrt_model_close(model);
    unlink(packed);
    unlink(exported);
    remove_folder(folder);
    remove_folder(saved);
}

// --- what is refused ------------------------------------------------------------------------------------

// A message of fields, each a key and what follows it.
static void put(rrt__string *to, const char *bytes, size_t length)
{
    assert_int_equal(rrt__string_append(to, bytes, length, NULL), RRT_STATUS_OK);
}

static void put_message(rrt__string *to, char key, const char *bytes, size_t length)
{
    assert_true(length < 128);
    put(to, (char[]){key, (char)length}, 2);
    put(to, bytes, length);
}

// Three pieces, "▁", "a" and "▁a", of a BPE model; then more fields.
static rrt_status load(rrt_tokenizer **out, const char *more, size_t length, const char *config_text,
                       rrt_error *err)
{
    rrt__string bytes = {0};
    json_t *config = NULL;
    put_message(&bytes, 0x0a, "\x0a\3▁\x15\0\0\0\xc0", 10);
    put_message(&bytes, 0x0a, "\x0a\1a\x15\0\0\x40\xc0", 8);
    put_message(&bytes, 0x0a, "\x0a\4▁a\x15\0\0\0\0", 11);
    put_message(&bytes, 0x12, "\x18\2\xa0\6\0\x98\x02\1", 8); // an unknown field among them
    put_message(&bytes, 0x1a, "\x20\0", 2);
    put(&bytes, more, length);
    if (config_text)
        assert_int_equal(rrt__json_parse(&config, config_text, strlen(config_text), err), RRT_STATUS_OK);
    rrt_status status = rrt__tokenizer_from_sentencepiece(out, bytes.data, bytes.length, config, NULL, err);
    json_decref(config);
    rrt__string_free(&bytes);
    return status;
}

static void assert_refused(rrt_status status, const char *says, const char *more, size_t length,
                           const char *config)
{
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_fails(status, says, load(&tokenizer, more, length, config, &err));
    assert_null(tokenizer);
}

static void a_model_by_hand_is_read_and_what_is_unknown_is_skipped(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(load(&tokenizer,
                   "\x79"
                   "12345678"
                   "\x7d"
                   "1234"
                   "\xa2\x06\2hi",
                   19, NULL, &err));
    assert_ids(tokenizer, "a a", 3, NULL, (int32_t[]){2, 2}, 2);
    assert_int_equal(rrt_tokenizer_bos(tokenizer), -1);
    rrt_tokenizer_close(tokenizer);
}

static void settings_that_change_ids_are_refused_by_name(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_fails(RRT_STATUS_UNSUPPORTED, "unigram", rrt_tokenizer_open(&tokenizer, UNIGRAM, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "tokenizer.model", rrt_tokenizer_open(&tokenizer, UNIGRAM, &err));
    assert_refused(RRT_STATUS_UNSUPPORTED, "'characters'", "\x12\2\x18\4", 4, NULL);
    assert_refused(RRT_STATUS_UNSUPPORTED, "model_type 77", "\x12\2\x18\x4d", 4, NULL);
    assert_refused(RRT_STATUS_UNSUPPORTED, "treat_whitespace_as_suffix", "\x12\3\xc0\1\1", 5, NULL);
    assert_refused(RRT_STATUS_UNSUPPORTED, "'nfkc'", "\x1a\x09\x0a\4nfkc\x12\1x", 11, NULL);
    assert_refused(RRT_STATUS_UNSUPPORTED, "escape_whitespaces", "\x1a\2\x28\0", 4, NULL);
    assert_refused(RRT_STATUS_UNSUPPORTED, "denormalizer_spec", "\x2a\3\x12\1x", 5, NULL);
    assert_refused(RRT_STATUS_UNSUPPORTED, "legacy", "\x1a\2\x20\1", 4, "{\"legacy\": false}");
}

static void broken_models_and_configs_are_refused(void **state)
{
    (void)state;
    assert_refused(RRT_STATUS_FORMAT, "cut off at byte 49", "\x80", 1, NULL);
    assert_refused(RRT_STATUS_FORMAT, "longer than 64 bits", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\2", 11,
                   NULL);
    assert_refused(RRT_STATUS_FORMAT, "longer than the message", "\x0a\5x", 3, NULL);
    assert_refused(RRT_STATUS_FORMAT, "longer than the message", "\x0a\3\x0a\7x", 5, NULL);
    assert_refused(RRT_STATUS_FORMAT, "impossible number", "\0\0", 2, NULL);
    assert_refused(RRT_STATUS_FORMAT, "not known", "\x0b", 1, NULL);
    assert_refused(RRT_STATUS_FORMAT, "same text as token 1", "\x0a\3\x0a\1a", 5, NULL);
    assert_refused(RRT_STATUS_FORMAT, "piece 3", "\x0a\3\x0a\1\xff", 5, NULL);
    assert_refused(RRT_STATUS_FORMAT, "NUL", "\x0a\3\x0a\1\0", 5, NULL);
    static const struct {
        const char *says, *config;
    } bad[] = {
        {"no id", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}"},
        {"no id", "{\"added_tokens_decoder\": {\"99999999999\": {\"content\": \"y\"}}}"},
        {"too far", "{\"added_tokens_decoder\": {\"9999999\": {\"content\": \"y\"}}}"},
        {"the id 7",
         "{\"added_tokens_decoder\": {\"7\": {\"content\": \"y\"}, \"07\": {\"content\": \"z\"}}}"},
        {"no object", "{\"added_tokens_decoder\": {\"7\": 3}}"},
        {"content", "{\"added_tokens_decoder\": {\"7\": {}}}"},
        {"empty", "{\"added_tokens_decoder\": {\"7\": {\"content\": \"\"}}}"},
        {"piece 1 as well", "{\"added_tokens_decoder\": {\"3\": {\"content\": \"a\"}}}"},
        {"bos_token", "{\"bos_token\": 3}"},
        {"legacy", "{\"legacy\": 3}"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(RRT_STATUS_FORMAT, bad[i].says, "", 0, bad[i].config);
}

// Llama 3's tokenizer.model is a list of tiktoken's.
static void a_file_of_another_kind_says_what_to_do(void **state)
{
    (void)state;
    static const char list[] = "IQ== 0\nIg== 1\nIw== 2\n";
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    char folder[64], path[128];
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    assert_ok(rrt__file_write(path, list, sizeof list - 1, &err));
    assert_fails(RRT_STATUS_FORMAT, "save_pretrained", rrt_tokenizer_open(&tokenizer, folder, &err));
    assert_ok(rrt__file_write(path, "", 0, &err));
    assert_fails(RRT_STATUS_FORMAT, "no pieces", rrt_tokenizer_open(&tokenizer, folder, &err));
    unlink(path);
    assert_fails(RRT_STATUS_IO, "nor tokenizer.model", rrt_tokenizer_open(&tokenizer, folder, &err));
    remove_folder(folder);
}

// Every beginning of a model, and a model whose bytes are changed one by one: an error, or a tokenizer.
static void damaged_models_do_no_harm(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string file = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(rrt__file_read(&file, PLAIN "/tokenizer.model", &err));
    for (size_t i = 0; i < file.length; i += 7) {
        if (!rrt__tokenizer_from_sentencepiece(&tokenizer, file.data, i, NULL, NULL, &err))
            rrt_tokenizer_close(tokenizer);
        char old = file.data[i];
        file.data[i] = (char)(old ^ (1 << i % 8));
        if (!rrt__tokenizer_from_sentencepiece(&tokenizer, file.data, file.length, NULL, NULL, &err))
            rrt_tokenizer_close(tokenizer);
        file.data[i] = old;
    }
    rrt__string_free(&file);
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    static const char *const config =
        "{\"added_tokens_decoder\": {\"3\": {\"content\": \"y\"}}, \"eos_token\": \"z\"}";
    for (long n = 0;; n++) {
        json_t *json;
        rrt__string bytes = {0};
        put_message(&bytes, 0x0a, "\x0a\1a\x15\0\0\0\xc0", 8);
        put_message(&bytes, 0x0a, "\x0a\2aa\x18\4", 6);
        put_message(&bytes, 0x12, "\x18\2", 2);
        assert_ok(rrt__json_parse(&json, config, strlen(config), &err));
        rrt__memory_fail_after = n;
        rrt_status status =
            rrt__tokenizer_from_sentencepiece(&tokenizer, bytes.data, bytes.length, json, NULL, &err);
        rrt__memory_fail_after = -1;
        json_decref(json);
        rrt__string_free(&bytes);
        if (!status) break;
        assert_int_equal(status, RRT_STATUS_MEMORY);
        assert_true(n < 10000);
    }
    rrt_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_alone_gives_the_ids_of_sentencepiece),
        cmocka_unit_test(without_legacy_it_gives_the_ids_of_transformers),
        cmocka_unit_test(names_of_bytes_and_specials_are_text),
        cmocka_unit_test(added_tokens_are_what_the_config_says),
        cmocka_unit_test(the_older_files_declare_added_tokens_as_well),
        cmocka_unit_test(added_tokens_may_leave_gaps_and_rename_pieces),
        cmocka_unit_test(a_model_file_may_stand_alone_and_a_tokenizer_json_goes_first),
        cmocka_unit_test(what_is_written_gives_the_same_ids),
        cmocka_unit_test(models_keep_it_in_every_format),
        cmocka_unit_test(a_model_by_hand_is_read_and_what_is_unknown_is_skipped),
        cmocka_unit_test(settings_that_change_ids_are_refused_by_name),
        cmocka_unit_test(broken_models_and_configs_are_refused),
        cmocka_unit_test(a_file_of_another_kind_says_what_to_do),
        cmocka_unit_test(damaged_models_do_no_harm),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
