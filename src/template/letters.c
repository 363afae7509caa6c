// Upper and lower case, and printable characters, as in Python; utf8proc has the character data.
#include <utf8proc.h>

#include "base/utf8.h"
#include "template/run.h"

// Characters whose other case is several characters, or depends on their neighbours: utf8proc has only the
// simple forms.
static bool is_irregular(uint32_t c, bool lowers)
{
    if (lowers) return c == 0x130 || c == 0x3a3;
    return c == 0xdf || c == 0x149 || c == 0x1f0 || c == 0x390 || c == 0x3b0 || c == 0x587 ||
           (c >= 0x1e96 && c <= 0x1e9a) || (c >= 0x1f50 && c <= 0x1fff) || (c >= 0xfb00 && c <= 0xfb17);
}

static bool is_cased(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT || c == 0xaa || c == 0xba;
}

static rrt_status convert(rrt__run *run, uint32_t c, rrt__case to, uint32_t *out)
{
    bool lowers = to == RRT__CASE_LOWER;
    utf8proc_int32_t character = (utf8proc_int32_t)c;
    if (is_irregular(c, lowers))
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "%s of U+%04X", lowers ? "lower" : "upper",
                             (unsigned)c);
    if (lowers)
        *out = (uint32_t)utf8proc_tolower(character);
    else if (to == RRT__CASE_UPPER)
        *out = (uint32_t)utf8proc_toupper(character);
    else
        *out = (uint32_t)utf8proc_totitle(character);
    return RRT_STATUS_OK;
}

rrt_status rrt__text_case(rrt__run *run, const rrt__value *text, rrt__case to, rrt__value *out)
{
    const char *data = rrt__text_data(text);
    bool behind_letter = false;
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    for (size_t at = 0, n; at < text->text.length; at += n) {
        uint32_t c, converted = 0;
        char utf8[4];
        n = rrt__utf8_decode(data + at, text->text.length - at, &c);
        rrt__case one = to;
        if (to == RRT__CASE_CAPITALIZE) one = at ? RRT__CASE_LOWER : RRT__CASE_TITLE;
        if (to == RRT__CASE_TITLE && behind_letter) one = RRT__CASE_LOWER;
        behind_letter = is_cased((utf8proc_int32_t)c);
        RRT__TRY(convert(run, c, one, &converted));
        size_t length = rrt__utf8_encode(converted, utf8);
        RRT__TRY(rrt__text_append_bytes(run, out, utf8, length, rrt__text_mark(text, at)));
    }
    out->is_markup = text->is_markup;
    return RRT_STATUS_OK;
}

bool rrt__is_printable(uint32_t c)
{
    if (c == ' ') return true;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}
