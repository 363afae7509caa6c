#include "base/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/guess.h"
#include "base/memory.h"

void rrt__list_free(rrt__list *list)
{
    rrt__free(list->items);
    *list = (rrt__list){0};
}

static rrt_status list_append(rrt__list *list, const char *text, rrt_error *err)
{
    RRT__TRY(rrt__array_reserve(&list->items, &list->capacity, list->count + 1, sizeof *list->items, err));
    list->items[list->count++] = text;
    return RRT_STATUS_OK;
}

// By letter where the name is one long, titles aside.
static const rrt__option *find(const rrt__option *options, int n_options, const char *name, size_t length)
{
    for (int i = 0; i < n_options; i++) {
        const rrt__option *o = &options[i];
        if (!o->name) continue;
        bool by_letter = length == 1 && o->letter == name[0];
        if (by_letter || (length > 1 && strlen(o->name) == length && !memcmp(o->name, name, length)))
            return o;
    }
    return NULL;
}

double rrt__size_suffix(char suffix)
{
    return suffix == 'k' || suffix == 'K' ? 1e3 : suffix == 'M' ? 1e6 : suffix == 'G' ? 1e9 : 0;
}

static rrt_status set_number(const rrt__option *option, const char *text, rrt_error *err)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (option->kind == RRT__OPTION_SIZE && end != text && end[0] && rrt__size_suffix(end[0]) > 0)
        value *= rrt__size_suffix(*end++);
    bool is_possible = isfinite(value) && (option->kind == RRT__OPTION_REAL || value == trunc(value));
    if (end == text || *end || errno || !is_possible)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s: '%s' is not %s", option->name, text,
                         option->kind == RRT__OPTION_REAL   ? "a number"
                         : option->kind == RRT__OPTION_SIZE ? "a whole number such as 500, 64k, 12M or 5G"
                                                            : "a whole number");
    double min = option->min, max = option->max;
    if (min == 0 && max == 0 && option->kind != RRT__OPTION_REAL) max = 2147483647.0;
    // Fifteen digits: as many as a range has, so that it is shown as it would be typed.
    if ((min != 0 || max != 0) && (value < min || value > max))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s: %s is out of range: %.15g to %.15g", option->name,
                         text, min, max);
    if (option->kind == RRT__OPTION_INT)
        *(int *)option->value = (int)value;
    else if (option->kind == RRT__OPTION_SIZE)
        *(size_t *)option->value = (size_t)value;
    else
        *(double *)option->value = value;
    return RRT_STATUS_OK;
}

static rrt_status set_seed(const rrt__option *option, const char *text, rrt_error *err)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end || errno || text[0] == '-')
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s: '%s' is not a whole number from 0", option->name,
                         text);
    *(uint64_t *)option->value = value;
    return RRT_STATUS_OK;
}

static rrt_status set(const rrt__option *option, const char *text, rrt_error *err)
{
    switch (option->kind) {
    case RRT__OPTION_FLAG:
        *(bool *)option->value = true;
        return RRT_STATUS_OK;
    case RRT__OPTION_STRING:
        *(const char **)option->value = text;
        return RRT_STATUS_OK;
    case RRT__OPTION_LIST:
        return list_append(option->value, text, err);
    case RRT__OPTION_SEED:
        return set_seed(option, text, err);
    default:
        return set_number(option, text, err);
    }
}

static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1] != '\0';
}

// An option as it is typed: its name, and the value that is glued to it.
typedef struct typed {
    const char *name, *value; // value NULL: none
    size_t length;            // of the name
} typed;

static typed split(const char *text)
{
    if (text[1] != '-') return (typed){text + 1, text[2] ? text + 2 : NULL, 1};
    const char *equals = strchr(text, '=');
    return (typed){text + 2, equals ? equals + 1 : NULL,
                   equals ? (size_t)(equals - text) - 2 : strlen(text) - 2};
}

static rrt_status fail_unknown(const rrt__option *options, int n_options, const char *text, rrt_error *err)
{
    bool is_long = text[1] == '-';
    size_t dashes = is_long ? 2 : 1;
    rrt__guess guess = rrt__guess_begin(text + dashes, strcspn(text + dashes, "="));
    for (int i = 0; i < n_options; i++)
        if (options[i].name) rrt__guess_offer(&guess, options[i].name);
    rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "unknown option '%s'", text);
    if (!guess.best) return rrt__hint(err, status, "--help lists the options of this verb");
    return rrt__hint(err, status, "did you mean '--%s'? --help lists the options of this verb", guess.best);
}

// argv[*at] is an option; *at moves on to its value, or a list's last value, where that is an argument of its
// own.
static rrt_status parse_one(const rrt__option *options, int n_options, int argc, char **argv, int *at,
                            rrt_error *err)
{
    const char *text = argv[*at];
    bool is_long = text[1] == '-';
    typed t = split(text);
    const rrt__option *option = is_long == (t.length > 1) ? find(options, n_options, t.name, t.length) : NULL;
    bool is_flag = option && option->kind == RRT__OPTION_FLAG;
    // "-number" is no -n with a value "umber", but a long name that lacks a dash; "-fg" are no two flags.
    bool lacks_dash = !is_long && t.value && find(options, n_options, text + 1, strlen(text + 1));
    if (!option || lacks_dash || (is_flag && !is_long && t.value))
        return fail_unknown(options, n_options, text, err);
    if (is_flag && t.value) return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s takes no value", option->name);
    if (is_flag) return set(option, NULL, err);
    if (!t.value && *at + 1 >= argc)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s needs a value: %s", option->name, option->argument);
    RRT__TRY(set(option, t.value ? t.value : argv[++*at], err));
    bool goes_on = option->kind == RRT__OPTION_LIST && !t.value;
    while (goes_on && *at + 1 < argc && !is_option(argv[*at + 1])) RRT__TRY(set(option, argv[++*at], err));
    return RRT_STATUS_OK;
}

rrt_status rrt__options_parse(const rrt__option *options, int n_options, int argc, char **argv,
                              char **positional, int max_positional, int *n_positional, rrt_error *err)
{
    bool ended = false;
    *n_positional = 0;
    for (int i = 1; i < argc; i++) {
        bool may_be_option = !ended && is_option(argv[i]);
        if (may_be_option && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (may_be_option) {
            RRT__TRY(parse_one(options, n_options, argc, argv, &i, err));
        } else {
            if (*n_positional == max_positional)
                return rrt__fail(err, RRT_STATUS_ARGUMENT, "'%s' is one argument too many", argv[i]);
            positional[(*n_positional)++] = argv[i];
        }
    }
    return RRT_STATUS_OK;
}

// --- help

// Characters of text[0..length), of UTF-8.
static size_t count_characters(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

void rrt__options_print_text(const char *text, size_t column, size_t indent)
{
    bool is_first = true; // word of its line
    for (; *text; text += strspn(text, " ")) {
        size_t bytes = strcspn(text, " \n"), width = count_characters(text, bytes);
        if (!is_first && column + 1 + width > RRT__HELP_COLUMNS) {
            printf("\n%*s", (int)indent, "");
            column = indent;
            is_first = true;
        }
        printf("%s%.*s", is_first ? "" : " ", (int)bytes, text);
        column += width + !is_first;
        is_first = false;
        text += bytes;
        if (*text != '\n') continue;
        text++;
        printf("\n%*s", *text == '\n' ? 0 : (int)indent, "");
        column = indent;
        is_first = true;
    }
    putchar('\n');
}

// "  -m, --model MODEL"
static size_t print_left(char left[64], const rrt__option *o)
{
    char letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, 64, "  %s--%s%s%s", letter, o->name, o->argument ? " " : "",
             o->argument ? o->argument : "");
    return count_characters(left, strlen(left));
}

void rrt__options_print(const rrt__option *options, int n_options)
{
    enum { MAX_INDENT = 26 }; // what is wider pushes its own text to the right
    char left[64];
    size_t indent = 0;
    for (int i = 0; i < n_options; i++) {
        size_t width = options[i].name ? print_left(left, &options[i]) + 2 : 0;
        if (width > indent) indent = width < MAX_INDENT ? width : MAX_INDENT;
    }
    for (int i = 0; i < n_options; i++) {
        if (!options[i].name) {
            printf("%s%s:\n", i ? "\n" : "", options[i].help);
            continue;
        }
        size_t width = print_left(left, &options[i]), column = width + 2 < indent ? indent : width + 2;
        printf("%s%*s", left, (int)(column - width), "");
        rrt__options_print_text(options[i].help, column, indent);
    }
}
