// Translates the common subset of Oniguruma (Ruby syntax) and PCRE2 in which pre-tokenizers are written.
// Constructs that the two read differently are rewritten (\s, because PCRE2 also counts U+180E as a space;
// words; lines) or refused.
#include "tokenizer/pattern.h"

#include <string.h>

#define SPACES                                                                                               \
    "\\t-\\r\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES                                                                                            \
    "\\x00-\\x08\\x0e-\\x1f!-\\x84\\x86-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"          \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

// Letters by category and by use (circled ones), marks, digits, connectors. Outside a class Oniguruma's words
// also include Latin-1's superscripts and fractions.
#define WORD                                                                                                 \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{"     \
    "1f170}-"                                                                                                \
    "\\x{1f189}"
#define WORD_ALONE WORD "\\xb2\\xb3\\xb9\\xbc-\\xbe"

// Number of hexadecimal digits.
static size_t count_hex(const char *at)
{
    return strspn(at, "0123456789abcdefABCDEF");
}

// Length in bytes of the pattern element at `at`; 0 if it is not in the subset. *words, if set, replaces it.
static size_t read_escape(const char *at, bool in_class, const char **words)
{
    char c = at[1];
    if (c == 's') *words = in_class ? SPACES : "[" SPACES "]";
    if (c == 'S') *words = in_class ? NO_SPACES : "[" NO_SPACES "]";
    if (c == 'w') *words = in_class ? WORD : "[" WORD_ALONE "]";
    if (c == 'W' && !in_class) *words = "[^" WORD_ALONE "]";
    if (c == 'b' && !in_class)
        *words = "(?:(?<=[" WORD_ALONE "])(?![" WORD_ALONE "])|(?<![" WORD_ALONE "])(?=[" WORD_ALONE "]))";
    if (*words) return 2;
    if (c == 'x' && at[2] == '{') {
        size_t digits = count_hex(at + 3);
        return digits && at[3 + digits] == '}' ? digits + 4 : 0;
    }
    if (c == 'p' || c == 'P') { // a general category: scripts have two meanings in PCRE2
        const char *close = at[2] == '{' ? strchr(at, '}') : NULL;
        size_t name = close ? (size_t)(close - at) - 3 : 0;
        return name == 1 || name == 2 ? name + 4 : 0;
    }
    if (c == 'A' || c == 'z') return in_class ? 0 : 2;
    if (c && strchr("dDrnt", c)) return 2;
    return c && strchr("\\^$.|?*+()[]{}-/'\"#&~!,:;=<>@%`_ ", c) ? 2 : 0;
}

static size_t read_group(const char *at)
{
    static const char *const openings[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
        if (strncmp(at, openings[i], strlen(openings[i])) == 0) return strlen(openings[i]);
    return at[1] == '?' || at[1] == '*' ? 0 : 1;
}

static size_t read_in_class(const char *at, bool *in_class)
{
    if (*at == ']') *in_class = false;
    return *at == '[' || strncmp(at, "&&", 2) == 0 ? 0 : 1; // Oniguruma nests and intersects classes
}

// Lines differ: Oniguruma's end only at \n, and ^ and $ always refer to lines.
static const char *line_words(char c)
{
    return c == '.' ? "[^\\n]" : c == '^' ? "(?:\\A|(?<=\\n)(?!\\z))" : c == '$' ? "(?=\\n|\\z)" : NULL;
}

// Replaces literal control characters by their escapes, so that both spellings give the same pattern.
static const char *control_words(char c)
{
    return c == '\r' ? "\\r" : c == '\n' ? "\\n" : c == '\t' ? "\\t" : NULL;
}

static size_t read_outside_class(const char *at, bool *in_class, const char **words)
{
    *words = line_words(*at);
    if (*words) return 1;
    if (*at == '(') return read_group(at);
    if (*at == '{' && at[1] == ',') return 0; // {,n} is literal in PCRE2
    if (*at == '}' && at[1] == '+') return 0; // {m,n}+ is possessive only in PCRE2
    if (*at != '[') return 1;
    size_t opening = at[1] == '^' ? 2 : 1;
    *in_class = true;
    return at[opening] == ']' ? 0 : opening; // the two read []…] differently
}

rrt_status rrt__pattern_translate(rrt__string *out, const char *pattern, rrt_error *err)
{
    bool in_class = false;
    for (const char *at = pattern; *at;) {
        const char *words = control_words(*at);
        size_t length = words         ? 1
                        : *at == '\\' ? read_escape(at, in_class, &words)
                        : in_class    ? read_in_class(at, &in_class)
                                      : read_outside_class(at, &in_class, &words);
        if (length == 0)
            return rrt__fail(
                err, RRT_STATUS_UNSUPPORTED,
                "the regular expression '%.200s' uses '%.4s' at byte %zu, which rrt does not know", pattern,
                at, (size_t)(at - pattern));
        if (words)
            RRT__TRY(rrt__string_append(out, words, strlen(words), err));
        else
            RRT__TRY(rrt__string_append(out, at, length, err));
        at += length;
    }
    return rrt__string_append(out, "", 0, err);
}
