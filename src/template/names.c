// Interned names, and scopes.
#include <string.h>

#include "base/hash.h"
#include "template/run.h"

static size_t slot_of(const rrt__name_table *names, const char *text, size_t length)
{
    size_t at = (size_t)rrt__hash(length, text, length) & (names->n_slots - 1);
    for (;; at = (at + 1) & (names->n_slots - 1)) {
        const rrt__name *name = names->slots[at];
        if (!name || (name->length == length && memcmp(name->text, text, length) == 0)) return at;
    }
}

const rrt__name *rrt__name_find(const rrt__name_table *names, const char *text, size_t length)
{
    return names->n_slots ? names->slots[slot_of(names, text, length)] : NULL;
}

static rrt_status grow(rrt__run *run, rrt__name_table *names)
{
    rrt__name_table bigger = {.count = names->count, .n_slots = names->n_slots ? names->n_slots * 2 : 64};
    RRT__TRY(rrt__pool_alloc(&run->pool, &bigger.slots, bigger.n_slots, sizeof(void *), run->err));
    for (size_t i = 0; i < names->n_slots; i++)
        if (names->slots[i])
            bigger.slots[slot_of(&bigger, names->slots[i]->text, names->slots[i]->length)] = names->slots[i];
    *names = bigger;
    return RRT_STATUS_OK;
}

rrt_status rrt__name_of(rrt__run *run, rrt__name_table *names, const char *text, size_t length,
                        const rrt__name **out)
{
    if (names->count * 2 >= names->n_slots) RRT__TRY(grow(run, names));
    size_t slot = slot_of(names, text, length);
    *out = names->slots[slot];
    if (*out) return RRT_STATUS_OK;
    rrt__name *name;
    char *copy;
    RRT__TRY(rrt__pool_alloc(&run->pool, &name, 1, sizeof *name, run->err));
    RRT__TRY(rrt__pool_alloc(&run->pool, &copy, length + 1, 1, run->err));
    memcpy(copy, text, length);
    *name = (rrt__name){copy, length};
    names->slots[slot] = *out = name;
    names->count++;
    return RRT_STATUS_OK;
}

rrt__variable *rrt__scope_find(rrt__run *run, const rrt__scope *scope, const rrt__name *name)
{
    for (; scope; scope = scope->outer) {
        for (rrt__variable *v = scope->variables; v; v = v->next, run->work++)
            if (v->name == name && v->value.kind != RRT__VALUE_MISSING) return v;
    }
    return NULL;
}

rrt__scope *rrt__scope_hold(rrt__scope *scope)
{
    for (rrt__scope *s = scope; s && !s->is_held; s = s->outer) s->is_held = true;
    return scope;
}

rrt_status rrt__scope_again(rrt__run *run, rrt__scope **scope)
{
    rrt__scope *outer = (*scope)->outer;
    if (!(*scope)->is_held) {
        for (rrt__variable *v = (*scope)->variables; v; v = v->next) v->value = (rrt__value){0};
        return RRT_STATUS_OK;
    }
    RRT__TRY(rrt__pool_alloc(&run->pool, scope, 1, sizeof **scope, run->err));
    (*scope)->outer = outer;
    return RRT_STATUS_OK;
}

rrt_status rrt__scope_set(rrt__run *run, rrt__scope *scope, const rrt__name *name, rrt__value value)
{
    for (rrt__variable *v = scope->variables; v; v = v->next, run->work++) {
        if (v->name != name) continue;
        v->value = value;
        return RRT_STATUS_OK;
    }
    rrt__variable *fresh;
    RRT__TRY(rrt__pool_alloc(&run->pool, &fresh, 1, sizeof *fresh, run->err));
    *fresh = (rrt__variable){name, value, scope->variables};
    scope->variables = fresh;
    return RRT_STATUS_OK;
}
