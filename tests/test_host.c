// The host that rrt runs on: control groups, limits of the shell, the locale of the program that uses the
// library.
#include <locale.h>
#include <sched.h>
#include <sys/stat.h>

#include "base/control_group.h"
#include "base/cores.h"
#include "cli.h"
#include "pass/exit.h"
#include "template/template.h"
#include "train/log.h"

// --- control groups

// unit: of a service, in a slice.
static const char *const groups[] = {"", "slice", "slice/unit"};

static void write_limits(const char *name, const char *const values[3])
{
    for (int i = 0; i < 3; i++) {
        char path[256];
        snprintf(path, sizeof path, "groups/%s/%s", groups[i], name);
        if (values[i]) write_text(path, values[i]);
    }
}

static void control_groups_limit_processors_and_memory(void **state)
{
    (void)state;
    char mount[128], own[128], path[256];
    snprintf(mount, sizeof mount, "%s/groups", workspace);
    snprintf(own, sizeof own, "%s/own", workspace);
    const char *const before[] = {rrt__control_group_mount, rrt__control_group_of_process};
    rrt__control_group_mount = mount;
    rrt__control_group_of_process = own;
    assert_int_equal(rrt__control_group_processors(), 0);
    assert_true(rrt__control_group_memory() == SIZE_MAX);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", mount, groups[i]);
        mkdir(path, 0700);
    }
    write_text("own", "4:memory:/elsewhere\n0::/slice/unit\n");
    write_limits("cpu.max", (const char *const[]){NULL, "150000 100000\n", "max 100000\n"});
    write_limits("memory.max", (const char *const[]){NULL, "5000\n", "max\n"});
    write_limits("memory.current", (const char *const[]){"9000\n", "2000\n", "1000\n"});
    assert_int_equal(rrt__control_group_processors(), 2);
    assert_int_equal(rrt__control_group_memory(), 3000);
    write_limits("cpu.max", (const char *const[]){NULL, "max 100000\n", "50000 100000\n"});
    write_limits("memory.max", (const char *const[]){NULL, "5000\n", "700\n"});
    assert_int_equal(rrt__control_group_processors(), 1);
    assert_int_equal(rrt__control_group_memory(), 0);
    write_limits("cpu.max", (const char *const[]){"", "nonsense", "1 0"});
    assert_int_equal(rrt__control_group_processors(), 0);
    rrt__control_group_mount = before[0];
    rrt__control_group_of_process = before[1];
}

// Two hardware threads of one core count once, as far as the process may run on both.
static void hardware_threads_of_a_core_count_once(void **state)
{
    (void)state;
    char folder[128], path[256];
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    int all = CPU_COUNT(&allowed), last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &allowed)) last--;
    snprintf(folder, sizeof folder, "%s/processors", workspace);
    const char *before = rrt__cores_folder;
    rrt__cores_folder = folder; // nothing is known of any
    assert_int_equal(rrt__cores(), all);
    snprintf(path, sizeof path, "mkdir -p %s/cpu%d/topology", folder, last);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "processors/cpu%d/topology/thread_siblings_list", last);
    char siblings[64];
    snprintf(siblings, sizeof siblings, "0-%d\n", last);
    write_text(path, siblings); // the last one is a thread of a core that came before, where there is one
    assert_int_equal(rrt__cores(), all > 1 ? all - 1 : 1);
    rrt__cores_folder = before;
}

// --- limits of the shell

// rrt under `ulimit …`.
static void limit(const char *what)
{
    static char binary[4096];
    char script[8192], path[128];
    if (!*binary) snprintf(binary, sizeof binary, "%s", getenv("RRT_BINARY"));
    snprintf(script, sizeof script, "#!/bin/sh\nulimit %s || exit 99\nexec %s \"$@\"\n", what, binary);
    write_text("limited", script);
    snprintf(path, sizeof path, "%s/limited", workspace);
    assert_int_equal(chmod(path, 0700), 0);
    setenv("RRT_BINARY", what[0] ? path : binary, 1);
}

static void small_stacks_are_enough(void **state)
{
    (void)state;
    const char *model = golden_path("llama");
    write_text("text.txt", "the cat sat on the mat and the dog sat on the cat and so on and on and on\n");
    limit("-s 512");
    const char *const commands[] = {
        "generate -m %s -p 'the cat' -n 3 -t 2", "eval ppl -m %s -f text.txt -c 8 -t 2",
        "convert %s recursive --loops 2 --rank 2 --force -t 2", "quantize %s q.gguf q8_0 --force -t 2",
        "train %s -o run --data text.txt --tokens 64 --ctx 8 --batch 2 --bf16 --force -t 2"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char arguments[4096];
        snprintf(arguments, sizeof arguments, commands[i], model);
        result *r = run("%s", arguments);
        if (r->code) fail_msg("%s: exit code %d: %s", arguments, r->code, r->err.data);
    }
    limit("");
}

static void a_file_over_the_shells_limit_is_not_left_behind(void **state)
{
    (void)state;
    limit("-f 8");
    assert_error(1, "File too large", "quantize %s small.gguf q8_0 -t 1", golden_path("llama"));
    char path[128];
    snprintf(path, sizeof path, "%s/small.gguf", workspace);
    assert_int_equal(access(path, F_OK), -1);
    limit("");
}

// --- a decimal comma

// False where the locale's sources are missing.
static bool use_comma(void)
{
    char command[512];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 2>/dev/null", workspace);
    if (system(command) != 0) return false;
    setenv("LOCPATH", workspace, 1);
    return setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
}

static void a_decimal_comma_changes_no_number(void **state)
{
    (void)state;
    if (!use_comma()) {
        print_message("skipped: no localedef with a locale that has a decimal comma\n");
        skip();
    }
    char shown[16], path[128];
    snprintf(shown, sizeof shown, "%.1f", 0.5);
    assert_string_equal(shown, "0,5");

    rrt_error err = {0};
    rrt_model *model = open_golden("neox");
    rrt__exit_rule rule;
    assert_fails(
        RRT_STATUS_UNSUPPORTED, "",
        rrt__exit_rule_parse(&rule, "confidence:0.5", model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    assert_fails(
        RRT_STATUS_ARGUMENT, "from 0 to 1",
        rrt__exit_rule_parse(&rule, "confidence:0,5", model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    rrt_model_close(model);

    json_t *json = json_pack("{s:f}", "x", 0.5), *back;
    snprintf(path, sizeof path, "%s/x.json", workspace);
    assert_ok(rrt__json_write(json, path, &err));
    assert_ok(rrt__json_read(&back, path, &err));
    assert_true(json_equal(json, back));
    json_decref(json);
    json_decref(back);

    rrt__template *compiled;
    rrt__rendered rendered;
    const char *text = "{{ 0.5 }} {{ '%.2f' | format(1.25) }} {{ '0.5' | float }}";
    assert_ok(rrt__template_compile(&compiled, text, strlen(text), &err));
    assert_ok(rrt__template_render(compiled, NULL, 0, 0, &rendered, &err));
    assert_string_equal(rendered.text.data, "0.5 1.25 0.5");
    rrt__rendered_free(&rendered);
    rrt__template_free(compiled);

    rrt__log log;
    assert_ok(rrt__log_open(&log, workspace, 0, &err));
    assert_ok(rrt__log_write(&log, &(rrt__log_row){.step = 1, .loss = 2.5}, &err));
    assert_ok(rrt__log_close(&log, &err));
    rrt__string csv = {0};
    read_back(&csv, "log.csv");
    assert_non_null(strstr(csv.data, "1,0,2.500000,0.000000,"));
    read_back(&csv, "log.jsonl");
    assert_non_null(strstr(csv.data, "\"loss\":2.5,"));
    rrt__string_free(&csv);
    setlocale(LC_NUMERIC, "C");
}

static int set_up(void **state)
{
    (void)state;
    temp_folder(workspace);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(workspace);
    return 0;
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_groups_limit_processors_and_memory),
        cmocka_unit_test(hardware_threads_of_a_core_count_once),
        cmocka_unit_test(small_stacks_are_enough),
        cmocka_unit_test(a_file_over_the_shells_limit_is_not_left_behind),
        cmocka_unit_test(a_decimal_comma_changes_no_number),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
