// Long texts come in pieces whose ids, end to end, are those of the whole.
#include "texts.h"
#include "tokenizer/tokenizer_inside.h"
#include "train/documents.h"

static rrt_tokenizer *smollm;

static int set_up(void **state)
{
    (void)state;
    rrt_error err = {0};
    temp_folder(folder);
    assert_ok(rrt_tokenizer_open(&smollm, RRT_TEST_DATA "/tokenizer-smollm", &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rrt_tokenizer_close(smollm);
    remove_folder(folder);
    return 0;
}

// --- tokenizers that make line breaks matter

#define LLAMA3                                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LOOKS_BEHIND "(?<=\\n)th|[a-z]+|\\n"

// The 256 bytes, and merges over line breaks. pattern NULL: a text is one pre-token.
static rrt_tokenizer *make_tokenizer(const char *pattern, const char *added, bool nfc)
{
    static const char *const merges[] = {"Ċ Ċ",  "ĊĊ Ċ", "č Ċ",  "čĊ čĊ", ". Ċ",  "e Ċ",  "Ċ ĉ", "Ġ Ġ",
                                         "Ġ Ċ",  "Ċ Ġ",  "Ċ a",  "Ġ a",   "t h",  "th e", "' s", "1 2",
                                         "12 1", "ĉ Ċ",  "ĊĊ #", "Ġ the", "Ċ th", "č č"};
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    json_t *vocab = json_object(), *list = json_array(), *steps = json_array(), *specials = json_array();
    for (int b = 0; b < 256; b++) {
        char text[8] = "";
        text[rrt__byte_text(&(rrt__vocab){0}, (unsigned char)b, text)] = '\0';
        json_object_set_new(vocab, text, json_integer(b));
    }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        char result[32] = "", left[16], right[16];
        assert_int_equal(sscanf(merges[i], "%15s %15s", left, right), 2);
        snprintf(result, sizeof result, "%s%s", left, right);
        json_object_set_new(vocab, result, json_integer((json_int_t)json_object_size(vocab)));
        json_array_append_new(list, json_string(merges[i]));
    }
    if (pattern)
        json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Split", "pattern", "Regex",
                                               pattern, "behavior", "Isolated"));
    json_array_append_new(
        steps, json_pack("{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0));
    if (added)
        json_array_append_new(specials,
                              json_pack("{s:I, s:s, s:b, s:b}", "id", (json_int_t)json_object_size(vocab),
                                        "content", added, "special", 0, "normalized", 0));
    json_t *json = json_pack("{s:o, s:{s:s, s:o}, s:{s:s}, s:{s:s, s:o, s:o}, s:o}", "normalizer",
                             nfc ? json_pack("{s:s}", "type", "NFC") : json_null(), "pre_tokenizer", "type",
                             "Sequence", "pretokenizers", steps, "decoder", "type", "ByteLevel", "model",
                             "type", "BPE", "vocab", vocab, "merges", list, "added_tokens", specials);
    assert_non_null(json);
    assert_ok(rrt__tokenizer_from_json(&tokenizer, json, NULL, &err));
    json_decref(json);
    return tokenizer;
}

// --- pieces

// Reads a file in pieces and compares their ids with those of one call. Returns the number of pieces.
static size_t compare_pieces(const char *path, const rrt_tokenizer *tokenizer, const char *text,
                             size_t length, size_t piece_bytes)
{
    rrt_error err = {0};
    rrt__documents documents;
    rrt__piece piece;
    int32_t *whole;
    size_t n_whole, at = 0, bytes = 0, n_pieces = 0;
    assert_ok(rrt_encode(tokenizer, text, length, NULL, &whole, &n_whole, &err));
    assert_ok(rrt__documents_open(&documents, path, tokenizer, piece_bytes, &err));
    for (;; n_pieces++) {
        int32_t *ids;
        size_t count;
        assert_ok(rrt__documents_next(&documents, &piece, &err));
        if (piece.length == 0) break;
        assert_memory_equal(piece.text, text + bytes, piece.length);
        bytes += piece.length;
        assert_int_equal(piece.ends_document, bytes == length);
        assert_ok(rrt_encode(tokenizer, piece.text, piece.length, NULL, &ids, &count, &err));
        if (at + count > n_whole || (count && memcmp(whole + at, ids, count * sizeof *ids) != 0))
            fail_msg("%zu-byte pieces change the ids of '%s' near byte %zu", piece_bytes, text, bytes);
        at += count;
        rrt_ids_free(ids);
    }
    assert_int_equal(bytes, length);
    assert_int_equal(at, n_whole);
    rrt__documents_close(&documents);
    rrt_ids_free(whole);
    return n_pieces;
}

static void pieces_keep_the_ids(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *neox;
    assert_ok(rrt_tokenizer_open(&neox, RRT_TEST_DATA "/tokenizer-neox", &err));
    rrt_tokenizer *const tokenizers[] = {
        smollm,
        neox,
        make_tokenizer(rrt__gpt2_pattern, NULL, false),
        make_tokenizer(rrt__gpt2_pattern, "\n\n#", true),
        make_tokenizer(LLAMA3, NULL, false),
        make_tokenizer(LLAMA3, "\nthe", true),
        make_tokenizer(LOOKS_BEHIND, NULL, false),
        make_tokenizer(NULL, NULL, false),
    };
    enum { TEXTS = 60, LENGTH = 2000 };
    static const size_t sizes[] = {60, 200, 900};
    for (size_t t = 0; t < sizeof tokenizers / sizeof *tokenizers; t++) {
        size_t n_pieces = 0;
        for (uint64_t i = 0; i < TEXTS; i++) {
            rrt__string text = {0};
            append_fragments(&text, i, LENGTH);
            const char *path = write_bytes("text", text.data, text.length);
            for (size_t s = 0; s < 3; s++)
                n_pieces += compare_pieces(path, tokenizers[t], text.data, text.length, sizes[s]);
            rrt__string_free(&text);
        }
        if (n_pieces < 5 * TEXTS * 3) fail_msg("tokenizer %zu: only %zu pieces", t, n_pieces);
        if (t > 0) rrt_tokenizer_close(tokenizers[t]);
    }
}

static void texts_are_cut_where_no_token_is_split(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_tokenizer *gpt2 = make_tokenizer(rrt__gpt2_pattern, NULL, false),
                  *llama3 = make_tokenizer(LLAMA3, NULL, false),
                  *behind = make_tokenizer(LOOKS_BEHIND, NULL, false);
    const struct {
        const rrt_tokenizer *tokenizer;
        const char *text; // '|' where the cut is to be
    } cases[] = {
        {gpt2, "one\n|two three"},
        {gpt2, "one\n|\ntwo three"},
        {gpt2, "one\r|\ntwo three"},
        {llama3, "one\n\n|two three"},
        {llama3, "one\r\n|two three"},
        {llama3, "one.\n|two three"},
        {behind, "one\n|two three"},
        {behind, "a\nb|\nthe a the "}, // not where the look-behind sees it
        {gpt2, "one two three four"},
        {gpt2, "one two\n three four"},
        {gpt2, "\n"},
        {gpt2, "a"},
        {gpt2, ""},
        {gpt2, "\n\n\n\n\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64] = "";
        const char *bar = strchr(cases[i].text, '|');
        size_t expected = bar ? (size_t)(bar - cases[i].text) : 0, cut;
        snprintf(text, sizeof text, "%.*s%s", (int)expected, cases[i].text,
                 cases[i].text + (bar ? expected + 1 : 0));
        assert_ok(rrt__cut_find(cases[i].tokenizer, text, strlen(text), &cut, &err));
        if (cut != expected) fail_msg("case %zu: cut at %zu, not at %zu", i, cut, expected);
    }
    rrt_tokenizer_close(gpt2);
    rrt_tokenizer_close(llama3);
    rrt_tokenizer_close(behind);
}

// Longer than a piece, with no place to cut for most of it; then the rest in a few more.
static void pieces_grow_until_there_is_a_place_to_cut(void **state)
{
    (void)state;
    enum { LENGTH = 5000 };
    char text[LENGTH + 1];
    memset(text, 'x', LENGTH);
    for (int i = 4; i < LENGTH; i += 5) text[i] = ' ';
    memcpy(text + 100, "\nline", 5);
    memcpy(text + LENGTH - 50, "\nline\nline\nline", 15);
    text[LENGTH] = '\0';
    size_t n_pieces = compare_pieces(write_text("text", text), smollm, text, LENGTH, 64);
    assert_true(n_pieces > 1 && n_pieces < 20);
    compare_pieces(write_packed("text.zst", text), smollm, text, LENGTH, 64);
    assert_int_equal(compare_pieces(write_text("text", text), smollm, text, LENGTH, LENGTH + 1), 1);
    assert_int_equal(compare_pieces(write_text("text", ""), smollm, "", 0, 64), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_keep_the_ids),
        cmocka_unit_test(texts_are_cut_where_no_token_is_split),
        cmocka_unit_test(pieces_grow_until_there_is_a_place_to_cut),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
