#include <stdio.h>

#include "cli/cli.h"

int rrt__cli_quantize(int argc, char **argv)
{
    bool force = false;
    rrt__cli_model which = {0};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Output"),
        {0, "force", NULL, RRT__OPTION_FLAG, &force, 0, 0, "replace DST.gguf if it exists"},
        RRT__OPTION_GROUP("Model"),
        RRT__CLI_LOOPS_ROWS(&which),
    };
    const rrt__cli_usage usage = {
        .line = "rrt quantize SRC DST.gguf TYPE",
        .about =
            "Writes a model into one file that is mapped and used as it is stored. TYPE is that of the "
            "layers' matrices: q8_0 (8.5 bits per weight), q6_0 (6.5), q4_1 (5) or q4_0 (4.5). Beside a "
            "4-bit type "
            "embedding, head, LoRA, prelude and coda become q6_0 (6.5), and what more than 4 loops share "
            "stays q8_0.",
        .examples = "rrt quantize recursive recursive-q8_0.gguf q8_0\n"
                    "rrt quantize model.gguf model-q4_1.gguf q4_1 --force",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .positional = 3};
    rrt_error err = {0};
    rrt__cli_common common;
    char *paths[3];
    rrt_model *model = NULL, *result = NULL;
    rrt_model_info info, source;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, paths, &err));
    rrt_quantize_options quantize = {paths[2], force, common.threads, rrt__cli_progress()};
    RRT__GOTO(rrt__cli_check_gguf_name(paths[1], &err));
    RRT__GOTO(rrt__cli_check_destination(paths[1], force, paths[0], &err));
    rrt__cli_catch_signals();
    which.path = paths[0];
    RRT__GOTO(rrt__cli_open_deferred(&model, &which, &err));
    RRT__GOTO(rrt_model_quantize(model, paths[1], &quantize, &err));
    RRT__GOTO(rrt_model_open_deferred(&result, paths[1], NULL, &err));
    rrt_model_describe(model, &source);
    rrt_model_describe(result, &info);
    if (common.json)
        RRT__GOTO(rrt__cli_print_json(json_pack("{s:s, s:s, s:I}", "path", paths[1], "type", paths[2],
                                                "file_bytes", (json_int_t)info.file_bytes),
                                      &err));
    else
        printf("%s: %s, %.2f bits per parameter (%s before)\n", paths[1], rrt__cli_bytes(info.file_bytes),
               8 * (double)info.file_bytes / (double)info.params_total, rrt__cli_bytes(source.file_bytes));
done:
    rrt_model_close(result);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
