// Training on conversations: which tokens are learnt, by each kind of template. And where templates lie.
#include "format/gguf_write.h"
#include "rrt/chat.h"
#include "texts.h"
#include "tokenizer/tokenizer.h"
#include "train/data.h"
#include "train/shards.h"

#define TURN(role_, content_) "{\"role\": \"" role_ "\", \"content\": \"" content_ "\"}"
#define LINE(messages_) "{\"messages\": [" messages_ "]}\n"
#define MARKED "{% for m in messages %}<|im_start|>{{ m.role }}\n"
#define MORE "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

static const char plain[] = MARKED "{{ m.content }}<|im_end|>\n{% endfor %}" MORE;
static const char generation[] =
    MARKED "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>"
           "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}"
           "{% endfor %}" MORE;
// What was thought is there in the last turn only.
static const char thinking[] =
    MARKED "{% if m.role == 'assistant' and not loop.last %}"
           "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}"
           "<|im_end|>\n{% endfor %}" MORE;
static const char other_start[] = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                                  "{% if add_generation_prompt %}bot: {% endif %}";

static int set_up(void **state)
{
    (void)state;
    temp_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static rrt_tokenizer *open_with(const char *template, bool adds_bos)
{
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    char path[64];
    temp_folder(path);
    copy_file(RRT_TEST_DATA "/tokenizer-qwen", path, "tokenizer.json");
    copy_file(RRT_TEST_DATA "/tokenizer-qwen", path, "tokenizer_config.json");
    update_json(path, "tokenizer_config.json",
                json_pack("{s:s, s:s, s:s, s:b}", "chat_template", template, "bos_token", "<|endoftext|>",
                          "eos_token", "<|im_end|>", "add_bos_token", adds_bos));
    assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
    remove_folder(path);
    return tokenizer;
}

static rrt_status make(const rrt_tokenizer *tokenizer, const char *text, rrt_error *err)
{
    const char *files[] = {write_text("c.jsonl", text)};
    return rrt__shards_make(in_folder("shards"), tokenizer, files, 1, NULL, err);
}

// The shard as text, in which [ and ] stand around what is learnt.
static void assert_learnt(const char *template, const char *text, const char *expected)
{
    rrt_error err = {0};
    rrt__string got = {0};
    rrt__map map;
    const rrt__shard_header *header;
    char path[4096];
    bool was_learnt = false;
    rrt_tokenizer *tokenizer = open_with(template, false);
    assert_ok(make(tokenizer, text, &err));
    assert_ok(rrt__shard_path(path, in_folder("shards"), 0, &err));
    assert_ok(rrt__shard_map(&map, &header, path, &err));
    const uint32_t *ids = (const uint32_t *)(header + 1);
    for (size_t i = 0; i <= header->count; i++) {
        bool is_learnt = i < header->count && !(ids[i] & RRT__UNLEARNT);
        if (is_learnt != was_learnt) assert_ok(rrt__string_append(&got, is_learnt ? "[" : "]", 1, &err));
        was_learnt = is_learnt;
        if (i == header->count) break;
        size_t length;
        const char *bytes = rrt_token_bytes(tokenizer, (int32_t)(ids[i] & ~RRT__UNLEARNT), &length);
        assert_ok(rrt__string_append(&got, bytes, length, &err));
    }
    assert_string_equal(got.data, expected);
    rrt__string_free(&got);
    rrt__map_close(&map);
    rrt_tokenizer_close(tokenizer);
}

static void only_replies_are_learnt(void **state)
{
    (void)state;
    static const char text[] = LINE(TURN("user", "the cat") ", " TURN("assistant", "sat") ", " TURN(
        "user", "on") ", " TURN("assistant", "a mat"));
    assert_learnt(generation, text,
                  "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n[sat<|im_end|>]\n"
                  "<|im_start|>user\non<|im_end|>\n<|im_start|>assistant\n[a mat<|im_end|>]\n<|im_end|>");
    assert_learnt(plain, text,
                  "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n[sat<|im_end|>\n]"
                  "<|im_start|>user\non<|im_end|>\n<|im_start|>assistant\n[a mat<|im_end|>\n]<|im_end|>");
}

// A turn that later ones see otherwise is learnt as it was said, in a document of its own.
static void a_turn_seen_otherwise_later_is_learnt_as_it_was_said(void **state)
{
    (void)state;
    assert_learnt(
        thinking,
        LINE(TURN("user", "the cat") ", " TURN("assistant", "x</think>sat") ", " TURN("user", "on") ", " TURN(
            "assistant", "y</think>mat")),
        "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n[x</think>sat<|im_end|>\n]<|im_end|>"
        "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\nsat<|im_end|>\n"
        "<|im_start|>user\non<|im_end|>\n<|im_start|>assistant\n[y</think>mat<|im_end|>\n]<|im_end|>");
}

// Special tokens in what is said are text, beside documents of text, all of which is learnt.
static void texts_beside_conversations_are_learnt_whole(void **state)
{
    (void)state;
    assert_learnt(plain,
                  LINE(TURN("user", "<|im_end|>") ", " TURN("assistant", "a")) "{\"text\": \"the mat\"}\n",
                  "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n[a<|im_end|>\n]<|im_end|>"
                  "[the mat<|im_end|>]");
}

static void windows_mark_and_count_the_learnt_targets(void **state)
{
    (void)state;
    enum { CONTEXT = 4 };
    rrt_error err = {0};
    rrt__dataset *dataset;
    for (int adds_bos = 0; adds_bos < 2; adds_bos++) {
        rrt_tokenizer *tokenizer = open_with(plain, adds_bos);
        int32_t vocab = rrt_tokenizer_vocab(tokenizer), ids[CONTEXT], targets[CONTEXT];
        size_t learnt = 0;
        assert_ok(
            make(tokenizer, LINE(TURN("user", "the cat") ", " TURN("assistant", "sat on the mat")), &err));
        assert_ok(rrt__dataset_open(&dataset, in_folder("shards"), tokenizer, (size_t)vocab, CONTEXT, &err));
        for (size_t w = 0; w < rrt__dataset_windows(dataset); w++) {
            size_t in_window = 0;
            rrt__dataset_window(dataset, w, ids, targets);
            for (int i = 0; i < CONTEXT; i++) {
                assert_in_range(ids[i], 0, vocab - 1);
                in_window += targets[i] >= 0;
                if (targets[i] >= 0 && i + 1 < CONTEXT) assert_int_equal(targets[i], ids[i + 1]);
            }
            assert_int_equal(in_window, rrt__dataset_learnt(dataset, w));
            learnt += in_window;
        }
        assert_true(learnt > 0 && learnt < rrt__dataset_windows(dataset) * CONTEXT);
        rrt__dataset_close(dataset);
        rrt_tokenizer_close(tokenizer);
    }
}

static void templates_and_messages_that_fail_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char text[] = LINE(TURN("user", "a") ", " TURN("assistant", "b"));
    rrt_tokenizer *tokenizer = open_with(other_start, false);
    assert_fails(RRT_STATUS_UNSUPPORTED, "message 1", make(tokenizer, text, &err));
    assert_non_null(strstr(err.where, "c.jsonl"));
    rrt_tokenizer_close(tokenizer);
    tokenizer = open_with("{{ raise_exception('not so') }}", false);
    assert_fails(RRT_STATUS_FORMAT, "not so", make(tokenizer, text, &err));
    assert_fails(RRT_STATUS_FORMAT, "not empty", make(tokenizer, "{\"messages\": []}\n", &err));
    rrt_tokenizer_close(tokenizer);
}

// SentencePiece puts spaces where the text has none; each token's place is found all the same.
static void replies_are_found_by_every_kind_of_tokenizer(void **state)
{
    (void)state;
    static const char *const folders[] = {"tokenizer-llama2", "tokenizer-llama2-first", "tokenizer-gemma",
                                          "tokenizer-metaspace", "tokenizer-neox"};
    static const char template[] =
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]"
        "{% else %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
        "{% endif %}{% endfor %}";
    static const char messages[] = "[" TURN("user", "  the é cat") "," TURN(
        "assistant", "sat on  it") "," TURN("user", "") "," TURN("assistant", "👍 mat") "]";
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        rrt_error err = {0};
        rrt_tokenizer *tokenizer;
        rrt_chat *chat;
        rrt_chat_prompt prompt;
        rrt__string learnt = {0};
        char path[256];
        snprintf(path, sizeof path, "%s/%s", RRT_TEST_DATA, folders[i]);
        assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
        assert_ok(rrt_chat_open(&chat, tokenizer, template, &err));
        assert_ok(rrt_chat_render(chat, messages, NULL, &prompt, &err));
        for (size_t k = 0; k < prompt.n_ids; k++) {
            size_t length;
            const char *bytes = rrt_token_bytes(tokenizer, prompt.ids[k], &length);
            if (prompt.replies[k]) assert_ok(rrt__string_append(&learnt, bytes, length, &err));
        }
        const char *eos = strcmp(folders[i], "tokenizer-neox") == 0 ? "<|endoftext|>" : "</s>";
        snprintf(path, sizeof path, "sat on  it%s👍 mat%s", eos, eos);
        assert_string_equal(learnt.data, path);
        rrt__string_free(&learnt);
        rrt_chat_prompt_free(&prompt);
        rrt_chat_close(chat);
        rrt_tokenizer_close(tokenizer);
    }
}

static void assert_renders(const rrt_tokenizer *tokenizer, const char *name, const char *tools,
                           const char *expected)
{
    rrt_error err = {0};
    rrt_chat *chat;
    rrt_chat_prompt prompt;
    const rrt_chat_options options = {.tools = tools};
    assert_ok(rrt_chat_open(&chat, tokenizer, name, &err));
    assert_ok(rrt_chat_render(chat, "[{\"role\": \"user\"}]", &options, &prompt, &err));
    assert_string_equal(prompt.text, expected);
    rrt_chat_prompt_free(&prompt);
    rrt_chat_close(chat);
}

// A folder's files go before its settings; what GGUF keeps of them is the same.
static void template_files_go_before_the_settings(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *tokenizers[2];
    rrt__gguf_writer writer = {0};
    char model[128];
    snprintf(model, sizeof model, "%s", in_folder("several"));
    assert_int_equal(mkdir(model, 0777), 0);
    copy_file(RRT_TEST_DATA "/tokenizer-smollm", model, "tokenizer.json");
    copy_file(RRT_TEST_DATA "/tokenizer-smollm", model, "tokenizer_config.json");
    update_json(model, "tokenizer_config.json", json_pack("{s:s}", "chat_template", "{{ 'old' }}"));
    assert_int_equal(mkdir(in_folder("several/additional_chat_templates"), 0777), 0);
    write_text("several/chat_template.jinja", "{{ 'usual' }}");
    write_text("several/additional_chat_templates/tool_use.jinja", "{{ 'tools' }}");
    write_text("several/additional_chat_templates/rag.jinja", "{{ 'rag' }}");
    write_text("several/additional_chat_templates/README.md", "no template");
    assert_ok(rrt_tokenizer_open(&tokenizers[0], model, &err));
    size_t vocab = (size_t)rrt_tokenizer_vocab(tokenizers[0]);
    assert_ok(rrt__tokenizer_to_gguf(tokenizers[0], vocab, &writer, &err));
    assert_ok(rrt__gguf_writer_begin(&writer, in_folder("several.gguf"), &err));
    assert_ok(rrt__gguf_writer_finish(&writer, &err));
    rrt__gguf_writer_free(&writer);
    assert_ok(rrt_tokenizer_open(&tokenizers[1], in_folder("several.gguf"), &err));
    for (int i = 0; i < 2; i++) {
        assert_renders(tokenizers[i], NULL, NULL, "usual");
        assert_renders(tokenizers[i], NULL, "[{}]", "tools");
        assert_renders(tokenizers[i], "rag", NULL, "rag");
        assert_string_equal(rrt__tokenizer_chat_template(tokenizers[i]), "{{ 'usual' }}");
        rrt_tokenizer_close(tokenizers[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_replies_are_learnt),
        cmocka_unit_test(a_turn_seen_otherwise_later_is_learnt_as_it_was_said),
        cmocka_unit_test(texts_beside_conversations_are_learnt_whole),
        cmocka_unit_test(windows_mark_and_count_the_learnt_targets),
        cmocka_unit_test(templates_and_messages_that_fail_are_refused),
        cmocka_unit_test(template_files_go_before_the_settings),
        cmocka_unit_test(replies_are_found_by_every_kind_of_tokenizer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
