// Expressions.
#include <string.h>

#include "template/template_inside.h"

rrt_status rrt__work(rrt__run *run, size_t bytes)
{
    run->work += 1 + bytes / 64;
    if (run->work <= RRT__TEMPLATE_MAX_WORK) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "the template does not come to an end in time");
}

rrt_status rrt__enter(rrt__run *run)
{
    if (++run->depth <= RRT__TEMPLATE_MAX_DEPTH) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "the template goes deeper than %d levels",
                         RRT__TEMPLATE_MAX_DEPTH);
}

rrt_status rrt__check_defined(rrt__run *run, const rrt__value *value)
{
    if (value->kind != RRT__VALUE_UNDEFINED) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "%s", value->why);
}

static rrt_status fail_undefined(rrt__run *run, const rrt__name *name, rrt__value *out)
{
    char *why;
    static const char what[] = " is undefined";
    RRT__TRY(rrt__pool_alloc(&run->pool, &why, name->length + sizeof what + 2, 1, run->err));
    why[0] = '\'';
    memcpy(why + 1, name->text, name->length);
    why[name->length + 1] = '\'';
    memcpy(why + name->length + 2, what, sizeof what);
    *out = rrt__undefined(why);
    return RRT_STATUS_OK;
}

static rrt_status evaluate_name(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    const rrt__variable *variable = rrt__scope_find(run, run->scope, node->name);
    if (variable) {
        *out = variable->value;
        return RRT_STATUS_OK;
    }
    const rrt__global *global = rrt__global_find(node->name->text);
    if (!global) return fail_undefined(run, node->name, out);
    *out = (rrt__value){.kind = RRT__VALUE_FUNCTION, .function = global};
    return RRT_STATUS_OK;
}

static rrt_status evaluate_items(rrt__run *run, const rrt__node *node, rrt__kind kind, rrt__value *out)
{
    RRT__TRY(rrt__value_list_new(run, kind, 2, out));
    for (const rrt__node *item = node->list; item; item = item->next) {
        rrt__value value;
        RRT__TRY(rrt__evaluate(run, item, &value));
        RRT__TRY(rrt__value_list_add(run, out, value));
    }
    return RRT_STATUS_OK;
}

static rrt_status evaluate_dict(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    RRT__TRY(rrt__dict_new(run, out));
    for (const rrt__node *key = node->list; key; key = key->next->next) {
        rrt__value k, v;
        RRT__TRY(rrt__evaluate(run, key, &k));
        RRT__TRY(rrt__evaluate(run, key->next, &v));
        RRT__TRY(rrt__dict_set(run, out->dict, k, v));
    }
    return RRT_STATUS_OK;
}

static rrt_status evaluate_sign(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt__value value;
    RRT__TRY(rrt__evaluate(run, node->a, &value));
    RRT__TRY(rrt__check_defined(run, &value));
    if (!rrt__is_number(&value))
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a sign before a %s", rrt__type_name(&value));
    if (value.kind == RRT__VALUE_FLOAT) {
        *out = rrt__float(node->op == '-' ? -value.real : value.real);
        return RRT_STATUS_OK;
    }
    const rrt__value zero = rrt__int(0);
    return rrt__binary(run, node->op, &zero, &value, out);
}

static rrt_status evaluate_comparison(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt__value left, right;
    bool holds = true;
    RRT__TRY(rrt__evaluate(run, node->a, &left));
    for (const rrt__node *operand = node->list; holds && operand; operand = operand->next, left = right) {
        RRT__TRY(rrt__evaluate(run, operand->a, &right));
        RRT__TRY(rrt__compare(run, operand->op, &left, &right, &holds));
    }
    *out = rrt__bool(holds);
    return RRT_STATUS_OK;
}

static rrt_status evaluate_concat(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    for (const rrt__node *item = node->list; item; item = item->next) {
        rrt__value value;
        RRT__TRY(rrt__evaluate(run, item, &value));
        RRT__TRY(rrt__append_str(run, out, &value));
    }
    return RRT_STATUS_OK;
}

static rrt_status evaluate_words(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    RRT__TRY(rrt__evaluate(run, node->a, out));
    bool goes_on = rrt__is_true(out) == (node->kind == RRT__NODE_AND);
    return goes_on ? rrt__evaluate(run, node->b, out) : RRT_STATUS_OK;
}

static rrt_status evaluate_choice(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    RRT__TRY(rrt__evaluate(run, node->b, out));
    if (rrt__is_true(out)) return rrt__evaluate(run, node->a, out);
    if (node->c) return rrt__evaluate(run, node->c, out);
    *out = rrt__undefined("an inline if without else was false");
    return RRT_STATUS_OK;
}

static rrt_status evaluate_slice(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt__value of, bounds[3] = {rrt__none(), rrt__none(), rrt__none()};
    const rrt__node *const nodes[3] = {node->b, node->c, node->d};
    RRT__TRY(rrt__evaluate(run, node->a, &of));
    for (int i = 0; i < 3; i++)
        if (nodes[i]) RRT__TRY(rrt__evaluate(run, nodes[i], &bounds[i]));
    return rrt__slice_of(run, &of, bounds, out);
}

static rrt_status evaluate_item(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt__value of, key = node->constant;
    RRT__TRY(rrt__evaluate(run, node->a, &of));
    if (node->kind == RRT__NODE_ATTRIBUTE) return rrt__attribute(run, &of, &key, out);
    RRT__TRY(rrt__evaluate(run, node->b, &key));
    return rrt__item(run, &of, &key, out);
}

static rrt_status evaluate_call(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt__value of;
    rrt__arguments arguments;
    RRT__TRY(rrt__evaluate(run, node->a, &of));
    RRT__TRY(rrt__arguments_of(run, node->list, &arguments));
    run->line = node->line;
    if (node->kind == RRT__NODE_CALL) return rrt__call(run, &of, &arguments, out);
    if (node->kind == RRT__NODE_FILTER) return node->filter->function(run, &of, &arguments, out);
    bool holds;
    RRT__TRY(node->test->function(run, &of, &arguments, &holds));
    *out = rrt__bool(holds);
    return RRT_STATUS_OK;
}

static rrt_status evaluate_binary(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt__value a, b;
    RRT__TRY(rrt__evaluate(run, node->a, &a));
    RRT__TRY(rrt__evaluate(run, node->b, &b));
    run->line = node->line;
    return rrt__binary(run, node->op, &a, &b, out);
}

static rrt_status evaluate_inside(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    run->line = node->line;
    switch (node->kind) {
    case RRT__NODE_CONSTANT:
        *out = node->constant;
        return RRT_STATUS_OK;
    case RRT__NODE_NAME:
        return evaluate_name(run, node, out);
    case RRT__NODE_LIST:
        return evaluate_items(run, node, RRT__VALUE_LIST, out);
    case RRT__NODE_TUPLE:
        return evaluate_items(run, node, RRT__VALUE_TUPLE, out);
    case RRT__NODE_DICT:
        return evaluate_dict(run, node, out);
    case RRT__NODE_NOT:
        RRT__TRY(rrt__evaluate(run, node->a, out));
        *out = rrt__bool(!rrt__is_true(out));
        return RRT_STATUS_OK;
    case RRT__NODE_SIGN:
        return evaluate_sign(run, node, out);
    case RRT__NODE_BINARY:
        return evaluate_binary(run, node, out);
    case RRT__NODE_AND:
    case RRT__NODE_OR:
        return evaluate_words(run, node, out);
    case RRT__NODE_COMPARE:
        return evaluate_comparison(run, node, out);
    case RRT__NODE_CONCAT:
        return evaluate_concat(run, node, out);
    case RRT__NODE_CHOICE:
        return evaluate_choice(run, node, out);
    case RRT__NODE_ATTRIBUTE:
    case RRT__NODE_ITEM:
        return evaluate_item(run, node, out);
    case RRT__NODE_SLICE:
        return evaluate_slice(run, node, out);
    case RRT__NODE_CALL:
    case RRT__NODE_FILTER:
    case RRT__NODE_TEST:
        return evaluate_call(run, node, out);
    default:
        *out = run->block_text;
        return RRT_STATUS_OK;
    }
}

rrt_status rrt__evaluate(rrt__run *run, const rrt__node *node, rrt__value *out)
{
    rrt_status status = rrt__enter(run);
    if (!status) status = rrt__work(run, 0);
    if (!status) status = evaluate_inside(run, node, out);
    rrt__leave(run);
    return status;
}
