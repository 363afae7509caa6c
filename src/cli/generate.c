#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "cli/generation.h"

static rrt_status print_json(const rrt__generation *g, rrt_error *err)
{
    rrt_engine_stats stats;
    rrt_engine_describe(g->engine, &stats);
    double loops = 0;
    for (size_t i = 0; i < g->n_tokens; i++)
        loops += (double)json_integer_value(json_array_get(g->exit_depths, i));
    return rrt__cli_print_json(
        json_pack("{s:o, s:O, s:O, s:f, s:f, s:f, s:I, s:I, s:s}", "text",
                  rrt__json_text(g->text.text.data, g->text.text.length), "ids", g->ids, "exit_depths",
                  g->exit_depths, "mean_loops", g->n_tokens ? loops / (double)g->n_tokens : 0.0,
                  "tokens_per_s", rrt__generation_speed(g), "prompt_tokens_per_s",
                  rrt__generation_prompt_speed(g), "accepted", (json_int_t)stats.accepted, "drafted",
                  (json_int_t)stats.drafted, "stop", g->stop),
        err);
}

static rrt_status encode_prompt(rrt__generation *g, const char *text, size_t length, rrt_error *err)
{
    int32_t *ids;
    size_t count;
    const rrt_encode_options options = {.add_bos = rrt_tokenizer_adds_bos(g->tokenizer), .parse_special = 1};
    RRT__TRY(rrt_encode(g->tokenizer, text, length, &options, &ids, &count, err));
    rrt_status status = count ? rrt__generation_add(g, ids, count, err)
                              : rrt__fail(err, RRT_STATUS_ARGUMENT, "the prompt is empty");
    rrt_ids_free(ids);
    return status;
}

// Without a byte order mark, and without the line break that editors and echo put at the end.
static rrt_status read_prompt(rrt__generation *g, const char *path, rrt_error *err)
{
    rrt__string text = {0};
    rrt_status status = rrt__file_read(&text, path, err);
    if (!status) {
        size_t mark = rrt__utf8_mark(text.data, text.length), end = text.length;
        if (end > mark && text.data[end - 1] == '\n') end--;
        if (end > mark && text.data[end - 1] == '\r') end--;
        status = rrt__cli_in_file(err, encode_prompt(g, text.data + mark, end - mark, err), path);
    }
    rrt__string_free(&text);
    return status;
}

typedef struct arguments {
    rrt__cli_common common;
    rrt__cli_model model;
    const char *prompt, *file;
    rrt__generation_arguments generation;
} arguments;

static rrt_status parse(arguments *a, rrt__generation *g, int argc, char **argv, rrt_error *err)
{
    enum { OWN = 6 };
    rrt__option options[OWN + RRT__GENERATION_OPTIONS] = {
        RRT__OPTION_GROUP("Text"),
        RRT__CLI_MODEL_ROW(&a->model),
        {'p', "prompt", "TEXT", RRT__OPTION_STRING, &a->prompt, 0, 0,
         "the text to continue, or - to read it from standard input"},
        {'f', "file", "FILE", RRT__OPTION_STRING, &a->file, 0, 0, "read the text to continue from FILE"},
        {'n', "max-tokens", "N", RRT__OPTION_SIZE, &g->request.max_tokens, 1, 1 << 24,
         "end after N tokens (default 64)"},
        {0, "prefix-lm", NULL, RRT__OPTION_FLAG, &g->request.prefix_lm, 0, 0,
         "let the prompt's tokens attend to each other both ways (HRM-Text)"},
    };
    rrt__generation_options(options + OWN, &a->generation, g, &a->model);
    const rrt__cli_usage usage = {
        .line = "rrt generate -m MODEL -p TEXT",
        .about =
            "Continues a text and prints it as it is generated. Special tokens in the text become their ids. "
            "A line break at the end of a file, or of standard input, is left out.",
        .examples = "rrt generate -m model.gguf -p 'Once upon a time' -n 100 --temp 0.8\n"
                    "echo 'Q: 2 + 2 =' | rrt generate -m model.gguf -p - --stop Q: --json\n"
                    "rrt generate -m recursive.gguf -f prompt.txt --exit confidence:0.9",
        .options = options,
        .n_options = sizeof options / sizeof *options};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, NULL, err));
    if (!a->prompt == !a->file)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         a->file ? "-p TEXT and -f FILE exclude each other"
                                 : "-p TEXT is missing, or -f FILE");
    if (a->prompt && strcmp(a->prompt, "-") == 0) a->file = "-";
    g->stream = !a->common.json;
    return RRT_STATUS_OK;
}

int rrt__cli_generate(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {0};
    rrt__generation g = {.request.max_tokens = 64};
    rrt_model *model = NULL;
    rrt_status status;

    RRT__GOTO(parse(&a, &g, argc, argv, &err));
    rrt__cli_take_kv(&a.model, &g.request.kv);
    RRT__GOTO(rrt__cli_open_model(&model, &a.model, a.common.threads, &err));
    RRT__GOTO(rrt__generation_start(&g, &a.generation, model, a.common.threads, &err));
    RRT__GOTO(a.file ? read_prompt(&g, a.file, &err) : encode_prompt(&g, a.prompt, strlen(a.prompt), &err));
    RRT__GOTO(rrt__generation_run(&g, &err));
    if (a.common.json) {
        RRT__GOTO(print_json(&g, &err));
    } else {
        putchar('\n');
        if (strcmp(g.stop, "context") == 0)
            fprintf(stderr, "rrt: stopped where the context of %zu tokens is full\n", g.context);
    }
done:
    rrt__generation_free(&g);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
