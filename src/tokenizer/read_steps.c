// Reads the pre-tokenizer of a tokenizer.json.
#include <string.h>

#include "tokenizer/pipeline.h"

// Words and punctuation as in the Rust libraries of Hugging Face's tokenizers: \w with the two joiners, and
// the punctuation of Unicode 8.
#define WORDS "[\\w\\x{200c}\\x{200d}]"
#define LATER_PUNCTUATION                                                                                    \
    "\\x{61d}\\x{9fd}\\x{a76}\\x{c77}\\x{c84}\\x{1b4e}\\x{1b4f}\\x{1b7d}-\\x{1b7f}\\x{2e43}-\\x{2e4f}\\x{"   \
    "2e52}-\\x{2e5d}"                                                                                        \
    "\\x{10d6e}\\x{10ead}\\x{10ed0}\\x{10f55}-\\x{10f59}\\x{10f86}-\\x{10f89}\\x{113d4}\\x{113d5}\\x{113d7}" \
    "\\x{113d8}"                                                                                             \
    "\\x{1144b}-\\x{1144f}\\x{1145a}\\x{1145b}\\x{1145d}\\x{11660}-\\x{1166c}\\x{116b9}\\x{1183b}\\x{11944}" \
    "-"                                                                                                      \
    "\\x{11946}\\x{119e2}\\x{11a3f}-\\x{11a46}\\x{11a9a}-\\x{11a9c}\\x{11a9e}-\\x{11aa2}\\x{11b00}-\\x{"     \
    "11b09}\\x{11be1}"                                                                                       \
    "\\x{11c41}-\\x{11c45}\\x{11c70}\\x{11c71}\\x{11ef7}\\x{11ef8}\\x{11f43}-\\x{11f4f}\\x{11fff}\\x{12ff1}" \
    "\\x{12ff2}"                                                                                             \
    "\\x{16d6d}-\\x{16d6f}\\x{16e97}-\\x{16e9a}\\x{16fe2}\\x{1e5ff}\\x{1e95e}\\x{1e95f}"
#define PUNCTUATION "(?![" LATER_PUNCTUATION "])[\\p{P}!-/:-@\\[-`{-~\\x{166d}\\x{111c9}]"

static rrt_status read_behavior(const json_t *json, const char *fallback, rrt__behavior *out, rrt_error *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"}; // in the order of rrt__behavior
    const char *name;
    int k = 0;
    RRT__TRY(fallback ? rrt__json_string_or(json, "behavior", fallback, &name, err)
                      : rrt__json_string(json, "behavior", &name, err));
    while (k < 5 && strcmp(name, names[k]) != 0) k++;
    if (k == 5) return rrt__fail_setting("behavior", err);
    *out = (rrt__behavior)k;
    return RRT_STATUS_OK;
}

static rrt_status read_split(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    const char *text;
    bool inverts, literal;
    rrt__behavior behavior;
    RRT__TRY(rrt__read_pattern(json, &text, &literal, err));
    RRT__TRY(read_behavior(json, NULL, &behavior, err));
    RRT__TRY(rrt__json_bool_or(json, "invert", false, &inverts, err));
    return rrt__steps_add_split(steps, text, literal, behavior, inverts, err);
}

static rrt_status read_byte_level(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    bool adds_space, uses_regex;
    rrt__step *step;
    RRT__TRY(rrt__json_bool_or(json, "add_prefix_space", true, &adds_space, err));
    RRT__TRY(rrt__json_bool_or(json, "use_regex", true, &uses_regex, err));
    if (adds_space) {
        RRT__TRY(rrt__steps_add(steps, RRT__STEP_SPACE, &step, err));
        step->prepend = RRT__PREPEND_UNLESS_THERE;
    }
    return uses_regex
               ? rrt__steps_add_split(steps, rrt__gpt2_pattern, false, RRT__BEHAVIOR_ISOLATED, false, err)
               : RRT_STATUS_OK;
}

// Reads the scheme, or the flag of older files.
rrt_status rrt__read_prepend(const json_t *json, rrt__prepend *prepend, rrt_error *err)
{
    const char *scheme;
    bool adds;
    RRT__TRY(rrt__json_bool_or(json, "add_prefix_space", true, &adds, err));
    RRT__TRY(rrt__json_string_or(json, "prepend_scheme", adds ? "always" : "never", &scheme, err));
    *prepend = strcmp(scheme, "always") == 0  ? RRT__PREPEND_UNLESS_THERE
               : strcmp(scheme, "first") == 0 ? RRT__PREPEND_FIRST
                                              : RRT__PREPEND_NEVER;
    return *prepend == RRT__PREPEND_NEVER && strcmp(scheme, "never") != 0
               ? rrt__fail_setting("prepend_scheme", err)
               : RRT_STATUS_OK;
}

rrt_status rrt__check_mark(const json_t *json, rrt_error *err)
{
    const char *mark = json_string_value(json_object_get(json, "replacement"));
    return mark && strcmp(mark, rrt__space_mark) == 0 ? RRT_STATUS_OK : rrt__fail_setting("replacement", err);
}

static rrt_status read_metaspace(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    bool splits;
    rrt__step *step;
    RRT__TRY(rrt__check_mark(json, err));
    RRT__TRY(rrt__steps_add(steps, RRT__STEP_MARKS, &step, err));
    RRT__TRY(rrt__read_prepend(json, &step->prepend, err));
    RRT__TRY(rrt__json_bool_or(json, "split", true, &splits, err));
    return splits ? rrt__steps_add_split(steps, rrt__space_mark, true, RRT__BEHAVIOR_NEXT, false, err)
                  : RRT_STATUS_OK;
}

static rrt_status read_punctuation(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    rrt__behavior behavior;
    RRT__TRY(read_behavior(json, "Isolated", &behavior, err));
    return rrt__steps_add_split(steps, PUNCTUATION, false, behavior, false, err);
}

static rrt_status read_digits(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    bool individual;
    RRT__TRY(rrt__json_bool_or(json, "individual_digits", false, &individual, err));
    return rrt__steps_add_split(steps, individual ? "\\p{N}" : "\\p{N}+", false, RRT__BEHAVIOR_ISOLATED,
                                false, err);
}

static rrt_status read_whitespace(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    (void)json;
    return rrt__steps_add_split(steps, "\\s", false, RRT__BEHAVIOR_REMOVED, false, err);
}

// Runs of word characters, and runs of other characters except white space.
static rrt_status read_words(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    RRT__TRY(read_whitespace(steps, json, err));
    return rrt__steps_add_split(steps, WORDS "+", false, RRT__BEHAVIOR_ISOLATED, false, err);
}

static rrt_status read_bert(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    RRT__TRY(read_whitespace(steps, json, err));
    return rrt__steps_add_split(steps, PUNCTUATION, false, RRT__BEHAVIOR_ISOLATED, false, err);
}

static rrt_status read_delimiter(rrt__steps *steps, const json_t *json, rrt_error *err)
{
    const char *delimiter;
    RRT__TRY(rrt__json_string(json, "delimiter", &delimiter, err));
    return rrt__steps_add_split(steps, delimiter, true, RRT__BEHAVIOR_REMOVED, false, err);
}

// user: an rrt__byte_level.
rrt_status rrt__read_steps(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    static const struct {
        const char *type;
        rrt_status (*read)(rrt__steps *steps, const json_t *json, rrt_error *err);
    } known[] = {
        {"Split", read_split},      {"ByteLevel", read_byte_level},    {"Metaspace", read_metaspace},
        {"Digits", read_digits},    {"Punctuation", read_punctuation}, {"WhitespaceSplit", read_whitespace},
        {"Whitespace", read_words}, {"BertPreTokenizer", read_bert},   {"CharDelimiterSplit", read_delimiter},
    };
    rrt__byte_level *byte_level = user;
    rrt__steps *steps = &tokenizer->steps;
    const char *type;
    rrt__step *step;
    size_t k = 0, count = sizeof known / sizeof *known;
    RRT__TRY(rrt__read_type(json, &type, err));
    if (strcmp(type, "Sequence") == 0)
        return rrt__read_sequence(tokenizer, json, "pretokenizers", rrt__read_steps, user, err);
    while (k < count && strcmp(type, known[k].type) != 0) k++;
    if (k == count)
        return rrt__fail_type(type,
                              "Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, WhitespaceSplit, "
                              "Whitespace, BertPreTokenizer and CharDelimiterSplit",
                              err);
    if (byte_level->was_there) {
        if (known[k].read == read_byte_level || known[k].read == read_metaspace)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s after ByteLevel is not supported", type);
        if (!rrt__steps_end_in_alphabet(steps))
            RRT__TRY(rrt__steps_add(steps, RRT__STEP_ALPHABET, &step, err));
    }
    byte_level->was_there |= known[k].read == read_byte_level;
    return known[k].read(steps, json, err);
}
