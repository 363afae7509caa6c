#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static rrt_status print_ppl(const rrt_eval_ppl_result *r, bool json, rrt_error *err)
{
    if (json)
        return rrt__cli_print_json(json_pack("{s:o, s:f, s:I}", "ppl", rrt__cli_number(r->ppl),
                                             "nll_per_token", r->nll_per_token, "tokens",
                                             (json_int_t)r->tokens),
                                   err);
    printf("perplexity %.4f  (%.6f nats per token, %llu tokens)\n", r->ppl, r->nll_per_token,
           (unsigned long long)r->tokens);
    return RRT_STATUS_OK;
}

static rrt_status print_kl(const rrt_eval_kl_result *r, bool json, rrt_error *err)
{
    if (json)
        return rrt__cli_print_json(json_pack("{s:f, s:f, s:I, s:o, s:o}", "kl", r->kl, "top1_agreement",
                                             r->top1_agreement, "tokens", (json_int_t)r->tokens, "ppl",
                                             rrt__cli_number(r->ppl), "teacher_ppl",
                                             rrt__cli_number(r->teacher_ppl)),
                                   err);
    printf("mean KL %.6f nats  (the top-1 agreement at %.2f %%, %llu tokens)\n", r->kl,
           100 * r->top1_agreement, (unsigned long long)r->tokens);
    printf("perplexity %.4f, teacher's %.4f\n", r->ppl, r->teacher_ppl);
    return RRT_STATUS_OK;
}

// `rrt eval ppl …` and `rrt eval kl …` differ in the teacher alone.
static int run(int argc, char **argv, bool is_kl)
{
    rrt__cli_model which = {0};
    const char *teacher_path = NULL, *file = NULL;
    rrt_eval_options eval = {.progress = rrt__cli_progress()};
    const rrt__option options[] = {
        RRT__CLI_MODEL_ROWS(&which),
        {'f', "file", "FILE", RRT__OPTION_STRING, &file, 0, 0, "the text (default: standard input)"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &eval.context, 2, 1 << 24, "tokens per window (default 512)"},
        {0, "max-tokens", "N", RRT__OPTION_SIZE, &eval.max_tokens, 1, 1e15,
         "read only the first N tokens of the text"},
        {0, "loops", "N", RRT__OPTION_INT, &eval.loops, 1, 1024,
         "run prelude, N loops, coda (default: all loops)"},
        {0, "kv-type", "TYPE", RRT__OPTION_STRING, &eval.kv_type, 0, 0,
         "through keys and values as f16 or f32, as while decoding (default: windows run whole)"},
        {0, "teacher", "MODEL", RRT__OPTION_STRING, &teacher_path, 0, 0, "the model to compare with"},
    };
    const rrt__cli_usage usage = {
        is_kl ? "rrt eval kl -m MODEL --teacher MODEL -f FILE" : "rrt eval ppl -m MODEL -f FILE",
        is_kl ? "Mean KL(teacher || model) on a text, and how often both find the same token most likely."
              : "Perplexity on a text, in windows of --ctx tokens, end to end.",
        options, sizeof options / sizeof *options - (is_kl ? 0 : 1), 0};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_model *model = NULL, *teacher = NULL;
    int32_t *ids = NULL;
    size_t count;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    eval.threads = common.threads;
    if (is_kl && !teacher_path) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--teacher MODEL is missing"));
    RRT__GOTO(rrt__cli_open_model(&model, &which, common.threads, &err));
    RRT__GOTO(rrt__cli_read_ids(model, file, rrt__cli_min_tokens(model), &ids, &count, &err));
    if (is_kl) {
        rrt_eval_kl_result result;
        RRT__GOTO(
            rrt__cli_open_model(&teacher, &(rrt__cli_model){.path = teacher_path}, common.threads, &err));
        RRT__GOTO(rrt_eval_kl(model, teacher, ids, count, &eval, &result, &err));
        RRT__GOTO(print_kl(&result, common.json, &err));
    } else {
        rrt_eval_ppl_result result;
        RRT__GOTO(rrt_eval_ppl(model, ids, count, &eval, &result, &err));
        RRT__GOTO(print_ppl(&result, common.json, &err));
    }
done:
    rrt_ids_free(ids);
    rrt_model_close(model);
    rrt_model_close(teacher);
    return rrt__cli_finish(status, &err);
}

int rrt__cli_eval(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "ppl") == 0) return run(argc - 1, argv + 1, false);
    if (strcmp(what, "kl") == 0) return run(argc - 1, argv + 1, true);
    if (strcmp(what, "exits") == 0) return rrt__cli_eval_exits(argc - 1, argv + 1);
    if (strcmp(what, "tasks") == 0) return rrt__cli_eval_tasks(argc - 1, argv + 1);
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        printf("usage: rrt eval ppl|kl|exits|tasks …\n\n"
               "  ppl    perplexity on a text\n"
               "  kl     distance from another model\n"
               "  exits  what each exit says, and where tokens leave by a rule\n"
               "  tasks  zero-shot questions\n");
        return rrt__cli_finish(RRT_STATUS_OK, NULL);
    }
    rrt_error err = {0};
    rrt_status status =
        rrt__fail(&err, RRT_STATUS_ARGUMENT, *what ? "eval: '%s' is not known" : "eval what%s?", what);
    rrt__hint(&err, status, "ppl, kl, exits or tasks: rrt eval --help");
    return rrt__cli_finish(status, &err);
}
