// Reads the normalizer of a tokenizer.json.
#include <string.h>

#include "tokenizer/pipeline.h"

static rrt_status set_content(rrt__normal *step, const json_t *json, const char *key, rrt_error *err)
{
    const char *text;
    rrt__string copy = {0};
    RRT__TRY(rrt__json_string(json, key, &text, err));
    rrt_status status = rrt__string_append(&copy, text, strlen(text), err);
    step->content = copy.data;
    return status;
}

static rrt_status read_replace(rrt__normal *step, const json_t *json, rrt_error *err)
{
    const char *text;
    bool literal;
    RRT__TRY(rrt__read_pattern(json, &text, &literal, err));
    RRT__TRY(rrt__pattern_open(&step->pattern, text, literal, err));
    if (rrt__pattern_matches_empty(&step->pattern))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"pattern\": '%.200s' can match nothing", text);
    return set_content(step, json, "content", err);
}

rrt_status rrt__read_normalizer(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    static const struct {
        const char *type;
        rrt__normal_kind kind;
    } known[] = {
        {"NFC", RRT__NORMAL_NFC},
        {"NFD", RRT__NORMAL_NFD},
        {"NFKC", RRT__NORMAL_NFKC},
        {"NFKD", RRT__NORMAL_NFKD},
        {"Lowercase", RRT__NORMAL_LOWERCASE},
        {"Strip", RRT__NORMAL_STRIP},
        {"StripAccents", RRT__NORMAL_STRIP_ACCENTS},
        {"Nmt", RRT__NORMAL_NMT},
        {"Prepend", RRT__NORMAL_PREPEND},
        {"Replace", RRT__NORMAL_REPLACE},
    };
    const char *type;
    rrt__normal *step;
    size_t k = 0, count = sizeof known / sizeof *known;
    RRT__TRY(rrt__read_type(json, &type, err));
    if (strcmp(type, "Sequence") == 0)
        return rrt__read_sequence(tokenizer, json, "normalizers", rrt__read_normalizer, user, err);
    while (k < count && strcmp(type, known[k].type) != 0) k++;
    if (k == count)
        return rrt__fail_type(
            type,
            "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Nmt, Prepend and "
            "Replace",
            err);
    RRT__TRY(rrt__normalizer_add(&tokenizer->normalizer, known[k].kind, &step, err));
    if (known[k].kind == RRT__NORMAL_PREPEND) return set_content(step, json, "prepend", err);
    if (known[k].kind == RRT__NORMAL_REPLACE) return read_replace(step, json, err);
    if (known[k].kind != RRT__NORMAL_STRIP) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_bool_or(json, "strip_left", true, &step->left, err));
    return rrt__json_bool_or(json, "strip_right", true, &step->right, err);
}
