// Chat templates: small ones as Jinja renders them (tools/make-template-golden.py), and what is our own: the
// marks of input, limits, refusals.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "template/template.h"
#include "test.h"

typedef struct variables {
    rrt__template_input inputs[64];
    size_t count;
} variables;

static variables variables_of(json_t *json)
{
    variables v = {0};
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value) v.inputs[v.count++] =
        (rrt__template_input){name, value, .word_key = "role"};
    return v;
}

static rrt_status render(const char *text, const variables *v, rrt__rendered *out, rrt_error *err)
{
    rrt__template *compiled;
    *out = (rrt__rendered){0};
    RRT__TRY(rrt__template_compile(&compiled, text, strlen(text), err));
    rrt_status status = rrt__template_render(compiled, v->inputs, v->count, 0, out, err);
    rrt__template_free(compiled);
    return status;
}

// What rrt refuses by name is no difference, but is counted: most of these are to be rendered.
static void templates_render_as_in_jinja(void **state)
{
    (void)state;
    rrt_error err = {0};
    json_t *golden, *entry;
    size_t i, refused = 0, wrong = 0;
    assert_ok(rrt__json_read(&golden, RRT_TEST_DATA "/templates.json", &err));
    const variables v = variables_of(json_object_get(golden, "variables"));
    json_t *cases = json_object_get(golden, "cases");
    json_array_foreach(cases, i, entry)
    {
        rrt__rendered out;
        const char *text = json_string_value(json_object_get(entry, "template"));
        const char *expected = json_string_value(json_object_get(entry, "text"));
        rrt_status status = render(text, &v, &out, &err);
        refused += expected && status == RRT_STATUS_UNSUPPORTED;
        bool fits = expected && !status ? strcmp(out.text.data, expected) == 0
                                        : status == RRT_STATUS_UNSUPPORTED || (!expected && status);
        if (!fits)
            print_error("%s\n    gives %s\n    not %s\n", text, status ? err.message : out.text.data,
                        expected ? expected : json_string_value(json_object_get(entry, "fails")));
        wrong += !fits;
        rrt__rendered_free(&out);
    }
    assert_int_equal(wrong, 0);
    assert_true(json_array_size(cases) > 600);
    assert_true(refused <= 12);
    json_decref(golden);
}

// A whole template with the constructs of today's models, in conversations with and without thinking and
// tools.
static void a_thinking_template_renders_as_in_jinja(void **state)
{
    (void)state;
    rrt_error err = {0};
    json_t *golden, *entry;
    rrt__string template = {0};
    size_t i, failing = 0;
    assert_ok(rrt__json_read(&golden, RRT_TEST_DATA "/templates.json", &err));
    assert_ok(rrt__file_read(&template, RRT_TEST_DATA "/thinking.jinja", &err));
    json_t *cases = json_object_get(golden, "thinking");
    json_array_foreach(cases, i, entry)
    {
        rrt__rendered out;
        const variables v = variables_of(json_object_get(entry, "variables"));
        const char *expected = json_string_value(json_object_get(entry, "text"));
        rrt_status status = render(template.data, &v, &out, &err);
        failing += !expected;
        if (expected && status) fail_msg("%zu: %s", i, err.message);
        if (expected) assert_string_equal(out.text.data, expected);
        if (!expected) assert_int_equal(status, RRT_STATUS_ARGUMENT);
        rrt__rendered_free(&out);
    }
    assert_true(i >= 60 && failing == 10);
    rrt__string_free(&template);
    json_decref(golden);
}

static void assert_refused(rrt_status expected, const char *what, const char *text)
{
    rrt_error err = {0};
    rrt__rendered out;
    const variables none = {0};
    assert_fails(expected, what, render(text, &none, &out, &err));
    rrt__rendered_free(&out);
}

// A template is somebody else's program: it ends, and takes no more than it may.
static void endless_and_huge_templates_are_stopped(void **state)
{
    (void)state;
    assert_refused(RRT_STATUS_UNSUPPORTED, "does not come to an end",
                   "{% set r = range(1000) %}{% for a in r %}{% for b in r %}{{ '' if 1000 in r }}{% endfor "
                   "%}{% endfor %}");
    assert_refused(
        RRT_STATUS_UNSUPPORTED, "8 MB",
        "{% set ns = namespace(t='x') %}{% for a in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "8 MB", "{{ 'abc' * 100000000 }}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "MB", "{{ [1, 2] * 1000000000 }}");
    assert_refused(
        RRT_STATUS_UNSUPPORTED, "MB",
        "{% set ns = namespace(t=[1]) %}{% for a in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "MB", "{{ 'a'.ljust(1000000000) }}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "levels", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "levels",
                   "{% set ns = namespace(t=[1]) %}{% for a in range(5000) %}{% set ns.t = [ns.t] %}{% "
                   "endfor %}{{ ns.t }}");
    assert_refused(
        RRT_STATUS_UNSUPPORTED, "levels",
        "{% set ns = namespace(t=[1]) %}{% for a in range(5000) %}{% set ns.t = [ns.t] %}{% endfor %}"
        "{{ ns.t | map(*(['map'] * 4000)) }}");
    char deep[4096] = "{{ ";
    memset(deep + 3, '(', 1000);
    memset(deep + 1003, ')', 1000);
    memcpy(deep + 2003, " }}", 4);
    assert_refused(RRT_STATUS_UNSUPPORTED, "in each other", deep);
    memset(deep + 3, '-', 1000);
    memcpy(deep + 1003, "1 }}", 5);
    assert_refused(RRT_STATUS_UNSUPPORTED, "in each other", deep);
}

static void unsupported_and_wrong_templates_are_refused(void **state)
{
    (void)state;
    assert_refused(RRT_STATUS_UNSUPPORTED, "line 3: the filter 'urlize'", "a\n\n{{ 'x' | urlize }}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "the tag 'import'", "{% import 'x' as y %}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "the test 'nice'", "{{ 1 is nice }}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "the method 'swapcase' of a str", "{{ 'x'.swapcase() }}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "recursive", "{% for x in [] recursive %}{% endfor %}");
    assert_refused(RRT_STATUS_UNSUPPORTED, "64 bits", "{{ 9223372036854775807 + 1 }}");
    assert_refused(RRT_STATUS_FORMAT, "line 2: }} is missing", "\n{{ 1");
    assert_refused(RRT_STATUS_FORMAT, "'y' is undefined", "{{ y.z }}");
    assert_refused(RRT_STATUS_FORMAT, "'dict' has no 'a'", "{{ {}.a.b }}");
    assert_refused(RRT_STATUS_ARGUMENT, "because", "{{ raise_exception('because') }}");
    assert_refused(RRT_STATUS_FORMAT, "UTF-8", "\xff");
}

// Text that grows piece by piece, as conversations do, costs what it is long.
static void text_can_grow_in_a_hundred_thousand_pieces(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__rendered out;
    const variables none = {0};
    assert_ok(render("{% set ns = namespace(t='') %}{% for a in range(100000) %}"
                     "{% set ns.t = ns.t + 'a piece of text' %}{% endfor %}{{ ns.t | length }}",
                     &none, &out, &err));
    assert_string_equal(out.text.data, "1500000");
    rrt__rendered_free(&out);
    // A shared beginning stays what it was.
    assert_ok(render("{% set a = 'x' ~ 'y' %}{% set b = a + '1' %}{% set c = a + '2' %}{{ a }}{{ b }}{{ c }}",
                     &none, &out, &err));
    assert_string_equal(out.text.data, "xyxy1xy2");
    rrt__rendered_free(&out);
}

static void input_and_replies_are_marked(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__rendered out;
    json_t *json = json_pack("{s:s}", "x", "in");
    const variables v = variables_of(json);
    assert_ok(render("a{{ x }}{% generation %}b{{ x | upper }}{% endgeneration %}{{ x[1:] ~ 'c' }}", &v, &out,
                     &err));
    assert_string_equal(out.text.data, "ainbINnc");
    assert_memory_equal(out.marks.data, "\0\1\1\2\3\3\1\0", 8);
    rrt__rendered_free(&out);
    json_decref(json);
}

// Every allocation that fails is an error, and nothing leaks.
static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__rendered out;
    const variables none = {0};
    rrt_status status = RRT_STATUS_MEMORY;
    for (long n = 0; status == RRT_STATUS_MEMORY; n++) {
        rrt__memory_fail_after = n;
        status = render("{% for x in range(2000) %}{{ x }}{{ {'a': [x]} | tojson }}{% endfor %}", &none, &out,
                        &err);
        rrt__memory_fail_after = -1;
        rrt__rendered_free(&out);
    }
    assert_ok(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render_as_in_jinja),
        cmocka_unit_test(a_thinking_template_renders_as_in_jinja),
        cmocka_unit_test(endless_and_huge_templates_are_stopped),
        cmocka_unit_test(unsupported_and_wrong_templates_are_refused),
        cmocka_unit_test(text_can_grow_in_a_hundred_thousand_pieces),
        cmocka_unit_test(input_and_replies_are_marked),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
