// Measures a model during training, on text that it is not trained on.
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "rrt/eval.h"
#include "train/run.h"

// NaN if the model's output is not finite: the next step notices that, too, and goes back to a checkpoint.
static rrt_status measure(const rrt__training_run *r, double *value, rrt_error *err)
{
    const rrt_train_options *o = r->options;
    const rrt_eval_options eval = {.threads = o->threads, .context = r->settings.step.context};
    rrt_eval_kl_result kl = {0};
    rrt_eval_ppl_result ppl = {0};
    rrt_status status = o->teacher
                            ? rrt_eval_kl(r->model, o->teacher, o->heldout, o->n_heldout, &eval, &kl, err)
                            : rrt_eval_ppl(r->model, o->heldout, o->n_heldout, &eval, &ppl, err);
    *value = o->teacher ? kl.kl : ppl.nll_per_token;
    if (status == RRT_STATUS_NUMERIC) {
        *value = (double)NAN;
        return RRT_STATUS_OK;
    }
    return status ? rrt__at(err, status, "the held-out text") : RRT_STATUS_OK;
}

rrt_status rrt__run_measure(rrt__training_run *r, rrt_error *err)
{
    uint64_t step = r->stepper.optimizer.step;
    if (!r->options->n_heldout) return RRT_STATUS_OK;
    RRT__TRY(measure(r, &r->now.heldout, err));
    r->now.heldout_step = step;
    if (step == 0) r->now.heldout_start = r->now.heldout;
    const rrt__log_heldout record = {step, step * r->settings.batch * r->settings.step.context,
                                     r->now.seconds, r->options->teacher != NULL, r->now.heldout};
    rrt_status status = rrt__log_write_heldout(&r->log, &record, err);
    return status ? rrt__at(err, status, "%s", r->folder) : RRT_STATUS_OK;
}

// A fingerprint of the held-out text, or "none".
static void identify(const rrt__training_run *r, char text[32])
{
    const rrt_train_options *o = r->options;
    snprintf(text, 32, "none");
    if (o->n_heldout)
        snprintf(text, 32, "%016llx",
                 (unsigned long long)rrt__hash(o->n_heldout, o->heldout, o->n_heldout * sizeof *o->heldout));
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *rrt__run_heldout_to_json(const rrt__training_run *r)
{
    char text[32];
    identify(r, text);
    return json_pack("{s:s, s:o, s:o, s:I}", "text", text, "start", number(r->now.heldout_start), "last",
                     number(r->now.heldout), "step", (json_int_t)r->now.heldout_step);
}

rrt_status rrt__run_read_heldout(rrt__training_run *r, const json_t *saved, rrt_error *err)
{
    char now[32];
    const char *text;
    int64_t step;
    identify(r, now);
    RRT__TRY(rrt__json_string_or(saved, "text", "none", &text, err));
    if (strcmp(text, now) != 0) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_MISMATCH, "the run that is resumed had another held-out text, or none");
        return rrt__hint(err, status, "pass what it had before, or start another run under another name");
    }
    RRT__TRY(rrt__json_real_or(saved, "start", (double)NAN, &r->now.heldout_start, err));
    RRT__TRY(rrt__json_real_or(saved, "last", (double)NAN, &r->now.heldout, err));
    RRT__TRY(rrt__json_int_or(saved, "step", 0, INT64_MAX, 0, &step, err));
    r->now.heldout_step = (uint64_t)step;
    return RRT_STATUS_OK;
}
