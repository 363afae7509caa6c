// Expressions, by recursive descent in Jinja's order of precedence.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "template/template_inside.h"

rrt_status rrt__parse_fail(rrt__parser *p, rrt_status status, const char *format, ...)
{
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    p->run->line = p->at->line;
    return rrt__run_fail(p->run, status, "%s", what);
}

static rrt_status fail_expected(rrt__parser *p, const char *what)
{
    if (p->at->kind == RRT__LEX_END)
        return rrt__parse_fail(p, RRT_STATUS_FORMAT, "the template ends where %s is expected", what);
    int length = p->at->length < 60 ? (int)p->at->length : 60;
    return rrt__parse_fail(p, RRT_STATUS_FORMAT, "%s is expected, not '%.*s'", what, length, p->at->text);
}

rrt_status rrt__node_new(rrt__parser *p, rrt__node_kind kind, rrt__node **out)
{
    RRT__TRY(rrt__pool_alloc(&p->run->pool, out, 1, sizeof **out, p->run->err));
    (*out)->kind = kind;
    (*out)->line = p->at->line;
    return RRT_STATUS_OK;
}

bool rrt__parse_is(const rrt__parser *p, const char *op)
{
    return p->at->kind == RRT__LEX_OPERATOR && p->at->length == strlen(op) &&
           memcmp(p->at->text, op, p->at->length) == 0;
}

static bool is_name(const rrt__lexeme *token, const char *name)
{
    return token->kind == RRT__LEX_NAME && token->length == strlen(name) &&
           memcmp(token->text, name, token->length) == 0;
}

bool rrt__parse_is_name(const rrt__parser *p, const char *name)
{
    return is_name(p->at, name);
}

bool rrt__parse_skip(rrt__parser *p, const char *op)
{
    bool is = rrt__parse_is(p, op);
    if (is) p->at++;
    return is;
}

bool rrt__parse_skip_name(rrt__parser *p, const char *name)
{
    bool is = rrt__parse_is_name(p, name);
    if (is) p->at++;
    return is;
}

rrt_status rrt__parse_expect(rrt__parser *p, const char *op)
{
    char what[8];
    if (rrt__parse_skip(p, op)) return RRT_STATUS_OK;
    snprintf(what, sizeof what, "'%s'", op);
    return fail_expected(p, what);
}

rrt_status rrt__parse_name(rrt__parser *p, const rrt__name **out)
{
    if (p->at->kind != RRT__LEX_NAME) return fail_expected(p, "a name");
    RRT__TRY(rrt__name_of(p->run, &p->result->names, p->at->text, p->at->length, out));
    p->at++;
    return RRT_STATUS_OK;
}

static rrt_status enter(rrt__parser *p)
{
    if (++p->depth <= RRT__TEMPLATE_MAX_NESTING) return RRT_STATUS_OK;
    return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "more than %d things in each other",
                           RRT__TEMPLATE_MAX_NESTING);
}

// --- primaries ------------------------------------------------------------------------------------------

static rrt_status parse_list(rrt__parser *p, rrt__node **out)
{
    RRT__TRY(rrt__node_new(p, RRT__NODE_LIST, out));
    p->at++;
    for (rrt__node **last = &(*out)->list; !rrt__parse_is(p, "]"); last = &(*last)->next) {
        if ((*out)->list) RRT__TRY(rrt__parse_expect(p, ","));
        if (rrt__parse_is(p, "]")) break;
        RRT__TRY(rrt__parse_expression(p, true, last));
    }
    return rrt__parse_expect(p, "]");
}

static rrt_status parse_dict(rrt__parser *p, rrt__node **out)
{
    RRT__TRY(rrt__node_new(p, RRT__NODE_DICT, out));
    p->at++;
    for (rrt__node **last = &(*out)->list; !rrt__parse_is(p, "}"); last = &(*last)->next) {
        if ((*out)->list) RRT__TRY(rrt__parse_expect(p, ","));
        if (rrt__parse_is(p, "}")) break;
        RRT__TRY(rrt__parse_expression(p, true, last));
        RRT__TRY(rrt__parse_expect(p, ":"));
        last = &(*last)->next;
        RRT__TRY(rrt__parse_expression(p, true, last));
    }
    return rrt__parse_expect(p, "}");
}

static rrt_status parse_name(rrt__parser *p, rrt__node **out)
{
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None"};
    for (int i = 0; i < 6; i++) {
        if (!rrt__parse_is_name(p, constants[i])) continue;
        p->at++;
        return rrt__parse_constant(p, i < 4 ? rrt__bool(i < 2) : rrt__none(), out);
    }
    if (rrt__parse_is_name(p, "self") || rrt__parse_is_name(p, "super") || rrt__parse_is_name(p, "lipsum"))
        return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "the name '%.*s'", (int)p->at->length, p->at->text);
    RRT__TRY(rrt__node_new(p, RRT__NODE_NAME, out));
    return rrt__parse_name(p, &(*out)->name);
}

rrt_status rrt__parse_primary(rrt__parser *p, rrt__node **out)
{
    if (p->at->kind == RRT__LEX_NAME) return parse_name(p, out);
    if (p->at->kind == RRT__LEX_TEXT) return rrt__parse_text(p, out);
    if (p->at->kind == RRT__LEX_INT || p->at->kind == RRT__LEX_FLOAT) return rrt__parse_number(p, out);
    if (rrt__parse_skip(p, "(")) {
        RRT__TRY(rrt__parse_tuple(p, true, true, NULL, out));
        return rrt__parse_expect(p, ")");
    }
    if (rrt__parse_is(p, "[")) return parse_list(p, out);
    if (rrt__parse_is(p, "{")) return parse_dict(p, out);
    return fail_expected(p, "an expression");
}

// --- suffixes of a primary ------------------------------------------------------------------------------

static rrt_status parse_arguments(rrt__parser *p, rrt__node **list)
{
    bool any = false, has_named = false;
    RRT__TRY(rrt__parse_expect(p, "("));
    for (rrt__node **last = list; !rrt__parse_is(p, ")"); last = &(*last)->next) {
        if (any) RRT__TRY(rrt__parse_expect(p, ","));
        if (rrt__parse_is(p, ")")) break;
        any = true;
        RRT__TRY(rrt__node_new(p, RRT__NODE_ARGUMENT, last));
        if (rrt__parse_skip(p, "**")) {
            (*last)->op = '^';
        } else if (rrt__parse_skip(p, "*")) {
            (*last)->op = '*';
        } else if (p->at->kind == RRT__LEX_NAME && p->at[1].kind == RRT__LEX_OPERATOR &&
                   p->at[1].length == 1 && *p->at[1].text == '=') {
            RRT__TRY(rrt__parse_name(p, &(*last)->name));
            p->at++;
        }
        bool is_named = (*last)->name || (*last)->op == '^';
        if (has_named && !is_named)
            return rrt__parse_fail(p, RRT_STATUS_FORMAT, "an argument without a name behind one with a name");
        has_named = has_named || is_named;
        RRT__TRY(rrt__parse_expression(p, true, &(*last)->a));
    }
    return rrt__parse_expect(p, ")");
}

static rrt_status parse_slice(rrt__parser *p, rrt__node *of, rrt__node **out)
{
    rrt__node *bounds[3] = {0};
    int n = 0;
    for (; n < 3; n++) {
        if (!rrt__parse_is(p, ":") && !rrt__parse_is(p, "]"))
            RRT__TRY(rrt__parse_expression(p, true, &bounds[n]));
        if (!rrt__parse_skip(p, ":")) break;
    }
    RRT__TRY(rrt__node_new(p, n ? RRT__NODE_SLICE : RRT__NODE_ITEM, out));
    if (!n && !bounds[0]) return fail_expected(p, "an expression");
    if (rrt__parse_is(p, ",")) return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "an index of several parts");
    (*out)->a = of;
    (*out)->b = bounds[0];
    (*out)->c = bounds[1];
    (*out)->d = bounds[2];
    return rrt__parse_expect(p, "]");
}

static rrt_status parse_attribute(rrt__parser *p, rrt__node *of, rrt__node **out)
{
    const rrt__lexeme *token = p->at;
    bool is_index = token->kind == RRT__LEX_INT;
    RRT__TRY(rrt__node_new(p, is_index ? RRT__NODE_ITEM : RRT__NODE_ATTRIBUTE, out));
    (*out)->a = of;
    if (is_index) return rrt__parse_number(p, &(*out)->b);
    RRT__TRY(rrt__parse_name(p, &(*out)->name));
    return rrt__text_borrow(p->run, (*out)->name->text, (*out)->name->length, 0, &(*out)->constant);
}

// The length of a chain counts as nesting: evaluation recurses into it.
static rrt_status parse_postfix(rrt__parser *p, rrt__node **node)
{
    for (;;) {
        rrt__node *of = *node;
        if (rrt__parse_skip(p, ".")) {
            RRT__TRY(parse_attribute(p, of, node));
        } else if (rrt__parse_skip(p, "[")) {
            RRT__TRY(parse_slice(p, of, node));
        } else if (rrt__parse_is(p, "(")) {
            RRT__TRY(rrt__node_new(p, RRT__NODE_CALL, node));
            (*node)->a = of;
            RRT__TRY(parse_arguments(p, &(*node)->list));
        } else {
            return RRT_STATUS_OK;
        }
    }
}

rrt_status rrt__parse_filters(rrt__parser *p, rrt__node *of, bool is_first, rrt__node **out)
{
    *out = of;
    for (; is_first || rrt__parse_skip(p, "|"); is_first = false) {
        rrt__node *node;
        RRT__TRY(rrt__node_new(p, RRT__NODE_FILTER, &node));
        RRT__TRY(rrt__parse_name(p, &node->name));
        node->filter = rrt__filter_find(node->name->text, node->name->length);
        if (!node->filter || !node->filter->function)
            return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "the filter '%.80s'", node->name->text);
        if (rrt__parse_is(p, "(")) RRT__TRY(parse_arguments(p, &node->list));
        node->a = *out;
        *out = node;
    }
    return RRT_STATUS_OK;
}

// Whether an argument without parentheses follows a test's name ("is divisibleby 3").
static bool has_bare_argument(const rrt__parser *p)
{
    rrt__token_kind kind = p->at->kind;
    if (kind == RRT__LEX_NAME)
        return !rrt__parse_is_name(p, "else") && !rrt__parse_is_name(p, "or") &&
               !rrt__parse_is_name(p, "and");
    return kind == RRT__LEX_TEXT || kind == RRT__LEX_INT || kind == RRT__LEX_FLOAT || rrt__parse_is(p, "[") ||
           rrt__parse_is(p, "{");
}

static rrt_status parse_test(rrt__parser *p, rrt__node **node)
{
    rrt__node *test, *argument, *of = *node;
    bool negates = rrt__parse_skip_name(p, "not");
    RRT__TRY(rrt__node_new(p, RRT__NODE_TEST, &test));
    test->a = of;
    RRT__TRY(rrt__parse_name(p, &test->name));
    test->test = rrt__test_find(test->name->text, test->name->length);
    if (!test->test || !test->test->function)
        return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "the test '%.80s'", test->name->text);
    if (rrt__parse_is(p, "(")) {
        RRT__TRY(parse_arguments(p, &test->list));
    } else if (has_bare_argument(p)) {
        if (rrt__parse_is_name(p, "is"))
            return rrt__parse_fail(p, RRT_STATUS_FORMAT, "a test of a test: parentheses are missing");
        RRT__TRY(rrt__node_new(p, RRT__NODE_ARGUMENT, &argument));
        RRT__TRY(rrt__parse_primary(p, &argument->a));
        RRT__TRY(parse_postfix(p, &argument->a));
        test->list = argument;
    }
    *node = test;
    if (!negates) return RRT_STATUS_OK;
    RRT__TRY(rrt__node_new(p, RRT__NODE_NOT, node));
    (*node)->a = test;
    return RRT_STATUS_OK;
}

static rrt_status parse_filters_and_tests(rrt__parser *p, rrt__node **node)
{
    for (;;) {
        if (rrt__parse_is(p, "|")) {
            RRT__TRY(rrt__parse_filters(p, *node, false, node));
        } else if (rrt__parse_skip_name(p, "is")) {
            RRT__TRY(parse_test(p, node));
        } else if (rrt__parse_is(p, "(")) {
            rrt__node *of = *node;
            RRT__TRY(rrt__node_new(p, RRT__NODE_CALL, node));
            (*node)->a = of;
            RRT__TRY(parse_arguments(p, &(*node)->list));
        } else {
            return RRT_STATUS_OK;
        }
    }
}

// --- operators ------------------------------------------------------------------------------------------

static rrt_status parse_unary(rrt__parser *p, bool with_filters, rrt__node **out)
{
    bool is_sign = rrt__parse_is(p, "-") || rrt__parse_is(p, "+");
    RRT__TRY(enter(p));
    if (is_sign) {
        RRT__TRY(rrt__node_new(p, RRT__NODE_SIGN, out));
        (*out)->op = *p->at++->text;
        RRT__TRY(parse_unary(p, false, &(*out)->a));
    } else {
        RRT__TRY(rrt__parse_primary(p, out));
    }
    RRT__TRY(parse_postfix(p, out));
    if (with_filters) RRT__TRY(parse_filters_and_tests(p, out));
    p->depth--;
    return RRT_STATUS_OK;
}

typedef rrt_status parse_function(rrt__parser *p, rrt__node **out);

// Operators of the same precedence, left to right.
static rrt_status parse_row(rrt__parser *p, const char *const *ops, const int *codes, int n,
                            parse_function *operand, rrt__node **out)
{
    RRT__TRY(operand(p, out));
    for (;;) {
        int i = 0;
        while (i < n && !rrt__parse_is(p, ops[i])) i++;
        if (i == n) return RRT_STATUS_OK;
        rrt__node *left = *out;
        RRT__TRY(rrt__node_new(p, RRT__NODE_BINARY, out));
        p->at++;
        (*out)->op = codes[i];
        (*out)->a = left;
        RRT__TRY(operand(p, &(*out)->b));
    }
}

static rrt_status parse_factor(rrt__parser *p, rrt__node **out)
{
    return parse_unary(p, true, out);
}

static rrt_status parse_power(rrt__parser *p, rrt__node **out)
{
    static const char *const ops[] = {"**"};
    return parse_row(p, ops, (const int[]){RRT__OP_POWER}, 1, parse_factor, out);
}

static rrt_status parse_product(rrt__parser *p, rrt__node **out)
{
    static const char *const ops[] = {"*", "/", "//", "%"};
    return parse_row(p, ops, (const int[]){'*', '/', RRT__OP_FLOOR_DIVIDE, '%'}, 4, parse_power, out);
}

static rrt_status parse_concat(rrt__parser *p, rrt__node **out)
{
    rrt__node *first;
    RRT__TRY(parse_product(p, &first));
    *out = first;
    if (!rrt__parse_is(p, "~")) return RRT_STATUS_OK;
    RRT__TRY(rrt__node_new(p, RRT__NODE_CONCAT, out));
    (*out)->list = first;
    for (rrt__node **last = &first->next; rrt__parse_skip(p, "~"); last = &(*last)->next)
        RRT__TRY(parse_product(p, last));
    return RRT_STATUS_OK;
}

static rrt_status parse_sum(rrt__parser *p, rrt__node **out)
{
    static const char *const ops[] = {"+", "-"};
    return parse_row(p, ops, (const int[]){'+', '-'}, 2, parse_concat, out);
}

// Skips a comparison operator; 0 if there is none.
static int skip_comparison(rrt__parser *p)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    static const int codes[] = {
        RRT__OP_EQUAL, RRT__OP_UNEQUAL, RRT__OP_LESS_EQUAL, RRT__OP_GREATER_EQUAL, '<', '>'};
    for (int i = 0; i < 6; i++)
        if (rrt__parse_skip(p, ops[i])) return codes[i];
    if (rrt__parse_skip_name(p, "in")) return RRT__OP_IN;
    if (!rrt__parse_is_name(p, "not") || !is_name(p->at + 1, "in")) return 0;
    p->at += 2;
    return RRT__OP_NOT_IN;
}

static rrt_status parse_comparison(rrt__parser *p, rrt__node **out)
{
    rrt__node *first, **last = NULL;
    RRT__TRY(parse_sum(p, &first));
    *out = first;
    for (int op; (op = skip_comparison(p)) != 0; last = &(*last)->next) {
        if (!last) {
            RRT__TRY(rrt__node_new(p, RRT__NODE_COMPARE, out));
            (*out)->a = first;
            last = &(*out)->list;
        }
        RRT__TRY(rrt__node_new(p, RRT__NODE_OPERAND, last));
        (*last)->op = op;
        RRT__TRY(parse_sum(p, &(*last)->a));
    }
    return RRT_STATUS_OK;
}

static rrt_status parse_not(rrt__parser *p, rrt__node **out)
{
    if (!rrt__parse_is_name(p, "not")) return parse_comparison(p, out);
    RRT__TRY(enter(p));
    RRT__TRY(rrt__node_new(p, RRT__NODE_NOT, out));
    p->at++;
    RRT__TRY(parse_not(p, &(*out)->a));
    p->depth--;
    return RRT_STATUS_OK;
}

static rrt_status parse_words(rrt__parser *p, const char *word, rrt__node_kind kind, parse_function *operand,
                              rrt__node **out)
{
    RRT__TRY(operand(p, out));
    while (rrt__parse_is_name(p, word)) {
        rrt__node *left = *out;
        RRT__TRY(rrt__node_new(p, kind, out));
        p->at++;
        (*out)->a = left;
        RRT__TRY(operand(p, &(*out)->b));
    }
    return RRT_STATUS_OK;
}

static rrt_status parse_and(rrt__parser *p, rrt__node **out)
{
    return parse_words(p, "and", RRT__NODE_AND, parse_not, out);
}

static rrt_status parse_or(rrt__parser *p, rrt__node **out)
{
    return parse_words(p, "or", RRT__NODE_OR, parse_and, out);
}

rrt_status rrt__parse_expression(rrt__parser *p, bool with_choice, rrt__node **out)
{
    RRT__TRY(enter(p));
    RRT__TRY(parse_or(p, out));
    while (with_choice && rrt__parse_skip_name(p, "if")) {
        rrt__node *node;
        RRT__TRY(rrt__node_new(p, RRT__NODE_CHOICE, &node));
        node->a = *out;
        RRT__TRY(parse_or(p, &node->b));
        if (rrt__parse_skip_name(p, "else")) RRT__TRY(rrt__parse_expression(p, true, &node->c));
        *out = node;
    }
    p->depth--;
    return RRT_STATUS_OK;
}

static bool is_tuple_end(const rrt__parser *p, const char *stop)
{
    return p->at->kind == RRT__LEX_PRINT_END || p->at->kind == RRT__LEX_BLOCK_END || rrt__parse_is(p, ")") ||
           (stop && rrt__parse_is_name(p, stop));
}

rrt_status rrt__parse_tuple(rrt__parser *p, bool with_choice, bool in_parentheses, const char *stop,
                            rrt__node **out)
{
    rrt__node *tuple;
    bool is_tuple = false;
    RRT__TRY(rrt__node_new(p, RRT__NODE_TUPLE, &tuple));
    for (rrt__node **last = &tuple->list; !is_tuple_end(p, stop); last = &(*last)->next) {
        RRT__TRY(rrt__parse_expression(p, with_choice, last));
        if (!rrt__parse_skip(p, ",")) break;
        is_tuple = true;
    }
    *out = is_tuple || !tuple->list ? tuple : tuple->list;
    if (!tuple->list && !in_parentheses) return fail_expected(p, "an expression");
    return RRT_STATUS_OK;
}
