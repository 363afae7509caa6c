// Statements.
#include <string.h>

#include "template/template_inside.h"

// Executes a body in its own scope; its output becomes a text.
static rrt_status capture(rrt__run *run, const rrt__node *body, rrt__value *out)
{
    rrt__value *outer_out = run->out;
    rrt__scope *scope, *outer = run->scope;
    RRT__TRY(rrt__pool_alloc(&run->pool, &scope, 1, sizeof *scope, run->err));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    scope->outer = outer;
    run->scope = scope;
    run->out = out;
    rrt_status status = rrt__execute(run, body);
    run->scope = outer;
    run->out = outer_out;
    return status;
}

// Executes a body in its own scope, with the current output.
static rrt_status execute_inside(rrt__run *run, const rrt__node *body)
{
    rrt__scope *scope, *outer = run->scope;
    RRT__TRY(rrt__pool_alloc(&run->pool, &scope, 1, sizeof *scope, run->err));
    scope->outer = outer;
    run->scope = scope;
    rrt_status status = rrt__execute(run, body);
    run->scope = outer;
    return status;
}

// --- assignment -----------------------------------------------------------------------------------------

static rrt_status assign_member(rrt__run *run, const rrt__node *target, const rrt__value *value)
{
    const rrt__variable *variable = rrt__scope_find(run, run->scope, target->name);
    if (!variable || variable->value.kind != RRT__VALUE_NAMESPACE)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%.80s' is no namespace: its members cannot be set",
                             target->name->text);
    if (rrt__text_data(&target->constant)[0] == '_')
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a namespace's member that begins with _");
    return rrt__dict_set(run, variable->value.dict, target->constant, *value);
}

static rrt_status assign(rrt__run *run, const rrt__node *target, const rrt__value *value)
{
    rrt__value_list items;
    size_t i = 0;
    if (target->kind == RRT__NODE_NAME) return rrt__scope_set(run, run->scope, target->name, *value);
    if (target->kind == RRT__NODE_MEMBER) return assign_member(run, target, value);
    RRT__TRY(rrt__check_defined(run, value));
    RRT__TRY(rrt__items_of(run, value, &items));
    const rrt__node *one = target->list;
    for (; one && i < items.count; one = one->next) RRT__TRY(assign(run, one, &items.items[i++]));
    if (one || i < items.count)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "%zu values for %s names", items.count,
                             one ? "more" : "fewer");
    return RRT_STATUS_OK;
}

static rrt_status execute_set(rrt__run *run, const rrt__node *node)
{
    rrt__value value;
    RRT__TRY(rrt__evaluate(run, node->b, &value));
    return assign(run, node->a, &value);
}

static rrt_status execute_set_block(rrt__run *run, const rrt__node *node)
{
    rrt__value value;
    RRT__TRY(capture(run, node->body, &value));
    run->block_text = value;
    RRT__TRY(rrt__evaluate(run, node->b, &value));
    return assign(run, node->a, &value);
}

// A with's variables are evaluated outside of it.
static rrt_status execute_with(rrt__run *run, const rrt__node *node)
{
    rrt__scope *scope, *outer = run->scope;
    rrt_status status = RRT_STATUS_OK;
    RRT__TRY(rrt__pool_alloc(&run->pool, &scope, 1, sizeof *scope, run->err));
    scope->outer = outer;
    for (const rrt__node *set = node->list; !status && set; set = set->next) {
        rrt__value value;
        RRT__TRY(rrt__evaluate(run, set->b, &value));
        run->scope = scope;
        status = assign(run, set->a, &value);
        run->scope = outer;
    }
    run->scope = scope;
    if (!status) status = rrt__execute(run, node->body);
    run->scope = outer;
    return status;
}

// --- loops ----------------------------------------------------------------------------------------------

// Keeps the items for which the loop's condition holds.
static rrt_status filter_items(rrt__run *run, const rrt__node *node, rrt__value_list *items)
{
    rrt__value kept;
    rrt__scope *scope, *outer = run->scope;
    rrt_status status = RRT_STATUS_OK;
    RRT__TRY(rrt__pool_alloc(&run->pool, &scope, 1, sizeof *scope, run->err));
    scope->outer = outer;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, items->count, &kept));
    for (size_t i = 0; !status && i < items->count; i++) {
        rrt__value holds;
        RRT__TRY(rrt__scope_again(run, &scope));
        run->scope = scope;
        const rrt__value item = rrt__value_list_at(items, i);
        status = assign(run, node->a, &item);
        if (!status) status = rrt__evaluate(run, node->c, &holds);
        if (!status && rrt__is_true(&holds)) status = rrt__value_list_add(run, &kept, item);
        run->scope = outer;
    }
    *items = *kept.sequence;
    return status;
}

static rrt_status run_iteration(rrt__run *run, const rrt__node *node, rrt__scope **scope, rrt__loop *loop)
{
    rrt__scope *outer = run->scope;
    const rrt__name *name = rrt__name_find(&run->compiled->names, "loop", 4);
    RRT__TRY(rrt__scope_again(run, scope));
    run->scope = *scope;
    rrt_status status = RRT_STATUS_OK;
    if (name) status = rrt__scope_set(run, *scope, name, (rrt__value){.kind = RRT__VALUE_LOOP, .loop = loop});
    const rrt__value item = rrt__value_list_at(loop->items, loop->index);
    if (!status) status = assign(run, node->a, &item);
    if (!status) status = rrt__execute(run, node->body);
    run->scope = outer;
    return status;
}

static rrt_status execute_for(rrt__run *run, const rrt__node *node)
{
    rrt__value over;
    rrt__value_list *items;
    rrt__loop *loop;
    rrt__scope *scope;
    RRT__TRY(rrt__evaluate(run, node->b, &over));
    RRT__TRY(rrt__pool_alloc(&run->pool, &items, 1, sizeof *items, run->err));
    RRT__TRY(rrt__pool_alloc(&run->pool, &loop, 1, sizeof *loop, run->err));
    if (over.kind == RRT__VALUE_RANGE)
        *items = *over.sequence; // not as a list: templates scan long conversations backwards at each message
    else
        RRT__TRY(rrt__items_of(run, &over, items));
    if (node->c) RRT__TRY(filter_items(run, node, items));
    *loop = (rrt__loop){.items = items};
    RRT__TRY(rrt__pool_alloc(&run->pool, &scope, 1, sizeof *scope, run->err));
    scope->outer = run->scope;
    for (size_t i = 0; i < items->count; i++) {
        loop->index = i;
        RRT__TRY(run_iteration(run, node, &scope, loop));
        bool breaks = run->flow == RRT__FLOW_BREAK;
        run->flow = RRT__FLOW_NEXT;
        if (breaks) break;
    }
    return items->count || !node->orelse ? RRT_STATUS_OK : execute_inside(run, node->orelse);
}

// --- blocks ---------------------------------------------------------------------------------------------

static rrt_status execute_macro(rrt__run *run, const rrt__node *node)
{
    rrt__macro *macro;
    RRT__TRY(rrt__pool_alloc(&run->pool, &macro, 1, sizeof *macro, run->err));
    *macro = (rrt__macro){node, rrt__scope_hold(run->scope)};
    return rrt__scope_set(run, run->scope, node->name,
                          (rrt__value){.kind = RRT__VALUE_MACRO, .macro = macro});
}

// The call gets one more argument: caller, a macro of the block's body.
static rrt_status execute_call_block(rrt__run *run, const rrt__node *node)
{
    rrt__value callee, result;
    rrt__arguments arguments;
    rrt__macro *macro;
    rrt__entry *named;
    RRT__TRY(rrt__evaluate(run, node->a->a, &callee));
    RRT__TRY(rrt__arguments_of(run, node->a->list, &arguments));
    RRT__TRY(rrt__pool_alloc(&run->pool, &macro, 1, sizeof *macro, run->err));
    RRT__TRY(rrt__pool_alloc(&run->pool, &named, arguments.n_named + 1, sizeof *named, run->err));
    *macro = (rrt__macro){node->b, rrt__scope_hold(run->scope)};
    if (arguments.n_named) memcpy(named, arguments.named, arguments.n_named * sizeof *named);
    named[arguments.n_named].value = (rrt__value){.kind = RRT__VALUE_MACRO, .macro = macro};
    RRT__TRY(rrt__text_borrow(run, "caller", 6, 0, &named[arguments.n_named].key));
    arguments.named = named;
    arguments.n_named++;
    RRT__TRY(rrt__call(run, &callee, &arguments, &result));
    return rrt__append_str(run, run->out, &result);
}

static rrt_status execute_filter_block(rrt__run *run, const rrt__node *node)
{
    rrt__value value;
    RRT__TRY(capture(run, node->body, &value));
    run->block_text = value;
    RRT__TRY(rrt__evaluate(run, node->a, &value));
    return rrt__append_str(run, run->out, &value);
}

static rrt_status execute_generation(rrt__run *run, const rrt__node *node)
{
    size_t from = run->out->kind == RRT__VALUE_TEXT ? run->out->text.length : 0;
    RRT__TRY(execute_inside(run, node->body));
    return rrt__text_add_mark(run, run->out, from, RRT__MARK_REPLY);
}

static rrt_status execute_if(rrt__run *run, const rrt__node *node)
{
    rrt__value holds;
    for (; node && node->kind == RRT__NODE_IF; node = node->orelse) {
        RRT__TRY(rrt__evaluate(run, node->a, &holds));
        if (rrt__is_true(&holds)) return rrt__execute(run, node->body);
        if (!node->is_chain) return rrt__execute(run, node->orelse);
    }
    return RRT_STATUS_OK;
}

static rrt_status execute_one(rrt__run *run, const rrt__node *node)
{
    rrt__value value;
    run->line = node->line;
    switch (node->kind) {
    case RRT__NODE_DATA:
        return rrt__text_append(run, run->out, &node->constant);
    case RRT__NODE_PRINT:
        RRT__TRY(rrt__evaluate(run, node->a, &value));
        return rrt__append_str(run, run->out, &value);
    case RRT__NODE_FOR:
        return execute_for(run, node);
    case RRT__NODE_IF:
        return execute_if(run, node);
    case RRT__NODE_SET:
        return execute_set(run, node);
    case RRT__NODE_SET_BLOCK:
        return execute_set_block(run, node);
    case RRT__NODE_MACRO:
        return execute_macro(run, node);
    case RRT__NODE_CALL_BLOCK:
        return execute_call_block(run, node);
    case RRT__NODE_FILTER_BLOCK:
        return execute_filter_block(run, node);
    case RRT__NODE_WITH:
        return execute_with(run, node);
    case RRT__NODE_GENERATION:
        return execute_generation(run, node);
    case RRT__NODE_BREAK:
        run->flow = RRT__FLOW_BREAK;
        return RRT_STATUS_OK;
    default:
        run->flow = RRT__FLOW_CONTINUE;
        return RRT_STATUS_OK;
    }
}

rrt_status rrt__execute(rrt__run *run, const rrt__node *node)
{
    rrt_status status = rrt__enter(run);
    for (; !status && node && run->flow == RRT__FLOW_NEXT; node = node->next) {
        status = rrt__work(run, 0);
        if (!status) status = execute_one(run, node);
    }
    rrt__leave(run);
    return status;
}
