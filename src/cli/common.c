#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/destination.h"
#include "base/file.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "pass/kv.h"
#include "train/source.h"

static void print_help(const rrt__cli_usage *usage, const rrt__option *options, int n_options)
{
    printf("usage: %s\n\n", usage->line);
    rrt__options_print_text(usage->about, 0, 0);
    putchar('\n');
    rrt__options_print(options, n_options);
    printf("\nExamples:\n  ");
    for (const char *at = usage->examples; *at; at++) {
        putchar(*at);
        if (*at == '\n') fputs("  ", stdout);
    }
    putchar('\n');
}

rrt_status rrt__cli_parse(const rrt__cli_usage *usage, int argc, char **argv, rrt__cli_common *common,
                          char **positional, rrt_error *err)
{
    enum { MAX_OPTIONS = 72 };
    bool help = false;
    *common = (rrt__cli_common){0};
    rrt__option options[MAX_OPTIONS],
        json = {
            0, "json", NULL, RRT__OPTION_FLAG, &common->json, 0, 0, "print the result as one JSON object"};
    const rrt__option shared[] = {
        RRT__OPTION_GROUP("General"),
        {'t', "threads", "N", RRT__OPTION_INT, &common->threads, 1, 1024, "threads (default: one per core)"},
        {'h', "help", NULL, RRT__OPTION_FLAG, &help, 0, 0, "print this help"},
    };
    int n_options = usage->n_options, n_positional;
    if (n_options) memcpy(options, usage->options, (size_t)n_options * sizeof *options);
    memcpy(options + n_options, shared, sizeof shared);
    n_options += sizeof shared / sizeof *shared;
    if (!usage->no_json) options[n_options++] = json;
    RRT__TRY(rrt__options_parse(options, n_options, argc, argv, positional, usage->positional, &n_positional,
                                err));
    if (help) {
        print_help(usage, options, n_options);
        exit(rrt__cli_finish(RRT_STATUS_OK, NULL));
    }
    if (n_positional >= usage->positional - usage->optional) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "an argument is missing");
    return rrt__hint(err, status, "usage: %s", usage->line);
}

rrt_status rrt__cli_choose(const char *option, const char *word, const char *const *words, int count,
                           int *chosen, rrt_error *err)
{
    char known[128] = "";
    for (int i = 0; i < count; i++) {
        *chosen = i;
        if (!word || strcmp(word, words[i]) == 0) return RRT_STATUS_OK;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", words[i]);
    }
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "--%s: '%s' is not known: %s", option, word, known);
}

int rrt__cli_finish(rrt_status status, const rrt_error *err)
{
    rrt__cli_progress_end();
    errno = 0; // of an earlier write it is lost
    if (!status && (fflush(stdout) != 0 || ferror(stdout))) {
        fprintf(stderr, "rrt: standard output: cannot write%s%s (the results are not complete)\n",
                errno ? ": " : "", errno ? strerror(errno) : "");
        return 1;
    }
    if (!status) return 0;
    fprintf(stderr, "rrt: %s%s%s", err->where, err->where[0] ? ": " : "", err->message);
    if (err->hint[0]) fprintf(stderr, " (%s)", err->hint);
    fputc('\n', stderr);
    if (status == RRT_STATUS_CANCELLED) rrt__cli_raise_caught();
    return status == RRT_STATUS_ARGUMENT ? 2 : 1;
}

rrt_status rrt__cli_kv_type(rrt__cli_kv *kv, const char **type, rrt_error *err)
{
    rrt__kv_types types;
    const char *key = kv->key    ? kv->key
                      : kv->both ? kv->both
                                 : "f16",
               *value = kv->value  ? kv->value
                        : kv->both ? kv->both
                                   : "f16";
    *type = NULL;
    if (!kv->both && !kv->key && !kv->value) return RRT_STATUS_OK;
    bool is_one = !kv->key && !kv->value;
    snprintf(kv->text, sizeof kv->text, "%.12s%s%.12s", key, is_one ? "" : "/", is_one ? "" : value);
    *type = kv->text;
    return rrt__kv_types_parse(&types, *type, err);
}

rrt_open_options rrt__cli_open_options(const rrt__cli_model *model)
{
    return (rrt_open_options){.type = model->type,
                              .loras = model->loras.items,
                              .n_loras = model->loras.count,
                              .loops = model->loops,
                              .repeat = model->repeat,
                              .kv = model->kv};
}

void rrt__cli_take_kv(rrt__cli_model *model, const char **policy)
{
    if (!*policy || strncmp(*policy, "last", 4) != 0) return;
    model->kv = *policy;
    *policy = NULL;
}

void rrt__cli_note_loops(const rrt_model_info *info)
{
    if (info->loops > info->trained_loops)
        fprintf(stderr, "rrt: %d loops, more than the %d that the model was trained with\n", info->loops,
                info->trained_loops);
}

typedef rrt_status opener(rrt_model **out, const char *path, const rrt_open_options *options, rrt_error *err);

static rrt_status open_by(opener *open, rrt_model **out, rrt__cli_model *model, int threads, rrt_error *err)
{
    rrt_model_info info;
    rrt_open_options options = rrt__cli_open_options(model);
    options.threads = threads;
    options.progress = rrt__cli_progress();
    rrt_status status = model->path ? open(out, model->path, &options, err)
                                    : rrt__fail(err, RRT_STATUS_ARGUMENT, "-m MODEL is missing");
    rrt__list_free(&model->loras);
    if (status) return status;
    rrt_model_describe(*out, &info);
    rrt__cli_note_loops(&info);
    return RRT_STATUS_OK;
}

rrt_status rrt__cli_open_model(rrt_model **out, rrt__cli_model *model, int threads, rrt_error *err)
{
    return open_by(rrt_model_open, out, model, threads, err);
}

rrt_status rrt__cli_open_deferred(rrt_model **out, rrt__cli_model *model, rrt_error *err)
{
    return open_by(rrt_model_open_deferred, out, model, 0, err);
}

rrt_status rrt__cli_open_f32(rrt_model **out, rrt__cli_model *model, rrt_error *err)
{
    RRT__TRY(rrt__cli_open_deferred(out, model, err));
    return rrt_model_unpack(*out, err);
}

rrt_status rrt__cli_check_destination(const char *path, bool overwrite, const char *input, rrt_error *err)
{
    RRT__TRY(rrt__destination_check(path, overwrite, err));
    if (!input || !rrt__path_is_at_or_in(input, path)) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_ARGUMENT, "replacing it would destroy %s, which is read", input);
    return rrt__at(err, rrt__hint(err, status, "choose another name for DST"), "%s", path);
}

rrt_status rrt__cli_check_gguf_name(const char *path, rrt_error *err)
{
    size_t length = strlen(path);
    if (length > 5 && strcasecmp(path + length - 5, ".gguf") == 0) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "the name of a GGUF file ends in .gguf");
    return rrt__at(err, rrt__hint(err, status, "write to %.200s.gguf", path), "%s", path);
}

rrt_status rrt__cli_check_inputs(const rrt__list *files, rrt_error *err)
{
    for (size_t i = 0; i < files->count; i++) {
        rrt__map map;
        RRT__TRY(rrt__map_open(&map, files->items[i], err));
        size_t bytes = map.size_bytes;
        rrt__map_close(&map);
        if (bytes == 0)
            return rrt__at(err, rrt__fail(err, RRT_STATUS_FORMAT, "the file is empty"), "%s",
                           files->items[i]);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__cli_in_file(rrt_error *err, rrt_status status, const char *path)
{
    if (!status) return status;
    if (status == RRT_STATUS_ARGUMENT) status = err->status = RRT_STATUS_FORMAT;
    return rrt__at(err, status, "%s", path && strcmp(path, "-") != 0 ? path : "standard input");
}

rrt_status rrt__cli_read_template(rrt__string *text, const char *file, const char **chat_template,
                                  rrt_error *err)
{
    if (!file) return RRT_STATUS_OK;
    if (*chat_template)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "--chat-template and --chat-template-file exclude each other");
    RRT__TRY(rrt__file_read(text, file, err));
    *chat_template = text->data;
    if (strlen(text->data) == text->length) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail(err, RRT_STATUS_FORMAT, "the chat template has a NUL character in it"),
                   "%s", file);
}

size_t rrt__cli_min_tokens(const rrt_model *model)
{
    const rrt_tokenizer *tokenizer = rrt_model_tokenizer(model);
    return tokenizer && rrt_tokenizer_adds_bos(tokenizer) ? 1 : 2;
}

// What train takes apart would be read here as it stands.
static rrt_status check_plain(const char *path, rrt_error *err)
{
    if (rrt__source_kind_of(path) == RRT__SOURCE_TEXT && !rrt__source_is_packed(path)) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "only plain text is read here");
    rrt__hint(err, status, "take the text out of it: jq -r .text FILE.jsonl, or zstd -d");
    return rrt__at(err, status, "%s", path);
}

rrt_status rrt__cli_read_ids(const rrt_model *model, const char *path, size_t min, int32_t **ids,
                             size_t *count, rrt_error *err)
{
    const rrt_tokenizer *tokenizer = rrt_model_tokenizer(model);
    RRT__TRY(rrt_model_check_tokenizer(model, err));
    if (path) RRT__TRY(check_plain(path, err));
    rrt__string text = {0};
    rrt_status status = rrt__file_read(&text, path ? path : "-", err);
    if (!status) {
        size_t mark = rrt__utf8_mark(text.data, text.length);
        status = rrt_encode(tokenizer, text.data + mark, text.length - mark, NULL, ids, count, err);
        if (!status && *count < min)
            status = rrt__fail(err, RRT_STATUS_FORMAT, "the text has %zu tokens: at least %zu are needed",
                               *count, min);
        rrt__cli_in_file(err, status, path);
    }
    rrt__string_free(&text);
    return status;
}

rrt_status rrt__cli_print_json(json_t *object, rrt_error *err)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text) return rrt__fail(err, RRT_STATUS_MEMORY, "cannot format the JSON result");
    puts(text);
    free(text);
    return RRT_STATUS_OK;
}

json_t *rrt__cli_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *rrt__cli_params_json(const rrt_model_info *i)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "total", (json_int_t)i->params_total, "body",
                     (json_int_t)i->params_body, "embedding", (json_int_t)i->params_embedding, "shared",
                     (json_int_t)i->params_shared, "lora", (json_int_t)i->params_lora, "norm",
                     (json_int_t)i->params_norm, "gate", (json_int_t)i->params_gate);
}

// Room for a result; a few live at once.
static char *next_text(size_t *size)
{
    static char texts[8][32];
    static int next;
    *size = sizeof texts[0];
    return texts[next = (next + 1) % 8];
}

static const char *scaled(uint64_t value, const char *const *units)
{
    size_t size;
    char *text = next_text(&size);
    double x = (double)value;
    int unit = 0;
    while (x >= 999.5 && unit < 4) {
        x /= 1000;
        unit++;
    }
    snprintf(text, size, unit ? "%.*f %s" : "%.*f",
             !unit || x >= 99.95 ? 0
             : x >= 9.995        ? 1
                                 : 2,
             x, units[unit]);
    return text;
}

const char *rrt__cli_count(uint64_t value)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    return scaled(value, units);
}

const char *rrt__cli_bytes(uint64_t value)
{
    static const char *const units[] = {"", "kB", "MB", "GB", "TB"};
    return scaled(value, units);
}

const char *rrt__cli_duration(double seconds)
{
    size_t size;
    char *text = next_text(&size);
    if (seconds < 10)
        snprintf(text, size, "%.1f s", seconds);
    else if (seconds < 120)
        snprintf(text, size, "%.0f s", seconds);
    else if (seconds < 7200)
        snprintf(text, size, "%.0f min", seconds / 60);
    else
        snprintf(text, size, "%.1f h", seconds / 3600);
    return text;
}
