#include <stdio.h>

#include "cli/cli.h"

static rrt_status print(const rrt_teach_result *r, const char *path, bool json, rrt_error *err)
{
    if (json)
        return rrt__cli_print_json(
            json_pack("{s:I, s:I}", "tokens", (json_int_t)r->tokens, "bytes", (json_int_t)r->bytes), err);
    printf("%s: logits for %s tokens, %s\n", path, rrt__cli_count(r->tokens), rrt__cli_bytes(r->bytes));
    return RRT_STATUS_OK;
}

int rrt__cli_teach(int argc, char **argv)
{
    rrt__cli_model which = {0};
    const char *store = NULL;
    bool force = false;
    rrt__list files = {0};
    rrt_teach_options teach = {.progress = rrt__cli_progress()};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Input and output"),
        RRT__CLI_MODEL_ROW(&which),
        {0, "data", "FILE…", RRT__OPTION_LIST, &files, 0, 0,
         "text, or .jsonl with \"text\" or \"messages\" per line; .zst too"},
        {'o', "out", "STORE", RRT__OPTION_STRING, &store, 0, 0, "the folder to write"},
        {0, "force", NULL, RRT__OPTION_FLAG, &force, 0, 0, "replace STORE if it exists"},
        RRT__OPTION_GROUP("What is stored"),
        {0, "top", "K", RRT__OPTION_SIZE, &teach.top, 1, 1 << 24,
         "store the K largest logits of each token (default 64)"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &teach.context, 2, 1 << 24,
         "tokens per window, as in training (default 512)"},
        {0, "max-tokens", "N", RRT__OPTION_SIZE, &teach.max_tokens, 1, 1e15,
         "read only the first N tokens of the text"},
        RRT__OPTION_GROUP("How the model runs"),
        RRT__CLI_LOOPS_ROWS(&which),
        RRT__CLI_WEIGHTS_ROWS(&which),
    };
    const rrt__cli_usage usage = {
        .line = "rrt teach -m MODEL --data FILE… -o STORE",
        .about = "Runs a teacher over a text once and stores its most likely next tokens, for "
                 "rrt train --teacher STORE.",
        .examples = "rrt teach -m model.gguf --data text.txt -o teacher\n"
                    "rrt teach -m model.gguf --data chats.jsonl.zst --ctx 1024 --top 32 -o teacher",
        .options = options,
        .n_options = sizeof options / sizeof *options};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_model *model = NULL;
    rrt_teach_result result;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    if (files.count == 0) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--data FILE is missing"));
    if (!store) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "-o STORE is missing"));
    RRT__GOTO(rrt__cli_check_destination(store, force, which.path, &err));
    for (size_t i = 0; i < files.count; i++)
        RRT__GOTO(rrt__cli_check_destination(store, force, files.items[i], &err));
    RRT__GOTO(rrt__cli_check_inputs(&files, &err));
    RRT__GOTO(rrt__cli_open_model(&model, &which, common.threads, &err));
    rrt__cli_catch_signals(); // the store that is written has to be removed
    teach.threads = common.threads;
    teach.overwrite = force;
    teach.teacher_name = which.path;
    RRT__GOTO(rrt_teach(model, files.items, files.count, store, &teach, &result, &err));
    RRT__GOTO(print(&result, store, common.json, &err));
done:
    rrt__list_free(&files);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
