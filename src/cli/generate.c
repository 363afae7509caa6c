#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli.h"

typedef struct generation {
    rrt_session *session;
    const rrt_tokenizer *tokenizer;
    rrt_sampling sampling;
    size_t vocab, context, most_tokens;
    const char *stop; // why it ended: "end" token, "length" asked for, or "context" full
    bool ignore_end;  // go on after an end token
    bool stream;      // write the text as it is made
    rrt__string text;
    size_t written; // bytes of text that are out
    json_t *ids;
    size_t n_tokens;
    double seconds; // of decoding, the prompt not counted
} generation;

// Writes what is complete: a character whose last bytes are still to come stays back.
static void write_text(generation *g, bool all)
{
    size_t end = g->text.length;
    if (!all) end -= rrt__utf8_incomplete_tail(g->text.data, end);
    if (end <= g->written) return;
    fwrite(g->text.data + g->written, 1, end - g->written, stdout);
    fflush(stdout);
    g->written = end;
}

static rrt_status take(generation *g, int32_t id, rrt_error *err)
{
    char *bytes;
    size_t length;
    RRT__TRY(rrt_decode(g->tokenizer, &id, 1, &bytes, &length, err));
    rrt_status status = rrt__string_append(&g->text, bytes, length, err);
    rrt_text_free(bytes);
    json_array_append_new(g->ids, json_integer(id));
    g->n_tokens++;
    if (g->stream) write_text(g, false);
    return status;
}

static rrt_status run(generation *g, rrt_error *err)
{
    double start = rrt__now_seconds();
    for (g->stop = NULL; !g->stop;) {
        int32_t id;
        RRT__TRY(rrt_sample(rrt_session_logits(g->session), g->vocab, &g->sampling,
                            rrt_session_tokens(g->session), &id, err));
        if (!g->ignore_end && rrt_tokenizer_ends(g->tokenizer, id)) {
            g->stop = "end";
            break;
        }
        RRT__TRY(take(g, id, err));
        if (g->n_tokens == g->most_tokens)
            g->stop = "length";
        else if (rrt_session_tokens(g->session) == g->context)
            g->stop = "context";
        else
            RRT__TRY(rrt_session_append(g->session, &id, 1, err));
    }
    g->seconds = rrt__now_seconds() - start;
    return RRT_STATUS_OK;
}

static rrt_status print_json(const generation *g, int loops, rrt_error *err)
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

static rrt_status start(generation *g, const rrt_model *model, const char *prompt, rrt_error *err)
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
    if (!status) status = rrt__string_append(&g->text, "", 0, err);
    return status;
}

typedef struct arguments {
    rrt__cli_common common;
    const char *path, *prompt;
    double temperature, top_p, min_p;
    int top_k, loops;
} arguments;

static rrt_status parse(arguments *a, generation *g, int argc, char **argv, rrt_error *err)
{
    const rrt__option options[] = {
        {'m', "model", "MODEL", RRT__OPTION_STRING, &a->path, 0, 0, "the model"},
        {'p', "prompt", "TEXT", RRT__OPTION_STRING, &a->prompt, 0, 0,
         "the text to continue; special tokens become their ids"},
        {'n', "tokens", "N", RRT__OPTION_SIZE, &g->most_tokens, 1, 1 << 24,
         "stop after N tokens (default 64)"},
        {0, "temp", "T", RRT__OPTION_REAL, &a->temperature, 0, 100,
         "temperature (default 0: the most likely token)"},
        {0, "top-k", "K", RRT__OPTION_INT, &a->top_k, 0, 1 << 24,
         "sample from the K most likely (default: all)"},
        {0, "top-p", "P", RRT__OPTION_REAL, &a->top_p, 0, 1,
         "sample from the smallest set of probability P (default 1)"},
        {0, "min-p", "P", RRT__OPTION_REAL, &a->min_p, 0, 1,
         "drop what is less likely than P times the most likely"},
        {0, "seed", "S", RRT__OPTION_SEED, &g->sampling.seed, 0, 0, "seed of the sampling (default 0)"},
        {0, "ignore-end", NULL, RRT__OPTION_FLAG, &g->ignore_end, 0, 0,
         "go on after an end token (for timing)"},
        {0, "loops", "N", RRT__OPTION_INT, &a->loops, 1, 1024,
         "run prelude, N loops, coda (default: all loops)"},
    };
    const rrt__cli_usage usage = {"rrt generate -m MODEL -p TEXT",
                                  "Continues a text; prints it as it is made.", options,
                                  sizeof options / sizeof *options, 0};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, NULL, err));
    if (!a->prompt) return rrt__fail(err, RRT_STATUS_ARGUMENT, "-p TEXT is missing");
    g->stream = !a->common.json;
    g->sampling.temperature = (float)a->temperature;
    g->sampling.top_k = a->top_k;
    g->sampling.top_p = (float)a->top_p;
    g->sampling.min_p = (float)a->min_p;
    return RRT_STATUS_OK;
}

int rrt__cli_generate(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {.top_p = 1};
    generation g = {.most_tokens = 64};
    rrt_model *model = NULL;
    rrt_model_info info;
    rrt_status status;

    RRT__GOTO(parse(&a, &g, argc, argv, &err));
    RRT__GOTO(rrt__cli_open_model(&model, a.path, &err));
    RRT__GOTO(rrt_session_open(&g.session, model, &(rrt_session_options){a.common.threads, a.loops}, &err));
    RRT__GOTO(start(&g, model, a.prompt, &err));
    rrt_model_describe(model, &info);
    g.vocab = (size_t)info.vocab;
    g.context = (size_t)info.context;
    g.ids = json_array();
    RRT__GOTO(run(&g, &err));
    if (a.common.json) {
        RRT__GOTO(print_json(&g, a.loops ? a.loops : info.loops, &err));
    } else {
        write_text(&g, true);
        putchar('\n');
        if (strcmp(g.stop, "context") == 0)
            fprintf(stderr, "rrt: stopped where the model's context of %zu tokens is full\n", g.context);
    }
done:
    json_decref(g.ids);
    rrt__string_free(&g.text);
    rrt_session_close(g.session);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
