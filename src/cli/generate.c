#include <stdio.h>
#include <string.h>

#include "cli/generation.h"

static rrt_status print_json(const rrt__generation *g, rrt_error *err)
{
    rrt_engine_stats stats;
    rrt_engine_describe(g->engine, &stats);
    double loops = 0, seconds = g->last - g->first;
    for (size_t i = 0; i < g->n_tokens; i++)
        loops += (double)json_integer_value(json_array_get(g->exit_depths, i));
    // The first token comes with the prompt.
    double speed = g->n_tokens > 1 && seconds > 0 ? (double)(g->n_tokens - 1) / seconds : 0;
    return rrt__cli_print_json(json_pack("{s:o, s:O, s:O, s:f, s:f, s:I, s:I, s:s}", "text",
                                         rrt__json_text(g->text.data, g->text.length), "ids", g->ids,
                                         "exit_depths", g->exit_depths, "mean_loops",
                                         g->n_tokens ? loops / (double)g->n_tokens : 0.0, "tokens_per_s",
                                         speed, "accepted", (json_int_t)stats.accepted, "drafted",
                                         (json_int_t)stats.drafted, "stop", g->stop),
                               err);
}

static rrt_status read_prompt(rrt__generation *g, const char *prompt, rrt_error *err)
{
    int32_t *ids;
    size_t count;
    const rrt_encode_options options = {.add_bos = rrt_tokenizer_adds_bos(g->tokenizer), .parse_special = 1};
    rrt_status status = rrt_encode(g->tokenizer, prompt, strlen(prompt), &options, &ids, &count, err);
    if (status) return rrt__at(err, status, "the prompt");
    if (count == 0) status = rrt__fail(err, RRT_STATUS_ARGUMENT, "-p: the prompt is empty");
    if (!status) status = rrt__generation_add(g, ids, count, err);
    rrt_ids_free(ids);
    return status;
}

typedef struct arguments {
    rrt__cli_common common;
    rrt__cli_model model;
    const char *prompt;
    rrt__generation_arguments generation;
} arguments;

static rrt_status parse(arguments *a, rrt__generation *g, int argc, char **argv, rrt_error *err)
{
    enum { OWN = RRT__CLI_MODEL_OPTIONS + 2 };
    rrt__option options[OWN + RRT__GENERATION_OPTIONS] = {
        RRT__CLI_MODEL_ROWS(&a->model),
        {'p', "prompt", "TEXT", RRT__OPTION_STRING, &a->prompt, 0, 0,
         "the text to continue; special tokens become their ids"},
        {'n', "tokens", "N", RRT__OPTION_SIZE, &g->request.max_tokens, 1, 1 << 24,
         "stop after N tokens (default 64)"},
    };
    rrt__generation_options(options + OWN, &a->generation, g);
    const rrt__cli_usage usage = {"rrt generate -m MODEL -p TEXT",
                                  "Continues a text; prints it as it is made.", options,
                                  sizeof options / sizeof *options, 0};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, NULL, err));
    if (!a->prompt) return rrt__fail(err, RRT_STATUS_ARGUMENT, "-p TEXT is missing");
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
    RRT__GOTO(rrt__cli_open_model(&model, &a.model, a.common.threads, &err));
    RRT__GOTO(rrt__generation_start(&g, &a.generation, model, a.common.threads, &err));
    RRT__GOTO(read_prompt(&g, a.prompt, &err));
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
