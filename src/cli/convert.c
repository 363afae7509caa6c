#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum {
    CALIBRATION_TOKENS = 8192, // without --calib-tokens
    CHOOSING_TOKENS = 1024,    // the same to choose layers by, where a token takes longer
    MIN_TOKENS = 2,
    MAX_LAYERS = 1024,     // that --keep can name
    MIN_SEARCH_TOKENS = 8, // a search judges by a quarter of them
};

static const char *plan_text(const rrt_model_info *i)
{
    static char text[96];
    if (i->loops == 1)
        snprintf(text, sizeof text, "%d layers", i->layers);
    else if (i->prelude || i->coda)
        snprintf(text, sizeof text, "%s %d + %d x %d + %d", i->sharing, i->prelude, i->loops,
                 i->layers_per_block, i->coda);
    else
        snprintf(text, sizeof text, "%s %d x %d", i->sharing, i->loops, i->layers_per_block);
    return text;
}

static json_t *frontier_json(const rrt_convert_frontier *frontier)
{
    json_t *list = json_array();
    for (size_t i = 0; i < frontier->n_candidates; i++) {
        const rrt_convert_candidate *c = &frontier->candidates[i];
        json_t *kl = c->failed ? json_null() : json_real(c->kl);
        json_array_append_new(list,
                              json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:o, s:b, s:b}", "loops", c->loops,
                                        "layers_per_block", c->layers_per_block, "prelude", c->prelude,
                                        "coda", c->coda, "lora_budget", (json_int_t)c->lora_budget,
                                        "params_body", (json_int_t)c->params_body, "kl", kl, "failed",
                                        c->failed, "on_frontier", c->on_frontier));
    }
    return list;
}

static rrt_status print_json(const rrt_model_info *before, const rrt_model_info *after,
                             const rrt_convert_report *report, const rrt_convert_frontier *frontier,
                             rrt_error *err)
{
    json_t *rows = json_array(), *kept = json_array();
    for (size_t i = 0; i < report->n_kept_layers; i++)
        json_array_append_new(kept, json_integer(report->kept_layers[i]));
    for (size_t i = 0; i < report->n_rows; i++) {
        const rrt_convert_row *r = &report->rows[i];
        json_array_append_new(rows, json_pack("{s:i, s:i, s:s, s:i, s:f, s:f}", "depth", r->depth, "slot",
                                              r->slot, "matrix", r->matrix, "rank", r->rank, "residual",
                                              r->residual, "kept", r->kept));
    }
    return rrt__cli_print_json(json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:f}", "params",
                                         rrt__cli_params_json(after), "params_before",
                                         rrt__cli_params_json(before), "report", rows, "frontier",
                                         frontier_json(frontier), "kept_layers", kept, "mixed_slots",
                                         report->mixed_slots, "seconds", report->seconds),
                               err);
}

static void print_frontier(const rrt_convert_frontier *frontier, const rrt_model_info *before)
{
    if (frontier->n_candidates)
        printf("prelude + loops x layers + coda    body (of it)     LoRA budget   mean KL\n");
    for (size_t i = 0; i < frontier->n_candidates; i++) {
        const rrt_convert_candidate *c = &frontier->candidates[i];
        char kl[32];
        snprintf(kl, sizeof kl, "%.4f", c->kl);
        printf("%7d + %d x %2d + %-2d          %10s (%4.1f %%)  %10s  %10s %s\n", c->prelude, c->loops,
               c->layers_per_block, c->coda, rrt__cli_count(c->params_body),
               100.0 * (double)c->params_body / (double)before->params_body, rrt__cli_count(c->lora_budget),
               c->failed ? "not finite" : kl, c->on_frontier ? "*" : "");
    }
    if (frontier->n_candidates) printf("* no other plan has both fewer parameters and a lower KL\n\n");
}

static void print_text(const rrt_model_info *before, const rrt_model_info *after,
                       const rrt_convert_report *report)
{
    if (report->n_rows) printf("depth  slot  matrix  rank  lost by sharing  kept by LoRA  left\n");
    for (size_t i = 0; i < report->n_rows; i++) {
        const rrt_convert_row *r = &report->rows[i];
        printf("%5d %5d  %-6s %5d  %13.2f %%  %10.2f %%  %5.2f %%\n", r->depth, r->slot, r->matrix, r->rank,
               100 * r->residual, 100 * r->kept, 100 * r->residual * (1 - r->kept));
    }
    printf("\nplan    %s, norms %s\n", plan_text(after), after->norms);
    if (report->n_kept_layers) printf("kept    layers");
    for (size_t i = 0; i < report->n_kept_layers; i++) printf(" %d", report->kept_layers[i]);
    if (report->n_kept_layers) printf("\n");
    printf("body    %s -> %s parameters (%.1f %%), of them LoRA %s\n", rrt__cli_count(before->params_body),
           rrt__cli_count(after->params_body),
           100.0 * (double)after->params_body / (double)before->params_body,
           rrt__cli_count(after->params_lora));
    printf("total   %s -> %s parameters\n", rrt__cli_count(before->params_total),
           rrt__cli_count(after->params_total));
    printf("time    %.1f s\n", report->seconds);
}

typedef struct arguments {
    rrt__cli_common common;
    rrt_convert_options convert;
    rrt_save_options save;
    const char *init, *lora_init, *calibration, *target_params, *keep;
    int kept[MAX_LAYERS];
    size_t calibration_tokens, lora_budget, max_shard_size;
    bool force;
    char *paths[2];
} arguments;

// The options that take one word of a few.
static rrt_status choose_words(arguments *a, rrt_error *err)
{
    static const char *const inits[] = {"stepwise", "average", "lower", "random", "calibrated"};
    static const char *const lora_inits[] = {"svd", "zero"};
    static const char *const dtypes[] = {"f32", "bf16", "f16"};
    int init, lora_init, dtype;
    RRT__TRY(rrt__cli_choose("init", a->init, inits, 5, &init, err));
    RRT__TRY(rrt__cli_choose("lora-init", a->lora_init, lora_inits, 2, &lora_init, err));
    RRT__TRY(rrt__cli_choose("dtype", a->save.dtype, dtypes, 3, &dtype, err));
    a->convert.init = (rrt_init)init;
    a->convert.lora_init = (rrt_lora_init)lora_init;
    return RRT_STATUS_OK;
}

// What would be ignored is refused: whoever asked for it would believe to have got it.
static rrt_status check_usage(const arguments *a, rrt_error *err)
{
    const rrt_convert_options *o = &a->convert;
    bool calibrated = o->init == RRT_INIT_CALIBRATED || a->target_params;
    const struct {
        bool is_wrong;
        const char *message;
    } rules[] = {
        {calibrated && !a->calibration, "a calibrated conversion needs a text: --calib FILE"},
        {!calibrated && a->calibration, "--calib is for --init calibrated and for --target-params"},
        {a->calibration_tokens && !a->calibration, "--calib-tokens is for --calib FILE"},
        {a->target_params && a->init && o->init != RRT_INIT_CALIBRATED,
         "--target-params always calibrates: leave --init out"},
        {a->target_params &&
             (o->loop_gain > 0 || o->rank || o->lora_budget || o->prelude || o->coda || o->layers || a->keep),
         "--target-params searches plan and ranks itself: leave them out"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].is_wrong) return rrt__fail(err, RRT_STATUS_ARGUMENT, "%s", rules[i].message);
    return RRT_STATUS_OK;
}

// "0-2,6-11,27": ranges and numbers, ascending.
static rrt_status parse_kept(arguments *a, rrt_error *err)
{
    rrt_convert_options *o = &a->convert;
    const char *at = a->keep;
    for (;;) {
        char *end;
        long first = strtol(at, &end, 10), last = first;
        bool is_number = isdigit((unsigned char)*at);
        if (is_number && *end == '-' && isdigit((unsigned char)end[1])) last = strtol(end + 1, &end, 10);
        if (!is_number || last < first || last >= MAX_LAYERS || (*end && *end != ','))
            return rrt__fail(err, RRT_STATUS_ARGUMENT,
                             "--keep: '%s' is not a list of layers such as 0-2,6-11,27", a->keep);
        for (long i = first; i <= last && o->n_keep < MAX_LAYERS; i++) a->kept[o->n_keep++] = (int)i;
        if (!*end) break;
        at = end + 1;
    }
    o->keep = a->kept;
    return RRT_STATUS_OK;
}

static rrt_status parse(arguments *a, int argc, char **argv, rrt_error *err)
{
    rrt_convert_options *o = &a->convert;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Plan"),
        {0, "loops", "B", RRT__OPTION_INT, &o->loops, 1, 1024, "loops of the shared block (default 2)"},
        {0, "prelude", "P", RRT__OPTION_INT, &o->prelude, 0, 1024, "first layers that stay unshared"},
        {0, "coda", "C", RRT__OPTION_INT, &o->coda, 0, 1024, "last layers that stay unshared"},
        {0, "sharing", "KIND", RRT__OPTION_STRING, &o->sharing, 0, 0,
         "cycle (default), sequence, or none: prune to --layers, without loops"},
        {0, "target-params", "N", RRT__OPTION_STRING, &a->target_params, 0, 0,
         "search plan and ranks for at most N body parameters: 60% or 64M"},
        RRT__OPTION_GROUP("Layers kept as they are, and run in loops"),
        {0, "layers", "K", RRT__OPTION_INT, &o->layers, 1, 1024,
         "keep K layers, drop the others; loop those between prelude and coda"},
        {0, "keep", "LIST", RRT__OPTION_STRING, &a->keep, 0, 0,
         "the layers to keep by number, from 0, instead of --layers: 0-2,6-11,27"},
        {0, "loop-gain", "G", RRT__OPTION_REAL, &o->loop_gain, 1e-3, 1,
         "initial norms of later loops, relative to the first loop's (default 1)"},
        RRT__OPTION_GROUP("Initialisation"),
        {0, "init", "KIND", RRT__OPTION_STRING, &a->init, 0, 0,
         "stepwise (default), average, lower, random, or calibrated on a text"},
        {0, "norms", "KIND", RRT__OPTION_STRING, &o->norms, 0, 0,
         "tied (default, as in the paper), per-depth or folded"},
        {0, "calib", "FILE", RRT__OPTION_STRING, &a->calibration, 0, 0,
         "text for --init calibrated and --target-params"},
        {0, "calib-tokens", "N", RRT__OPTION_SIZE, &a->calibration_tokens, MIN_TOKENS, 1e15,
         "tokens of the text that are used (default 8192; to choose layers 1024)"},
        {0, "seed", "S", RRT__OPTION_SEED, &o->seed, 0, 0, "seed of random inits (default 0)"},
        RRT__OPTION_GROUP("LoRA for each depth"),
        {0, "rank", "R", RRT__OPTION_INT, &o->rank, 0, 1 << 20,
         "rank of the LoRA on every matrix and depth (default 0: none)"},
        {0, "lora-budget", "N", RRT__OPTION_SIZE, &a->lora_budget, 1, 1e15,
         "N LoRA parameters where they gain most, e.g. 12M (--init calibrated)"},
        {0, "lora-init", "KIND", RRT__OPTION_STRING, &a->lora_init, 0, 0,
         "svd (default: the best approximation of what sharing lost) or zero"},
        RRT__OPTION_GROUP("Output"),
        {0, "force", NULL, RRT__OPTION_FLAG, &a->force, 0, 0, "replace DST if it exists"},
        {0, "dtype", "TYPE", RRT__OPTION_STRING, &a->save.dtype, 0, 0,
         "type of stored weights: f32, bf16, f16 (default: SRC's, or bf16)"},
        {0, "max-shard-size", "SIZE", RRT__OPTION_SIZE, &a->max_shard_size, 1, 1e15,
         "bytes of weights per file at most, e.g. 500M (default 5G)"},
    };
    const rrt__cli_usage usage = {
        .line = "rrt convert SRC DST [--loops B …]",
        .about =
            "Turns a pretrained model into a recursive one: one block of layers is run B times, relaxed by a "
            "LoRA per depth. Prints plan, sizes, and the matrices that lost most.",
        .examples = "rrt convert model.gguf recursive --loops 2 --init average --rank 64\n"
                    "rrt convert model.gguf recursive --init calibrated --calib text.txt --lora-budget 12M\n"
                    "rrt convert model.gguf recursive --target-params 60% --calib text.txt",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .positional = 2};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, a->paths, err));
    RRT__TRY(choose_words(a, err));
    if (a->keep) RRT__TRY(parse_kept(a, err));
    o->lora_budget = a->lora_budget;
    o->threads = a->common.threads;
    o->progress = a->save.progress = rrt__cli_progress();
    a->save.max_shard_bytes = a->max_shard_size;
    a->save.overwrite = a->force;
    return check_usage(a, err);
}

// "60%" of the original's body, or a number of parameters such as 64M.
static rrt_status parse_target(const char *text, uint64_t body, uint64_t *target, rrt_error *err)
{
    char *end;
    double value = strtod(text, &end), scale = *end == '%' ? 0.01 * (double)body : rrt__size_suffix(*end);
    if (scale > 0) end++;
    value *= scale > 0 ? scale : 1;
    if (end == text || *end || !(value >= 1 && value < 1e18))
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "--target-params: '%s' is not a share such as 60%% or a number such as 64M", text);
    *target = (uint64_t)value;
    return RRT_STATUS_OK;
}

static rrt_status convert(arguments *a, const rrt_model *source, rrt_model **model,
                          rrt_convert_frontier *frontier, rrt_convert_report *report, rrt_error *err)
{
    rrt_model_info info;
    uint64_t target = 0;
    if (!a->target_params) return rrt_convert(model, source, &a->convert, report, err);
    rrt_model_describe(source, &info);
    RRT__TRY(parse_target(a->target_params, info.params_body, &target, err));
    return rrt_convert_search(model, source, &a->convert, target, frontier, report, err);
}

// A model without a tokenizer is a result all the same, but not one to be surprised by later.
static void warn_of_lost_tokenizer(const rrt_model *source)
{
    rrt_error why;
    if (rrt_model_check_tokenizer(source, &why))
        fprintf(stderr, "rrt: the result has no tokenizer: %s%s%s\n", why.where, why.where[0] ? ": " : "",
                why.message);
}

static void warn_of_mixed_slots(const rrt_convert_report *report)
{
    if (report->mixed_slots)
        fprintf(
            stderr,
            "rrt: %d of the shared layers stand for layers of different attention (local and global, or with "
            "and without rotation): blocks of a multiple of %d layers line up with the model's pattern\n",
            report->mixed_slots, report->attention_period);
}

int rrt__cli_convert(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {.lora_init = "svd"};
    rrt_model *source = NULL, *model = NULL;
    rrt_model_info before, after;
    rrt_convert_report report = {0};
    rrt_convert_frontier frontier = {0};
    int32_t *ids = NULL;
    size_t count = 0;
    rrt_status status;

    RRT__GOTO(parse(&a, argc, argv, &err));
    RRT__GOTO(rrt__cli_check_destination(a.paths[1], a.force, a.paths[0], &err));
    RRT__GOTO(rrt__cli_check_destination(a.paths[1], a.force, a.calibration, &err));
    bool runs_source = a.convert.init == RRT_INIT_CALIBRATED || a.target_params;
    RRT__GOTO(runs_source ? rrt__cli_open_f32(&source, a.paths[0], &err)
                          : rrt_model_open_deferred(&source, a.paths[0], &err));
    size_t least = a.target_params ? MIN_SEARCH_TOKENS : MIN_TOKENS;
    if (a.calibration) RRT__GOTO(rrt__cli_read_ids(source, a.calibration, least, &ids, &count, &err));
    bool chooses = a.convert.layers || (a.convert.sharing && strcmp(a.convert.sharing, "none") == 0);
    size_t most = a.calibration_tokens ? a.calibration_tokens
                  : chooses            ? CHOOSING_TOKENS
                                       : CALIBRATION_TOKENS;
    a.convert.calibration_ids = ids;
    a.convert.calibration_count = count < most ? count : most;
    RRT__GOTO(convert(&a, source, &model, &frontier, &report, &err));
    rrt__cli_catch_signals(); // saving has something to clean up
    RRT__GOTO(rrt_model_save(model, a.paths[1], &a.save, &err));
    warn_of_lost_tokenizer(source);
    warn_of_mixed_slots(&report);
    rrt_model_describe(source, &before);
    rrt_model_describe(model, &after);
    if (a.common.json) {
        RRT__GOTO(print_json(&before, &after, &report, &frontier, &err));
    } else {
        print_frontier(&frontier, &before);
        print_text(&before, &after, &report);
    }
done:
    rrt_convert_report_free(&report);
    rrt_convert_frontier_free(&frontier);
    rrt_ids_free(ids);
    rrt_model_close(model);
    rrt_model_close(source);
    return rrt__cli_finish(status, &err);
}
