#include "cli/generation.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "pass/forward.h"

void rrt__generation_options(rrt__option *options, rrt__generation_arguments *a, rrt__generation *g)
{
    rrt_request *r = &g->request;
    const rrt__option own[RRT__GENERATION_OPTIONS] = {
        {0, "temp", "T", RRT__OPTION_REAL, &a->temperature, 0, 100,
         "temperature (default 0: the most likely token)"},
        {0, "top-k", "K", RRT__OPTION_INT, &r->sampling.top_k, 0, 1 << 24,
         "sample from the K most likely (default: all)"},
        {0, "top-p", "P", RRT__OPTION_REAL, &a->top_p, 0, 1,
         "sample from the smallest set of probability P (default 1)"},
        {0, "min-p", "P", RRT__OPTION_REAL, &a->min_p, 0, 1,
         "drop what is less likely than P times the most likely"},
        {0, "seed", "S", RRT__OPTION_SEED, &r->sampling.seed, 0, 0, "seed of the sampling (default 0)"},
        {0, "ignore-end", NULL, RRT__OPTION_FLAG, &r->ignore_end, 0, 0,
         "go on after an end token (for timing)"},
        {0, "loops", "N", RRT__OPTION_INT, &r->loops, 1, 1024,
         "run prelude, N loops, coda (default: all loops)"},
        {0, "exit", "RULE:T", RRT__OPTION_STRING, &r->exit, 0, 0,
         "tokens leave the loops early: loops:N, confidence:P, margin:P, entropy:H, unchanged, state:D, "
         "gate:P"},
        {0, "kv", "POLICY", RRT__OPTION_STRING, &r->kv, 0, 0,
         "keys and values of loops that a token did not run: propagate, copy, recompute or shared"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &a->context, 1, 1 << 24,
         "room for N tokens (default: the model's context, or what fits in free memory)"},
        RRT__CLI_KV_TYPE(&a->kv_type),
        {0, "draft-loops", "N", RRT__OPTION_INT, &r->draft_loops, 1, 1024,
         "N loops draft tokens, all loops verify them: the text stays the same"},
        {0, "draft-tokens", "N", RRT__OPTION_INT, &r->draft_tokens, 1, 16, "drafts at a time (default 4)"},
    };
    a->top_p = 1;
    memcpy(options, own, sizeof own);
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

rrt_status rrt__generation_add(rrt__generation *g, const int32_t *ids, size_t count, rrt_error *err)
{
    RRT__TRY(rrt__array_reserve(&g->history, &g->capacity, g->n_history + count, sizeof *ids, err));
    memcpy(g->history + g->n_history, ids, count * sizeof *ids);
    g->n_history += count;
    return RRT_STATUS_OK;
}

static rrt_status take(rrt__generation *g, const rrt_token *token)
{
    char *bytes;
    size_t length;
    RRT__TRY(rrt_decode(g->tokenizer, &token->id, 1, &bytes, &length, g->err));
    rrt_status status = rrt__string_append(&g->text, bytes, length, g->err);
    rrt_text_free(bytes);
    RRT__TRY(status);
    json_array_append_new(g->ids, json_integer(token->id));
    json_array_append_new(g->exit_depths, json_integer(token->loops));
    g->last = rrt__now_seconds();
    if (!g->n_tokens++) g->first = g->last;
    if (g->stream) write_text(g, false);
    return rrt__generation_add(g, &token->id, 1, g->err);
}

static int hear(void *user, uint64_t request, const rrt_token *token, rrt_finish finish)
{
    rrt__generation *g = user;
    (void)request;
    if (token) {
        bool ends = !g->request.ignore_end && rrt_tokenizer_ends(g->tokenizer, token->id);
        if (!ends) g->status = take(g, token);
        return g->status != RRT_STATUS_OK;
    }
    g->stop = finish == RRT_FINISH_STOP ? "end" : g->n_tokens < g->request.max_tokens ? "context" : "length";
    if (finish == RRT_FINISH_ERROR) g->status = rrt__logits_fail(g->err);
    return 0;
}

// How many tokens the engine gets room for.
static rrt_status choose_context(rrt__generation *g, const rrt__generation_arguments *a,
                                 const rrt_model *model, rrt_error *err)
{
    size_t fits;
    rrt_model_info info;
    rrt_model_describe(model, &info);
    RRT__TRY(rrt_engine_tokens_that_fit(&fits, model, a->kv_type, err));
    if (a->context > (size_t)info.context)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--ctx %zu: the model's context is %d tokens", a->context,
                         info.context);
    g->context = a->context ? a->context : fits;
    if (g->context < (size_t)info.context && !a->context)
        fprintf(stderr, "rrt: context of %zu tokens: what fits in free memory, of the model's %d (--ctx)\n",
                fits, info.context);
    return RRT_STATUS_OK;
}

rrt_status rrt__generation_start(rrt__generation *g, const rrt__generation_arguments *a,
                                 const rrt_model *model, int threads, rrt_error *err)
{
    RRT__TRY(rrt_model_check_tokenizer(model, err));
    RRT__TRY(choose_context(g, a, model, err));
    g->tokenizer = rrt_model_tokenizer(model);
    g->ids = json_array();
    g->exit_depths = json_array();
    g->request.sampling.temperature = (float)a->temperature;
    g->request.sampling.top_p = (float)a->top_p;
    g->request.sampling.min_p = (float)a->min_p;
    g->request.callback = hear;
    g->request.user = g;
    if (g->request.draft_loops && !g->request.draft_tokens) g->request.draft_tokens = 4;
    const rrt_engine_options options = {
        .threads = threads, .requests = 1, .kv_tokens = g->context, .kv_type = a->kv_type};
    RRT__TRY(rrt_engine_open(&g->engine, model, &options, err));
    return rrt__string_append(&g->text, "", 0, err);
}

void rrt__generation_free(rrt__generation *g)
{
    json_decref(g->ids);
    json_decref(g->exit_depths);
    rrt__string_free(&g->text);
    rrt__free(g->history);
    rrt_engine_close(g->engine);
}

rrt_status rrt__generation_run(rrt__generation *g, rrt_error *err)
{
    uint64_t id;
    bool busy = true;
    rrt_request request = g->request;
    if (g->n_history > g->context) {
        rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu tokens do not fit the context of %zu",
                                      g->n_history, g->context);
        return rrt__hint(err, status, "give a shorter text, or more room (--ctx)");
    }
    size_t room = g->context - g->n_history + 1; // the last token made is not run
    if (request.max_tokens > room) request.max_tokens = room;
    g->text.length = g->written = g->n_tokens = 0;
    json_array_clear(g->ids);
    json_array_clear(g->exit_depths);
    g->err = err;
    g->status = RRT_STATUS_OK;
    request.prompt = g->history;
    request.prompt_tokens = g->n_history;
    RRT__TRY(rrt_engine_submit(g->engine, &request, &id, err));
    while (busy) RRT__TRY(rrt_engine_step(g->engine, &busy, err));
    if (g->stream) write_text(g, true);
    return g->status;
}
