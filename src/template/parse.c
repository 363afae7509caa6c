// Statements.
#include <string.h>

#include "template/template_inside.h"

static rrt_status parse_until(rrt__parser *p, const char *const *ends, rrt__node **out);

static rrt_status end_tag(rrt__parser *p)
{
    if (p->at->kind != RRT__LEX_BLOCK_END)
        return rrt__parse_fail(p, RRT_STATUS_FORMAT, "%%} is expected, not '%.*s'",
                               p->at->length < 60 ? (int)p->at->length : 60, p->at->text);
    p->at++;
    return RRT_STATUS_OK;
}

// Parses the body of a statement up to one of the tags (skips the last one's name) into *out.
static rrt_status parse_body(rrt__parser *p, const char *end, rrt__node **out)
{
    RRT__TRY(end_tag(p));
    RRT__TRY(parse_until(p, (const char *const[]){end, NULL}, out));
    p->at++;
    return end_tag(p);
}

// --- targets --------------------------------------------------------------------------------------------

static rrt_status parse_one_target(rrt__parser *p, bool with_members, rrt__node **out)
{
    if (rrt__parse_skip(p, "(")) {
        RRT__TRY(rrt__parse_tuple(p, false, true, NULL, out));
        return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "a target in parentheses");
    }
    RRT__TRY(rrt__node_new(p, RRT__NODE_NAME, out));
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None"};
    for (int i = 0; i < 6; i++)
        if (rrt__parse_is_name(p, constants[i]))
            return rrt__parse_fail(p, RRT_STATUS_FORMAT, "'%s' cannot be set", constants[i]);
    RRT__TRY(rrt__parse_name(p, &(*out)->name));
    if (!with_members || !rrt__parse_skip(p, ".")) return RRT_STATUS_OK;
    const rrt__name *member;
    (*out)->kind = RRT__NODE_MEMBER;
    RRT__TRY(rrt__parse_name(p, &member));
    return rrt__text_borrow(p->run, member->text, member->length, 0, &(*out)->constant);
}

static rrt_status parse_target(rrt__parser *p, bool with_members, rrt__node **out)
{
    rrt__node *tuple;
    bool is_tuple = false;
    RRT__TRY(rrt__node_new(p, RRT__NODE_TUPLE, &tuple));
    for (rrt__node **last = &tuple->list;; last = &(*last)->next) {
        if (tuple->list && p->at->kind != RRT__LEX_NAME) break;
        if (tuple->list && rrt__parse_is_name(p, "in")) break;
        RRT__TRY(parse_one_target(p, with_members, last));
        if (!rrt__parse_skip(p, ",")) break;
        is_tuple = true;
    }
    *out = is_tuple ? tuple : tuple->list;
    return RRT_STATUS_OK;
}

// --- statements -----------------------------------------------------------------------------------------

static rrt_status parse_for(rrt__parser *p, rrt__node *node)
{
    RRT__TRY(parse_target(p, false, &node->a));
    if (!rrt__parse_skip_name(p, "in"))
        return rrt__parse_fail(p, RRT_STATUS_FORMAT, "'in' is expected behind for's variable");
    RRT__TRY(rrt__parse_tuple(p, false, false, "recursive", &node->b));
    if (rrt__parse_skip_name(p, "if")) RRT__TRY(rrt__parse_expression(p, true, &node->c));
    if (rrt__parse_is_name(p, "recursive"))
        return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "a recursive for");
    RRT__TRY(end_tag(p));
    p->loops++;
    RRT__TRY(parse_until(p, (const char *const[]){"else", "endfor", NULL}, &node->body));
    p->loops--;
    if (rrt__parse_skip_name(p, "else")) return parse_body(p, "endfor", &node->orelse);
    p->at++;
    return end_tag(p);
}

// Parses elif as an if within else.
static rrt_status parse_if(rrt__parser *p, rrt__node *node)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    for (;;) {
        RRT__TRY(rrt__parse_tuple(p, false, false, NULL, &node->a));
        RRT__TRY(end_tag(p));
        RRT__TRY(parse_until(p, ends, &node->body));
        if (!rrt__parse_is_name(p, "elif")) break;
        RRT__TRY(rrt__node_new(p, RRT__NODE_IF, &node->orelse));
        node->is_chain = true;
        node = node->orelse;
        p->at++;
    }
    if (rrt__parse_skip_name(p, "else")) return parse_body(p, "endif", &node->orelse);
    p->at++;
    return end_tag(p);
}

static rrt_status block_filters(rrt__parser *p, bool is_first, rrt__node **out)
{
    rrt__node *text;
    RRT__TRY(rrt__node_new(p, RRT__NODE_BLOCK_TEXT, &text));
    return rrt__parse_filters(p, text, is_first, out);
}

static rrt_status parse_set(rrt__parser *p, rrt__node *node)
{
    RRT__TRY(parse_target(p, true, &node->a));
    if (rrt__parse_skip(p, "=")) {
        RRT__TRY(rrt__parse_tuple(p, true, false, NULL, &node->b));
        return end_tag(p);
    }
    node->kind = RRT__NODE_SET_BLOCK;
    RRT__TRY(block_filters(p, false, &node->b));
    return parse_body(p, "endset", &node->body);
}

static rrt_status parse_parameters(rrt__parser *p, rrt__node *node)
{
    bool has_default = false;
    RRT__TRY(rrt__parse_expect(p, "("));
    for (rrt__node **last = &node->list; !rrt__parse_is(p, ")"); last = &(*last)->next) {
        if (node->list) RRT__TRY(rrt__parse_expect(p, ","));
        RRT__TRY(rrt__node_new(p, RRT__NODE_PARAMETER, last));
        RRT__TRY(rrt__parse_name(p, &(*last)->name));
        if (rrt__parse_skip(p, "=")) {
            has_default = true;
            RRT__TRY(rrt__parse_expression(p, true, &(*last)->a));
        } else if (has_default) {
            return rrt__parse_fail(p, RRT_STATUS_FORMAT, "a parameter without a default behind one with it");
        }
    }
    return rrt__parse_expect(p, ")");
}

// break and continue cannot leave a macro.
static rrt_status parse_macro_body(rrt__parser *p, const char *end, rrt__node **out)
{
    int loops = p->loops;
    p->loops = 0;
    RRT__TRY(parse_body(p, end, out));
    p->loops = loops;
    return RRT_STATUS_OK;
}

static rrt_status parse_macro(rrt__parser *p, rrt__node *node)
{
    RRT__TRY(rrt__parse_name(p, &node->name));
    RRT__TRY(parse_parameters(p, node));
    return parse_macro_body(p, "endmacro", &node->body);
}

static rrt_status parse_call(rrt__parser *p, rrt__node *node)
{
    RRT__TRY(rrt__node_new(p, RRT__NODE_MACRO, &node->b));
    RRT__TRY(rrt__name_of(p->run, &p->result->names, "caller", 6, &node->b->name));
    if (rrt__parse_is(p, "(")) RRT__TRY(parse_parameters(p, node->b));
    RRT__TRY(rrt__parse_expression(p, true, &node->a));
    if (node->a->kind != RRT__NODE_CALL) return rrt__parse_fail(p, RRT_STATUS_FORMAT, "call needs a call");
    return parse_macro_body(p, "endcall", &node->b->body);
}

static rrt_status parse_filter_block(rrt__parser *p, rrt__node *node)
{
    RRT__TRY(block_filters(p, true, &node->a));
    return parse_body(p, "endfilter", &node->body);
}

static rrt_status parse_with(rrt__parser *p, rrt__node *node)
{
    for (rrt__node **last = &node->list; p->at->kind != RRT__LEX_BLOCK_END; last = &(*last)->next) {
        if (node->list) RRT__TRY(rrt__parse_expect(p, ","));
        RRT__TRY(rrt__node_new(p, RRT__NODE_SET, last));
        RRT__TRY(parse_one_target(p, false, &(*last)->a));
        RRT__TRY(rrt__parse_expect(p, "="));
        RRT__TRY(rrt__parse_expression(p, true, &(*last)->b));
    }
    return parse_body(p, "endwith", &node->body);
}

static rrt_status parse_generation(rrt__parser *p, rrt__node *node)
{
    p->result->has_generation = true;
    return parse_macro_body(p, "endgeneration", &node->body);
}

static rrt_status parse_jump(rrt__parser *p, rrt__node *node)
{
    (void)node;
    if (!p->loops) return rrt__parse_fail(p, RRT_STATUS_FORMAT, "break or continue outside of a loop");
    return end_tag(p);
}

static const struct statement {
    const char *name;
    rrt__node_kind kind;
    rrt_status (*parse)(rrt__parser *p, rrt__node *node);
} statements[] = {
    {"for", RRT__NODE_FOR, parse_for},          {"if", RRT__NODE_IF, parse_if},
    {"set", RRT__NODE_SET, parse_set},          {"macro", RRT__NODE_MACRO, parse_macro},
    {"call", RRT__NODE_CALL_BLOCK, parse_call}, {"filter", RRT__NODE_FILTER_BLOCK, parse_filter_block},
    {"with", RRT__NODE_WITH, parse_with},       {"generation", RRT__NODE_GENERATION, parse_generation},
    {"break", RRT__NODE_BREAK, parse_jump},     {"continue", RRT__NODE_CONTINUE, parse_jump},
};

static rrt_status parse_statement(rrt__parser *p, rrt__node **out)
{
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!rrt__parse_is_name(p, statements[i].name)) continue;
        RRT__TRY(rrt__node_new(p, statements[i].kind, out));
        p->at++;
        return statements[i].parse(p, *out);
    }
    return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "the tag '%.*s'",
                           p->at->length < 60 ? (int)p->at->length : 60, p->at->text);
}

static rrt_status parse_print(rrt__parser *p, rrt__node **out)
{
    RRT__TRY(rrt__node_new(p, RRT__NODE_PRINT, out));
    RRT__TRY(rrt__parse_tuple(p, true, false, NULL, &(*out)->a));
    if (p->at->kind != RRT__LEX_PRINT_END)
        return rrt__parse_fail(p, RRT_STATUS_FORMAT, "}} is expected, not '%.*s'",
                               p->at->length < 60 ? (int)p->at->length : 60, p->at->text);
    p->at++;
    return RRT_STATUS_OK;
}

static bool is_end(const rrt__parser *p, const char *const *ends)
{
    for (; *ends; ends++)
        if (rrt__parse_is_name(p, *ends)) return true;
    return false;
}

// Parses up to the tag of one of these names, where the parser stops; ends NULL: up to the end.
static rrt_status parse_until(rrt__parser *p, const char *const *ends, rrt__node **out)
{
    if (++p->depth > RRT__TEMPLATE_MAX_NESTING)
        return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "more than %d things in each other",
                               RRT__TEMPLATE_MAX_NESTING);
    while (p->at->kind != RRT__LEX_END) {
        if (p->at->kind == RRT__LEX_DATA) {
            RRT__TRY(rrt__node_new(p, RRT__NODE_DATA, out));
            RRT__TRY(rrt__text_borrow(p->run, p->at->text, p->at->length, 0, &(*out)->constant));
            p->at++;
        } else if (p->at->kind == RRT__LEX_PRINT_BEGIN) {
            p->at++;
            RRT__TRY(parse_print(p, out));
        } else {
            p->at++; // only the beginning of a block is possible here
            if (ends && is_end(p, ends)) {
                p->depth--;
                return RRT_STATUS_OK;
            }
            RRT__TRY(parse_statement(p, out));
        }
        out = &(*out)->next;
    }
    p->depth--;
    if (ends)
        return rrt__parse_fail(p, RRT_STATUS_FORMAT, "the template ends where {%% %s %%} is expected", *ends);
    return RRT_STATUS_OK;
}

rrt_status rrt__parse_template(rrt__parser *p)
{
    return parse_until(p, NULL, &p->result->body);
}
