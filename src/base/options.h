// Command-line options as a table: parsing and help come from the same rows.
#ifndef RRT__OPTIONS_H
#define RRT__OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum rrt__option_kind {
    RRT__OPTION_FLAG,   // bool
    RRT__OPTION_INT,    // int, within [least, most]
    RRT__OPTION_SIZE,   // size_t, within [least, most]; k, M and G multiply by 1000s
    RRT__OPTION_SEED,   // uint64_t
    RRT__OPTION_REAL,   // double, within [least, most]
    RRT__OPTION_STRING, // const char *
    RRT__OPTION_LIST,   // rrt__list: all arguments up to the next option, and again where it is repeated
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
    void *value;        // holds the default before, the result after
    double least, most; // both 0: any
    const char *help;
} rrt__option;

// Parses argv[1..argc): options anywhere, "--" ends them, "--name=value" works too. What is left over is
// written to positional[0..*n_positional). ARGUMENT names the option that is wrong. Lists grow, also when
// parsing fails; the caller frees them.
rrt_status rrt__options_parse(const rrt__option *options, int n_options, int argc, char **argv,
                              char **positional, int max_positional, int *n_positional, rrt_error *err);

// What k, M or G after a number stands for; 0 for any other character.
double rrt__size_suffix(char suffix);

// The rows as aligned lines of help, for stdout.
void rrt__options_print(const rrt__option *options, int n_options);

#endif
