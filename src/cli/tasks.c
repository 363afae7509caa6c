// `rrt eval tasks`: parse → open → ask → report.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "cli/cli.h"

enum { MAX_TASKS = 16 };

// The tasks to run, each once, and what came of them.
typedef struct selection {
    const char *names[MAX_TASKS];
    rrt_task_result results[MAX_TASKS];
    size_t count;
} selection;

// The known task that is named by text[0..length); NULL if there is none.
static const char *find_name(const char *text, size_t length)
{
    const char *name;
    for (size_t i = 0; (name = rrt_task_name(i)); i++)
        if (strlen(name) == length && memcmp(name, text, length) == 0) return name;
    return NULL;
}

static rrt_status select_task(selection *s, const char *text, size_t length, rrt_error *err)
{
    const char *name = find_name(text, length);
    if (!name) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_ARGUMENT, "--tasks: '%.*s' is not known", (int)length, text);
        return rrt__hint(err, status, "names apart by commas: rrt eval tasks --help");
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->names[i] == name)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "--tasks: %s is there twice", name);
    s->names[s->count++] = name;
    return RRT_STATUS_OK;
}

// list: names apart by commas; NULL: all.
static rrt_status select_tasks(selection *s, const char *list, rrt_error *err)
{
    if (!list)
        while (rrt_task_name(s->count)) {
            s->names[s->count] = rrt_task_name(s->count);
            s->count++;
        }
    while (list) {
        size_t length = strcspn(list, ",");
        RRT__TRY(select_task(s, list, length, err));
        list = list[length] ? list + length + 1 : NULL;
    }
    return RRT_STATUS_OK;
}

// --- samples: a JSON object per question

typedef struct samples {
    rrt__destination destination;
    FILE *file;  // NULL: not asked for
    bool failed; // out of memory
} samples;

static rrt_status samples_open(samples *s, const char *path, bool overwrite, rrt_error *err)
{
    if (!path) return RRT_STATUS_OK;
    RRT__TRY(rrt__destination_open(&s->destination, path, RRT__DESTINATION_FILE, overwrite, err));
    s->file = fopen(s->destination.temporary, "wb");
    return s->file ? RRT_STATUS_OK : rrt__at(err, rrt__fail_errno(err, "cannot write"), "%s", path);
}

// They are to replace nothing that is read.
static rrt_status check_samples(const char *path, bool overwrite, const selection *chosen, const char *data,
                                const char *model, rrt_error *err)
{
    char questions[4096];
    RRT__TRY(rrt__cli_check_destination(path, overwrite, model, err));
    for (size_t i = 0; i < chosen->count; i++) {
        int length = snprintf(questions, sizeof questions, "%s/%s.jsonl", data, chosen->names[i]);
        if (length < (int)sizeof questions)
            RRT__TRY(rrt__cli_check_destination(path, overwrite, questions, err));
    }
    return RRT_STATUS_OK;
}

static void samples_write(void *user, const rrt_task_sample *sample)
{
    samples *s = user;
    if (!s->file) return;
    json_t *log_likelihoods = json_array(), *greedy = json_array(), *characters = json_array();
    for (size_t i = 0; i < sample->n_answers; i++) {
        const rrt_task_answer *answer = &sample->answers[i];
        json_array_append_new(log_likelihoods, json_real(answer->log_likelihood));
        json_array_append_new(greedy, json_boolean(answer->is_greedy));
        json_array_append_new(characters, json_integer((json_int_t)answer->characters));
    }
    json_t *line = json_pack("{s:s, s:I, s:I, s:i, s:i, s:o, s:o, s:o}", "task", sample->task, "index",
                             (json_int_t)sample->index, "gold", (json_int_t)sample->gold, "acc", sample->acc,
                             "acc_norm", sample->acc_norm, "loglikelihoods", log_likelihoods, "greedy",
                             greedy, "characters", characters);
    if (!line || json_dumpf(line, s->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0) s->failed = true;
    fputc('\n', s->file);
    json_decref(line);
}

static rrt_status samples_finish(samples *s, rrt_error *err)
{
    if (!s->file) return RRT_STATUS_OK;
    rrt_status status = rrt__file_finish(s->file, s->destination.path, err);
    s->file = NULL;
    if (!status && s->failed) status = rrt__fail(err, RRT_STATUS_MEMORY, "cannot format the samples");
    return status ? status : rrt__destination_commit(&s->destination, err);
}

static void samples_discard(samples *s)
{
    if (s->file) fclose(s->file);
    rrt__destination_discard(&s->destination);
}

// --- results

static double average(const selection *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) sum += s->results[i].score;
    return sum / (double)s->count;
}

static rrt_status print_json(const selection *s, rrt_error *err)
{
    json_t *tasks = json_object();
    for (size_t i = 0; i < s->count; i++) {
        const rrt_task_result *r = &s->results[i];
        json_t *task =
            json_pack("{s:f, s:o, s:o, s:o, s:I}", "acc", r->acc, "acc_norm", rrt__cli_number(r->acc_norm),
                      "stderr", rrt__cli_number(r->acc_stderr), "acc_norm_stderr",
                      rrt__cli_number(r->acc_norm_stderr), "n", (json_int_t)r->n);
        if (!isnan(r->perplexity)) {
            json_object_set_new(task, "perplexity", rrt__cli_number(r->perplexity));
            json_object_set_new(task, "perplexity_stderr", rrt__cli_number(r->perplexity_stderr));
        }
        json_object_set_new(tasks, s->names[i], task);
    }
    return rrt__cli_print_json(json_pack("{s:o, s:f}", "tasks", tasks, "average", average(s)), err);
}

static void print_metric(const char *name, double value, double error)
{
    char text[32] = "N/A";
    if (isnan(value)) return;
    if (!isnan(error)) snprintf(text, sizeof text, "%.4f", error);
    printf("|%-10s|%9.4f|±|%8s|\n", name, value, text);
}

// As lm-evaluation-harness shows it.
static void print_table(const selection *s)
{
    static const char blank[] = "|              |      ";
    printf("|Task          |     n|Metric    |    Value| |  Stderr|\n"
           "|--------------|-----:|----------|--------:|-|-------:|\n");
    for (size_t i = 0; i < s->count; i++) {
        const rrt_task_result *r = &s->results[i];
        printf("|%-14s|%6llu", s->names[i], (unsigned long long)r->n);
        print_metric("acc", r->acc, r->acc_stderr);
        if (!isnan(r->acc_norm)) fputs(blank, stdout);
        print_metric("acc_norm", r->acc_norm, r->acc_norm_stderr);
        if (!isnan(r->perplexity)) fputs(blank, stdout);
        print_metric("perplexity", r->perplexity, r->perplexity_stderr);
    }
    printf("average %.4f (acc_norm, or acc where a task has none)\n", average(s));
}

int rrt__cli_eval_tasks(int argc, char **argv)
{
    rrt__cli_model which = {0};
    rrt__cli_kv kv = {0};
    const char *data = NULL, *list = NULL, *samples_path = NULL;
    bool force = false;
    samples out = {0};
    rrt_task_options ask = {.progress = rrt__cli_progress(), .report = samples_write, .user = &out};
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Model and questions"),
        RRT__CLI_MODEL_ROW(&which),
        {0, "data", "DIR", RRT__OPTION_STRING, &data, 0, 0, "the folder of the tasks' files, NAME.jsonl"},
        {0, "tasks", "LIST", RRT__OPTION_STRING, &list, 0, 0,
         "tasks, separated by commas: lambada_openai, hellaswag, piqa, winogrande, arc_easy, arc_challenge, "
         "openbookqa (default: all)"},
        {0, "limit", "N", RRT__OPTION_SIZE, &ask.limit, 1, 1e15, "only the first N questions of each task"},
        RRT__OPTION_GROUP("Output"),
        {0, "samples", "FILE", RRT__OPTION_STRING, &samples_path, 0, 0,
         "write each question's log-likelihoods to FILE, as JSON lines"},
        {0, "force", NULL, RRT__OPTION_FLAG, &force, 0, 0, "replace the --samples FILE if it exists"},
        RRT__OPTION_GROUP("How the model runs"),
        RRT__CLI_LOOPS_ROWS(&which),
        RRT__CLI_KV_ROWS(&kv, "f16"),
        RRT__CLI_WEIGHTS_ROWS(&which),
    };
    const rrt__cli_usage usage = {
        .line = "rrt eval tasks -m MODEL --data DIR",
        .about = "Answers zero-shot questions, scored by the rules of EleutherAI's lm-evaluation-harness.",
        .examples = "rrt eval tasks -m model.gguf --data tasks --tasks piqa,arc_easy --limit 200\n"
                    "rrt eval tasks -m recursive --data tasks --json",
        .options = options,
        .n_options = sizeof options / sizeof *options};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt_model *model = NULL;
    selection chosen = {0};
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    RRT__GOTO(rrt__cli_kv_type(&kv, &ask.kv_type, &err));
    if (!data) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--data DIR is missing"));
    RRT__GOTO(select_tasks(&chosen, list, &err));
    if (samples_path) RRT__GOTO(check_samples(samples_path, force, &chosen, data, which.path, &err));
    RRT__GOTO(rrt__cli_open_model(&model, &which, common.threads, &err));
    rrt__cli_catch_signals(); // the samples have something to clean up
    RRT__GOTO(samples_open(&out, samples_path, force, &err));
    ask.threads = common.threads;
    for (size_t i = 0; i < chosen.count; i++)
        RRT__GOTO(rrt_eval_task(model, chosen.names[i], data, &ask, &chosen.results[i], &err));
    RRT__GOTO(samples_finish(&out, &err));
    if (common.json)
        RRT__GOTO(print_json(&chosen, &err));
    else
        print_table(&chosen);
done:
    if (status) samples_discard(&out);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
