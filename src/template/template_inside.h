// A template as a tree: lexer.c → parse.c and parse_expression.c → evaluate.c and execute.c.
#ifndef RRT__TEMPLATE_INSIDE_H
#define RRT__TEMPLATE_INSIDE_H

#include "template/run.h"
#include "template/template.h"

// --- tokens ---------------------------------------------------------------------------------------------
typedef enum rrt__token_kind {
    RRT__LEX_DATA,
    RRT__LEX_PRINT_BEGIN,
    RRT__LEX_PRINT_END,
    RRT__LEX_BLOCK_BEGIN,
    RRT__LEX_BLOCK_END,
    RRT__LEX_NAME,
    RRT__LEX_TEXT, // a string literal with its quotes
    RRT__LEX_INT,
    RRT__LEX_FLOAT,
    RRT__LEX_OPERATOR,
    RRT__LEX_END,
} rrt__token_kind;

typedef struct rrt__lexeme {
    rrt__token_kind kind;
    int line;
    const char *text;
    size_t length;
} rrt__lexeme;

// The tokens of source[0..length), whose line breaks are all \n; the last is RRT__LEX_END. Both are in the
// run's pool.
rrt_status rrt__lex(struct rrt__run *run, const char *source, size_t length, rrt__lexeme **out,
                    size_t *count);

// --- nodes ----------------------------------------------------------------------------------------------
typedef enum rrt__node_kind {
    // expressions
    RRT__NODE_CONSTANT,
    RRT__NODE_NAME,
    RRT__NODE_LIST,  // items in list
    RRT__NODE_TUPLE, // the same; also as a target
    RRT__NODE_DICT,  // list: keys and values alternate
    RRT__NODE_NOT,
    RRT__NODE_SIGN,   // op: '-' or '+'
    RRT__NODE_BINARY, // op, a, b
    RRT__NODE_AND,
    RRT__NODE_OR,
    RRT__NODE_COMPARE,    // a, then list of RRT__NODE_OPERAND
    RRT__NODE_OPERAND,    // op, a
    RRT__NODE_CONCAT,     // list
    RRT__NODE_CHOICE,     // a if b else c; c may be NULL
    RRT__NODE_ATTRIBUTE,  // a.name
    RRT__NODE_ITEM,       // a[b]
    RRT__NODE_SLICE,      // a[b:c:d], any of which may be NULL
    RRT__NODE_CALL,       // a(list)
    RRT__NODE_FILTER,     // a | filter(list)
    RRT__NODE_TEST,       // a is test(list)
    RRT__NODE_BLOCK_TEXT, // the content of a block around a filter
    RRT__NODE_ARGUMENT,   // a; name of a keyword argument; op: 0, '*', or '^' for **
    // targets
    RRT__NODE_MEMBER, // of a namespace: name; a: a constant with the member's name
    // statements
    RRT__NODE_DATA,         // constant
    RRT__NODE_PRINT,        // a
    RRT__NODE_FOR,          // a target, b sequence, c test or NULL, body, orelse
    RRT__NODE_IF,           // a, body, orelse
    RRT__NODE_SET,          // a target, b
    RRT__NODE_SET_BLOCK,    // a target, b filters or NULL, body
    RRT__NODE_MACRO,        // name, list of RRT__NODE_PARAMETER, body
    RRT__NODE_PARAMETER,    // name, a its default or NULL
    RRT__NODE_CALL_BLOCK,   // a the call, b a macro
    RRT__NODE_FILTER_BLOCK, // a filters, body
    RRT__NODE_WITH,         // list of RRT__NODE_SET, body
    RRT__NODE_GENERATION,   // body
    RRT__NODE_BREAK,
    RRT__NODE_CONTINUE,
} rrt__node_kind;

// Operators of two characters.
enum {
    RRT__OP_POWER = 256,
    RRT__OP_FLOOR_DIVIDE,
    RRT__OP_EQUAL,
    RRT__OP_UNEQUAL,
    RRT__OP_LESS_EQUAL,
    RRT__OP_GREATER_EQUAL,
    RRT__OP_IN,
    RRT__OP_NOT_IN,
};

typedef struct rrt__node {
    rrt__node_kind kind;
    int line, op;
    bool is_chain; // IF: orelse is an elif
    const rrt__name *name;
    rrt__value constant;
    struct rrt__node *a, *b, *c, *d, *list, *body, *orelse, *next;
    const struct rrt__filter *filter;
    const struct rrt__test *test;
} rrt__node;

struct rrt__template {
    rrt__pool pool;
    rrt__name_table names;
    rrt__node *body;
    bool has_generation;
};

// --- the parser -----------------------------------------------------------------------------------------
typedef struct rrt__parser {
    struct rrt__run *run;
    rrt__template *result;
    const rrt__lexeme *at; // next token
    int depth, loops;      // loops: enclosing loops within the macro
} rrt__parser;

rrt_status rrt__parse_template(rrt__parser *parser);

// --- parse_expression.c ---------------------------------------------------------------------------------
rrt_status rrt__parse_fail(rrt__parser *p, rrt_status status, const char *format, ...) RRT__PRINTF(3, 4);
rrt_status rrt__node_new(rrt__parser *p, rrt__node_kind kind, rrt__node **out);
bool rrt__parse_is(const rrt__parser *p, const char *op); // an operator
bool rrt__parse_is_name(const rrt__parser *p, const char *name);
bool rrt__parse_skip(rrt__parser *p, const char *op);
bool rrt__parse_skip_name(rrt__parser *p, const char *name);
rrt_status rrt__parse_expect(rrt__parser *p, const char *op);
rrt_status rrt__parse_name(rrt__parser *p, const rrt__name **out);
rrt_status rrt__parse_expression(rrt__parser *p, bool with_choice, rrt__node **out);
// stop: the name that ends a tuple, or NULL.
rrt_status rrt__parse_tuple(rrt__parser *p, bool with_choice, bool in_parentheses, const char *stop,
                            rrt__node **out);
rrt_status rrt__parse_primary(rrt__parser *p, rrt__node **out);
// parse_constants.c
rrt_status rrt__parse_constant(rrt__parser *p, rrt__value value, rrt__node **out);
rrt_status rrt__parse_text(rrt__parser *p, rrt__node **out);
rrt_status rrt__parse_number(rrt__parser *p, rrt__node **out);
// Parses filters applied to `of`; with is_first the first has no |.
rrt_status rrt__parse_filters(rrt__parser *p, rrt__node *of, bool is_first, rrt__node **out);

#endif
