// An unrolled model as GGUF for llama.cpp, under the names and in the order that its own converter writes.
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "convert/export.h"
#include "format/gguf_write.h"
#include "model/load.h"
#include "model/parameters.h"
#include "model/unroll.h"
#include "tokenizer/tokenizer.h"

typedef struct writing {
    const rrt__export *export;
    const rrt_model *plain;
    const char *architecture;
    rrt__gguf_writer writer;
    double done, total; // bytes
} writing;

static rrt__dtype dtype_of(const writing *to, const rrt__parameter *p)
{
    return p->columns ? to->export->dtype : RRT__DTYPE_F32;
}

static rrt_status declare(void *user, const rrt__parameter *p, rrt_error *err)
{
    writing *to = user;
    const size_t shape[] = {p->rows, p->columns};
    return rrt__gguf_write_tensor(&to->writer, p->name, dtype_of(to, p), p->columns ? 2 : 1, shape, err);
}

// Rows of q and k with those that are rotated together, i and i + head_dim/2, side by side: the way back of
// what loading does.
static void pair_rows(float *to, const float *from, size_t n_rows, size_t columns, size_t head_dim)
{
    for (size_t r = 0; r < n_rows; r++) {
        size_t head = r / head_dim * head_dim, i = r % head_dim, half = head_dim / 2;
        memcpy(to + (head + 2 * (i % half) + i / half) * columns, from + r * columns, columns * sizeof *to);
    }
}

static rrt_status write_paired(writing *to, const rrt__parameter *p, rrt_error *err)
{
    size_t count = rrt__parameter_count(p);
    float *paired;
    RRT__TRY(rrt__alloc(&paired, count, sizeof *paired, "a copy of a tensor", err));
    pair_rows(paired, p->values, p->rows, p->columns, to->plain->shape.head_dim);
    rrt_status status = rrt__gguf_write_values(&to->writer, dtype_of(to, p), paired, count, err);
    rrt__free(paired);
    return status;
}

static rrt_status write(void *user, const rrt__parameter *p, rrt_error *err)
{
    writing *to = user;
    size_t count = rrt__parameter_count(p);
    bool is_paired =
        to->plain->family->pairs_rope_in_gguf && (p->matrix == RRT__MATRIX_Q || p->matrix == RRT__MATRIX_K);
    rrt_status status = is_paired
                            ? write_paired(to, p, err)
                            : rrt__gguf_write_values(&to->writer, dtype_of(to, p), p->values, count, err);
    if (status) return rrt__at(err, status, "tensor '%s'", p->name);
    to->done += (double)(count * rrt__dtype_block_bytes(dtype_of(to, p)));
    return rrt__progress_report(to->export->options->progress, "save", to->done, to->total, err);
}

static rrt_status set_size(writing *to, const char *name, size_t value, rrt_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", to->architecture, name);
    return rrt__gguf_write_u32(&to->writer, key, (uint32_t)value, err);
}

// 0: there is none.
static rrt_status set_real(writing *to, const char *name, double value, rrt_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", to->architecture, name);
    return value != 0 ? rrt__gguf_write_f32(&to->writer, key, (float)value, err) : RRT_STATUS_OK;
}

static rrt_status declare_shape(writing *to, rrt_error *err)
{
    const rrt__shape *s = &to->plain->shape;
    RRT__TRY(set_size(to, "vocab_size", s->vocab, err));
    RRT__TRY(set_size(to, "context_length", s->context, err));
    RRT__TRY(set_size(to, "embedding_length", s->hidden, err));
    RRT__TRY(set_size(to, "block_count", (size_t)to->plain->plan.n_depths, err));
    RRT__TRY(set_size(to, "feed_forward_length", s->ffn, err));
    RRT__TRY(set_size(to, "attention.head_count", s->heads, err));
    RRT__TRY(set_size(to, "attention.head_count_kv", s->kv_heads, err));
    RRT__TRY(set_size(to, "attention.key_length", s->head_dim, err));
    RRT__TRY(set_size(to, "attention.value_length", s->head_dim, err));
    RRT__TRY(set_size(to, "rope.dimension_count", s->rotary, err));
    if (s->window) RRT__TRY(set_size(to, "attention.sliding_window", s->window, err));
    RRT__TRY(set_real(to, "attention.layer_norm_rms_epsilon", s->norm_epsilon, err));
    RRT__TRY(set_real(to, "rope.freq_base", s->rope_base, err));
    RRT__TRY(set_real(to, "rope.freq_base_swa", s->local_rope_base, err));
    RRT__TRY(set_real(to, "attn_logit_softcapping", s->attention_cap, err));
    return set_real(to, "final_logit_softcapping", s->logit_cap, err);
}

static rrt_status declare_loops(writing *to, rrt_error *err)
{
    if (!to->export->options->looped) return RRT_STATUS_OK;
    RRT__TRY(set_size(to, "num_loops", (size_t)to->export->model->plan.loops, err));
    return rrt__gguf_write_bool(&to->writer, RRT__GGUF_LOOPED ".skip_loop_final_norm", true, err);
}

static rrt_status declare_tokenizer(writing *to, rrt_error *err)
{
    const rrt_tokenizer *tokenizer = to->plain->tokenizer;
    if (tokenizer) return rrt__tokenizer_to_gguf(tokenizer, to->plain->shape.vocab, &to->writer, err);
    return rrt__gguf_write_string(&to->writer, "tokenizer.ggml.model", "no_vocab", 8, err);
}

static rrt_status write_all(writing *to, rrt_error *err)
{
    const rrt__names *names = &to->plain->family->gguf;
    rrt__gguf_writer *w = &to->writer;
    const unsigned file_type = to->export->dtype == RRT__DTYPE_F32   ? 0
                               : to->export->dtype == RRT__DTYPE_F16 ? 1
                                                                     : 32;
    RRT__TRY(
        rrt__gguf_write_string(w, "general.architecture", to->architecture, strlen(to->architecture), err));
    RRT__TRY(rrt__gguf_write_u32(w, "general.file_type", file_type, err));
    RRT__TRY(declare_shape(to, err));
    RRT__TRY(declare_loops(to, err));
    RRT__TRY(declare_tokenizer(to, err));
    RRT__TRY(rrt__model_each_parameter(to->plain, names, declare, to, err));
    to->total = (double)w->data_bytes;
    RRT__TRY(rrt__gguf_writer_begin(w, to->export->temporary, err));
    RRT__TRY(rrt__model_each_parameter(to->plain, names, write, to, err));
    return rrt__gguf_writer_finish(w, err);
}

// What readers take for granted of an architecture, because its files do not say it.
static rrt_status check(const rrt_model *model, rrt_error *err)
{
    const rrt__family *family = model->family;
    const rrt__shape *s = &model->shape;
    rrt__config usual;
    if (!family->gguf_name) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "models of the family '%s' are not written as GGUF", family->name);
        return rrt__hint(err, status, "export --to hf, and use llama.cpp's convert_hf_to_gguf.py on it");
    }
    rrt__attention_from_pattern(&usual, model->plan.n_depths, family->local_pattern,
                                family->unrotated_pattern);
    for (int d = 0; d < model->plan.n_depths; d++)
        if (model->depths[d].attention != usual.attention[d])
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "GGUF has no way to say that the layer at depth %d is not as the %s layers'"
                             " pattern has it",
                             d, family->name);
    if (s->query_scalar != 0 && s->query_scalar != (double)s->head_dim)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "GGUF has no way to say a query scalar of %g",
                         s->query_scalar);
    if (family->pairs_rope_in_gguf && s->rotary != s->head_dim)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "GGUF files of %s rotate whole heads, not %zu of %zu",
                         family->name, s->rotary, s->head_dim);
    return RRT_STATUS_OK;
}

// What llama.cpp's looped architecture is: the layers of a Llama, all of them, several times, and no more.
static rrt_status check_looped(const rrt_model *model, rrt_error *err)
{
    enum { MOST_LAYERS = 512 };
    const rrt__plan *plan = &model->plan;
    bool fits = strcmp(model->family->name, "llama") == 0 && rrt__plan_has_boundary(plan) && !plan->prelude &&
                !plan->coda && !rrt__model_owns_vectors(model) && plan->n_depths <= MOST_LAYERS;
    for (int i = 0; i < plan->n_depths * RRT__MATRIX_COUNT; i++)
        fits = fits && !model->depths[i / RRT__MATRIX_COUNT].lora[i % RRT__MATRIX_COUNT].rank;
    if (fits) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                  "llama.cpp loops only a llama that is one cycle of at most %d layers, with tied"
                  " norms and without LoRA, prelude and coda",
                  MOST_LAYERS);
    return rrt__hint(err, status, "leave --looped out: the model is then unrolled");
}

static rrt_status make_plain(const rrt__export *export, rrt_model **plain, rrt_error *err)
{
    short depths[RRT__MAX_DEPTHS];
    const rrt__plan *plan = &export->model->plan;
    if (!export->options->looped) return rrt__export_unroll(export, plain, err);
    RRT__TRY(check_looped(export->model, err));
    for (int s = 0; s < plan->n_slots; s++) depths[s] = (short)s; // the first loop's
    return rrt__unroll(plain, export->model, depths, plan->n_slots, false, export->options->threads, err);
}

rrt_status rrt__export_gguf(const rrt__export *export, rrt_error *err)
{
    rrt_model *plain;
    RRT__TRY(check(export->model, err));
    RRT__TRY(make_plain(export, &plain, err));
    const char *architecture = export->options->looped ? RRT__GGUF_LOOPED : plain->family->gguf_name;
    writing to = {.export = export, .plain = plain, .architecture = architecture};
    rrt_status status = write_all(&to, err);
    rrt__gguf_writer_free(&to.writer);
    rrt_model_close(plain);
    return status;
}
