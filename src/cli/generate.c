#include <stdio.h>
#include <string.h>

#include "cli/generation.h"

static rrt_status print_json(const rrt__generation *g, int loops, rrt_error *err)
{
    json_t *depths = json_array();
    for (size_t i = 0; i < json_array_size(g->ids); i++) json_array_append_new(depths, json_integer(loops));
    double speed = g->seconds > 0 ? (double)g->n_tokens / g->seconds : 0;
    return rrt__cli_print_json(json_pack("{s:o, s:O, s:o, s:f, s:f, s:s}", "text",
                                         rrt__cli_text(g->text.data, g->text.length), "ids", g->ids,
                                         "exit_depths", depths, "mean_loops", (double)loops, "tokens_per_s",
                                         speed, "stop", g->stop),
                               err);
}

static rrt_status start(rrt__generation *g, const rrt_model *model, const char *prompt, rrt_error *err)
{
    int32_t *ids;
    size_t count;
    RRT__TRY(rrt_model_check_tokenizer(model, err));
    g->tokenizer = rrt_model_tokenizer(model);
    const rrt_encode_options options = {.add_bos = rrt_tokenizer_adds_bos(g->tokenizer), .parse_special = 1};
    rrt_status status = rrt_encode(g->tokenizer, prompt, strlen(prompt), &options, &ids, &count, err);
    if (status) return rrt__at(err, status, "the prompt");
    if (count == 0) status = rrt__fail(err, RRT_STATUS_ARGUMENT, "-p: the prompt is empty");
    if (!status) status = rrt_session_append(g->session, ids, count, err);
    rrt_ids_free(ids);
    return status;
}

typedef struct arguments {
    rrt__cli_common common;
    const char *path, *prompt;
    rrt__sampling_arguments sampling;
    int loops;
} arguments;

static rrt_status parse(arguments *a, rrt__generation *g, int argc, char **argv, rrt_error *err)
{
    enum { OWN = 5 };
    rrt__option options[OWN + RRT__SAMPLING_OPTIONS] = {
        {'m', "model", "MODEL", RRT__OPTION_STRING, &a->path, 0, 0, "the model"},
        {'p', "prompt", "TEXT", RRT__OPTION_STRING, &a->prompt, 0, 0,
         "the text to continue; special tokens become their ids"},
        {'n', "tokens", "N", RRT__OPTION_SIZE, &g->most_tokens, 1, 1 << 24,
         "stop after N tokens (default 64)"},
        {0, "ignore-end", NULL, RRT__OPTION_FLAG, &g->ignore_end, 0, 0,
         "go on after an end token (for timing)"},
        {0, "loops", "N", RRT__OPTION_INT, &a->loops, 1, 1024,
         "run prelude, N loops, coda (default: all loops)"},
    };
    rrt__generation_options(options + OWN, &a->sampling, g);
    const rrt__cli_usage usage = {"rrt generate -m MODEL -p TEXT",
                                  "Continues a text; prints it as it is made.", options,
                                  sizeof options / sizeof *options, 0};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, NULL, err));
    if (!a->prompt) return rrt__fail(err, RRT_STATUS_ARGUMENT, "-p TEXT is missing");
    g->stream = !a->common.json;
    rrt__generation_set(g, &a->sampling);
    return RRT_STATUS_OK;
}

int rrt__cli_generate(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {.sampling.top_p = 1};
    rrt__generation g = {.most_tokens = 64};
    rrt_model *model = NULL;
    rrt_model_info info;
    rrt_status status;

    RRT__GOTO(parse(&a, &g, argc, argv, &err));
    RRT__GOTO(rrt__cli_open_model(&model, a.path, &err));
    RRT__GOTO(rrt_session_open(&g.session, model, &(rrt_session_options){a.common.threads, a.loops}, &err));
    RRT__GOTO(start(&g, model, a.prompt, &err));
    RRT__GOTO(rrt__generation_start(&g, model, &err));
    RRT__GOTO(rrt__generation_run(&g, &err));
    if (a.common.json) {
        rrt_model_describe(model, &info);
        RRT__GOTO(print_json(&g, a.loops ? a.loops : info.loops, &err));
    } else {
        rrt__generation_flush(&g);
        putchar('\n');
        if (strcmp(g.stop, "context") == 0)
            fprintf(stderr, "rrt: stopped where the model's context of %zu tokens is full\n", g.context);
    }
done:
    rrt__generation_free(&g);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
