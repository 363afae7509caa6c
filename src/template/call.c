// Calls: arguments, macros, methods, functions.
#include <string.h>

#include "template/template_inside.h"

static rrt_status spread(rrt__run *run, const rrt__node *argument, const rrt__value *value, rrt__value *items,
                         rrt__value *named)
{
    if (argument->op == '*') {
        rrt__value_list sequence;
        RRT__TRY(rrt__check_defined(run, value));
        RRT__TRY(rrt__items_of(run, value, &sequence));
        for (size_t i = 0; i < sequence.count; i++)
            RRT__TRY(rrt__value_list_add(run, items, sequence.items[i]));
        return RRT_STATUS_OK;
    }
    if (value->kind != RRT__VALUE_DICT)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "** before a %s", rrt__type_name(value));
    for (size_t i = 0; i < value->dict->count; i++) {
        if (!rrt__is_text(&value->dict->entries[i].key))
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "an argument's name that is no string");
        RRT__TRY(rrt__dict_set(run, named->dict, value->dict->entries[i].key, value->dict->entries[i].value));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__arguments_of(rrt__run *run, const rrt__node *list, rrt__arguments *out)
{
    rrt__value items = {0}, named = {0};
    *out = (rrt__arguments){0};
    if (!list) return RRT_STATUS_OK;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, 2, &items));
    RRT__TRY(rrt__dict_new(run, &named));
    for (const rrt__node *argument = list; argument; argument = argument->next) {
        rrt__value value, key;
        RRT__TRY(rrt__evaluate(run, argument->a, &value));
        if (argument->op) {
            RRT__TRY(spread(run, argument, &value, &items, &named));
        } else if (argument->name) {
            RRT__TRY(rrt__text_borrow(run, argument->name->text, argument->name->length, 0, &key));
            RRT__TRY(rrt__dict_set(run, named.dict, key, value));
        } else {
            RRT__TRY(rrt__value_list_add(run, &items, value));
        }
    }
    *out = (rrt__arguments){items.sequence->items, items.sequence->count, named.dict->entries,
                            named.dict->count};
    return RRT_STATUS_OK;
}

// The index of a name in "a b c", or -1.
static int index_in(const char *names, const rrt__value *name)
{
    int index = 0;
    for (const char *at = names; *at; index++) {
        size_t length = strcspn(at, " ");
        if (name->text.length == length && memcmp(rrt__text_data(name), at, length) == 0) return index;
        at += length + (at[length] == ' ');
    }
    return -1;
}

static size_t count_in(const char *names)
{
    size_t count = *names ? 1 : 0;
    for (; *names; names++) count += *names == ' ';
    return count;
}

rrt_status rrt__bind(rrt__run *run, const rrt__arguments *arguments, const char *what, const char *names,
                     int needed, rrt__value out[RRT__MAX_PARAMETERS])
{
    for (int i = 0; i < RRT__MAX_PARAMETERS; i++) out[i] = (rrt__value){0};
    if (arguments->count > count_in(names))
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' takes %zu arguments, not %zu", what,
                             count_in(names), arguments->count);
    for (size_t i = 0; i < arguments->count; i++) out[i] = arguments->items[i];
    for (size_t i = 0; i < arguments->n_named; i++) {
        const rrt__value *name = &arguments->named[i].key;
        int at = index_in(names, name);
        if (at < 0 || out[at].kind != RRT__VALUE_MISSING)
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' %s an argument '%.*s'", what,
                                 at < 0 ? "has no" : "has two values for",
                                 (int)(name->text.length < 80 ? name->text.length : 80),
                                 rrt__text_data(name));
        out[at] = arguments->named[i].value;
    }
    for (int i = 0; i < needed; i++)
        if (out[i].kind == RRT__VALUE_MISSING)
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' needs %d arguments", what, needed);
    return RRT_STATUS_OK;
}

// --- macros ---------------------------------------------------------------------------------------------

static const rrt__value *find_named(const rrt__arguments *arguments, const char *name, size_t length)
{
    for (size_t i = 0; i < arguments->n_named; i++) {
        const rrt__value *key = &arguments->named[i].key;
        if (key->text.length == length && memcmp(rrt__text_data(key), name, length) == 0)
            return &arguments->named[i].value;
    }
    return NULL;
}

static rrt_status set_by_text(rrt__run *run, const char *text, rrt__value value)
{
    const rrt__name *name = rrt__name_find(&run->compiled->names, text, strlen(text));
    return name ? rrt__scope_set(run, run->scope, name, value) : RRT_STATUS_OK; // else it is unused
}

// Sets varargs, kwargs and caller.
static rrt_status set_rest(rrt__run *run, const rrt__macro *macro, const rrt__arguments *arguments,
                           size_t parameters)
{
    rrt__value rest, named;
    const rrt__value *caller = find_named(arguments, "caller", 6);
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_TUPLE, 0, &rest));
    RRT__TRY(rrt__dict_new(run, &named));
    for (size_t i = parameters; i < arguments->count; i++)
        RRT__TRY(rrt__value_list_add(run, &rest, arguments->items[i]));
    for (size_t i = 0; i < arguments->n_named; i++) {
        const rrt__value *key = &arguments->named[i].key;
        const rrt__node *parameter = macro->node->list;
        for (; parameter; parameter = parameter->next)
            if (rrt__text_is(key, parameter->name->text)) break;
        if (!parameter && !rrt__text_is(key, "caller"))
            RRT__TRY(rrt__dict_set(run, named.dict, *key, arguments->named[i].value));
    }
    bool takes_rest = rrt__name_find(&run->compiled->names, "varargs", 7) != NULL;
    bool takes_named = rrt__name_find(&run->compiled->names, "kwargs", 6) != NULL;
    if ((rest.sequence->count && !takes_rest) || (named.dict->count && !takes_named))
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "the macro '%.80s' has no such argument",
                             macro->node->name->text);
    RRT__TRY(set_by_text(run, "varargs", rest));
    RRT__TRY(set_by_text(run, "kwargs", named));
    return set_by_text(run, "caller", caller ? *caller : rrt__undefined("no caller was defined"));
}

static rrt_status set_parameters(rrt__run *run, const rrt__macro *macro, const rrt__arguments *arguments)
{
    size_t i = 0;
    for (const rrt__node *p = macro->node->list; p; p = p->next, i++) {
        RRT__TRY(rrt__work(run, 64 * arguments->n_named)); // each is searched among all
        const rrt__value *named = find_named(arguments, p->name->text, p->name->length);
        rrt__value value = rrt__undefined("a parameter was not given");
        if (named && i < arguments->count)
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "two values for the parameter '%.80s'",
                                 p->name->text);
        if (i < arguments->count)
            value = arguments->items[i];
        else if (named)
            value = *named;
        else if (p->a)
            RRT__TRY(rrt__evaluate(run, p->a, &value));
        RRT__TRY(rrt__scope_set(run, run->scope, p->name, value));
    }
    return set_rest(run, macro, arguments, i);
}

rrt_status rrt__call_macro(rrt__run *run, const rrt__macro *macro, const rrt__arguments *arguments,
                           rrt__value *out)
{
    rrt__scope *scope, *outer = run->scope;
    rrt__value *outer_out = run->out;
    RRT__TRY(rrt__pool_alloc(&run->pool, &scope, 1, sizeof *scope, run->err));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    scope->outer = macro->scope;
    run->scope = scope;
    run->out = out;
    rrt_status status = set_parameters(run, macro, arguments);
    if (!status) status = rrt__execute(run, macro->node->body);
    run->scope = outer;
    run->out = outer_out;
    return status;
}

// --- everything else ------------------------------------------------------------------------------------

static rrt_status call_joiner(rrt__cycler *joiner, rrt__value *out)
{
    rrt__buffer *buffer = joiner->separator.text.buffer;
    *out = joiner->at++ ? joiner->separator : (rrt__value){.kind = RRT__VALUE_TEXT, .text = {buffer, 0, 0}};
    return RRT_STATUS_OK;
}

rrt_status rrt__call(rrt__run *run, const rrt__value *callee, const rrt__arguments *arguments,
                     rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    switch (callee->kind) {
    case RRT__VALUE_MACRO:
        return rrt__call_macro(run, callee->macro, arguments, out);
    case RRT__VALUE_METHOD:
        return callee->bound->method->function(run, &callee->bound->self, arguments, out);
    case RRT__VALUE_FUNCTION:
        if (!callee->function->function)
            return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "the function '%s'", callee->function->name);
        return callee->function->function(run, callee, arguments, out);
    case RRT__VALUE_JOINER:
        RRT__TRY(rrt__bind(run, arguments, "a joiner", "", 0, none));
        return call_joiner(callee->cycler, out);
    case RRT__VALUE_LOOP:
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a recursive for");
    default:
        RRT__TRY(rrt__check_defined(run, callee));
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a %s cannot be called", rrt__type_name(callee));
    }
}
