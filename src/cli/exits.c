#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/exit_trace.h"

static json_t *points_json(const rrt_eval_exits_result *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_points; i++) {
        const rrt_eval_exits_point *p = &r->points[i];
        json_array_append_new(list, json_pack("{s:o, s:f, s:f, s:o}", "threshold",
                                              rrt__cli_number(p->threshold), "agreement", p->agreement,
                                              "mean_loops", p->mean_loops, "ppl", rrt__cli_number(p->ppl)));
    }
    return list;
}

static json_t *calibrated_json(const rrt_eval_exits_result *r)
{
    json_t *list = json_array();
    for (int i = 0; i < RRT_EVAL_EXITS_WANTED; i++) {
        const rrt_eval_exits_promise *p = &r->calibrated[i];
        json_array_append_new(
            list, json_pack("{s:f, s:o, s:f, s:f, s:f, s:o, s:I, s:o, s:I, s:o, s:I}", "wanted", p->wanted,
                            "threshold", rrt__cli_number(p->threshold), "agreement", p->agreement,
                            "agreement_bound", p->agreement_bound, "mean_loops", p->mean_loops, "ppl",
                            rrt__cli_number(p->ppl), "tokens", (json_int_t)p->tokens, "held_out_agreement",
                            rrt__cli_number(p->held_out_agreement), "held_out_tokens",
                            (json_int_t)p->held_out_tokens, "free_agreement",
                            rrt__cli_number(p->free_agreement), "free_tokens", (json_int_t)p->free_tokens));
    }
    return list;
}

static rrt_status print_json(const rrt_eval_exits_result *r, rrt_error *err)
{
    json_t *loops = json_array();
    for (int n = 0; n < r->loops; n++) {
        const rrt_eval_exit *exit = &r->exits[n];
        json_array_append_new(loops, json_pack("{s:o, s:f, s:f, s:f}", "ppl", rrt__cli_number(exit->ppl),
                                               "agreement", exit->agreement, "share", exit->share,
                                               "oracle_share", exit->oracle_share));
    }
    json_t *json =
        json_pack("{s:o, s:f, s:f, s:o, s:f, s:f, s:o, s:I}", "loops", loops, "mean_loops", r->mean_loops,
                  "oracle_mean_loops", r->oracle_mean_loops, "ppl", rrt__cli_number(r->ppl), "agreement",
                  r->agreement, "agreement_bound", r->agreement_bound, "free_agreement",
                  rrt__cli_number(r->free_agreement), "tokens", (json_int_t)r->tokens);
    if (r->n_points) {
        json_object_set_new(json, "sweep", points_json(r));
        json_object_set_new(json, "calibrated", calibrated_json(r));
    }
    return rrt__cli_print_json(json, err);
}

static void print_calibrated(const rrt_eval_exits_result *r)
{
    printf(
        "\ncalibrated by decoding %llu tokens (the bound holds with 95 %% confidence), and checked on text "
        "behind them and on\ntext that the model makes:\n"
        "  promise    threshold  agreement      bound   text behind  made freely    loops\n",
        (unsigned long long)r->calibrated[0].tokens);
    for (int i = 0; i < RRT_EVAL_EXITS_WANTED; i++) {
        const rrt_eval_exits_promise *p = &r->calibrated[i];
        if (isnan(p->threshold))
            printf("%7.0f %%   no threshold surely keeps it\n", 100 * p->wanted);
        else
            printf("%7.0f %% %12.6g %8.2f %% %8.2f %% %11.2f %% %10.2f %% %8.3f\n", 100 * p->wanted,
                   p->threshold, 100 * p->agreement, 100 * p->agreement_bound, 100 * p->held_out_agreement,
                   100 * p->free_agreement, p->mean_loops);
    }
}

static void print_text(const rrt_eval_exits_result *r, const char *rule)
{
    printf("loops   perplexity    agreement   left by rule   by oracle\n");
    for (int n = 0; n < r->loops; n++) {
        const rrt_eval_exit *exit = &r->exits[n];
        printf("%5d %12.4f %10.2f %% %12.2f %% %9.2f %%\n", n + 1, exit->ppl, 100 * exit->agreement,
               100 * exit->share, 100 * exit->oracle_share);
    }
    printf(
        "%s: %.3f loops per token, perplexity %.4f, agreement %.2f %%  (oracle: %.3f loops; %llu tokens)\n",
        rule ? rule : "all loops", r->mean_loops, r->ppl, 100 * r->agreement, r->oracle_mean_loops,
        (unsigned long long)r->tokens);
    if (!isnan(r->free_agreement)) printf("of text that the model makes: %.2f %%\n", 100 * r->free_agreement);
    if (!r->n_points) return;
    print_calibrated(r);
    printf("\nother thresholds, estimated (each token as if all left where it does):\n"
           "   threshold    agreement      loops   perplexity\n");
    for (int i = 0; i < r->n_points; i++) {
        const rrt_eval_exits_point *p = &r->points[i];
        printf("  %10.4f %10.2f %% %10.3f %12.4f\n", p->threshold, 100 * p->agreement, p->mean_loops, p->ppl);
    }
}

// What becomes of the result, beside being printed.
typedef struct outputs {
    const char *trace, *oracle_trace;
    bool force, save;
} outputs;

static rrt_status check_outputs(const outputs *o, const char *rule, rrt_error *err)
{
    if ((o->save || o->trace) && !rule)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s is for tokens that leave: --exit RULE is missing",
                         o->save ? "save" : "trace");
    if (o->trace) RRT__TRY(rrt__cli_check_destination(o->trace, o->force, NULL, err));
    return o->oracle_trace ? rrt__cli_check_destination(o->oracle_trace, o->force, NULL, err) : RRT_STATUS_OK;
}

static rrt_status write_traces(const outputs *o, const rrt_eval_exits_result *r, rrt_error *err)
{
    if (o->trace)
        RRT__TRY(rrt__exit_trace_write(o->trace, r->left, r->tokens, r->tokens_per_window, o->force, err));
    if (o->oracle_trace)
        RRT__TRY(rrt__exit_trace_write(o->oracle_trace, r->oracle_left, r->tokens, r->tokens_per_window,
                                       o->force, err));
    return RRT_STATUS_OK;
}

typedef struct arguments {
    rrt__cli_model which;
    rrt__cli_kv kv;
    const char *file;
    rrt_exit_options exits;
    rrt_eval_options eval;
    outputs out;
} arguments;

enum { MAX_OPTIONS = 24 };

static int list_options(rrt__option to[MAX_OPTIONS], arguments *a)
{
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Model and text"),
        RRT__CLI_MODEL_ROW(&a->which),
        {'f', "file", "FILE", RRT__OPTION_STRING, &a->file, 0, 0,
         "the text, as a plain file (default, and -: standard input)"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &a->eval.context, 2, 1 << 24, "tokens per window (default 512)"},
        {0, "max-tokens", "N", RRT__OPTION_SIZE, &a->eval.max_tokens, 1, 1e15,
         "read only the first N tokens of the text"},
        RRT__OPTION_GROUP("Early exit"),
        {0, "exit", "RULE:T", RRT__OPTION_STRING, &a->exits.rule, 0, 0, RRT__CLI_EXIT_RULES " or oracle"},
        {0, "kv", "POLICY", RRT__OPTION_STRING, &a->exits.kv, 0, 0, RRT__CLI_KV_POLICIES},
        {0, "save", NULL, RRT__OPTION_FLAG, &a->out.save, 0, 0,
         "store the calibrated thresholds with the model, for --exit agreement:95%"},
        {0, "trace", "FILE", RRT__OPTION_STRING, &a->out.trace, 0, 0,
         "write how many loops each token ran by the rule, a line a window, for bench --exit-trace and "
         "simulate"},
        {0, "oracle-trace", "FILE", RRT__OPTION_STRING, &a->out.oracle_trace, 0, 0,
         "write how many it would run by the oracle"},
        {0, "force", NULL, RRT__OPTION_FLAG, &a->out.force, 0, 0, "replace these files"},
        RRT__OPTION_GROUP("How the model runs"),
        RRT__CLI_KV_ROWS(&a->kv, "f16"),
        RRT__CLI_LOOPS_ROWS(&a->which),
        RRT__CLI_WEIGHTS_ROWS(&a->which),
    };
    memcpy(to, options, sizeof options);
    return sizeof options / sizeof *options;
}

static rrt_status run(arguments *a, const rrt__cli_common *common, rrt_error *err)
{
    rrt_model *model = NULL;
    rrt_eval_exits_result result = {0};
    int32_t *ids = NULL;
    size_t count;
    rrt_status status;
    a->eval.threads = common->threads;
    a->eval.progress = rrt__cli_progress();
    rrt__cli_take_kv(&a->which, &a->exits.kv);
    RRT__GOTO(rrt__cli_open_model(&model, &a->which, common->threads, err));
    RRT__GOTO(rrt__cli_read_ids(model, a->file, rrt__cli_min_tokens(model), &ids, &count, err));
    RRT__GOTO(rrt_eval_exits(model, ids, count, &a->eval, &a->exits, &result, err));
    if (common->json)
        RRT__GOTO(print_json(&result, err));
    else
        print_text(&result, a->exits.rule);
    RRT__GOTO(write_traces(&a->out, &result, err));
    if (a->out.save)
        RRT__GOTO(rrt_exit_thresholds_save(a->which.path, model, &a->exits, a->eval.kv_type, &result, err));
done:
    rrt_eval_exits_free(&result);
    rrt_ids_free(ids);
    rrt_model_close(model);
    return status;
}

int rrt__cli_eval_exits(int argc, char **argv)
{
    arguments a = {0};
    rrt__option options[MAX_OPTIONS];
    const int n_options = list_options(options, &a);
    const rrt__cli_usage usage = {
        .line = "rrt eval exits -m MODEL -f FILE [--exit RULE:T]",
        .about =
            "Measures on a text what the model says after each loop, and where tokens leave by an exit rule "
            "and by the oracle. Calibrates the rule: thresholds that keep 90, 95 and 99 % agreement, found "
            "by "
            "decoding with the keys and values that will serve.",
        .examples = "rrt eval exits -m recursive -f test.txt\n"
                    "rrt eval exits -m recursive -f test.txt --exit confidence:0.9 --kv propagate\n"
                    "rrt eval exits -m recursive -f test.txt --exit margin:0.5 --save\n"
                    "rrt generate -m recursive -p \"Once\" --exit agreement:95%",
        .options = options,
        .n_options = n_options};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    RRT__GOTO(rrt__cli_kv_type(&a.kv, &a.eval.kv_type, &err));
    if ((a.exits.kv || a.eval.kv_type) && !a.exits.rule)
        RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT,
                            "--%s is for tokens that leave: --exit RULE is missing",
                            a.exits.kv ? "kv" : "kv-type"));
    RRT__GOTO(check_outputs(&a.out, a.exits.rule, &err));
    RRT__GOTO(run(&a, &common, &err));
done:
    return rrt__cli_finish(status, &err);
}
