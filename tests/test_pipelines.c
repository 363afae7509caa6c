// Tokenizers of many kinds, written by transformers and convert_hf_to_gguf.py, against Hugging Face's ids;
// and what a model's files say about special tokens, on its way through ours (tools/make-pipeline-golden.py).
#include "models.h"

#include "format/gguf_write.h"
#include "tokenizer/gguf_pre.h"

#define PIPELINES RRT_TEST_DATA "/pipelines"

static void assert_row(const rrt_tokenizer *tokenizer, const json_t *row, int special, size_t line)
{
    rrt_error err = {0};
    const json_t *text = json_array_get(row, 0), *expected = json_array_get(row, 1 + (size_t)special);
    const rrt_encode_options options = {.parse_special = special};
    int32_t *ids;
    size_t count;
    assert_ok(rrt_encode(tokenizer, json_string_value(text), json_string_length(text), &options, &ids, &count,
                         &err));
    bool same = count == json_array_size(expected);
    for (size_t i = 0; same && i < count; i++)
        same = ids[i] == json_integer_value(json_array_get(expected, i));
    if (!same) fail_msg("line %zu, '%s': other ids", line, json_string_value(text));
    rrt_ids_free(ids);
}

static void assert_texts(const rrt_tokenizer *tokenizer, const json_t *line, size_t number)
{
    const json_t *texts = json_object_get(line, "texts");
    assert_true(json_array_size(texts) > 0);
    for (size_t i = 0; i < json_array_size(texts); i++)
        for (int special = 0; special < 2; special++)
            assert_row(tokenizer, json_array_get(texts, i), special, number);
}

// Calls `use` on each line of a file of JSON lines.
static size_t each_line(const char *path, void (*use)(const json_t *line, size_t number, void *user),
                        void *user)
{
    rrt_error err = {0};
    rrt__string file = {0};
    size_t number = 0;
    assert_ok(rrt__file_read(&file, path, &err));
    for (char *at = file.data, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *line;
        assert_ok(rrt__json_parse(&line, at, (size_t)(end - at), &err));
        use(line, number++, user);
        json_decref(line);
    }
    rrt__string_free(&file);
    return number;
}

static void use_pipeline(const json_t *line, size_t number, void *user)
{
    (void)user;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(rrt__tokenizer_from_json(&tokenizer, json_object_get(line, "tokenizer"), NULL, &err));
    assert_texts(tokenizer, line, number);
    rrt_tokenizer_close(tokenizer);
}

static void pipelines_give_the_ids_of_hugging_face(void **state)
{
    (void)state;
    assert_true(each_line(PIPELINES "/pipelines.jsonl", use_pipeline, NULL) >= 20);
}

static void use_tokenizer(const json_t *line, size_t number, void *user)
{
    assert_texts(user, line, number);
}

static void gguf_files_give_the_ids_of_hugging_face(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool adds_bos; // llama.cpp's default for the name
    } files[] = {{"llama-bpe", true}, {"qwen2", false}, {"tekken", true}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        rrt_error err = {0};
        rrt_tokenizer *tokenizer;
        char path[512], ids[512];
        snprintf(path, sizeof path, PIPELINES "/%s.gguf", files[i].name);
        snprintf(ids, sizeof ids, PIPELINES "/%s.jsonl", files[i].name);
        assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
        assert_int_equal(each_line(ids, use_tokenizer, tokenizer), 1);
        assert_int_equal(rrt_tokenizer_adds_bos(tokenizer), files[i].adds_bos);
        int32_t count = rrt_tokenizer_vocab(tokenizer); // the last two are <|im_end|> and <|endoftext|>
        for (int32_t id = 0; id < count; id++)
            assert_int_equal(rrt_tokenizer_ends(tokenizer, id) != 0, id >= count - 2);
        rrt_tokenizer_close(tokenizer);
    }
}

// A folder as transformers writes it: model_max_length is a number beyond 64 bits, and goes on as it was;
// what ends a text is the configuration's list, not what the tokens' names suggest.
static void a_folder_of_transformers_keeps_its_settings(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    char folder[64], path[128];
    rrt__string text = {0};
    assert_ok(rrt_tokenizer_open(&tokenizer, PIPELINES "/folder", &err));
    int32_t count = rrt_tokenizer_vocab(tokenizer);
    for (int32_t id = 0; id < count; id++)
        assert_int_equal(rrt_tokenizer_ends(tokenizer, id) != 0, id == 5 || id == count - 1);
    temp_folder(folder);
    assert_ok(rrt__tokenizer_write(tokenizer, folder, &err));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    assert_ok(rrt__file_read(&text, path, &err));
    assert_non_null(strstr(text.data, "\"model_max_length\": 1000000000000000019884624838656,"));
    rrt__string_free(&text);
    rrt_tokenizer_close(tokenizer);
    remove_folder(folder);
}

static json_t *read_json(const char *folder, const char *name)
{
    char path[512];
    rrt_error err = {0};
    json_t *json;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(rrt__json_read(&json, path, &err));
    return json;
}

static void assert_kept(const char *folder, const char *other)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    json_t *a = read_json(folder, "config.json"), *b = read_json(other, "config.json");
    for (int i = 0; i < 3; i++)
        assert_true(json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])));
    json_decref(a);
    json_decref(b);
    a = read_json(folder, "generation_config.json");
    b = read_json(other, "generation_config.json");
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

static void assert_ends(const rrt_tokenizer *tokenizer)
{
    for (int32_t id = 0; id < rrt_tokenizer_vocab(tokenizer); id++)
        assert_int_equal(rrt_tokenizer_ends(tokenizer, id) != 0, id == 3 || id == 5);
}

static void assert_ends_at(const char *path)
{
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
    assert_ends(tokenizer);
    rrt_tokenizer_close(tokenizer);
}

// bos, eos (a list) and pad, and the generation settings, through a folder of ours, a quantised file, exports
// and an adapter; the tokenizer opens from each.
static void special_token_ids_survive_every_format(void **state)
{
    (void)state;
    rrt_error err = {0};
    char source[64], saved[64], exported[64], adapter[64], packed[80];
    copy_golden(source, "llama");
    update_json(
        source, "config.json",
        json_pack("{s:i, s:[i, i], s:i}", "bos_token_id", 1, "eos_token_id", 3, 5, "pad_token_id", 7));
    char path[128];
    snprintf(path, sizeof path, "%s/generation_config.json", source);
    json_t *settings =
        json_pack("{s:[i, i], s:f, s:i}", "eos_token_id", 3, 5, "temperature", 0.6, "top_k", 20);
    assert_ok(rrt__json_write(settings, path, &err));
    json_decref(settings);
    update_json(source, "tokenizer_config.json", json_pack("{s:n}", "eos_token"));

    rrt_model *model = open_path(source);
    assert_ends(rrt_model_tokenizer(model));
    temp_folder(saved);
    assert_ok(rrt_model_save(model, saved, &(rrt_save_options){.overwrite = 1}, &err));
    assert_kept(source, saved);
    assert_ends_at(saved);
    temp_folder(exported);
    assert_ok(rrt_model_export(model, exported, &(rrt_export_options){.format = "hf", .overwrite = true},
                               NULL, &err));
    assert_kept(source, exported);

    snprintf(packed, sizeof packed, "%s.gguf", saved);
    assert_ok(rrt_model_quantize(model, packed, &(rrt_quantize_options){.type = "q8_0"}, &err));
    assert_ends_at(packed);
    rrt_model *again = open_path(packed);
    assert_ends(rrt_model_tokenizer(again));
    rrt_model_close(again);

    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 2, 2, 0, 0, &err));
    rrt_model *tied = tie(model, &plan, RRT__NORMS_TIED);
    tied->tokenizer = rrt__tokenizer_share(model->tokenizer);
    temp_folder(adapter);
    assert_ok(rrt_model_export(tied, adapter, &(rrt_export_options){.format = "peft", .overwrite = true},
                               NULL, &err));
    assert_ends_at(adapter);
    rrt_model_close(tied);
    rrt_model_close(model);
    unlink(packed);
    remove_folder(source);
    remove_folder(saved);
    remove_folder(exported);
    remove_folder(adapter);
}

// GGUF files in memory.
static void put(rrt__string *to, const void *bytes, size_t length)
{
    assert_int_equal(rrt__string_append(to, bytes, length, NULL), RRT_STATUS_OK);
}
static void put_u32(rrt__string *to, uint32_t value)
{
    put(to, &value, 4);
}
static void put_u64(rrt__string *to, uint64_t value)
{
    put(to, &value, 8);
}
static void put_text(rrt__string *to, const char *text)
{
    put_u64(to, strlen(text));
    put(to, text, strlen(text));
}
static void put_text_entry(rrt__string *to, const char *key, const char *text)
{
    put_text(to, key);
    put_u32(to, 8);
    put_text(to, text);
}
static void put_texts(rrt__string *to, const char *key, const char *const *texts, size_t count)
{
    put_text(to, key);
    put_u32(to, 9);
    put_u32(to, 8);
    put_u64(to, count);
    for (size_t i = 0; i < count; i++) put_text(to, texts[i]);
}

typedef struct file {
    const char *model, *pre, *tokens[4], *merge;
    uint32_t types[4], bos, n_types;
} file;

static rrt_status load_gguf(rrt_tokenizer **out, const file *f, rrt_error *err)
{
    rrt__string bytes = {0};
    put(&bytes, "GGUF\3\0\0\0", 8);
    put_u64(&bytes, 0);
    put_u64(&bytes, 7);
    put_text_entry(&bytes, "tokenizer.ggml.model", f->model);
    put_text_entry(&bytes, "tokenizer.ggml.pre", f->pre);
    put_texts(&bytes, "tokenizer.ggml.tokens", f->tokens, 4);
    put_texts(&bytes, "tokenizer.ggml.merges", &f->merge, 1);
    put_text(&bytes, "tokenizer.ggml.token_type");
    put_u32(&bytes, 9);
    put_u32(&bytes, 5);
    put_u64(&bytes, f->n_types);
    for (size_t i = 0; i < f->n_types; i++) put_u32(&bytes, f->types[i]);
    put_text(&bytes, "tokenizer.ggml.bos_token_id");
    put_u32(&bytes, 4);
    put_u32(&bytes, f->bos);
    put_text(&bytes, "tokenizer.ggml.add_bos_token");
    put_u32(&bytes, 7);
    put(&bytes, "\1", 1);
    rrt__gguf *gguf;
    *out = NULL;
    rrt_status status = rrt__gguf_parse(&gguf, bytes.data, bytes.length, "memory", err);
    if (!status) {
        status = rrt__tokenizer_from_gguf(out, gguf, err);
        rrt__gguf_close(gguf);
    }
    rrt__string_free(&bytes);
    return status;
}

static void assert_ids(const rrt_tokenizer *tokenizer, const char *text, const rrt_encode_options *options,
                       const int32_t *expected, size_t n)
{
    rrt_error err = {0};
    int32_t *ids;
    size_t count;
    assert_ok(rrt_encode(tokenizer, text, strlen(text), options, &ids, &count, &err));
    assert_int_equal(count, n);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    rrt_ids_free(ids);
}

static void gguf_tokenizers_are_read_or_refused_by_name(void **state)
{
    (void)state;
    const file good = {"gpt2", "smollm", {"a", "b", "ab", "<s>"}, "a b", {1, 1, 1, 3}, 3, 4};
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    assert_ok(load_gguf(&tokenizer, &good, &err));
    assert_true(rrt_tokenizer_adds_bos(tokenizer) && rrt_tokenizer_bos(tokenizer) == 3 &&
                rrt_tokenizer_eos(tokenizer) == -1);
    assert_ids(tokenizer, "ab<s>", &(const rrt_encode_options){1, 1}, (const int32_t[]){3, 2, 3}, 3);
    assert_ids(tokenizer, "ab<s>", NULL, (const int32_t[]){2}, 1);
    rrt_tokenizer_close(tokenizer);

    struct {
        file f;
        rrt_status status;
        const char *says;
    } bad[8];
    for (size_t i = 0; i < 8; i++) bad[i].f = good, bad[i].status = RRT_STATUS_FORMAT;
    bad[0].f.model = "bert", bad[0].says = "only 'gpt2'", bad[0].status = RRT_STATUS_UNSUPPORTED;
    bad[1].f.pre = "qwen9", bad[1].says = "'qwen9' is not known", bad[1].status = RRT_STATUS_UNSUPPORTED;
    bad[2].f.tokens[1] = "a", bad[2].says = "same text as token 0";
    bad[3].f.tokens[1] = "\xff", bad[3].says = "UTF-8";
    bad[4].f.model = "gemma4", bad[4].says = "'gemma4' is not known", bad[4].status = RRT_STATUS_UNSUPPORTED;
    bad[5].f.merge = "a x", bad[5].says = "'x'";
    bad[6].f.bos = 4, bad[6].says = "bos_token_id";
    bad[7].f.n_types = 3, bad[7].says = "token_type";
    for (size_t i = 0; i < 8; i++)
        assert_fails(bad[i].status, bad[i].says, load_gguf(&tokenizer, &bad[i].f, &err));
}

// The exported file has a name that means the same: the patterns and flags, but for BOS, which has a key.
static void assert_exported_as(const rrt_tokenizer *tokenizer, const rrt__gguf_pre *row)
{
    rrt_error err = {0};
    rrt__gguf_writer writer = {0};
    rrt__gguf *gguf;
    rrt__slice pre;
    char path[] = "/tmp/rrt-pre-XXXXXX";
    close(mkstemp(path));
    assert_ok(rrt__tokenizer_to_gguf(tokenizer, 4, &writer, &err));
    assert_ok(rrt__gguf_writer_begin(&writer, path, &err));
    assert_ok(rrt__gguf_writer_finish(&writer, &err));
    rrt__gguf_writer_free(&writer);
    assert_ok(rrt__gguf_open(&gguf, path, &err));
    assert_ok(rrt__gguf_string(gguf, "tokenizer.ggml.pre", &pre, &err));
    const rrt__gguf_pre *found = rrt__gguf_pre_named(pre);
    assert_non_null(found);
    assert_int_equal(found->flags & ~(unsigned)RRT__GGUF_PRE_BOS, row->flags & ~(unsigned)RRT__GGUF_PRE_BOS);
    for (int i = 0; i < RRT__GGUF_PRE_MAX && row->patterns[i]; i++)
        assert_string_equal(found->patterns[i], row->patterns[i]);
    rrt__gguf_close(gguf);
    unlink(path);
}

// Every name of a pre-tokenizer in use: its patterns are good, and it is what it is exported as.
static void every_pre_tokenizer_name_keeps_its_meaning_in_exports(void **state)
{
    (void)state;
    static const char text[] = "It's 12345 we'VE\n\n  a b x_y 日本語 <s> ab!";
    for (const rrt__gguf_pre *pre = rrt__gguf_pres; pre->names; pre++) {
        for (const char *at = pre->names; *at; at += strcspn(at, " "), at += *at == ' ') {
            rrt_error err = {0};
            rrt_tokenizer *tokenizer;
            char name[32];
            int32_t *ids;
            size_t count;
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at, " "), at);
            const file f = {"gpt2", name, {"a", "b", "ab", "<s>"}, "a b", {1, 1, 1, 3}, 3, 4};
            assert_ok(load_gguf(&tokenizer, &f, &err));
            assert_ok(rrt_encode(tokenizer, text, sizeof text - 1,
                                 &(const rrt_encode_options){.parse_special = 1}, &ids, &count, &err));
            assert_true(count >= 3);
            rrt_ids_free(ids);
            assert_exported_as(tokenizer, pre);
            rrt_tokenizer_close(tokenizer);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelines_give_the_ids_of_hugging_face),
        cmocka_unit_test(gguf_files_give_the_ids_of_hugging_face),
        cmocka_unit_test(gguf_tokenizers_are_read_or_refused_by_name),
        cmocka_unit_test(every_pre_tokenizer_name_keeps_its_meaning_in_exports),
        cmocka_unit_test(a_folder_of_transformers_keeps_its_settings),
        cmocka_unit_test(special_token_ids_survive_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
