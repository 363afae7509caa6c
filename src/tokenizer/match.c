// Searches a text for a string, or for a regular expression by PCRE2.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "tokenizer/pattern.h"
#include "tokenizer/tokenizer_inside.h"

enum { JIT_STACK_BYTES = 1 << 20, MATCH_LIMIT = 100 * 1000 * 1000 };

static rrt_status compile(rrt__pattern *pattern, const char *original, rrt_error *err)
{
    int code;
    PCRE2_SIZE offset;
    pattern->code = pcre2_compile((PCRE2_SPTR)pattern->text, strlen(pattern->text), PCRE2_UTF | PCRE2_UCP,
                                  &code, &offset, NULL);
    if (!pattern->code) {
        char text[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        rrt_status status = code == PCRE2_ERROR_HEAP_FAILED ? RRT_STATUS_MEMORY : RRT_STATUS_FORMAT;
        return rrt__fail(err, status, "the regular expression '%.200s' is wrong: %s", original, text);
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); // without JIT support the interpreter runs
    return RRT_STATUS_OK;
}

rrt_status rrt__pattern_open(rrt__pattern *pattern, const char *text, bool literal, rrt_error *err)
{
    rrt__string words = {0};
    rrt_status status = literal ? rrt__string_append(&words, text, strlen(text), err)
                                : rrt__pattern_translate(&words, text, err);
    *pattern = (rrt__pattern){words.data, NULL};
    if (!status && !literal) status = compile(pattern, text, err);
    if (status) rrt__pattern_close(pattern);
    return status;
}

void rrt__pattern_close(rrt__pattern *pattern)
{
    pcre2_code_free(pattern->code);
    rrt__free(pattern->text);
    *pattern = (rrt__pattern){0};
}

bool rrt__pattern_matches_empty(const rrt__pattern *pattern)
{
    uint32_t matches = 0;
    if (!pattern->code) return !*pattern->text;
    pcre2_pattern_info(pattern->code, PCRE2_INFO_MATCHEMPTY, &matches);
    return matches;
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

static void find_string(const char *wanted, const char *text, size_t length, size_t from, size_t *begin,
                        size_t *end)
{
    size_t n = strlen(wanted);
    const char *at = n && from < length ? memmem(text + from, length - from, wanted, n) : NULL;
    if (!at) return;
    *begin = (size_t)(at - text);
    *end = *begin + n;
}

rrt_status rrt__pattern_find(const rrt__pattern *pattern, const rrt__matcher *matcher, const char *text,
                             size_t length, size_t from, size_t *begin, size_t *end, rrt_error *err)
{
    *begin = *end = SIZE_MAX;
    if (!pattern->code) {
        find_string(pattern->text, text, length, from, begin, end);
        return RRT_STATUS_OK;
    }
    int code = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, matcher->data,
                           matcher->context);
    if (code == PCRE2_ERROR_NOMATCH) return RRT_STATUS_OK;
    if (code < 0) {
        char reason[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        rrt_status status = code == PCRE2_ERROR_NOMEMORY ? RRT_STATUS_MEMORY : RRT_STATUS_UNSUPPORTED;
        return rrt__fail(err, status, "the tokenizer's regular expression cannot be matched to this text: %s",
                         reason);
    }
    const PCRE2_SIZE *match = pcre2_get_ovector_pointer(matcher->data);
    *begin = match[0];
    *end = match[1];
    return RRT_STATUS_OK;
}
