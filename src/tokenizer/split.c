// Pre-tokenizing: each step cuts the pieces of the step before, and a piece is all that its patterns see.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "tokenizer/parts.h"
#include "tokenizer/pattern.h"

const char *const rrt__gpt2_pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum { JIT_STACK_BYTES = 1 << 20, MATCH_LIMIT = 100 * 1000 * 1000 };

static rrt_status compile(rrt__split *split, const char *pattern, size_t length, uint32_t options,
                          rrt_error *err)
{
    int code;
    PCRE2_SIZE offset;
    split->code = pcre2_compile((PCRE2_SPTR)pattern, length, options, &code, &offset, NULL);
    if (!split->code) {
        char text[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        rrt_status status = code == PCRE2_ERROR_HEAP_FAILED ? RRT_STATUS_MEMORY : RRT_STATUS_FORMAT;
        return rrt__fail(err, status, "the regular expression '%.200s' is wrong: %s", pattern, text);
    }
    uint32_t matches_empty = 0;
    pcre2_pattern_info(split->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the regular expression '%.200s' can match nothing",
                         pattern);
    pcre2_jit_compile(split->code, PCRE2_JIT_COMPLETE); // where it cannot, the interpreter serves
    return RRT_STATUS_OK;
}

rrt_status rrt__splits_add(rrt__splits *splits, const char *pattern, bool literal, bool keeps_matches,
                           bool keeps_gaps, rrt_error *err)
{
    if (splits->count == RRT__MAX_SPLITS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "more than %d pre-tokenizer steps", RRT__MAX_SPLITS);
    rrt__split *split = &splits->steps[splits->count++];
    *split = (rrt__split){NULL, keeps_matches, keeps_gaps};
    if (literal) return compile(split, pattern, strlen(pattern), PCRE2_UTF | PCRE2_LITERAL, err);
    rrt__string translated = {0};
    rrt_status status = rrt__pattern_translate(&translated, pattern, err);
    if (!status) status = compile(split, translated.data, translated.length, PCRE2_UTF | PCRE2_UCP, err);
    rrt__string_free(&translated);
    return status;
}

void rrt__splits_close(rrt__splits *splits)
{
    for (size_t i = 0; i < splits->count; i++) pcre2_code_free(splits->steps[i].code);
}

rrt_status rrt__matcher_open(rrt__matcher *matcher, rrt_error *err)
{
    matcher->data = pcre2_match_data_create(1, NULL);
    matcher->context = pcre2_match_context_create(NULL);
    matcher->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_BYTES, NULL);
    if (!matcher->data || !matcher->context || !matcher->stack)
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: matching regular expressions");
    pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    pcre2_set_match_limit(matcher->context, MATCH_LIMIT);
    return RRT_STATUS_OK;
}

void rrt__matcher_close(rrt__matcher *matcher)
{
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
}

typedef struct run {
    const rrt__splits *splits;
    const rrt__matcher *matcher;
    rrt_status (*each)(void *user, const char *text, size_t length, rrt_error *err);
    void *user;
} run;

// The next match at or after `from`: [*begin, *end), or both `length` if there is none.
static rrt_status find(const run *r, const rrt__split *split, const char *text, size_t length, size_t from,
                       size_t *begin, size_t *end, rrt_error *err)
{
    int code = pcre2_match(split->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, r->matcher->data,
                           r->matcher->context);
    *begin = *end = length;
    if (code == PCRE2_ERROR_NOMATCH) return RRT_STATUS_OK;
    if (code < 0) {
        char reason[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        rrt_status status = code == PCRE2_ERROR_NOMEMORY ? RRT_STATUS_MEMORY : RRT_STATUS_UNSUPPORTED;
        return rrt__fail(err, status, "the tokenizer's regular expression cannot be matched to this text: %s",
                         reason);
    }
    const PCRE2_SIZE *match = pcre2_get_ovector_pointer(r->matcher->data);
    *begin = match[0];
    *end = match[1];
    return RRT_STATUS_OK;
}

static rrt_status cut(const run *r, size_t step, const char *text, size_t length, rrt_error *err)
{
    if (length == 0) return RRT_STATUS_OK;
    if (step == r->splits->count) return r->each(r->user, text, length, err);
    const rrt__split *split = &r->splits->steps[step];
    for (size_t at = 0; at < length;) {
        size_t begin, end;
        RRT__TRY(find(r, split, text, length, at, &begin, &end, err));
        if (split->keeps_gaps) RRT__TRY(cut(r, step + 1, text + at, begin - at, err));
        if (split->keeps_matches) RRT__TRY(cut(r, step + 1, text + begin, end - begin, err));
        at = end;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__splits_run(const rrt__splits *splits, const rrt__matcher *matcher, const char *text,
                           size_t length,
                           rrt_status (*each)(void *user, const char *text, size_t length, rrt_error *err),
                           void *user, rrt_error *err)
{
    run r = {splits, matcher, each, user};
    return cut(&r, 0, text, length, err);
}
