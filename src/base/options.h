// Command-line options as a table: parsing and help come from the same rows.
#ifndef RRT__OPTIONS_H
#define RRT__OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum rrt__option_kind {
    RRT__OPTION_FLAG,   // bool
    RRT__OPTION_INT,    // int, within [min, max]
    RRT__OPTION_SIZE,   // size_t, within [min, max]; k, M and G multiply by 1000s
    RRT__OPTION_SEED,   // uint64_t
    RRT__OPTION_REAL,   // double, within [min, max]
    RRT__OPTION_STRING, // const char *
    RRT__OPTION_LIST,   // rrt__list: all arguments up to the next option, and again where it is repeated
    RRT__OPTION_TITLE,  // no option: the title of those that follow, for help
} rrt__option_kind;

// Several strings of argv. Zero-initialised is empty.
typedef struct rrt__list {
    const char **items;
    size_t count, capacity;
} rrt__list;

void rrt__list_free(rrt__list *list);

typedef struct rrt__option {
    char letter;          // 'm' for -m, 0 for none
    const char *name;     // "model" for --model
    const char *argument; // "MODEL", NULL for a flag
    rrt__option_kind kind;
    void *value;     // holds the default before, the result after
    double min, max; // both 0: any
    const char *help;
} rrt__option;

// The row of a title.
#define RRT__OPTION_GROUP(title)                                                                             \
    {                                                                                                        \
        0, NULL, NULL, RRT__OPTION_TITLE, NULL, 0, 0, title                                                  \
    }

// Parses argv[1..argc): options anywhere, "--" ends them, "--name=value" and "-nvalue" work too. What is left
// over is written to positional[0..*n_positional). ARGUMENT names the option that is wrong, and the one that
// may be meant. Lists grow, also when parsing fails; the caller frees them.
rrt_status rrt__options_parse(const rrt__option *options, int n_options, int argc, char **argv,
                              char **positional, int max_positional, int *n_positional, rrt_error *err);

// What k, M or G after a number stands for; 0 for any other character.
double rrt__size_suffix(char suffix);

// The rows as aligned lines of help on stdout, none longer than RRT__HELP_COLUMNS characters.
enum { RRT__HELP_COLUMNS = 100 };
void rrt__options_print(const rrt__option *options, int n_options);

// Text on stdout in lines that are as short: where one begins at `column` already, the others at `indent`.
void rrt__options_print_text(const char *text, size_t column, size_t indent);

#endif
