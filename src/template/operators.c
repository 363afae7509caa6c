// Arithmetic and comparisons with Python's semantics; whole numbers have 64 bits, and larger ones
// are refused.
#include <math.h>
#include <string.h>

#include "template/template_inside.h"

rrt_status rrt__escape(rrt__run *run, const rrt__value *text, rrt__value *out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const char *data = rrt__text_data(text);
    *out = *text;
    if (text->is_markup) return RRT_STATUS_OK;
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    for (size_t i = 0; i < text->text.length; i++) {
        const char *found = data[i] ? strchr(from, data[i]) : NULL;
        RRT__TRY(rrt__text_append_bytes(run, out, found ? to[found - from] : data + i,
                                        found ? strlen(to[found - from]) : 1, rrt__text_mark(text, i)));
    }
    out->is_markup = true;
    return RRT_STATUS_OK;
}

static rrt_status fail_types(rrt__run *run, int op, const rrt__value *a, const rrt__value *b)
{
    RRT__TRY(rrt__check_defined(run, a));
    RRT__TRY(rrt__check_defined(run, b));
    const char *name = op == RRT__OP_POWER ? "**" : op == RRT__OP_FLOOR_DIVIDE ? "//" : (char[]){(char)op, 0};
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' between a %s and a %s", name, rrt__type_name(a),
                         rrt__type_name(b));
}

static rrt_status fail_long(rrt__run *run)
{
    return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a whole number of more than 64 bits");
}

static rrt_status fail_zero(rrt__run *run)
{
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "a division by zero");
}

static rrt_status whole_power(rrt__run *run, int64_t base, int64_t exponent, rrt__value *out)
{
    int64_t result = 1;
    if (exponent < 0) {
        if (base == 0) return fail_zero(run);
        *out = rrt__float(pow((double)base, (double)exponent));
        return RRT_STATUS_OK;
    }
    if (base == 1 || base == -1 || base == 0) {
        *out = rrt__int(exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base);
        return RRT_STATUS_OK;
    }
    for (; exponent; exponent--)
        if (__builtin_mul_overflow(result, base, &result)) return fail_long(run);
    *out = rrt__int(result);
    return RRT_STATUS_OK;
}

static rrt_status whole_binary(rrt__run *run, int op, int64_t a, int64_t b, rrt__value *out)
{
    int64_t result = 0;
    bool overflows = false;
    if (op == RRT__OP_POWER) return whole_power(run, a, b, out);
    if (b == 0 && (op == '/' || op == '%' || op == RRT__OP_FLOOR_DIVIDE)) return fail_zero(run);
    if (op == '/') {
        *out = rrt__float((double)a / (double)b);
        return RRT_STATUS_OK;
    }
    if (b == -1 && a == INT64_MIN) return fail_long(run);
    if (op == '+') overflows = __builtin_add_overflow(a, b, &result);
    if (op == '-') overflows = __builtin_sub_overflow(a, b, &result);
    if (op == '*') overflows = __builtin_mul_overflow(a, b, &result);
    if (op == RRT__OP_FLOOR_DIVIDE) result = a / b - (a % b != 0 && (a < 0) != (b < 0));
    if (op == '%') result = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
    if (overflows) return fail_long(run);
    *out = rrt__int(result);
    return RRT_STATUS_OK;
}

static rrt_status real_binary(rrt__run *run, int op, double a, double b, rrt__value *out)
{
    if (b == 0 && (op == '/' || op == '%' || op == RRT__OP_FLOOR_DIVIDE)) return fail_zero(run);
    double rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
    switch (op) {
    case '+':
        a += b;
        break;
    case '-':
        a -= b;
        break;
    case '*':
        a *= b;
        break;
    case '/':
        a /= b;
        break;
    case '%':
        a = rest;
        break;
    case RRT__OP_FLOOR_DIVIDE:
        a = floor((a - rest) / b + 0.5);
        break;
    default:
        if ((a == 0 && b < 0) || (a < 0 && b != floor(b)))
            return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a power that is no real number");
        a = pow(a, b);
        break;
    }
    *out = rrt__float(a);
    return RRT_STATUS_OK;
}

static rrt_status add_text(rrt__run *run, const rrt__value *a, const rrt__value *b, rrt__value *out)
{
    rrt__value escaped = *b;
    *out = *a;
    if (a->is_markup && !b->is_markup) RRT__TRY(rrt__escape(run, b, &escaped));
    if (b->is_markup && !a->is_markup) RRT__TRY(rrt__escape(run, a, out));
    return rrt__text_append(run, out, &escaped);
}

static rrt_status add_lists(rrt__run *run, const rrt__value *a, const rrt__value *b, rrt__value *out)
{
    RRT__TRY(rrt__value_list_new(run, a->kind, a->sequence->count + b->sequence->count, out));
    for (size_t i = 0; i < a->sequence->count; i++)
        RRT__TRY(rrt__value_list_add(run, out, a->sequence->items[i]));
    for (size_t i = 0; i < b->sequence->count; i++)
        RRT__TRY(rrt__value_list_add(run, out, b->sequence->items[i]));
    return RRT_STATUS_OK;
}

static rrt_status repeat(rrt__run *run, const rrt__value *what, int64_t times, rrt__value *out)
{
    if (rrt__is_text(what)) {
        RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
        out->is_markup = what->is_markup;
        if (!what->text.length || times <= 0) return RRT_STATUS_OK;
        RRT__TRY(rrt__text_append(run, out, what));
        for (int64_t done = 1; done < times;) { // copies the existing part again, up to the wanted length
            int64_t more = times - done < done ? times - done : done;
            const rrt__value piece = rrt__text_slice(out, 0, (size_t)more * what->text.length);
            RRT__TRY(rrt__text_append(run, out, &piece));
            done += more;
        }
        return RRT_STATUS_OK;
    }
    RRT__TRY(rrt__value_list_new(run, what->kind, 0, out));
    for (int64_t i = 0; what->sequence->count && i < times; i++)
        for (size_t k = 0; k < what->sequence->count; k++)
            RRT__TRY(rrt__value_list_add(run, out, what->sequence->items[k]));
    return RRT_STATUS_OK;
}

static bool repeats(const rrt__value *value)
{
    return rrt__is_text(value) || value->kind == RRT__VALUE_LIST || value->kind == RRT__VALUE_TUPLE;
}

rrt_status rrt__binary(rrt__run *run, int op, const rrt__value *a, const rrt__value *b, rrt__value *out)
{
    if (rrt__is_whole(a) && rrt__is_whole(b)) return whole_binary(run, op, rrt__whole(a), rrt__whole(b), out);
    if (rrt__is_number(a) && rrt__is_number(b)) return real_binary(run, op, rrt__real(a), rrt__real(b), out);
    if (op == '%' && rrt__is_text(a)) return rrt__format_percent(run, a, b, out);
    if (op == '+' && rrt__is_text(a) && rrt__is_text(b)) return add_text(run, a, b, out);
    if (op == '+' && a->kind == b->kind && (a->kind == RRT__VALUE_LIST || a->kind == RRT__VALUE_TUPLE))
        return add_lists(run, a, b, out);
    if (op == '*' && repeats(a) && rrt__is_whole(b)) return repeat(run, a, rrt__whole(b), out);
    if (op == '*' && repeats(b) && rrt__is_whole(a)) return repeat(run, b, rrt__whole(a), out);
    return fail_types(run, op, a, b);
}

// --- comparisons ----------------------------------------------------------------------------------------

rrt_status rrt__contains(rrt__run *run, const rrt__value *in, const rrt__value *item, bool *out)
{
    *out = false;
    if (rrt__is_text(in)) {
        if (!rrt__is_text(item)) {
            RRT__TRY(rrt__check_defined(run, item));
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "a %s in a str", rrt__type_name(item));
        }
        RRT__TRY(rrt__work(run, in->text.length));
        *out = rrt__text_find(in, item, 0) != SIZE_MAX;
        return RRT_STATUS_OK;
    }
    if (in->kind == RRT__VALUE_DICT) {
        rrt__value *member;
        RRT__TRY(rrt__dict_find(run, in->dict, item, &member));
        *out = member != NULL;
        return RRT_STATUS_OK;
    }
    rrt__value_list items;
    RRT__TRY(rrt__items_of(run, in, &items));
    for (size_t i = 0; !*out && i < items.count; i++) RRT__TRY(rrt__equal(run, &items.items[i], item, out));
    return RRT_STATUS_OK;
}

rrt_status rrt__compare(rrt__run *run, int op, const rrt__value *a, const rrt__value *b, bool *out)
{
    bool same = false;
    switch (op) {
    case RRT__OP_EQUAL:
        return rrt__equal(run, a, b, out);
    case RRT__OP_UNEQUAL:
        RRT__TRY(rrt__equal(run, a, b, out));
        *out = !*out;
        return RRT_STATUS_OK;
    case RRT__OP_IN:
        return rrt__contains(run, b, a, out);
    case RRT__OP_NOT_IN:
        RRT__TRY(rrt__contains(run, b, a, out));
        *out = !*out;
        return RRT_STATUS_OK;
    case '<':
        return rrt__less(run, a, b, out);
    case '>':
        return rrt__less(run, b, a, out);
    default:
        RRT__TRY(op == RRT__OP_LESS_EQUAL ? rrt__less(run, a, b, out) : rrt__less(run, b, a, out));
        if (!*out) RRT__TRY(rrt__equal(run, a, b, &same));
        *out = *out || same;
        return RRT_STATUS_OK;
    }
}
