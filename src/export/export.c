// Exports a model to the formats of other programs. Each export is opened again, as any user would open it,
// and must give the same logits before it gets its name.
#include "export/export.h"

#include <math.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "model/unroll.h"
#include "pass/forward.h"
#include "pass/stream.h"
#include "tokenizer/tokenizer.h"

typedef struct format {
    const char *name;
    rrt__destination_kind destination;
    rrt_status (*write)(const rrt__export *export, rrt_error *err);
} format;

static const format formats[] = {{"hf", RRT__DESTINATION_FOLDER, rrt__export_hf},
                                 {"peft", RRT__DESTINATION_FOLDER, rrt__export_peft},
                                 {"gguf", RRT__DESTINATION_FILE, rrt__export_gguf}};
enum { FORMAT_COUNT = sizeof formats / sizeof *formats };

rrt_status rrt__export_unroll(const rrt__export *export, rrt_model **plain, rrt_error *err)
{
    const rrt_model *model = export->model;
    short depths[RRT__MAX_DEPTHS];
    for (int d = 0; d < model->plan.n_depths; d++) depths[d] = (short)d;
    return rrt__unroll(plain, model, depths, model->plan.n_depths, true, export->options->threads, err);
}

enum { MAX_DEPTHS = 512 }; // of llama.cpp

// The family whose files hold a looped model; NULL: none.
static const rrt__family *looped_family(const rrt__export *export)
{
    const rrt_model *model = export->model;
    const rrt__family *family = model->family;
    bool is_llama = strcmp(family->name, "llama") == 0;
    if (is_llama && export->options->looped) rrt__family_by_name(&family, "nanbeige", NULL);
    return rrt__loops_are_native(model, family) && model->plan.n_depths <= MAX_DEPTHS ? family : NULL;
}

static rrt_status fail_looped(rrt_error *err)
{
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                  "other programs loop only a llama, nanbeige or ouro that is one cycle of at most"
                  " %d layers, with tied norms and without LoRA, prelude and coda",
                  MAX_DEPTHS);
    return rrt__hint(err, status, "leave --looped out: the model is then unrolled");
}

rrt_status rrt__export_form(const rrt__export *export, rrt_model **out, rrt_error *err)
{
    const rrt_model *model = export->model;
    short depths[RRT__MAX_DEPTHS];
    const rrt__family *family = looped_family(export);
    *out = NULL;
    if (!family) return export->options->looped ? fail_looped(err) : rrt__export_unroll(export, out, err);
    for (int d = 0; d < model->plan.n_depths; d++) depths[d] = (short)d;
    RRT__TRY(rrt__replan(out, model, depths, &model->plan, RRT__NORMS_TIED, err));
    (*out)->family = family;
    if (!rrt__family_has_cumulative_gate(family))
        (*out)->gates = NULL; // other programs have no place for ours
    return RRT_STATUS_OK;
}

rrt_status rrt__export_folder(const rrt__export *export, const rrt_model *plain, const char *folder,
                              rrt_error *err)
{
    const rrt__safetensors_options weights = {export->dtype, RRT__SHARD_BYTES, export->options->progress};
    return rrt__model_write(plain, folder, &weights, err);
}

rrt_status rrt__export_hf(const rrt__export *export, rrt_error *err)
{
    rrt_model *model;
    RRT__TRY(rrt__export_form(export, &model, err));
    rrt_status status = rrt__export_folder(export, model, export->temporary, err);
    rrt_model_close(model);
    return status;
}

enum { COMPARED_TOKENS = 16 };

// The max difference of two models' logits on the same tokens, and the max logit. Keeps NaN.
static void compare_logits(const float *a, const float *b, size_t count, double *difference,
                           double *max_logit)
{
    for (size_t i = 0; i < count; i++) {
        double apart = fabs((double)a[i] - b[i]), size = fabs((double)a[i]);
        if (!(apart <= *difference)) *difference = apart;
        if (!(size <= *max_logit)) *max_logit = size;
    }
}

static rrt_status compare(const rrt_model *model, const rrt_model *again, int threads, double *difference,
                          double *max_logit, rrt_error *err)
{
    size_t vocab = model->shape.vocab, context = model->shape.context,
           count = context < COMPARED_TOKENS ? context : COMPARED_TOKENS;
    int32_t ids[COMPARED_TOKENS];
    float *logits;
    *difference = *max_logit = 0;
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)((i * 7919 + 7) % vocab);
    RRT__TRY(rrt__alloc(&logits, 2 * count * vocab, sizeof *logits, "logits", err));
    rrt_status status = rrt__stream_logits(model, ids, count, threads, logits, err);
    if (!status) status = rrt__stream_logits(again, ids, count, threads, logits + count * vocab, err);
    if (!status) status = rrt__logits_check(logits, count * vocab, err);
    if (!status) compare_logits(logits, logits + count * vocab, count * vocab, difference, max_logit);
    rrt__free(logits);
    return status;
}

// Max difference of logits that rounding of the weights explains, relative to the max logit. Errors in the
// export change logits by more than a tenth of it.
static double tolerance_of(rrt__dtype dtype)
{
    return dtype == RRT__DTYPE_F32 ? 1e-4 : dtype == RRT__DTYPE_F16 ? 1e-2 : 1e-1;
}

static rrt_status verify_opened(const rrt__export *export, const rrt_model *again, double *difference,
                                rrt_error *err)
{
    const rrt_model *model = export->model;
    double max_logit;
    RRT__TRY(rrt__model_check_vocabulary(model, again, err));
    if (model->tokenizer) RRT__TRY(rrt_model_check_tokenizer(again, err));
    RRT__TRY(compare(model, again, export->options->threads, difference, &max_logit, err));
    double allowed = tolerance_of(export->dtype) * max_logit;
    if (*difference <= allowed) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MISMATCH, "its logits differ by %g, and rounding explains %g",
                     *difference, allowed);
}

static rrt_status verify(const rrt__export *export, double *difference, rrt_error *err)
{
    rrt_model *again;
    rrt_status status = rrt_model_open_deferred(&again, export->temporary, NULL, err);
    if (!status) status = verify_opened(export, again, difference, err);
    rrt_model_close(again);
    if (!status) return RRT_STATUS_OK;
    rrt__at(err, status, "the export, opened again");
    if (status == RRT_STATUS_NUMERIC) return status; // the model's own failure
    return rrt__hint(err, status,
                     "nothing was kept; please report this, with what rrt inspect says of the model");
}

static rrt_status find_format(const format **out, const char *name, rrt_error *err)
{
    for (*out = formats; *out < formats + FORMAT_COUNT; ++*out)
        if (name && strcmp(name, (*out)->name) == 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "the format '%s' is not known: hf, peft or gguf",
                     name ? name : "");
}

static rrt_status check_model(const rrt_model *model, rrt_error *err)
{
    if (!model->shares_kv) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                  "the model's loops share keys and values, which no other format can say");
    return rrt__hint(err, status, "export a model that was trained with --kv per-depth");
}

rrt_status rrt_model_export(const rrt_model *model, const char *path, const rrt_export_options *options,
                            double *max_logit_diff, rrt_error *err)
{
    const format *kind;
    rrt__destination destination;
    rrt__dtype dtype;
    double difference = 0;
    RRT__TRY(find_format(&kind, options->format, err));
    RRT__TRY(rrt__dtype_parse(&dtype, options->dtype, model->dtype, err));
    RRT__TRY(check_model(model, err));
    if (options->looped && kind->write == rrt__export_peft)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "only hf and gguf can be looped, not %s", kind->name);
    RRT__TRY(rrt__destination_open(&destination, path, kind->destination, options->overwrite, err));
    const rrt__export export = {model, options, dtype, destination.path, destination.temporary};
    rrt_status status = kind->write(&export, err);
    if (!status) status = verify(&export, &difference, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    if (status) rrt__destination_discard(&destination);
    if (max_logit_diff) *max_logit_diff = difference;
    return status;
}
