#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

typedef struct arguments {
    rrt__cli_model model;
    rrt__cli_kv kv;
    const char *teacher_path, *batches;
    rrt__bench_serving serving;
    bool train, match, recompute, bf16;
    size_t prompt, generated, depth, context;
    int repeats, threads;
} arguments;

// "1,8,32"
static rrt_status parse_batches(const char *text, size_t *batches, int *count, rrt_error *err)
{
    *count = 0;
    for (const char *at = text;; at++) {
        char *end;
        unsigned long value = strtoul(at, &end, 10);
        if (end == at || value < 1 || value > 65536 || (*end && *end != ',') || *count == RRT__MAX_BATCHES)
            return rrt__fail(err, RRT_STATUS_ARGUMENT,
                             "--batch: '%s' is not a list of 1 to %d numbers from 1 to 65536, such as 1,8,32",
                             text, RRT__MAX_BATCHES);
        batches[(*count)++] = value;
        if (!*end) return RRT_STATUS_OK;
        at = end;
    }
}

// All sequences go through all loops, side by side.
static void add_row(json_t *rows, const char *test, size_t batch, const rrt_model *model,
                    const rrt_bench_result *r)
{
    rrt_model_info info;
    rrt_model_describe(model, &info);
    json_array_append_new(rows, json_pack("{s:s, s:I, s:s, s:f, s:f, s:f, s:I}", "test", test, "batch",
                                          (json_int_t)batch, "batching", "static", "tokens_per_s_mean",
                                          r->tokens_per_s_mean, "tokens_per_s_std", r->tokens_per_s_std,
                                          "mean_loops", (double)info.loops, "peak_rss_bytes",
                                          (json_int_t)r->peak_rss_bytes));
}

static rrt_status bench_training(arguments *a, size_t batch, json_t *rows, rrt_error *err)
{
    rrt_model *model = NULL, *teacher = NULL;
    rrt_bench_result result;
    rrt_status status = rrt__cli_open_f32(&model, &a->model, err);
    if (!status && a->teacher_path)
        status = rrt__cli_open_model(&teacher, &(rrt__cli_model){.path = a->teacher_path}, a->threads, err);
    rrt_bench_options bench = {a->threads, a->repeats, batch,        a->context,         teacher,
                               a->match,   a->bf16,    a->recompute, rrt__cli_progress()};
    if (!status) status = rrt_bench_train(model, &bench, &result, err);
    if (!status) add_row(rows, "train", batch, model, &result);
    rrt_model_close(model);
    rrt_model_close(teacher);
    return status;
}

static rrt_status bench_inference(arguments *a, const size_t *batches, int count, json_t *rows,
                                  rrt_error *err)
{
    rrt_model *model;
    char name[64], after[32] = "";
    rrt_bench_result result;
    rrt_bench_inference_options bench = {.threads = a->threads,
                                         .repeats = a->repeats,
                                         .tokens = a->prompt,
                                         .batch = 1,
                                         .progress = rrt__cli_progress(),
                                         .kv_type = a->serving.options.kv_type,
                                         .depth = a->depth};
    if (a->depth) snprintf(after, sizeof after, "@d%zu", a->depth);
    RRT__TRY(rrt__cli_open_model(&model, &a->model, a->threads, err));
    rrt_status status = RRT_STATUS_OK;
    if (a->prompt) {
        snprintf(name, sizeof name, "pp%zu%s", a->prompt, after);
        status = rrt_bench_prefill(model, &bench, &result, err);
        if (!status) add_row(rows, name, 1, model, &result);
    }
    bench.tokens = a->generated;
    snprintf(name, sizeof name, "tg%zu%s", a->generated, after);
    for (int i = 0; !status && a->generated && i < count; i++) {
        bench.batch = batches[i];
        status = rrt_bench_decode(model, &bench, &result, err);
        if (!status) add_row(rows, name, batches[i], model, &result);
    }
    rrt_model_close(model);
    return status;
}

static rrt_status bench_serving(arguments *a, const size_t *batches, int count, json_t *rows, rrt_error *err)
{
    rrt_model *model;
    a->serving.options.threads = a->threads;
    a->serving.options.prompt = a->prompt;
    a->serving.options.mean_tokens = a->generated;
    a->serving.options.progress = rrt__cli_progress();
    RRT__TRY(rrt__cli_open_model(&model, &a->model, a->threads, err));
    rrt_status status = rrt__bench_serving_run(&a->serving, model, batches, count, a->repeats, rows, err);
    rrt_model_close(model);
    return status;
}

static double number_of(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

// Nothing for null.
static void print_factor(const json_t *row, const char *key)
{
    if (json_is_number(json_object_get(row, key)))
        printf(" %8.2f", number_of(row, key));
    else
        printf(" %8s", "");
}

static void print_serving(const json_t *rows)
{
    static const char *const parts[] = {"prelude", "loops", "boundary", "head", "kv", "rest"};
    size_t i;
    const json_t *row;
    printf("%-13s %-16s %5s %19s %6s %9s %8s %8s %8s   %% of the time: %s\n", "batching", "exit", "batch",
           "tokens/s", "loops", "agreement", "gain", "bound", "full",
           "prelude, loops, boundary, head, K/V, rest");
    json_array_foreach(rows, i, row)
    {
        const char *exit = json_string_value(json_object_get(row, "exit"));
        const json_t *agreement = json_object_get(row, "agreement"),
                     *seconds = json_object_get(row, "seconds");
        double total = 0;
        printf("%-13s %-16s %5d %11.1f ± %5.1f %6.2f ", json_string_value(json_object_get(row, "batching")),
               exit ? exit : "", (int)json_integer_value(json_object_get(row, "batch")),
               number_of(row, "tokens_per_s_mean"), number_of(row, "tokens_per_s_std"),
               number_of(row, "mean_loops"));
        if (json_is_number(agreement))
            printf("%8.1f%%", 100 * json_number_value(agreement));
        else
            printf("%9s", "");
        print_factor(row, "gain");
        print_factor(row, "bound");
        print_factor(row, "occupancy");
        for (int p = 0; p < 6; p++) total += number_of(seconds, parts[p]);
        for (int p = 0; p < 6; p++)
            printf("%s %.1f", p ? "," : "  ", 100 * number_of(seconds, parts[p]) / total);
        putchar('\n');
    }
    printf("gain: over 'sequence', at most the bound; full: share of what steps without an empty row would "
           "give\n");
}

static void print_rows(const json_t *rows)
{
    size_t i;
    const json_t *row;
    printf("%-13s %6s %20s %12s\n", "test", "batch", "tokens/s", "peak memory");
    json_array_foreach(rows, i, row)
    {
        const json_t *rss = json_object_get(row, "peak_rss_bytes");
        printf("%-13s %6d %12.1f ± %5.1f %12s\n", json_string_value(json_object_get(row, "test")),
               (int)json_integer_value(json_object_get(row, "batch")),
               json_number_value(json_object_get(row, "tokens_per_s_mean")),
               json_number_value(json_object_get(row, "tokens_per_s_std")),
               rrt__cli_bytes((uint64_t)json_integer_value(rss)));
    }
}

// Whether concurrent requests are to be timed.
static bool is_serving_asked(const arguments *a)
{
    const rrt__bench_serving *s = &a->serving;
    return s->batching || s->exits || s->trace_path || s->html || s->options.draft_loops;
}

static rrt_status run(arguments *a, bool json, rrt_error *err)
{
    size_t batches[RRT__MAX_BATCHES];
    int count;
    bool is_serving = is_serving_asked(a);
    if (a->depth && (is_serving || a->train))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--depth is of a prompt and of decoding, not of %s",
                         a->train ? "--train" : "concurrent requests");
    RRT__TRY(parse_batches(a->batches   ? a->batches
                           : a->train   ? "4"
                           : is_serving ? "32"
                                        : "1",
                           batches, &count, err));
    json_t *rows = json_array();
    rrt_status status = RRT_STATUS_OK;
    if (is_serving) status = bench_serving(a, batches, count, rows, err);
    for (int i = 0; !status && a->train && i < count; i++) status = bench_training(a, batches[i], rows, err);
    if (!a->train && !is_serving) status = bench_inference(a, batches, count, rows, err);
    if (!status && json) return rrt__cli_print_json(json_pack("{s:o}", "rows", rows), err);
    if (!status) (is_serving ? print_serving : print_rows)(rows);
    json_decref(rows);
    return status;
}

enum { MAX_OPTIONS = 40 };

static int list_options(rrt__option out[MAX_OPTIONS], arguments *a)
{
    rrt_bench_requests_options *serving = &a->serving.options;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Prompt and decoding"),
        RRT__CLI_MODEL_ROW(&a->model),
        {'p', "n-prompt", "N", RRT__OPTION_SIZE, &a->prompt, 0, 1 << 24,
         "read a prompt of N tokens (default 512, with --batching 16; 0: do not)"},
        {'n', "n-gen", "N", RRT__OPTION_SIZE, &a->generated, 0, 1 << 24,
         "decode N tokens, with --batching N on average (default 128; 0: do not)"},
        {'b', "batch", "LIST", RRT__OPTION_STRING, &a->batches, 0, 0,
         "sequences at a time, e.g. 1,8,32 (default 1; --batching 32, --train 4)"},
        {'d', "depth", "N", RRT__OPTION_SIZE, &a->depth, 0, 1 << 24,
         "read N tokens before each, untimed (default 0)"},
        {'r', "repetitions", "N", RRT__OPTION_INT, &a->repeats, 1, 10000, "timed runs (default 5)"},
        RRT__OPTION_GROUP("Concurrent requests"),
        {0, "batching", "LIST", RRT__OPTION_STRING, &a->serving.batching, 0, 0,
         "time concurrent requests, by static, sequence, sequence-exit, depth"},
        {0, "exit", "LIST", RRT__OPTION_STRING, &a->serving.exits, 0, 0,
         "exit rules to compare, as RULE:T of rrt generate, e.g. gate:0.5,gate:0.9"},
        {0, "exit-trace", "FILE", RRT__OPTION_STRING, &a->serving.trace_path, 0, 0,
         "tokens leave after the numbers of loops in FILE, one number per token"},
        {0, "kv", "POLICY", RRT__OPTION_STRING, &serving->kv, 0, 0, RRT__CLI_KV_POLICIES},
        RRT__CLI_LOOPS_ROWS(&a->model),
        {0, "draft-loops", "N", RRT__OPTION_INT, &serving->draft_loops, 1, 1024,
         "N loops draft tokens, all loops verify them"},
        {0, "draft-layers", "N", RRT__OPTION_INT, &serving->draft_layers, 1, 1024,
         "the first N layers of a model without loops draft tokens, all verify them"},
        {0, "draft-tokens", "N", RRT__OPTION_INT, &serving->draft_tokens, 1, 16,
         "tokens per draft (default 4)"},
        {0, "coda-steps", "N", RRT__OPTION_INT, &serving->coda_steps, 1, 1024,
         "let rows wait up to N - 1 steps, to run coda and head together (default: by the model's weights)"},
        {0, "requests", "N", RRT__OPTION_SIZE, &serving->requests, 1, 1 << 20,
         "requests in all (default 4 for each that runs at a time)"},
        {0, "seed", "S", RRT__OPTION_SEED, &serving->seed, 0, 0,
         "seed of the requests' lengths and prompts (default 1)"},
        {0, "html", "PAGE", RRT__OPTION_STRING, &a->serving.html, 0, 0, "write charts into one page, PAGE"},
        {0, "force", NULL, RRT__OPTION_FLAG, &a->serving.force, 0, 0, "replace any file at PAGE"},
        RRT__OPTION_GROUP("Training"),
        {0, "train", NULL, RRT__OPTION_FLAG, &a->train, 0, 0, "time training steps instead"},
        {'c', "ctx", "N", RRT__OPTION_SIZE, &a->context, 2, 1 << 24,
         "tokens per training sequence (default 512)"},
        {0, "teacher", "MODEL", RRT__OPTION_STRING, &a->teacher_path, 0, 0,
         "distil from MODEL (default: cross-entropy)"},
        {0, "match", NULL, RRT__OPTION_FLAG, &a->match, 0, 0, "hidden-state distillation from the teacher"},
        {0, "bf16", NULL, RRT__OPTION_FLAG, &a->bf16, 0, 0,
         "matrix products in bfloat16, where the processor can"},
        {0, "recompute", NULL, RRT__OPTION_FLAG, &a->recompute, 0, 0,
         "less memory, slower: recompute activations in the backward pass"},
        RRT__OPTION_GROUP("Memory and weights"),
        RRT__CLI_KV_ROWS(&a->kv, "f16"),
        RRT__CLI_WEIGHTS_ROWS(&a->model),
    };
    memcpy(out, options, sizeof options);
    return sizeof options / sizeof *options;
}

int rrt__cli_bench(int argc, char **argv)
{
    arguments a = {.prompt = SIZE_MAX, .generated = 128, .repeats = 5};
    rrt_bench_requests_options *serving = &a.serving.options;
    serving->seed = 1;
    rrt__option options[MAX_OPTIONS];
    int n_options = list_options(options, &a);
    const rrt__cli_usage usage = {
        .line = "rrt bench -m MODEL [-p 512] [-n 128] [-b 1,8,32]",
        .about =
            "Measures the speed of a model on this machine: reading a prompt (pp), decoding (tg), concurrent "
            "requests, training.",
        .examples =
            "rrt bench -m model.gguf -p 512 -n 128 -b 1,8\n"
            "rrt bench -m recursive.gguf --batching depth,sequence --exit gate:0.5 --html bench.html\n"
            "rrt bench -m recursive --train --teacher model.gguf --batch 4 --ctx 256",
        .options = options,
        .n_options = n_options};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    RRT__GOTO(rrt__cli_kv_type(&a.kv, &a.serving.options.kv_type, &err));
    rrt__cli_take_kv(&a.model, &serving->kv);
    a.threads = common.threads;
    if (a.prompt == SIZE_MAX) a.prompt = is_serving_asked(&a) ? 16 : 512;
    if (serving->draft_layers) serving->draft_loops = 1; // the engine's first half
    if (serving->draft_loops && !serving->draft_tokens) serving->draft_tokens = 4;
    RRT__GOTO(run(&a, common.json, &err));
done:
    return rrt__cli_finish(status, &err);
}
