#include <stdio.h>

#include "cli/cli.h"

static rrt_status print_row(const rrt_bench_options *o, const rrt_bench_result *r, bool json, rrt_error *err)
{
    if (json)
        return rrt__cli_print_json(json_pack("{s:[{s:s, s:I, s:f, s:f, s:I}]}", "rows", "test", "train",
                                             "batch", (json_int_t)o->batch, "tokens_per_s_mean",
                                             r->tokens_per_s_mean, "tokens_per_s_std", r->tokens_per_s_std,
                                             "peak_rss_bytes", (json_int_t)r->peak_rss_bytes),
                                   err);
    printf("%-8s %6s %20s %12s\n", "test", "batch", "tokens/s", "peak memory");
    printf("%-8s %6zu %12.1f ± %5.1f %12s\n", "train", o->batch, r->tokens_per_s_mean, r->tokens_per_s_std,
           rrt__cli_bytes(r->peak_rss_bytes));
    return RRT_STATUS_OK;
}

int rrt__cli_bench(int argc, char **argv)
{
    const char *path = NULL, *teacher_path = NULL;
    bool train = false, match = false, recompute = false, bf16 = false;
    rrt_bench_options bench = {.repeats = 5, .batch = 4, .progress = rrt__cli_progress()};
    const rrt__option options[] = {
        {'m', "model", "MODEL", RRT__OPTION_STRING, &path, 0, 0, "the model"},
        {0, "train", NULL, RRT__OPTION_FLAG, &train, 0, 0, "measure a training step"},
        {'b', "batch", "N", RRT__OPTION_SIZE, &bench.batch, 1, 65536, "sequences at a time (default 4)"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &bench.context, 2, 1 << 24, "tokens of each (default 512)"},
        {'r', "repeats", "N", RRT__OPTION_INT, &bench.repeats, 1, 10000, "steps that are timed (default 5)"},
        {0, "teacher", "MODEL", RRT__OPTION_STRING, &teacher_path, 0, 0,
         "training: distil from it (default: cross-entropy)"},
        {0, "match", NULL, RRT__OPTION_FLAG, &match, 0, 0, "training: layer matching with the teacher"},
        {0, "bf16", NULL, RRT__OPTION_FLAG, &bf16, 0, 0,
         "with --train: products in bfloat16, where the processor can"},
        {0, "recompute", NULL, RRT__OPTION_FLAG, &recompute, 0, 0,
         "training: less memory, activations are made again"},
    };
    const rrt__cli_usage usage = {"rrt bench -m MODEL --train", "Speed of a model on this machine.", options,
                                  sizeof options / sizeof *options, 0};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_model *model = NULL, *teacher = NULL;
    rrt_bench_result result;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    bench.threads = common.threads;
    bench.recompute = recompute;
    bench.bf16 = bf16;
    bench.match = match;
    if (!train) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "bench what? Training so far: --train"));
    RRT__GOTO(rrt__cli_open_model(&model, path, &err));
    if (teacher_path) RRT__GOTO(rrt_model_open(&teacher, teacher_path, rrt__cli_progress(), &err));
    bench.teacher = teacher;
    RRT__GOTO(rrt_bench_train(model, &bench, &result, &err));
    RRT__GOTO(print_row(&bench, &result, common.json, &err));
done:
    rrt_model_close(model);
    rrt_model_close(teacher);
    return rrt__cli_finish(status, &err);
}
