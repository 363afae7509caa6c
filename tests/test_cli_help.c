// Help as it is read: short lines that stand alone, one spelling for the same option in all verbs, and
// examples that are no usage errors.
#include "base/options.h"
#include "cli.h"

static const char *const verbs[] = {"",           "generate", "chat",     "serve",    "convert",
                                    "train",      "teach",    "report",   "quantize", "export",
                                    "inspect",    "eval",     "eval ppl", "eval kl",  "eval exits",
                                    "eval tasks", "bench",    "simulate", "tokenize", "logits"};
enum { VERBS = sizeof verbs / sizeof *verbs };

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

static size_t count_characters(const char *line)
{
    size_t count = 0;
    for (; *line; line++) count += ((unsigned char)*line & 0xc0) != 0x80;
    return count;
}

// Help of a verb, to be taken apart. Owned by the caller.
static char *read_help(const char *verb)
{
    result *r = run("help %s", verb);
    assert_int_equal(r->code, 0);
    assert_int_equal(r->err.length, 0);
    return strdup(r->out.data);
}

static void lines_of_help_are_short_and_stand_alone(void **state)
{
    (void)state;
    for (int i = 0; i < VERBS; i++) {
        char *help = read_help(verbs[i]), *rest = help;
        bool has_example = false;
        assert_non_null(strstr(help, "usage: rrt "));
        for (char *line; (line = strsep(&rest, "\n"));) {
            if (count_characters(line) > RRT__HELP_COLUMNS)
                fail_msg("rrt help %s: more than %d characters: %s", verbs[i], RRT__HELP_COLUMNS, line);
            size_t length = strlen(line);
            if (length && line[length - 1] == ' ')
                fail_msg("rrt help %s: ends in a space: %s", verbs[i], line);
            if (strstr(line, "  the same "))
                fail_msg("rrt help %s: does not stand alone: %s", verbs[i], line);
            has_example |=
                strstr(line, "  rrt ") == line || strstr(line, "| rrt ") || strstr(line, "secret rrt ");
        }
        if (!has_example) fail_msg("rrt help %s: no example", verbs[i]);
        free(help);
    }
}

static void help_can_be_asked_for_in_any_way(void **state)
{
    (void)state;
    for (int i = 0; i < VERBS; i++) {
        char *help = read_help(verbs[i]);
        result *r = run("%s --help", verbs[i]);
        assert_int_equal(r->code, 0);
        assert_string_equal(r->out.data, help);
        free(help);
    }
    assert_error(2, "did you mean 'generate'?", "help generat");
}

// "  -m, --model MODEL  …": the letter and the name behind it.
typedef struct spelling {
    char letter;
    char name[64];
} spelling;

static bool parse_option(const char *line, spelling *s)
{
    return sscanf(line, "  -%c, --%63[a-z0-9-]", &s->letter, s->name) == 2;
}

// What llama-bench's users know: counts, where elsewhere there are texts.
static bool is_of_bench(const char *name)
{
    return strcmp(name, "n-prompt") == 0 || strcmp(name, "n-gen") == 0;
}

static void a_letter_means_one_option_in_all_verbs(void **state)
{
    (void)state;
    spelling known[128] = {0}, s;
    for (int i = 0; i < VERBS; i++) {
        char *help = read_help(verbs[i]), *rest = help;
        for (char *line; (line = strsep(&rest, "\n"));) {
            if (!parse_option(line, &s) || is_of_bench(s.name)) continue;
            spelling *before = &known[s.letter & 127];
            if (before->letter && strcmp(before->name, s.name) != 0)
                fail_msg("rrt help %s: -%c is --%s, elsewhere --%s", verbs[i], s.letter, s.name,
                         before->name);
            *before = s;
        }
        free(help);
    }
    assert_string_equal(known['o'].name, "out");
    assert_string_equal(known['n'].name, "max-tokens");
}

// They fail, as there are no such models, but are understood.
static void examples_are_understood(void **state)
{
    (void)state;
    char command[16384], folder[4096];
    snprintf(folder, sizeof folder, "%s", getenv("RRT_BINARY"));
    *strrchr(folder, '/') = '\0';
    for (int i = 0; i < VERBS; i++) {
        char *help = read_help(verbs[i]), *at = strstr(help, "Examples:\n") + strlen("Examples:\n");
        for (char *line; (line = strsep(&at, "\n"));) {
            if (!*line) continue;
            snprintf(command, sizeof command,
                     "cd %s && export PATH=%s:$PATH && { %s\n} >out 2>err </dev/null", workspace, folder,
                     line);
            int status = system(command);
            assert_true(WIFEXITED(status));
            if (WEXITSTATUS(status) == 1) continue;
            result r = {0};
            read_back(&r.err, "err");
            fail_msg("%s: exit code %d: %s", line, WEXITSTATUS(status), r.err.data);
        }
        free(help);
    }
}

static void a_misspelt_word_gets_a_suggestion(void **state)
{
    (void)state;
    assert_error(2, "did you mean 'quantize'?", "quantise");
    assert_error(2, "rrt help lists the verbs", "dance");
    assert_error(2, "did you mean '--max-tokens'?", "generate --max-token 3");
    assert_error(2, "did you mean '--temp'?", "generate --temperature=3");
    assert_error(2, "--help lists the options", "generate --colour 3");
}

static void the_version_says_what_is_built_in(void **state)
{
    (void)state;
    result *r = run("--version");
    assert_int_equal(r->code, 0);
    assert_int_equal(strncmp(r->out.data, "rrt " RRT_VERSION " (kernels: ", strlen("rrt " RRT_VERSION)), 0);
    assert_non_null(strstr(r->out.data, "\nserver: "));
    assert_non_null(strstr(r->out.data, "\nline editing: "));
}

int main(void)
{
    if (!getenv("RRT_BINARY")) {
        fprintf(stderr, "skipped: RRT_BINARY does not name the program to test\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_help_are_short_and_stand_alone),
        cmocka_unit_test(help_can_be_asked_for_in_any_way),
        cmocka_unit_test(a_letter_means_one_option_in_all_verbs),
        cmocka_unit_test(examples_are_understood),
        cmocka_unit_test(a_misspelt_word_gets_a_suggestion),
        cmocka_unit_test(the_version_says_what_is_built_in),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
