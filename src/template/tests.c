// The tests after `is`.
#include <string.h>

#include "template/template_inside.h"

#define KIND_TEST(name, expression)                                                                          \
    static rrt_status test_##name(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out) \
    {                                                                                                        \
        (void)run;                                                                                           \
        (void)a;                                                                                             \
        *out = expression;                                                                                   \
        return RRT_STATUS_OK;                                                                                \
    }

KIND_TEST(defined, self->kind != RRT__VALUE_UNDEFINED)
KIND_TEST(undefined, self->kind == RRT__VALUE_UNDEFINED)
KIND_TEST(none, self->kind == RRT__VALUE_NONE)
KIND_TEST(boolean, self->kind == RRT__VALUE_BOOL)
KIND_TEST(true, self->kind == RRT__VALUE_BOOL && self->truth)
KIND_TEST(false, self->kind == RRT__VALUE_BOOL && !self->truth)
KIND_TEST(integer, self->kind == RRT__VALUE_INT)
KIND_TEST(float, self->kind == RRT__VALUE_FLOAT)
KIND_TEST(number, rrt__is_number(self))
KIND_TEST(string, rrt__is_text(self))
KIND_TEST(mapping, self->kind == RRT__VALUE_DICT)
KIND_TEST(iterable, rrt__is_text(self) || rrt__is_sequence(self) || self->kind == RRT__VALUE_DICT ||
                        self->kind == RRT__VALUE_UNDEFINED || self->kind == RRT__VALUE_LOOP)
KIND_TEST(sequence, rrt__is_text(self) || (self->kind >= RRT__VALUE_LIST && self->kind <= RRT__VALUE_RANGE) ||
                        self->kind == RRT__VALUE_DICT || self->kind == RRT__VALUE_UNDEFINED)
KIND_TEST(callable, self->kind >= RRT__VALUE_LOOP ? self->kind != RRT__VALUE_CYCLER
                                                  : self->kind == RRT__VALUE_UNDEFINED)
KIND_TEST(escaped, self->is_markup)

static rrt_status compare(rrt__run *run, int op, const rrt__value *self, const rrt__arguments *a, bool *out)
{
    rrt__value other[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "a test", "other", 1, other));
    return rrt__compare(run, op, self, &other[0], out);
}

#define COMPARISON_TEST(name, op)                                                                            \
    static rrt_status test_##name(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out) \
    {                                                                                                        \
        return compare(run, op, self, a, out);                                                               \
    }

COMPARISON_TEST(eq, RRT__OP_EQUAL)
COMPARISON_TEST(ne, RRT__OP_UNEQUAL)
COMPARISON_TEST(lt, '<')
COMPARISON_TEST(gt, '>')
COMPARISON_TEST(le, RRT__OP_LESS_EQUAL)
COMPARISON_TEST(ge, RRT__OP_GREATER_EQUAL)
COMPARISON_TEST(in, RRT__OP_IN)

static rrt_status remainder_is(rrt__run *run, const rrt__value *self, const rrt__value *by, int64_t wanted,
                               bool *out)
{
    rrt__value rest;
    const rrt__value expected = rrt__int(wanted);
    RRT__TRY(rrt__binary(run, '%', self, by, &rest));
    return rrt__equal(run, &rest, &expected, out);
}

static rrt_status test_even(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out)
{
    (void)a;
    const rrt__value two = rrt__int(2);
    return remainder_is(run, self, &two, 0, out);
}

static rrt_status test_odd(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out)
{
    (void)a;
    const rrt__value two = rrt__int(2);
    return remainder_is(run, self, &two, 1, out);
}

static rrt_status test_divisibleby(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out)
{
    rrt__value by[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "divisibleby", "num", 1, by));
    return remainder_is(run, self, &by[0], 0, out);
}

// Whether the text has letters, all of the given case.
static rrt_status is_case(rrt__run *run, const rrt__value *self, rrt__case to, bool *out)
{
    rrt__value text, same, other;
    bool differs;
    RRT__TRY(rrt__str(run, self, &text));
    RRT__TRY(rrt__text_case(run, &text, to, &same));
    RRT__TRY(rrt__text_case(run, &text, to == RRT__CASE_LOWER ? RRT__CASE_UPPER : RRT__CASE_LOWER, &other));
    RRT__TRY(rrt__equal(run, &text, &same, out));
    RRT__TRY(rrt__equal(run, &text, &other, &differs));
    *out = *out && !differs;
    return RRT_STATUS_OK;
}

static rrt_status test_lower(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out)
{
    (void)a;
    return is_case(run, self, RRT__CASE_LOWER, out);
}

static rrt_status test_upper(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool *out)
{
    (void)a;
    return is_case(run, self, RRT__CASE_UPPER, out);
}

static const rrt__test tests[] = {
    {"!=", test_ne},
    {"<", test_lt},
    {"<=", test_le},
    {"==", test_eq},
    {">", test_gt},
    {">=", test_ge},
    {"boolean", test_boolean},
    {"callable", test_callable},
    {"defined", test_defined},
    {"divisibleby", test_divisibleby},
    {"eq", test_eq},
    {"equalto", test_eq},
    {"escaped", test_escaped},
    {"even", test_even},
    {"false", test_false},
    {"float", test_float},
    {"ge", test_ge},
    {"greaterthan", test_gt},
    {"gt", test_gt},
    {"in", test_in},
    {"integer", test_integer},
    {"iterable", test_iterable},
    {"le", test_le},
    {"lessthan", test_lt},
    {"lower", test_lower},
    {"lt", test_lt},
    {"mapping", test_mapping},
    {"ne", test_ne},
    {"none", test_none},
    {"number", test_number},
    {"odd", test_odd},
    {"sequence", test_sequence},
    {"string", test_string},
    {"true", test_true},
    {"undefined", test_undefined},
    {"upper", test_upper},
};

const rrt__test *rrt__test_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (strlen(tests[i].name) == length && memcmp(tests[i].name, name, length) == 0) return &tests[i];
    return NULL;
}
