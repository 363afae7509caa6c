#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

int rrt__cli_export(int argc, char **argv)
{
    static const char *const formats[] = {"hf", "peft", "gguf"}, *const dtypes[] = {"f32", "bf16", "f16"};
    rrt_export_options export = {0};
    rrt__cli_model which = {0};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Output"),
        {0, "to", "FORMAT", RRT__OPTION_STRING, &export.format, 0, 0,
         "hf (Hugging Face folder), peft (LoRA adapter) or gguf (one file for llama.cpp)"},
        {0, "dtype", "TYPE", RRT__OPTION_STRING, &export.dtype, 0, 0,
         "type of stored weights: f32, bf16, f16 (default: SRC's, or bf16)"},
        {0, "looped", NULL, RRT__OPTION_FLAG, &export.looped, 0, 0,
         "with gguf: store shared layers once, for llama.cpp's looped architecture"},
        {0, "force", NULL, RRT__OPTION_FLAG, &export.overwrite, 0, 0, "replace DST if it exists"},
        RRT__OPTION_GROUP("Model"),
        RRT__CLI_LOOPS_ROWS(&which),
    };
    const rrt__cli_usage usage = {
        .line = "rrt export SRC DST --to hf|peft|gguf",
        .about = "Writes a model for other programs, opens what it wrote and compares the logits.\n\n"
                 "hf: a Hugging Face folder, unrolled, with LoRA merged (transformers, vLLM).\n"
                 "peft: a LoRA adapter, with the layers that it repeats in DST/base.\n"
                 "gguf: one file, unrolled, for llama.cpp.",
        .examples = "rrt export recursive recursive-hf --to hf\n"
                    "rrt export recursive recursive.gguf --to gguf --dtype f16",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .positional = 2};
    rrt_error err = {0};
    rrt__cli_common common;
    char *paths[2];
    int chosen;
    double difference;
    rrt_model *model = NULL;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, paths, &err));
    if (!export.format) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--to is missing: hf, peft or gguf"));
    RRT__GOTO(rrt__cli_choose("to", export.format, formats, 3, &chosen, &err));
    RRT__GOTO(rrt__cli_choose("dtype", export.dtype, dtypes, 3, &chosen, &err));
    if (strcmp(export.format, "gguf") == 0) RRT__GOTO(rrt__cli_check_gguf_name(paths[1], &err));
    RRT__GOTO(rrt__cli_check_destination(paths[1], export.overwrite, paths[0], &err));
    export.threads = common.threads;
    export.progress = rrt__cli_progress();
    which.path = paths[0];
    RRT__GOTO(rrt__cli_open_deferred(&model, &which, &err));
    rrt__cli_catch_signals(); // from here on there is something to clean up
    RRT__GOTO(rrt_model_export(model, paths[1], &export, &difference, &err));
    if (common.json)
        RRT__GOTO(rrt__cli_print_json(json_pack("{s:s, s:s, s:f}", "path", paths[1], "format", export.format,
                                                "max_logit_diff", difference),
                                      &err));
    else
        printf("%s: opened again, its logits differ by %.2g at most\n", paths[1], difference);
done:
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
