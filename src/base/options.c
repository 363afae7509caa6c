#include "base/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const rrt__option *find(const rrt__option *options, int n_options, const char *name, size_t length)
{
    for (int i = 0; i < n_options; i++) {
        bool by_letter = length == 1 && options[i].letter == name[0];
        if (by_letter ||
            (length > 1 && strlen(options[i].name) == length && !memcmp(options[i].name, name, length)))
            return &options[i];
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
    double least = option->least, most = option->most;
    if (least == 0 && most == 0 && option->kind != RRT__OPTION_REAL) most = 2147483647.0;
    // Fifteen digits: as many as a range has, so that it is shown as it would be typed.
    if ((least != 0 || most != 0) && (value < least || value > most))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s: %s is out of range: %.15g to %.15g", option->name,
                         text, least, most);
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

// argv[*at] is an option; *at moves on to its value, or a list's last value, where that is an argument of its
// own.
static rrt_status parse_one(const rrt__option *options, int n_options, int argc, char **argv, int *at,
                            rrt_error *err)
{
    const char *text = argv[*at];
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1), *equals = is_long ? strchr(name, '=') : NULL;
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const rrt__option *option = is_long == (length > 1) ? find(options, n_options, name, length) : NULL;
    if (!option) {
        rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "unknown option '%s'", text);
        return rrt__hint(err, status, "--help lists the options of this verb");
    }
    if (option->kind == RRT__OPTION_FLAG && equals)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s takes no value", option->name);
    if (option->kind == RRT__OPTION_FLAG) return set(option, NULL, err);
    if (!equals && *at + 1 >= argc)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s needs a value: %s", option->name, option->argument);
    RRT__TRY(set(option, equals ? equals + 1 : argv[++*at], err));
    bool goes_on = option->kind == RRT__OPTION_LIST && !equals;
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

void rrt__options_print(const rrt__option *options, int n_options)
{
    for (int i = 0; i < n_options; i++) {
        char left[64];
        snprintf(left, sizeof left, "%c%c%c --%s %s", options[i].letter ? '-' : ' ',
                 options[i].letter ? options[i].letter : ' ', options[i].letter ? ',' : ' ', options[i].name,
                 options[i].argument ? options[i].argument : "");
        printf("  %-28s %s\n", left, options[i].help);
    }
}
