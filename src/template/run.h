// Shared by all evaluation: a run, its scopes, and calls.
#ifndef RRT__TEMPLATE_RUN_H
#define RRT__TEMPLATE_RUN_H

#include <time.h>

#include "template/values.h"

struct rrt__node;

// Names are compared by address: each spelling exists once per template.
typedef struct rrt__name {
    const char *text; // NUL-terminated
    size_t length;
} rrt__name;

typedef struct rrt__name_table {
    const rrt__name **slots;
    size_t count, n_slots; // n_slots: a power of two
} rrt__name_table;

typedef struct rrt__variable {
    const rrt__name *name;
    rrt__value value;
    struct rrt__variable *next;
} rrt__variable;

typedef struct rrt__scope {
    rrt__variable *variables; // MISSING: not set
    struct rrt__scope *outer;
    bool is_held; // by a macro: must not change
} rrt__scope;

typedef struct rrt__macro {
    const struct rrt__node *node;
    rrt__scope *scope; // the scope of its definition
} rrt__macro;

typedef enum rrt__flow { RRT__FLOW_NEXT, RRT__FLOW_BREAK, RRT__FLOW_CONTINUE } rrt__flow;

typedef struct rrt__run {
    const struct rrt__template *compiled;
    rrt__pool pool;
    rrt_error *err;
    rrt__scope *scope;
    rrt__value *out; // the output text
    rrt__value block_text;
    rrt__flow flow;
    size_t work;
    int depth, line;
    time_t now;
} rrt__run;

rrt_status rrt__run_fail(rrt__run *run, rrt_status status, const char *format, ...) RRT__PRINTF(3, 4);
// Counts work; fails at the limit. bytes: number of bytes read.
rrt_status rrt__work(rrt__run *run, size_t bytes);
rrt_status rrt__enter(rrt__run *run); // enters one level; call rrt__leave even if it fails
static inline void rrt__leave(rrt__run *run)
{
    run->depth--;
}

// --- names.c --------------------------------------------------------------------------------------------
rrt_status rrt__name_of(rrt__run *run, rrt__name_table *names, const char *text, size_t length,
                        const rrt__name **out);
const rrt__name *rrt__name_find(const rrt__name_table *names, const char *text, size_t length); // or NULL
rrt__variable *rrt__scope_find(rrt__run *run, const rrt__scope *scope, const rrt__name *name);
rrt__scope *rrt__scope_hold(rrt__scope *scope); // and all outer scopes
// A scope for the next iteration, with nothing set.
rrt_status rrt__scope_again(rrt__run *run, rrt__scope **scope);
rrt_status rrt__scope_set(rrt__run *run, rrt__scope *scope, const rrt__name *name, rrt__value value);

// --- evaluate.c, access.c, operators.c, execute.c -------------------------------------------------------
rrt_status rrt__evaluate(rrt__run *run, const struct rrt__node *node, rrt__value *out);
rrt_status rrt__attribute(rrt__run *run, const rrt__value *of, const rrt__value *name, rrt__value *out);
rrt_status rrt__item(rrt__run *run, const rrt__value *of, const rrt__value *key, rrt__value *out);
rrt_status rrt__slice_of(rrt__run *run, const rrt__value *of, const rrt__value bounds[3], rrt__value *out);
rrt_status rrt__binary(rrt__run *run, int op, const rrt__value *a, const rrt__value *b, rrt__value *out);
rrt_status rrt__compare(rrt__run *run, int op, const rrt__value *a, const rrt__value *b, bool *out);
rrt_status rrt__contains(rrt__run *run, const rrt__value *in, const rrt__value *item, bool *out);
// Fails for an undefined value that is about to be used.
rrt_status rrt__check_defined(rrt__run *run, const rrt__value *value);
rrt_status rrt__execute(rrt__run *run, const struct rrt__node *first);
// Escapes for HTML, into a Markup; a Markup stays unchanged.
rrt_status rrt__escape(rrt__run *run, const rrt__value *text, rrt__value *out);

// --- call.c ---------------------------------------------------------------------------------------------
typedef struct rrt__arguments {
    const rrt__value *items;
    size_t count;
    const rrt__entry *named; // the keys are texts
    size_t n_named;
} rrt__arguments;

enum { RRT__MAX_PARAMETERS = 8 };

// Assigns arguments to parameters by position and name: out[i] is MISSING for a parameter that was not given.
// names: in order, separated by spaces; the first `needed` are required. what: for errors.
rrt_status rrt__bind(rrt__run *run, const rrt__arguments *arguments, const char *what, const char *names,
                     int needed, rrt__value out[RRT__MAX_PARAMETERS]);
rrt_status rrt__call(rrt__run *run, const rrt__value *callee, const rrt__arguments *arguments,
                     rrt__value *out);
// Evaluates a call's arguments.
rrt_status rrt__arguments_of(rrt__run *run, const struct rrt__node *list, rrt__arguments *out);
rrt_status rrt__call_macro(rrt__run *run, const rrt__macro *macro, const rrt__arguments *arguments,
                           rrt__value *out);

// --- filters.c, lists.c, tests.c, methods.c, globals.c: tables ------------------------------------------
typedef rrt_status rrt__builtin(rrt__run *run, const rrt__value *self, const rrt__arguments *arguments,
                                rrt__value *out);
// A row without a function exists in Jinja, but not here.
typedef struct rrt__filter {
    const char *name;
    rrt__builtin *function;
} rrt__filter;

typedef struct rrt__test {
    const char *name;
    rrt_status (*function)(rrt__run *run, const rrt__value *self, const rrt__arguments *arguments, bool *out);
} rrt__test;

typedef struct rrt__method {
    const char *name;
    rrt__builtin *function;
    bool is_unsafe; // changes its object: not allowed in the sandbox
} rrt__method;

typedef struct rrt__global {
    const char *name;
    rrt__builtin *function;
} rrt__global;

extern const rrt__filter rrt__text_filters[], rrt__list_filters[];
const rrt__filter *rrt__filter_find(const char *name, size_t length);
const rrt__test *rrt__test_find(const char *name, size_t length);
const rrt__method *rrt__method_find(const rrt__value *of, const char *name, size_t length);
const rrt__global *rrt__global_find(const char *name);

// The attribute of map and sort: "a.b.0".
rrt_status rrt__attribute_path(rrt__run *run, const rrt__value *of, const rrt__value *path, rrt__value *out);
// tojson.c
rrt_status rrt__filter_tojson(rrt__run *run, const rrt__value *self, const rrt__arguments *arguments,
                              rrt__value *out);
// format.c: "%s" % values, and "{}".format(…)
rrt_status rrt__format_percent(rrt__run *run, const rrt__value *format, const rrt__value *values,
                               rrt__value *out);
rrt_status rrt__format_braces(rrt__run *run, const rrt__value *format, const rrt__arguments *arguments,
                              rrt__value *out);

#endif
