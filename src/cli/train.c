#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/train.h"

// CONFIG is a folder or the config.json in it.
static rrt_status open_student(rrt__train_arguments *a, rrt_model **student, rrt_error *err)
{
    char folder[4096];
    if (!a->scratch) return rrt__cli_open_f32(student, &a->model, err);
    const char *slash = strrchr(a->scratch, '/');
    bool is_folder = rrt__path_is_folder(a->scratch);
    snprintf(folder, sizeof folder, "%.*s",
             is_folder ? (int)strlen(a->scratch)
             : slash   ? (int)(slash - a->scratch)
                       : 1,
             is_folder || slash ? a->scratch : ".");
    return rrt_model_create(student, folder, a->train.seed, err);
}

static rrt_status print_forecast(const rrt__train_arguments *a, const rrt_train_forecast *f, rrt_error *err)
{
    if (a->common.json)
        return rrt__cli_print_json(
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:f, s:f, s:I}", "dry_run", 1, "params_total",
                      (json_int_t)f->params_total, "params_trained", (json_int_t)f->params_trained, "steps",
                      (json_int_t)f->steps, "tokens", (json_int_t)f->tokens, "tokens_per_s", f->tokens_per_s,
                      "seconds", f->seconds, "peak_rss_bytes", (json_int_t)f->peak_bytes),
            err);
    printf("model   %s parameters, of them trained %s\n", rrt__cli_count(f->params_total),
           rrt__cli_count(f->params_trained));
    printf("run     %llu steps, %s tokens\n", (unsigned long long)f->steps, rrt__cli_count(f->tokens));
    printf("time    about %s, at about %.0f tokens/s\n", rrt__cli_duration(f->seconds), f->tokens_per_s);
    printf("memory  about %s at its peak\n", rrt__cli_bytes(f->peak_bytes));
    printf("nothing was written (--dry-run)\n");
    return RRT_STATUS_OK;
}

// From the shapes alone: no weights are read, but that a model to be trained from scratch is made.
static rrt_status estimate(rrt__train_arguments *a, rrt_model **student, rrt_model **teacher, rrt_error *err)
{
    rrt_train_forecast forecast;
    if (!a->resume) RRT__TRY(rrt__cli_check_destination(a->out, a->force, NULL, err));
    RRT__TRY(a->scratch ? open_student(a, student, err) : rrt__cli_open_deferred(student, &a->model, err));
    if (a->teacher && rrt_store_exists(a->teacher))
        a->train.store = a->teacher;
    else if (a->teacher)
        RRT__TRY(rrt_model_open_deferred(teacher, a->teacher, NULL, err));
    a->train.teacher = *teacher;
    RRT__TRY(rrt_train_estimate(*student, &a->train, &forecast, err));
    return print_forecast(a, &forecast, err);
}

// Beside the bar; where there is none, a line now and then.
static void report(void *user, const rrt_train_step *step)
{
    double *last = user, now = rrt__now_seconds();
    char note[128], heldout[32] = "";
    if (isfinite(step->heldout)) snprintf(heldout, sizeof heldout, "  held-out %.4f", step->heldout);
    snprintf(note, sizeof note, "step %llu  loss %.4f%s  %.0f tokens/s", (unsigned long long)step->step,
             step->loss, heldout, step->tokens_per_s);
    rrt__cli_progress_note(note);
    if (step->event)
        fprintf(stderr, "\nrrt: step %llu: %s; back to the last checkpoint, past this text\n",
                (unsigned long long)step->step, step->event);
    if (rrt__cli_has_bar() || now - *last < 30) return;
    *last = now;
    fprintf(stderr, "%s\n", note);
}

// Reads the held-out text.
static rrt_status read_heldout(rrt__train_arguments *a, const rrt_model *student, int32_t **ids,
                               rrt_error *err)
{
    size_t count = 0, max = a->heldout_tokens ? a->heldout_tokens : 2048;
    if (!a->heldout) return RRT_STATUS_OK;
    RRT__TRY(rrt__cli_read_ids(student, a->heldout, rrt__cli_min_tokens(student), ids, &count, err));
    a->train.heldout = *ids;
    a->train.n_heldout = count < max ? count : max;
    return RRT_STATUS_OK;
}

// "held-out KL" or "held-out cross-entropy", and whether training brought it down.
static void print_heldout(const rrt__train_arguments *a, const rrt_train_result *r)
{
    const char *what = a->train.teacher ? "KL" : "cross-entropy";
    if (!a->common.json)
        printf("held-out %s %.4f, %.4f before training: %s\n", what, r->heldout, r->heldout_start,
               r->heldout < r->heldout_start ? "better" : "not better");
    if (!(r->heldout <= r->heldout_start))
        fprintf(stderr, "rrt: the model got worse: its held-out %s is %.4f, and was %.4f before training\n",
                what, r->heldout, r->heldout_start);
}

static rrt_status print_result(const rrt__train_arguments *a, const rrt_train_result *r, rrt_error *err)
{
    if (a->common.json) {
        json_t *json =
            json_pack("{s:f, s:I, s:f, s:I, s:I, s:f}", "loss", r->loss, "tokens", (json_int_t)r->tokens,
                      "tokens_per_s", r->tokens_per_s, "peak_rss_bytes", (json_int_t)r->peak_rss_bytes,
                      "steps", (json_int_t)r->steps, "seconds", r->seconds);
        const char *start = a->train.teacher ? "heldout_kl_start" : "heldout_loss_start",
                   *end = a->train.teacher ? "heldout_kl" : "heldout_loss";
        if (a->heldout) json_object_set_new(json, start, rrt__cli_number(r->heldout_start));
        if (a->heldout) json_object_set_new(json, end, rrt__cli_number(r->heldout));
        RRT__TRY(rrt__cli_print_json(json, err));
    } else {
        printf("loss %.4f after %s tokens in %llu steps: %.0f tokens/s, %.0f s, %s of memory\n", r->loss,
               rrt__cli_count(r->tokens), (unsigned long long)r->steps, r->tokens_per_s, r->seconds,
               rrt__cli_bytes(r->peak_rss_bytes));
    }
    if (a->heldout) print_heldout(a, r);
    return RRT_STATUS_OK;
}

int rrt__cli_train(int argc, char **argv)
{
    rrt_error err = {0};
    double last_report = 0;
    rrt__train_arguments a = {.train = rrt_train_defaults()};
    rrt_model *student = NULL, *teacher = NULL;
    rrt_train_result result;
    int32_t *heldout = NULL;
    rrt_status status;

    RRT__GOTO(rrt__train_parse(&a, argc, argv, &err));
    RRT__GOTO(rrt__cli_check_inputs(&a.files, &err));
    if (a.dry_run) {
        RRT__GOTO(estimate(&a, &student, &teacher, &err));
        goto done;
    }
    RRT__GOTO(open_student(&a, &student, &err));
    if (a.teacher && rrt_store_exists(a.teacher))
        a.train.store = a.teacher;
    else if (a.teacher)
        RRT__GOTO(
            rrt__cli_open_model(&teacher, &(rrt__cli_model){.path = a.teacher}, a.common.threads, &err));
    RRT__GOTO(read_heldout(&a, student, &heldout, &err));
    a.train.teacher = teacher;
    a.train.report = report;
    a.train.user = &last_report;
    rrt__cli_catch_signals(); // a run saves its state first
    RRT__GOTO(rrt_train(student, a.out, &a.train, &result, &err));
    RRT__GOTO(print_result(&a, &result, &err));
done:
    rrt__list_free(&a.files);
    rrt_ids_free(heldout);
    rrt_model_close(student);
    rrt_model_close(teacher);
    return rrt__cli_finish(status, &err);
}
