#include <math.h>
#include <stdio.h>

#include "cli/cli.h"

static json_t *point_json(const rrt_eval_exits_point *p)
{
    return json_pack("{s:o, s:f, s:f, s:f, s:o}", "threshold", rrt__cli_number(p->threshold), "agreement",
                     p->agreement, "agreement_bound", p->agreement_bound, "mean_loops", p->mean_loops, "ppl",
                     rrt__cli_number(p->ppl));
}

static json_t *points_json(const rrt_eval_exits_point *points, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(list, point_json(&points[i]));
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
    json_t *json = json_pack("{s:o, s:f, s:f, s:o, s:f, s:I}", "loops", loops, "mean_loops", r->mean_loops,
                             "oracle_mean_loops", r->oracle_mean_loops, "ppl", rrt__cli_number(r->ppl),
                             "agreement", r->agreement, "tokens", (json_int_t)r->tokens);
    if (r->n_points) {
        json_object_set_new(json, "sweep", points_json(r->points, r->n_points));
        json_object_set_new(json, "calibrated", points_json(r->calibrated, RRT_EVAL_EXITS_WANTED));
    }
    return rrt__cli_print_json(json, err);
}

static void print_point(const rrt_eval_exits_point *p)
{
    printf("  %10.4f %10.2f %% %10.3f %12.4f\n", p->threshold, 100 * p->agreement, p->mean_loops, p->ppl);
}

static void print_text(const rrt_eval_exits_result *r, const char *rule)
{
    static const char *const wanted[RRT_EVAL_EXITS_WANTED] = {"90", "95", "99"};
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
    if (!r->n_points) return;
    printf("\nother thresholds (each token as if all left where it does):\n"
           "   threshold    agreement      loops   perplexity\n");
    for (int i = 0; i < r->n_points; i++) print_point(&r->points[i]);
    for (int i = 0; i < RRT_EVAL_EXITS_WANTED; i++) {
        const rrt_eval_exits_point *p = &r->calibrated[i];
        if (isnan(p->threshold))
            printf("no threshold lets a token leave and surely at least %s %% agree\n", wanted[i]);
        else
            printf("at least %s %% agree (95 %% confidence; %.2f %% here): %.6g, %.3f loops per token\n",
                   wanted[i], 100 * p->agreement, p->threshold, p->mean_loops);
    }
}

int rrt__cli_eval_exits(int argc, char **argv)
{
    rrt__cli_model which = {0};
    rrt__cli_kv kv = {0};
    const char *file = NULL;
    rrt_exit_options exits = {0};
    rrt_eval_options eval = {.progress = rrt__cli_progress()};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Model and text"),
        RRT__CLI_MODEL_ROW(&which),
        {'f', "file", "FILE", RRT__OPTION_STRING, &file, 0, 0,
         "the text, as a plain file (default, and -: standard input)"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &eval.context, 2, 1 << 24, "tokens per window (default 512)"},
        {0, "max-tokens", "N", RRT__OPTION_SIZE, &eval.max_tokens, 1, 1e15,
         "read only the first N tokens of the text"},
        RRT__OPTION_GROUP("Early exit"),
        {0, "exit", "RULE:T", RRT__OPTION_STRING, &exits.rule, 0, 0, RRT__CLI_EXIT_RULES " or oracle"},
        {0, "kv", "POLICY", RRT__OPTION_STRING, &exits.kv, 0, 0, RRT__CLI_KV_POLICIES},
        RRT__OPTION_GROUP("How the model runs"),
        RRT__CLI_KV_ROWS(&kv, "f16"),
        RRT__CLI_LOOPS_ROWS(&which),
        RRT__CLI_WEIGHTS_ROWS(&which),
    };
    const rrt__cli_usage usage = {
        .line = "rrt eval exits -m MODEL -f FILE [--exit RULE:T]",
        .about =
            "Measures on a text what the model says after each loop, and where tokens leave by an exit rule "
            "and by the oracle.",
        .examples = "rrt eval exits -m recursive -f test.txt\n"
                    "rrt eval exits -m recursive -f test.txt --exit confidence:0.9 --kv propagate",
        .options = options,
        .n_options = sizeof options / sizeof *options};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_model *model = NULL;
    rrt_eval_exits_result result = {0};
    int32_t *ids = NULL;
    size_t count;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    RRT__GOTO(rrt__cli_kv_type(&kv, &eval.kv_type, &err));
    if ((exits.kv || eval.kv_type) && !exits.rule)
        RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT,
                            "--%s is for tokens that leave: --exit RULE is missing",
                            exits.kv ? "kv" : "kv-type"));
    eval.threads = common.threads;
    rrt__cli_take_kv(&which, &exits.kv);
    RRT__GOTO(rrt__cli_open_model(&model, &which, common.threads, &err));
    RRT__GOTO(rrt__cli_read_ids(model, file, rrt__cli_min_tokens(model), &ids, &count, &err));
    RRT__GOTO(rrt_eval_exits(model, ids, count, &eval, &exits, &result, &err));
    if (common.json)
        RRT__GOTO(print_json(&result, &err));
    else
        print_text(&result, exits.rule);
done:
    rrt_eval_exits_free(&result);
    rrt_ids_free(ids);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
