#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/convert_report.h"

enum {
    CALIBRATION_TOKENS = 8192, // without --calib-tokens
    CHOOSING_TOKENS = 1024,    // the same to choose layers by, where a token takes longer
    MIN_TOKENS = 2,
    MAX_LAYERS = 1024, // that --keep can name
    MAX_OPTIONS = 40,
    MIN_SEARCH_TOKENS = 8, // a search judges by a quarter of them
};

typedef struct arguments {
    rrt__cli_common common;
    rrt_convert_options convert;
    rrt_save_options save;
    const char *init, *lora_init, *calibration, *target_params, *keep;
    int kept[MAX_LAYERS];
    size_t calibration_tokens, lora_budget, max_shard_size;
    bool force, verbose, dry_run;
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
        {a->target_params && (o->loop_gain > 0 || o->rank || o->lora_budget || o->prelude || o->coda ||
                              o->layers || a->keep || o->loop_norm),
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

// "60%" of the original's body, or a number of parameters such as 64M. *share is 0 for a number, *count for a
// share.
static rrt_status parse_target(const char *text, double *share, uint64_t *count, rrt_error *err)
{
    char *end;
    double value = strtod(text, &end);
    bool is_share = *end == '%';
    double scale = is_share ? 1 : rrt__size_suffix(*end);
    if (scale > 0) end++;
    value *= scale > 0 ? scale : 1;
    *share = is_share ? value / 100 : 0;
    *count = 0;
    if (end == text || *end || !isfinite(value))
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "--target-params: '%s' is not a share such as 60%% or a number such as 64M", text);
    if (is_share ? !(value > 0 && value < 100) : !(value >= 1 && value < 1e18))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--target-params: %s is out of range: %s", text,
                         is_share ? "more than 0%, less than 100%" : "at least 1 parameter");
    if (!is_share) *count = (uint64_t)value;
    return RRT_STATUS_OK;
}

static int list_options(rrt__option out[MAX_OPTIONS], arguments *a)
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
        {0, "loop-norm", NULL, RRT__OPTION_FLAG, &o->loop_norm, 0, 0,
         "norm what enters a later loop, as in Nanbeige and Ouro"},
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
        {0, "dry-run", NULL, RRT__OPTION_FLAG, &a->dry_run, 0, 0,
         "only estimate plan, parameters, time and memory; write nothing"},
        {0, "verbose", NULL, RRT__OPTION_FLAG, &a->verbose, 0, 0,
         "also print a row for each matrix and depth"},
        {0, "dtype", "TYPE", RRT__OPTION_STRING, &a->save.dtype, 0, 0,
         "type of stored weights: f32, bf16, f16 (default: SRC's, or bf16)"},
        {0, "max-shard-size", "SIZE", RRT__OPTION_SIZE, &a->max_shard_size, 1, 1e15,
         "bytes of weights per file at most, e.g. 500M (default 5G)"},
    };
    memcpy(out, options, sizeof options);
    return sizeof options / sizeof *options;
}

static rrt_status parse(arguments *a, int argc, char **argv, rrt_error *err)
{
    rrt_convert_options *o = &a->convert;
    rrt__option options[MAX_OPTIONS];
    int n_options = list_options(options, a);
    const rrt__cli_usage usage = {
        .line = "rrt convert SRC DST [--loops B …]",
        .about =
            "Turns a pretrained model into a recursive one: one block of layers is run B times, relaxed by a "
            "LoRA per depth. Prints plan, sizes, and the matrices that lost most.",
        .examples = "rrt convert model.gguf recursive --loops 2 --init average --rank 64\n"
                    "rrt convert model.gguf recursive --init calibrated --calib text.txt --lora-budget 12M\n"
                    "rrt convert model.gguf recursive --target-params 60% --calib text.txt --dry-run",
        .options = options,
        .n_options = n_options,
        .positional = 2};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, a->paths, err));
    RRT__TRY(choose_words(a, err));
    if (a->target_params) RRT__TRY(parse_target(a->target_params, &(double){0}, &(uint64_t){0}, err));
    if (a->keep) RRT__TRY(parse_kept(a, err));
    o->lora_budget = a->lora_budget;
    o->threads = a->common.threads;
    o->progress = a->save.progress = rrt__cli_progress();
    a->save.max_shard_bytes = a->max_shard_size;
    a->save.overwrite = a->force;
    return check_usage(a, err);
}

// What is known to be wrong once the shape is known, and before any weight is read.
static rrt_status check_sizes(const arguments *a, const rrt_model *source, uint64_t *target, rrt_error *err)
{
    rrt_model_info info;
    double share;
    rrt_model_describe(source, &info);
    if (a->lora_budget >= info.params_body)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "--lora-budget: %s parameters are no less than the whole body of the source has, %s",
                         rrt__cli_count(a->lora_budget), rrt__cli_count(info.params_body));
    if (!a->target_params) return RRT_STATUS_OK;
    RRT__TRY(parse_target(a->target_params, &share, target, err));
    if (share > 0) *target = (uint64_t)(share * (double)info.params_body);
    if (*target < info.params_body) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT,
                     "--target-params: %s parameters are no less than the body of the source has, %s",
                     rrt__cli_count(*target), rrt__cli_count(info.params_body));
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

// The calibration text, as much of it as is used.
static rrt_status read_text(arguments *a, const rrt_model *source, int32_t **ids, rrt_error *err)
{
    rrt_convert_options *o = &a->convert;
    size_t count = 0, min = a->target_params ? MIN_SEARCH_TOKENS : MIN_TOKENS;
    bool chooses = o->layers || (o->sharing && strcmp(o->sharing, "none") == 0);
    if (!a->calibration) return RRT_STATUS_OK;
    RRT__TRY(rrt__cli_read_ids(source, a->calibration, min, ids, &count, err));
    size_t max = a->calibration_tokens ? a->calibration_tokens
                 : chooses             ? CHOOSING_TOKENS
                                       : CALIBRATION_TOKENS;
    o->calibration_ids = *ids;
    o->calibration_count = count < max ? count : max;
    return RRT_STATUS_OK;
}

static rrt_status estimate(const arguments *a, const rrt_model *source, uint64_t target, rrt_error *err)
{
    rrt_convert_forecast forecast;
    RRT__TRY(rrt_convert_estimate(source, &a->convert, target, &forecast, err));
    return rrt__forecast_print(&forecast, source, a->common.json, err);
}

static rrt_status convert(const arguments *a, rrt_model *source, uint64_t target, rrt__converted *result,
                          rrt_error *err)
{
    if (a->convert.init == RRT_INIT_CALIBRATED || target) RRT__TRY(rrt_model_unpack(source, err));
    RRT__TRY(target ? rrt_convert_search(&result->model, source, &a->convert, target, &result->frontier,
                                         &result->report, err)
                    : rrt_convert(&result->model, source, &a->convert, &result->report, err));
    rrt__cli_catch_signals(); // saving has something to clean up
    return rrt_model_save(result->model, a->paths[1], &a->save, err);
}

int rrt__cli_convert(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {.lora_init = "svd"};
    rrt_model *source = NULL;
    rrt__converted result = {0};
    uint64_t target = 0;
    int32_t *ids = NULL;
    rrt_status status;

    RRT__GOTO(parse(&a, argc, argv, &err));
    RRT__GOTO(rrt__cli_check_destination(a.paths[1], a.force, a.paths[0], &err));
    RRT__GOTO(rrt__cli_check_destination(a.paths[1], a.force, a.calibration, &err));
    RRT__GOTO(rrt_model_open_deferred(&source, a.paths[0], NULL, &err));
    RRT__GOTO(check_sizes(&a, source, &target, &err));
    RRT__GOTO(read_text(&a, source, &ids, &err));
    if (a.dry_run) {
        RRT__GOTO(estimate(&a, source, target, &err));
        goto done;
    }
    RRT__GOTO(convert(&a, source, target, &result, &err));
    warn_of_lost_tokenizer(source);
    warn_of_mixed_slots(&result.report);
    RRT__GOTO(a.common.json ? rrt__converted_print_json(&result, source, &err)
                            : rrt__converted_print(&result, source, a.paths[1], a.verbose, &err));
done:
    rrt_convert_report_free(&result.report);
    rrt_convert_frontier_free(&result.frontier);
    rrt_ids_free(ids);
    rrt_model_close(result.model);
    rrt_model_close(source);
    return rrt__cli_finish(status, &err);
}
