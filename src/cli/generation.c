#include "cli/generation.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"

void rrt__generation_options(rrt__option *options, rrt__sampling_arguments *a, rrt__generation *g)
{
    const rrt__option own[RRT__SAMPLING_OPTIONS] = {
        {0, "temp", "T", RRT__OPTION_REAL, &a->temperature, 0, 100,
         "temperature (default 0: the most likely token)"},
        {0, "top-k", "K", RRT__OPTION_INT, &a->top_k, 0, 1 << 24,
         "sample from the K most likely (default: all)"},
        {0, "top-p", "P", RRT__OPTION_REAL, &a->top_p, 0, 1,
         "sample from the smallest set of probability P (default 1)"},
        {0, "min-p", "P", RRT__OPTION_REAL, &a->min_p, 0, 1,
         "drop what is less likely than P times the most likely"},
        {0, "seed", "S", RRT__OPTION_SEED, &g->sampling.seed, 0, 0, "seed of the sampling (default 0)"},
    };
    memcpy(options, own, sizeof own);
}

void rrt__generation_set(rrt__generation *g, const rrt__sampling_arguments *a)
{
    g->sampling.temperature = (float)a->temperature;
    g->sampling.top_k = a->top_k;
    g->sampling.top_p = (float)a->top_p;
    g->sampling.min_p = (float)a->min_p;
}

rrt_status rrt__generation_start(rrt__generation *g, const rrt_model *model, rrt_error *err)
{
    rrt_model_info info;
    rrt_model_describe(model, &info);
    g->vocab = (size_t)info.vocab;
    g->context = (size_t)info.context;
    g->ids = json_array();
    return rrt__string_append(&g->text, "", 0, err);
}

void rrt__generation_free(rrt__generation *g)
{
    json_decref(g->ids);
    rrt__string_free(&g->text);
    rrt_session_close(g->session);
}

// Writes what is complete: a character whose last bytes are still to come stays back.
static void write_text(rrt__generation *g, bool all)
{
    size_t end = g->text.length;
    if (!all) end -= rrt__utf8_incomplete_tail(g->text.data, end);
    if (end <= g->written) return;
    fwrite(g->text.data + g->written, 1, end - g->written, stdout);
    fflush(stdout);
    g->written = end;
}

static rrt_status take(rrt__generation *g, int32_t id, rrt_error *err)
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

rrt_status rrt__generation_run(rrt__generation *g, rrt_error *err)
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

void rrt__generation_flush(rrt__generation *g)
{
    write_text(g, true);
}
