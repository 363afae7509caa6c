#include "cli/generation.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "pass/forward.h"

void rrt__generation_options(rrt__option *options, rrt__generation_arguments *a, rrt__generation *g,
                             rrt__cli_model *model)
{
    rrt_request *r = &g->request;
    const rrt__option own[RRT__GENERATION_OPTIONS] = {
        {0, "stop", "TEXT", RRT__OPTION_LIST, &g->stop_list, 0, 0,
         "end before TEXT, which is not shown; up to 4 texts"},
        {0, "ignore-eos", NULL, RRT__OPTION_FLAG, &r->ignore_end, 0, 0,
         "go on after an end-of-sequence token (for timing)"},
        RRT__OPTION_GROUP("Sampling"),
        {0, "temp", "T", RRT__OPTION_REAL, &a->temperature, 0, 100,
         "temperature (default 0: the most likely token)"},
        {0, "top-k", "K", RRT__OPTION_INT, &r->sampling.top_k, 0, 1 << 24,
         "sample from the K most likely tokens (default 0: all)"},
        {0, "top-p", "P", RRT__OPTION_REAL, &a->top_p, 0, 1,
         "sample from the fewest tokens with probability P (default 1)"},
        {0, "min-p", "P", RRT__OPTION_REAL, &a->min_p, 0, 1,
         "drop tokens less likely than P times the most likely (default 0)"},
        {0, "seed", "S", RRT__OPTION_SEED, &r->sampling.seed, 0, 0, "seed of the sampling (default 0)"},
        RRT__OPTION_GROUP("Early exit and drafts"),
        RRT__CLI_LOOPS_ROWS(model),
        {0, "exit", "RULE:T", RRT__OPTION_STRING, &r->exit, 0, 0, RRT__CLI_EXIT_RULES},
        {0, "kv", "POLICY", RRT__OPTION_STRING, &r->kv, 0, 0, RRT__CLI_KV_POLICIES},
        {0, "draft-loops", "N", RRT__OPTION_INT, &r->draft_loops, 1, 1024,
         "N loops draft tokens, all loops verify them (same text, faster)"},
        {0, "draft-layers", "N", RRT__OPTION_INT, &a->draft_layers, 1, 1024,
         "the first N layers of a model without loops draft tokens, all verify them"},
        {0, "draft-tokens", "N", RRT__OPTION_INT, &r->draft_tokens, 1, 16, "tokens per draft (default 4)"},
        RRT__OPTION_GROUP("Memory and weights"),
        {'c', "ctx", "N", RRT__OPTION_SIZE, &a->context, 1, 1 << 24,
         "room for N tokens (default: the model's context, or what fits in memory)"},
        RRT__CLI_KV_ROWS(&a->kv, "f16"),
        RRT__CLI_WEIGHTS_ROWS(model),
    };
    a->top_p = 1;
    memcpy(options, own, sizeof own);
}

static void write_text(rrt__generation *g, bool is_over)
{
    const char *bytes;
    size_t length = rrt__reply_text_take(&g->text, &g->stops, is_over, &bytes);
    if (!g->stream || !length) return;
    fwrite(bytes, 1, length, stdout);
    fflush(stdout);
}

rrt_status rrt__generation_add(rrt__generation *g, const int32_t *ids, size_t count, rrt_error *err)
{
    if (!count) return RRT_STATUS_OK; // the arrays may be NULL
    RRT__TRY(rrt__array_reserve(&g->history, &g->capacity, g->n_history + count, sizeof *ids, err));
    memcpy(g->history + g->n_history, ids, count * sizeof *ids);
    g->n_history += count;
    return RRT_STATUS_OK;
}

static rrt_status take(rrt__generation *g, uint64_t request, const rrt_token *token)
{
    char *bytes;
    size_t length;
    RRT__TRY(rrt_decode(g->tokenizer, &token->id, 1, &bytes, &length, g->err));
    rrt_status status = rrt__reply_text_add(&g->text, &g->stops, bytes, length, g->err);
    rrt_text_free(bytes);
    RRT__TRY(status);
    json_array_append_new(g->ids, json_integer(token->id));
    json_array_append_new(g->exit_depths, json_integer(token->loops));
    g->last = rrt__now_seconds();
    if (!g->n_tokens++) {
        rrt_request_stats stats;
        rrt_engine_describe_request(g->engine, request, &stats);
        g->first = g->last;
        g->n_read = g->n_history - stats.cached_tokens;
    }
    write_text(g, false);
    return rrt__generation_add(g, &token->id, 1, g->err);
}

static int hear(void *user, uint64_t request, const rrt_token *token, rrt_finish finish)
{
    rrt__generation *g = user;
    if (g->stop || g->status) return 1;
    if (token) {
        bool ends = !g->request.ignore_end && rrt_tokenizer_ends(g->tokenizer, token->id);
        if (!ends) g->status = take(g, request, token);
        if (g->text.is_stopped) g->stop = "stop";
        return g->status || g->stop;
    }
    if (finish == RRT_FINISH_STOP) g->stop = "end";
    if (finish == RRT_FINISH_LENGTH) g->stop = g->n_tokens < g->request.max_tokens ? "context" : "length";
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

static rrt_status set_stops(rrt__generation *g, rrt_error *err)
{
    if (g->stop_list.count > RRT__MAX_STOPS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--stop: %zu texts, at most %d are possible",
                         g->stop_list.count, RRT__MAX_STOPS);
    for (size_t i = 0; i < g->stop_list.count; i++) {
        size_t length = strlen(g->stop_list.items[i]);
        if (length == 0 || length > RRT__MAX_STOP_BYTES)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "--stop: a text of %zu bytes, 1 to %d are possible",
                             length, RRT__MAX_STOP_BYTES);
        g->stops.texts[i] = (char *)(uintptr_t)g->stop_list.items[i];
        g->stops.lengths[g->stops.count++] = length;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__generation_start(rrt__generation *g, rrt__generation_arguments *a, const rrt_model *model,
                                 int threads, rrt_error *err)
{
    RRT__TRY(rrt_model_check_tokenizer(model, err));
    RRT__TRY(set_stops(g, err));
    RRT__TRY(rrt__cli_kv_type(&a->kv, &a->kv_type, err));
    RRT__TRY(choose_context(g, a, model, err));
    g->tokenizer = rrt_model_tokenizer(model);
    g->ids = json_array();
    g->exit_depths = json_array();
    g->request.sampling.temperature = (float)a->temperature;
    g->request.sampling.top_p = (float)a->top_p;
    g->request.sampling.min_p = (float)a->min_p;
    g->request.callback = hear;
    g->request.user = g;
    if (a->draft_layers) g->request.draft_loops = 1; // the engine's first half
    if (g->request.draft_loops && !g->request.draft_tokens) g->request.draft_tokens = 4;
    const rrt_engine_options options = {.threads = threads,
                                        .requests = 1,
                                        .kv_tokens = g->context,
                                        .kv_type = a->kv_type,
                                        .draft_layers = a->draft_layers,
                                        .rows = g->request.prefix_lm ? g->context : 0};
    return rrt_engine_open(&g->engine, model, &options, err);
}

void rrt__generation_free(rrt__generation *g)
{
    json_decref(g->ids);
    json_decref(g->exit_depths);
    rrt__reply_text_free(&g->text);
    rrt__list_free(&g->stop_list);
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
    rrt__reply_text_free(&g->text);
    g->text = (rrt__reply_text){0};
    g->n_tokens = 0;
    g->stop = NULL;
    json_array_clear(g->ids);
    json_array_clear(g->exit_depths);
    g->err = err;
    g->status = RRT_STATUS_OK;
    request.prompt = g->history;
    request.prompt_tokens = g->n_history;
    g->begun = rrt__now_seconds();
    RRT__TRY(rrt_engine_submit(g->engine, &request, &id, err));
    while (busy && !rrt__cli_caught_signal()) RRT__TRY(rrt_engine_step(g->engine, &busy, err));
    if (busy) {
        g->stop = "interrupted";
        rrt_engine_cancel(g->engine, id);
    }
    write_text(g, true);
    return g->status;
}

double rrt__generation_speed(const rrt__generation *g)
{
    double seconds = g->last - g->first;
    return g->n_tokens > 1 && seconds > 0 ? (double)(g->n_tokens - 1) / seconds : 0;
}

double rrt__generation_prompt_speed(const rrt__generation *g)
{
    double seconds = g->first - g->begun;
    return g->n_tokens && seconds > 0 ? (double)g->n_read / seconds : 0;
}
