// What the tests of the command line share: rrt as a shell would run it, in a temporary folder, and what it
// leaves on stdout and stderr.
#ifndef RRT__TEST_CLI_H
#define RRT__TEST_CLI_H

#include <sys/wait.h>

#include "models.h"

static char workspace[64]; // a temporary folder

typedef struct result {
    int code;
    rrt__string out, err;
} result;

static inline void read_back(rrt__string *text, const char *name)
{
    rrt_error err = {0};
    char path[4096];
    assert_ok(rrt__path_join(path, workspace, name, &err));
    text->length = 0;
    assert_ok(rrt__file_read(text, path, &err));
}

// Runs rrt with these arguments, as a shell would. The result lives until the next run.
static inline result *run(const char *format, ...) RRT__PRINTF(1, 2);
static inline result *run(const char *format, ...)
{
    static result r;
    char arguments[4096], command[8192];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    snprintf(command, sizeof command, "cd %s && %s >out 2>err %s", workspace, getenv("RRT_BINARY"),
             arguments);
    int status = system(command);
    if (!WIFEXITED(status)) fail_msg("rrt %s died", arguments);
    r.code = WEXITSTATUS(status);
    read_back(&r.out, "out");
    read_back(&r.err, "err");
    return &r;
}

// Exit code, and one line on stderr that says what and where; stdout stays empty.
#define assert_error(expected_code, what, ...)                                                               \
    do {                                                                                                     \
        result *r_ = run(__VA_ARGS__);                                                                       \
        if (r_->code != (expected_code))                                                                     \
            fail_msg("exit code %d, not %d: %s", r_->code, expected_code, r_->err.data);                     \
        assert_int_equal(r_->out.length, 0);                                                                 \
        if (strncmp(r_->err.data, "rrt: ", 5) != 0 || !strstr(r_->err.data, what))                           \
            fail_msg("'%s' is not in: %s", what, r_->err.data);                                              \
        char *end_ = strchr(r_->err.data, '\n');                                                             \
        if (!end_ || end_[1]) fail_msg("not one line: %s", r_->err.data);                                    \
    } while (0)

// Runs with --json: the object is all that is printed. Owned by the caller.
static inline json_t *run_json(const char *format, ...) RRT__PRINTF(1, 2);
static inline json_t *run_json(const char *format, ...)
{
    rrt_error err = {0};
    json_t *json;
    char arguments[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    result *r = run("%s --json -t 1", arguments);
    if (r->code != 0 || r->err.length != 0)
        fail_msg("rrt %s: exit code %d: %s", arguments, r->code, r->err.data);
    assert_ok(rrt__json_parse(&json, r->out.data, r->out.length, &err));
    return json;
}

static inline void assert_number(const json_t *json, const char *key, double expected, double tolerance)
{
    if (!json_is_number(json_object_get(json, key))) fail_msg("\"%s\" is missing", key);
    assert_near(json_number_value(json_object_get(json, key)), expected, tolerance);
}

static inline const char *golden_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "'%s/models/%s'", RRT_TEST_DATA, name);
    return path;
}

static inline bool is_there(const char *name)
{
    char path[4096];
    return !rrt__path_join(path, workspace, name, NULL) && rrt__path_exists(path);
}

static inline void write_text(const char *name, const char *text)
{
    rrt_error err = {0};
    char path[4096];
    assert_ok(rrt__path_join(path, workspace, name, &err));
    assert_ok(rrt__file_write(path, text, strlen(text), &err));
}

#endif
