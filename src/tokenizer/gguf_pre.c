// The pre-tokenizers that a GGUF file names in tokenizer.ggml.pre. A row has the steps of the Hugging Face
// tokenizers of that name; each step turns its matches into pieces. Where llama.cpp's patterns only
// approximate them, these are exact.
#include <string.h>

#include "tokenizer/gguf_pre.h"
#include "tokenizer/tokenizer_inside.h"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SHORT "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST(AFTER) "| ?[^\\s\\p{L}\\p{N}]+" AFTER "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
// Llama 3's pattern, with the number of digits in a group.
#define WORDS(DIGITS) SHORT "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS REST("[\\r\\n]*")
// Words that end before a capital (GPT-4o, Tekken), with what may follow them.
#define CAPITALS "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALLS "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(AFTER, DIGITS)                                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?" CAPITALS "*" SMALLS "+" AFTER "|[^\\r\\n\\p{L}\\p{N}]?" CAPITALS "+" SMALLS     \
    "*" AFTER "|" DIGITS REST("[\\r\\n/]*")
#define DEEPSEEK(LINES)                                                                                      \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "    \
    "?[\\p{P}\\p{S}]+" LINES "|\\s+(?!\\S)|\\s+"
#define HAN_KANA "[一-龥぀-ゟ゠-ヿ]+"
#define CJK "[一-龥ࠀ-一가-퟿]+"
// Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee … letters, as listed by DeepSeek LLM. clang-format
// misjudges the width of some.
// clang-format off
#define LETTERS \
    "[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-" \
    "Ᏽᏸ-" \
    "ᏽ" \
    "Ა-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-" \
    "ᾼιῂ-" \
    "ῄῆ-" \
    "ῌῐ-" \
    "ΐῖ-" \
    "Ίῠ-" \
    "Ῥῲ-" \
    "ῴῶ-" \
    "ῼ" \
    "ℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-" \
    "ꚛꜢ-" \
    "ꝯꝱ-" \
    "ꞇꞋ-" \
    "ꞎꭰ-" \
    "ꮿﬀ-" \
    "ﬆﬓ-" \
    "ﬗＡ" \
    "-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
// clang-format on
#define BLOOM " ?[^(\\s|.,!?…。，、।۔،)]+"
#define SPACES_OF(N) "\\s{" N "}(?!\\S)|"

enum {
    NFC = RRT__GGUF_PRE_NFC,
    IGNORES_MERGES = RRT__GGUF_PRE_IGNORES_MERGES,
    BOS = RRT__GGUF_PRE_BOS,
    COVERS = RRT__GGUF_PRE_COVERS,
};

const rrt__gguf_pre rrt__gguf_pres[] = {
    {"gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert exaone4 jais "
     "trillion "
     "granite-docling",
     {GPT2},
     COVERS},
    {"olmo mpt", {GPT2}, NFC | COVERS},
    {"smollm starcoder refact codeshell exaone minerva-7b mellum2", {"\\p{N}", GPT2}, COVERS},
    {"command-r", {"\\p{N}", GPT2}, NFC | COVERS},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {WORDS("\\p{N}{1,3}")},
     IGNORES_MERGES | BOS | COVERS},
    {"dbrx smaug-bpe chatglm-bpe", {WORDS("\\p{N}{1,3}")}, COVERS},
    {"glm4 glm5", {WORDS("\\p{N}{1,3}")}, IGNORES_MERGES | COVERS},
    {"qwen2 deepseek-r1-qwen megrez stablelm2", {WORDS("\\p{N}")}, NFC | COVERS},
    {"hunyuan solar-open grok-2 kormo f2llmv2", {WORDS("\\p{N}")}, COVERS},
    {"qwen35",
     {SHORT
      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+("
      "?!\\S)|\\s+"},
     NFC},
    {"ufakzeka", {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" REST("[\\r\\n]*")}, 0},
    {"laguna", {"[^\\n]+|[\\n]+", WORDS("\\p{N}")}, 0},
    {"minicpm5", {"\\p{N}{1,3}", WORDS("\\p{N}+")}, IGNORES_MERGES},
    {"seed-coder",
     {SHORT
      "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     0},
    {"bailingmoe bailingmoe2 llada-moe",
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
      "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
     0},
    {"exaone-moe",
     {SHORT "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| "
            "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
     0},
    {"jais-2",
     {SHORT
      "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|" SPACES_OF(
          "512") SPACES_OF("256") SPACES_OF("128") SPACES_OF("64") SPACES_OF("32") SPACES_OF("16")
          SPACES_OF("8") SPACES_OF("4") SPACES_OF("1,2") "\\s{1}"},
     0},
    {"tekken", {CASED("", "\\p{N}")}, IGNORES_MERGES | BOS | COVERS},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", {CASED(SHORT "?", "\\p{N}{1,3}")}, COVERS},
    {"granite-embed-multi-97m", {CASED(SHORT "?", "\\p{N}{1,3}")}, IGNORES_MERGES},
    {"tiny_aya cohere2moe", {"\\d{1,3}(?=(?:\\d{3})*\\b)", CASED(SHORT "?", "\\p{N}{1,3}")}, 0},
    {"youtu",
     {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" HAN_KANA,
      CASED(SHORT "?", "\\p{N}")},
     IGNORES_MERGES},
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?" LETTERS, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", CJK, "\\p{N}+"},
     0},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}, 0},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     {"\\p{N}{1,3}", HAN_KANA, DEEPSEEK("[\\r\\n]*|\\s*[\\r\\n]+")},
     0},
    {"spark2_5", {"\\p{N}{1,3}", HAN_KANA, DEEPSEEK("|[\\r\\n]"), "\\p{N}"}, 0},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, 0},
    {"chameleon",
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     BOS},
    {"bloom poro-chat gpt3-finnish", {BLOOM}, 0},
    {"viking", {BLOOM, "\\p{N}"}, 0},
    {"superbpe", {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}, 0},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, 0},
    {NULL, {NULL}, 0},
};

static bool has_name(const rrt__gguf_pre *pre, rrt__slice name)
{
    for (const char *at = pre->names; *at;) {
        size_t length = strcspn(at, " ");
        if (length == name.length && memcmp(at, name.data, length) == 0) return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

const rrt__gguf_pre *rrt__gguf_pre_named(rrt__slice name)
{
    if (!name.length) name = (rrt__slice){"default", 7}; // older files lack the key
    for (const rrt__gguf_pre *pre = rrt__gguf_pres; pre->names; pre++)
        if (has_name(pre, name)) return pre;
    return NULL;
}

json_t *rrt__gguf_pre_normalizer(const rrt__gguf_pre *pre)
{
    return pre->flags & RRT__GGUF_PRE_NFC ? json_pack("{s:s}", "type", "NFC") : json_null();
}

json_t *rrt__gguf_pre_byte_level(void)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1,
                     "use_regex", 0);
}

json_t *rrt__gguf_pre_steps(const rrt__gguf_pre *pre)
{
    json_t *list = json_array();
    int failed = 0;
    for (int i = 0; i < RRT__GGUF_PRE_MAX && pre->patterns[i]; i++)
        failed |= json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split",
                                                        "pattern", "Regex", pre->patterns[i], "behavior",
                                                        "Isolated", "invert", 0));
    failed |= json_array_append_new(list, rrt__gguf_pre_byte_level());
    json_t *steps = failed ? NULL : json_pack("{s:s, s:O}", "type", "Sequence", "pretokenizers", list);
    json_decref(list);
    return steps;
}
