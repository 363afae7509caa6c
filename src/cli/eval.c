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

static json_t *kl_json(const rrt_eval_kl_result *r)
{
    return json_pack("{s:f, s:f, s:I, s:o, s:o}", "kl", r->kl, "top1_agreement", r->top1_agreement, "tokens",
                     (json_int_t)r->tokens, "ppl", rrt__cli_number(r->ppl), "teacher_ppl",
                     rrt__cli_number(r->teacher_ppl));
}

// One model: its figures; several: a list of them in the order of the command line.
static rrt_status print_kl(const rrt_eval_kl_result *results, char **paths, int count, bool json,
                           rrt_error *err)
{
    json_t *list = count > 1 ? json_array() : NULL;
    for (int i = 0; json && list && i < count; i++) {
        json_t *one = kl_json(&results[i]);
        json_object_set_new(one, "model", json_string(paths[i]));
        json_array_append_new(list, one);
    }
    if (json) return rrt__cli_print_json(list ? json_pack("{s:o}", "models", list) : kl_json(results), err);
    json_decref(list);
    for (int i = 0; i < count; i++) {
        const rrt_eval_kl_result *r = &results[i];
        if (count > 1) printf("%s\n  ", paths[i]);
        printf("mean KL %.6f nats, top-1 agreement %.2f %%, perplexity %.4f (teacher %.4f), %llu tokens\n",
               r->kl, 100 * r->top1_agreement, r->ppl, r->teacher_ppl, (unsigned long long)r->tokens);
    }
    return RRT_STATUS_OK;
}

// Opens the models beside the first and compares all of them with the teacher.
static rrt_status compare(rrt_model **models, char **paths, int count, const char *teacher_path,
                          const rrt__cli_model *which, const int32_t *ids, size_t n_ids,
                          const rrt_eval_options *eval, bool json, rrt_error *err)
{
    rrt_eval_kl_result results[RRT_EVAL_KL_MODELS];
    rrt_model *teacher = NULL;
    rrt_status status;
    RRT__GOTO(rrt__cli_open_model(&teacher, &(rrt__cli_model){.path = teacher_path}, eval->threads, err));
    for (int i = 1; i < count; i++)
        RRT__GOTO(rrt__cli_open_model(
            &models[i], &(rrt__cli_model){.path = paths[i], .loops = which->loops, .kv = which->kv},
            eval->threads, err));
    RRT__GOTO(
        rrt_eval_kl_each((const rrt_model *const *)models, count, teacher, ids, n_ids, eval, results, err));
    RRT__GOTO(print_kl(results, paths, count, json, err));
done:
    for (int i = 1; i < count; i++) rrt_model_close(models[i]);
    rrt_model_close(teacher);
    return status;
}

enum { MAX_OPTIONS = 20, OF_KL = 2 }; // those of kl alone, in front, with their title

static int list_options(rrt__option out[MAX_OPTIONS], rrt__cli_model *which, rrt__cli_kv *kv,
                        const char **teacher, const char **file, rrt_eval_options *eval)
{
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Comparison"),
        {0, "teacher", "MODEL", RRT__OPTION_STRING, teacher, 0, 0,
         "the model that -m MODEL is compared with"},
        RRT__OPTION_GROUP("Model and text"),
        RRT__CLI_MODEL_ROW(which),
        {'f', "file", "FILE", RRT__OPTION_STRING, file, 0, 0,
         "the text, as a plain file (default, and -: standard input)"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &eval->context, 2, 1 << 24, "tokens per window (default 512)"},
        {0, "max-tokens", "N", RRT__OPTION_SIZE, &eval->max_tokens, 1, 1e15,
         "read only the first N tokens of the text"},
        RRT__OPTION_GROUP("How the model runs"),
        RRT__CLI_LOOPS_ROWS(which),
        RRT__CLI_KV_LAST_ROW(which),
        RRT__CLI_KV_ROWS(kv, "windows run whole, in f32"),
        RRT__CLI_WEIGHTS_ROWS(which),
    };
    memcpy(out, options, sizeof options);
    return sizeof options / sizeof *options;
}

// `rrt eval ppl …` and `rrt eval kl …` differ in the teacher alone.
static int run(int argc, char **argv, bool is_kl)
{
    rrt__cli_model which = {0};
    rrt__cli_kv kv = {0};
    const char *teacher_path = NULL, *file = NULL;
    rrt_eval_options eval = {.progress = rrt__cli_progress()};
    rrt__option options[MAX_OPTIONS];
    int n_options = list_options(options, &which, &kv, &teacher_path, &file, &eval);
    const rrt__cli_usage usage = {
        .line =
            is_kl ? "rrt eval kl -m MODEL [MODEL…] --teacher MODEL -f FILE" : "rrt eval ppl -m MODEL -f FILE",
        .about = is_kl
                     ? "Measures on a text the mean KL(teacher || model), and the top-1 agreement: how often "
                       "both find the same token most likely. Several models need one run of the teacher."
                     : "Measures perplexity on a text, in windows of --ctx tokens, end to end.",
        .examples = is_kl ? "rrt eval kl -m recursive --teacher model.gguf -f test.txt --max-tokens 20k\n"
                            "rrt eval kl -m first second third --teacher model.gguf -f test.txt"
                          : "rrt eval ppl -m model.gguf -f test.txt\n"
                            "rrt eval ppl -m recursive -f test.txt --ctx 1024 --loops 1 --json",
        .options = options + (is_kl ? 0 : OF_KL),
        .n_options = n_options - (is_kl ? 0 : OF_KL),
        .positional = is_kl ? RRT_EVAL_KL_MODELS - 1 : 0,
        .optional = RRT_EVAL_KL_MODELS - 1};
    rrt_error err = {0};
    rrt__cli_common common;
    char *paths[RRT_EVAL_KL_MODELS] = {0};
    rrt_model *models[RRT_EVAL_KL_MODELS] = {0};
    int n_models = 1;
    int32_t *ids = NULL;
    size_t count;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, paths + 1, &err));
    RRT__GOTO(rrt__cli_kv_type(&kv, &eval.kv_type, &err));
    eval.threads = common.threads;
    while (n_models < RRT_EVAL_KL_MODELS && paths[n_models]) n_models++;
    if (is_kl && !teacher_path) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--teacher MODEL is missing"));
    paths[0] = (char *)which.path;
    RRT__GOTO(rrt__cli_open_model(&models[0], &which, common.threads, &err));
    RRT__GOTO(rrt__cli_read_ids(models[0], file, rrt__cli_min_tokens(models[0]), &ids, &count, &err));
    if (is_kl) {
        RRT__GOTO(
            compare(models, paths, n_models, teacher_path, &which, ids, count, &eval, common.json, &err));
    } else {
        rrt_eval_ppl_result result;
        RRT__GOTO(rrt_eval_ppl(models[0], ids, count, &eval, &result, &err));
        RRT__GOTO(print_ppl(&result, common.json, &err));
    }
done:
    rrt_ids_free(ids);
    rrt_model_close(models[0]);
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
               "  kl     KL divergence from another model, and top-1 agreement\n"
               "  exits  perplexity after each loop, and where tokens leave by an exit rule\n"
               "  tasks  zero-shot questions\n\n"
               "rrt eval ppl --help lists the options of ppl, and so on.\n\n"
               "Examples:\n"
               "  rrt eval ppl -m model.gguf -f test.txt\n"
               "  rrt eval kl -m recursive --teacher model.gguf -f test.txt\n");
        return rrt__cli_finish(RRT_STATUS_OK, NULL);
    }
    rrt_error err = {0};
    rrt_status status =
        rrt__fail(&err, RRT_STATUS_ARGUMENT, *what ? "eval: '%s' is not known" : "eval what%s?", what);
    rrt__hint(&err, status, "ppl, kl, exits or tasks: rrt eval --help");
    return rrt__cli_finish(status, &err);
}
