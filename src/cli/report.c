#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/page.h"
#include "cli/cli.h"

int rrt__cli_report(int argc, char **argv)
{
    enum { MAX_RUNS = 64 };
    const char *out = NULL;
    bool force = false;
    char *runs[MAX_RUNS] = {0};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Output"),
        {'o', "out", "PAGE", RRT__OPTION_STRING, &out, 0, 0, "the page to write, e.g. runs.html"},
        {0, "force", NULL, RRT__OPTION_FLAG, &force, 0, 0, "replace PAGE also where report did not write it"},
    };
    const rrt__cli_usage usage = {
        .line = "rrt report RUN… -o page.html",
        .about =
            "Draws the curves of training runs (folders that rrt train wrote) in one self-contained page.",
        .examples = "rrt report run -o run.html\n"
                    "rrt report first second third -o compare.html",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .positional = MAX_RUNS,
        .optional = MAX_RUNS - 1};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_status status;
    size_t n_runs = 0;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, runs, &err));
    if (!out) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "-o PAGE is missing"));
    force = force || rrt__page_is_ours(out, rrt__page_report, rrt__page_report_bytes);
    while (n_runs < MAX_RUNS && runs[n_runs]) n_runs++;
    for (size_t i = 0; i < n_runs; i++) {
        char log[4096];
        RRT__GOTO(rrt__path_join(log, runs[i], "log.jsonl", &err));
        RRT__GOTO(rrt__cli_check_destination(out, force, log, &err));
    }
    RRT__GOTO(rrt_train_report((const char *const *)runs, n_runs, out, force, &err));
    if (common.json)
        RRT__GOTO(rrt__cli_print_json(
            json_pack("{s:o, s:I}", "page", rrt__json_text(out, strlen(out)), "runs", (json_int_t)n_runs),
            &err));
    else
        printf("%s: curves of %zu run%s\n", out, n_runs, n_runs == 1 ? "" : "s");
done:
    return rrt__cli_finish(status, &err);
}
