// Writes an unrolled model as GGUF for llama.cpp, with the names and the order of llama.cpp's own converter.
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "export/gguf.h"
#include "model/parameters.h"
#include "model/read.h"
#include "model/unroll.h"
#include "tokenizer/tokenizer.h"

static rrt__dtype dtype_of(const rrt__gguf_export *to, const rrt__parameter *p)
{
    return p->columns ? to->export->dtype : RRT__DTYPE_F32;
}

static bool is_fused(const rrt__gguf_export *to, const rrt__parameter *p, rrt__fused *fused)
{
    return rrt__parameter_is_fused(p, &to->plain->family->gguf, &to->plain->shape, fused);
}

static rrt_status declare(void *user, const rrt__parameter *p, rrt_error *err)
{
    rrt__gguf_export *to = user;
    rrt__fused fused = {.rows = p->rows, .is_first = true};
    bool is_part = is_fused(to, p, &fused);
    const size_t shape[] = {fused.rows, p->columns};
    if (!fused.is_first) return RRT_STATUS_OK;
    return rrt__gguf_write_tensor(&to->writer, is_part ? fused.name : p->name, dtype_of(to, p),
                                  p->columns ? 2 : 1, shape, err);
}

// Rows of q and k reordered so that those that rotate together, i and i + head_dim/2, are adjacent: the
// inverse of loading.
typedef struct paired {
    rrt__linear plain;
    size_t head_dim;
} paired;

static rrt_status read_paired(const void *from, size_t begin, size_t end, float *out, rrt_error *err)
{
    const paired *p = from;
    size_t columns = p->plain.in, head_dim = p->head_dim, half = head_dim / 2;
    float *head; // all rows of one head
    RRT__TRY(rrt__alloc(&head, head_dim * columns, sizeof *head, "a copy of a tensor", err));
    rrt_status status = RRT_STATUS_OK;
    for (size_t r = begin; !status && r < end; r++) {
        size_t first = r / head_dim * head_dim, i = r % head_dim;
        if (r == begin || i == 0) status = rrt__linear_read(&p->plain, first, first + head_dim, head, err);
        if (!status)
            memcpy(out + (r - begin) * columns, head + (i / 2 + i % 2 * half) * columns,
                   columns * sizeof *out);
    }
    rrt__free(head);
    return status;
}

static rrt_status write_rows(rrt__gguf_export *to, const rrt__parameter *p, rrt__rows from, size_t rows,
                             rrt_error *err)
{
    size_t columns = p->columns ? p->columns : 1;
    RRT__TRY(rrt__gguf_write_rows(&to->writer, dtype_of(to, p), &from, rows, columns, err));
    to->done += (double)(rows * columns * rrt__dtype_block_bytes(dtype_of(to, p)));
    return rrt__progress_report(to->export->options->progress, "save", to->done, to->total, err);
}

static rrt_status write(void *user, const rrt__parameter *p, rrt_error *err)
{
    rrt__gguf_export *to = user;
    rrt__fused fused;
    const paired pairs = {rrt__parameter_linear(p), to->plain->shape.head_dim};
    bool is_paired =
        to->plain->family->pairs_rope_in_gguf && (p->matrix == RRT__MATRIX_Q || p->matrix == RRT__MATRIX_K);
    rrt_status status = RRT_STATUS_OK;
    if (is_fused(to, p, &fused)) {
        rrt__whole_add(&to->whole, &fused, p->rows, pairs.plain);
        if (to->whole.filled < fused.rows) return RRT_STATUS_OK; // the last part completes the tensor
        status = write_rows(to, p, rrt__whole_rows(&to->whole), fused.rows, err);
        to->whole = (rrt__whole){0};
    } else {
        rrt__rows from = is_paired ? (rrt__rows){read_paired, &pairs} : rrt__linear_rows(&pairs.plain);
        status = write_rows(to, p, from, p->rows, err);
    }
    return status ? rrt__at(err, status, "tensor '%s'", p->name) : RRT_STATUS_OK;
}

// Visits the tensors of the architecture, also the redundant one: the head if it is tied to the embedding.
static rrt_status each_tensor(rrt__gguf_export *to, rrt__parameter_visit visit, rrt_error *err)
{
    const rrt_model *plain = to->plain;
    const rrt__names *names = &plain->family->gguf;
    RRT__TRY(rrt__model_each_parameter(plain, names, visit, to, err));
    if (!plain->shape.tied_head || plain->family->gguf_head != RRT__GGUF_HEAD_IS_STORED) return RRT_STATUS_OK;
    rrt__parameter head = {.kind = RRT__PARAMETER_EMBEDDING,
                           .matrix = -1,
                           .rows = plain->shape.vocab,
                           .columns = plain->shape.hidden,
                           .linear = plain->embedding};
    snprintf(head.name, sizeof head.name, "%s.weight", names->head);
    return visit(to, &head, err);
}

static rrt_status declare_loops(rrt__gguf_export *to, rrt_error *err)
{
    if (!to->export->options->looped) return RRT_STATUS_OK;
    RRT__TRY(rrt__gguf_set_size(to, "num_loops", (size_t)to->export->model->plan.loops, err));
    return rrt__gguf_write_bool(&to->writer, RRT__GGUF_LOOPED ".skip_loop_final_norm", true, err);
}

static rrt_status declare_tokenizer(rrt__gguf_export *to, rrt_error *err)
{
    const rrt_tokenizer *tokenizer = to->plain->tokenizer;
    if (tokenizer) return rrt__tokenizer_to_gguf(tokenizer, to->plain->shape.vocab, &to->writer, err);
    return rrt__gguf_write_string(&to->writer, "tokenizer.ggml.model", "no_vocab", 8, err);
}

static rrt_status write_all(rrt__gguf_export *to, rrt_error *err)
{
    rrt__gguf_writer *w = &to->writer;
    const unsigned file_type = to->export->dtype == RRT__DTYPE_F32   ? 0
                               : to->export->dtype == RRT__DTYPE_F16 ? 1
                                                                     : 32;
    RRT__TRY(
        rrt__gguf_write_string(w, "general.architecture", to->architecture, strlen(to->architecture), err));
    RRT__TRY(rrt__gguf_write_u32(w, "general.file_type", file_type, err));
    RRT__TRY(rrt__gguf_declare_keys(to, err));
    RRT__TRY(declare_loops(to, err));
    RRT__TRY(declare_tokenizer(to, err));
    RRT__TRY(rrt__gguf_declare_divisors(to, err));
    RRT__TRY(each_tensor(to, declare, err));
    to->total = (double)w->data_bytes;
    RRT__TRY(rrt__gguf_writer_begin(w, to->export->temporary, err));
    RRT__TRY(rrt__gguf_write_divisors(to, err));
    RRT__TRY(each_tensor(to, write, err));
    return rrt__gguf_writer_finish(w, err);
}

// llama.cpp's looped architecture has all layers of a Llama, several times, and nothing else.
static rrt_status check_looped(const rrt_model *model, rrt_error *err)
{
    enum { MAX_LAYERS = 512 };
    const rrt__plan *plan = &model->plan;
    bool fits = strcmp(model->family->name, "llama") == 0 && rrt__plan_has_boundary(plan) && !plan->prelude &&
                !plan->coda && !rrt__model_owns_vectors(model) && plan->n_depths <= MAX_LAYERS;
    for (int i = 0; i < plan->n_depths * RRT__MATRIX_COUNT; i++)
        fits = fits && !model->depths[i / RRT__MATRIX_COUNT].lora[i % RRT__MATRIX_COUNT].rank;
    if (fits) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                  "llama.cpp loops only a llama that is one cycle of at most %d layers, with tied"
                  " norms and without LoRA, prelude and coda",
                  MAX_LAYERS);
    return rrt__hint(err, status, "leave --looped out: the model is then unrolled");
}

static rrt_status make_plain(const rrt__export *export, rrt_model **plain, rrt_error *err)
{
    short depths[RRT__MAX_DEPTHS];
    const rrt__plan *plan = &export->model->plan;
    if (!export->options->looped) return rrt__export_unroll(export, plain, err);
    RRT__TRY(check_looped(export->model, err));
    for (int s = 0; s < plan->n_slots; s++) depths[s] = (short)s; // those of the first loop
    return rrt__unroll(plain, export->model, depths, plan->n_slots, false, export->options->threads, err);
}

rrt_status rrt__export_gguf(const rrt__export *export, rrt_error *err)
{
    rrt_model *plain;
    RRT__TRY(rrt__gguf_check(export->model, err));
    RRT__TRY(make_plain(export, &plain, err));
    const char *architecture = export->options->looped ? RRT__GGUF_LOOPED : plain->family->gguf_name;
    rrt__gguf_export to = {.export = export, .plain = plain, .architecture = architecture};
    rrt_status status = write_all(&to, err);
    rrt__gguf_writer_free(&to.writer);
    rrt_model_close(plain);
    return status;
}
