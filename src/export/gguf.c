// Writes a model as GGUF for llama.cpp, with the names and the order of llama.cpp's own converter.
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
    return rrt__parameter_is_fused(p, &to->model->family->gguf, &to->model->shape, fused);
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
    const paired pairs = {rrt__parameter_linear(p), to->model->shape.head_dim};
    bool is_paired =
        to->model->family->pairs_rope_in_gguf && (p->matrix == RRT__MATRIX_Q || p->matrix == RRT__MATRIX_K);
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
    const rrt_model *model = to->model;
    const rrt__names *names = &model->family->gguf;
    RRT__TRY(rrt__model_each_parameter(model, names, visit, to, err));
    if (!model->shape.tied_head || model->family->gguf_head != RRT__GGUF_HEAD_IS_STORED) return RRT_STATUS_OK;
    rrt__parameter head = {.kind = RRT__PARAMETER_EMBEDDING,
                           .matrix = -1,
                           .rows = model->shape.vocab,
                           .columns = model->shape.hidden,
                           .linear = model->embedding};
    snprintf(head.name, sizeof head.name, "%s.weight", names->head);
    return visit(to, &head, err);
}

static rrt_status declare_stacks(rrt__gguf_export *to, rrt_error *err)
{
    const rrt__plan *plan = &to->model->plan;
    RRT__TRY(rrt__gguf_set_size(to, "hrm.layers_per_stack", (size_t)rrt__plan_stack_layers(plan), err));
    RRT__TRY(rrt__gguf_set_size(to, "hrm.h_cycles", (size_t)plan->loops, err));
    RRT__TRY(rrt__gguf_set_flag(to, "hrm.prefix_lm", to->model->prefix_lm, err));
    RRT__TRY(rrt__gguf_set_size(to, "hrm.l_cycles", (size_t)rrt__plan_low_loops(plan), err));
    return rrt__gguf_set_real(to, "embedding_scale", rrt__model_embedding_scale(to->model), err);
}

static rrt_status declare_loops(rrt__gguf_export *to, rrt_error *err)
{
    const rrt_model *model = to->model;
    if (model->family->has_stacks) return declare_stacks(to, err);
    if (!model->family->loops.key) return RRT_STATUS_OK;
    RRT__TRY(rrt__gguf_set_size(to, "num_loops", (size_t)model->plan.loops, err));
    RRT__TRY(rrt__gguf_set_flag(to, "skip_loop_final_norm", !model->plan.norms_loops, err));
    return model->gates ? rrt__gguf_set_real(to, "early_exit_threshold", model->exit_threshold, err)
                        : RRT_STATUS_OK;
}

static rrt_status declare_tokenizer(rrt__gguf_export *to, rrt_error *err)
{
    const rrt_tokenizer *tokenizer = to->model->tokenizer;
    if (tokenizer) return rrt__tokenizer_to_gguf(tokenizer, to->model->shape.vocab, &to->writer, err);
    return rrt__gguf_write_string(&to->writer, "tokenizer.ggml.model", "no_vocab", 8, err);
}

static rrt_status write_all(rrt__gguf_export *to, rrt_error *err)
{
    rrt__gguf_writer *w = &to->writer;
    const unsigned file_type = to->export->dtype == RRT__DTYPE_F32   ? 0
                               : to->export->dtype == RRT__DTYPE_F16 ? 1
                                                                     : 32;
    const char *architecture = to->model->family->gguf_name;
    RRT__TRY(rrt__gguf_write_string(w, "general.architecture", architecture, strlen(architecture), err));
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

rrt_status rrt__export_gguf(const rrt__export *export, rrt_error *err)
{
    rrt_model *model;
    RRT__TRY(rrt__export_form(export, &model, err));
    rrt__gguf_export to = {.export = export, .model = model};
    rrt_status status = rrt__gguf_check(model, err);
    if (!status) status = write_all(&to, err);
    rrt__gguf_writer_free(&to.writer);
    rrt_model_close(model);
    return status;
}
