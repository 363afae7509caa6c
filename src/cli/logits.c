#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "kernels/kernels.h"

// "1,2,3" → ids
static rrt_status parse_ids(const char *text, int32_t **ids, size_t *count, rrt_error *err)
{
    RRT__TRY(rrt__alloc(ids, strlen(text) / 2 + 1, sizeof **ids, "token ids", err));
    for (*count = 0; *text;) {
        char *end;
        long id = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || id < 0 || id > INT32_MAX)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "--tokens: '%.20s' is not a list of ids such as 1,2,3",
                             text);
        (*ids)[(*count)++] = (int32_t)id;
        text = *end ? end + 1 : end;
    }
    return *count ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_ARGUMENT, "--tokens lists no id");
}

static const float *compared;

static int by_logit(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (compared[x] != compared[y]) return compared[x] > compared[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

// NULL where the model has none.
static json_t *list_gates(const rrt_session *session)
{
    size_t count;
    const float *gates = rrt_session_gates(session, &count);
    json_t *list = count ? json_array() : NULL;
    for (size_t i = 0; i < count; i++) json_array_append_new(list, rrt__cli_number(gates[i]));
    return list;
}

static rrt_status print_top(const rrt_session *session, size_t vocab, size_t top, bool json, rrt_error *err)
{
    const float *logits = rrt_session_logits(session);
    int32_t *order;
    RRT__TRY(rrt__alloc(&order, vocab, sizeof *order, "the order of the logits", err));
    for (size_t i = 0; i < vocab; i++) order[i] = (int32_t)i;
    compared = logits;
    qsort(order, vocab, sizeof *order, by_logit);
    double total = rrt__kernels_get()->log_sum_exp(logits, vocab);
    json_t *list = json ? json_array() : NULL;
    for (size_t i = 0; i < top && i < vocab; i++) {
        double logit = logits[order[i]];
        if (json)
            json_array_append_new(
                list, json_pack("{s:i, s:o}", "id", (int)order[i], "logit", rrt__cli_number(logit)));
        else
            printf("%6d  %.6f\n", order[i], logit);
    }
    rrt__free(order);
    if (json)
        return rrt__cli_print_json(json_pack("{s:o, s:o, s:o*}", "top", list, "logsumexp",
                                             rrt__cli_number(total), "gates", list_gates(session)),
                                   err);
    printf("logsumexp  %.6f\n", total);
    json_t *gates = list_gates(session);
    for (size_t n = 0; n < json_array_size(gates); n++)
        printf("gate after loop %zu  %.6f\n", n + 1, json_number_value(json_array_get(gates, n)));
    json_decref(gates);
    return RRT_STATUS_OK;
}

int rrt__cli_logits(int argc, char **argv)
{
    rrt__cli_model which = {0};
    rrt__cli_kv kv = {0};
    const char *tokens = NULL;
    rrt_session_options session_options = {0};
    size_t top = 10;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Input"),
        RRT__CLI_MODEL_ROW(&which),
        {0, "tokens", "1,2,3", RRT__OPTION_STRING, &tokens, 0, 0, "the token ids to run"},
        {0, "top", "K", RRT__OPTION_SIZE, &top, 1, 1 << 24, "print the K largest logits (default 10)"},
        RRT__OPTION_GROUP("Model"),
        RRT__CLI_LOOPS_ROWS(&which),
        {0, "prefix-lm", NULL, RRT__OPTION_FLAG, &session_options.prefix_lm, 0, 0,
         "let the tokens attend to each other both ways (HRM-Text's prompts)"},
        RRT__CLI_KV_LAST_ROW(&which),
        RRT__CLI_KV_ROWS(&kv, "f16"),
        RRT__CLI_WEIGHTS_ROWS(&which),
    };
    const rrt__cli_usage usage = {.line = "rrt logits -m MODEL --tokens 1,2,3",
                                  .about =
                                      "Prints the logits after the last of some tokens, the largest first.",
                                  .examples = "rrt logits -m model.gguf --tokens 1,2,3 --top 5\n"
                                              "rrt logits -m recursive --tokens 1,2,3 --loops 1 --json",
                                  .options = options,
                                  .n_options = sizeof options / sizeof *options};
    rrt_error err = {0};
    rrt__cli_common common;
    int32_t *ids = NULL;
    size_t count;
    rrt_model *model = NULL;
    rrt_session *session = NULL;
    rrt_model_info info;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    RRT__GOTO(rrt__cli_kv_type(&kv, &session_options.kv_type, &err));
    if (!tokens) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--tokens is missing"));
    RRT__GOTO(parse_ids(tokens, &ids, &count, &err));
    RRT__GOTO(rrt__cli_open_model(&model, &which, common.threads, &err));
    session_options.threads = common.threads;
    session_options.tokens = count;
    RRT__GOTO(rrt_session_open(&session, model, &session_options, &err));
    RRT__GOTO(rrt_session_append(session, ids, count, &err));
    rrt_model_describe(model, &info);
    RRT__GOTO(print_top(session, (size_t)info.vocab, top, common.json, &err));
done:
    rrt_session_close(session);
    rrt_model_close(model);
    rrt__free(ids);
    return rrt__cli_finish(status, &err);
}
