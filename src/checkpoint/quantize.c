// Writes a model into one file that can be used in place: GGUF with architecture "rrt". Configuration and
// tokenizer are those of a folder, as JSON; a quantised matrix is a tensor of bytes [groups, bytes of a
// group] with its storage in its name ("model.layers.0.mlp.up_proj.weight.q4_0"), see kernels/packed.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantize.h"
#include "format/gguf_write.h"
#include "kernels/packed.h"
#include "kernels/storage.h"
#include "model/read.h"
#include "tokenizer/tokenizer.h"

typedef struct quantizer {
    const rrt_model *model;
    rrt__storage storage; // of the layers' matrices
    rrt__gguf_writer writer;
    const rrt_quantize_options *options;
    double done, total;    // bytes
    unsigned char *quants; // of the current rows
    size_t quants_bytes;
} quantizer;

enum { BATCH_VALUES = 1 << 22 }; // values read and quantised at once, on all threads

// Rows per batch: whole groups.
static size_t batch_rows(size_t rows, size_t columns)
{
    size_t batch = (BATCH_VALUES / columns + 1 + RRT__GROUP - 1) / RRT__GROUP * RRT__GROUP;
    return batch < rows ? batch : rows;
}

// With a 4-bit type, the matrices that lose most get more bits: 8 if many loops run the matrix, since its
// error recurs in each of them and it is a small part of the file; 6 for LoRA, embedding and the unshared
// ends of a recursive model.
rrt__storage rrt__quantized_storage(const rrt_model *model, const rrt__parameter *p, rrt__storage storage)
{
    enum { MANY_LOOPS = 4 };
    if (storage == RRT__STORAGE_Q8_0 || p->uses > MANY_LOOPS) return RRT__STORAGE_Q8_0;
    bool is_end = p->uses == 1 && model->plan.loops > 1;
    bool is_fine = is_end || p->kind == RRT__PARAMETER_LORA || p->kind == RRT__PARAMETER_EMBEDDING;
    return is_fine ? RRT__STORAGE_Q6_0 : storage;
}

static rrt_status declare(void *user, const rrt__parameter *p, rrt_error *err)
{
    quantizer *q = user;
    if (!p->linear) return rrt__gguf_write_tensor(&q->writer, p->name, RRT__DTYPE_F32, 1, &p->rows, err);
    char name[160];
    rrt__storage storage = rrt__quantized_storage(q->model, p, q->storage);
    size_t bytes = rrt__packed_bytes(storage, batch_rows(p->rows, p->columns), p->columns),
           shape[] = {rrt__linear_groups(p->rows), rrt__packed_group_bytes(storage, p->columns)};
    if (bytes > q->quants_bytes) q->quants_bytes = bytes;
    snprintf(name, sizeof name, "%s.%s", p->name, rrt__storage_name(storage));
    return rrt__gguf_write_tensor(&q->writer, name, RRT__DTYPE_I8, 2, shape, err);
}

// Rows [first, …) of a matrix.
typedef struct batch {
    unsigned char *quants;
    size_t first, columns;
    rrt__storage storage;
} batch;

static rrt_status pack(void *user, size_t begin, size_t end, const float *values, rrt_error *err)
{
    (void)err;
    const batch *b = user;
    unsigned char *to = b->quants + rrt__storage_bytes(b->storage, begin - b->first, b->columns);
    rrt__pack((rrt__team){.nth = 1}, to, b->storage, values, end - begin, b->columns);
    return RRT_STATUS_OK;
}

rrt_status rrt__quantize_rows(const rrt__linear *linear, size_t begin, size_t end, rrt__storage storage,
                              int threads, unsigned char *quants, rrt_error *err)
{
    const rrt__rows rows = rrt__linear_rows(linear);
    batch b = {quants, begin, linear->in, storage};
    return rrt__rows_each(&rows, begin, end, linear->in, RRT__GROUP, threads, pack, &b, err);
}

static rrt_status write_matrix(quantizer *q, const rrt__parameter *p, rrt_error *err)
{
    rrt__storage storage = rrt__quantized_storage(q->model, p, q->storage);
    for (size_t begin = 0, end; begin < p->rows; begin = end) {
        end = begin + batch_rows(p->rows - begin, p->columns);
        RRT__TRY(rrt__quantize_rows(p->linear, begin, end, storage, q->options->threads, q->quants, err));
        size_t bytes = rrt__storage_bytes(storage, end - begin, p->columns);
        RRT__TRY(rrt__gguf_write_part(&q->writer, q->quants, bytes, err));
        q->done += (double)bytes;
        RRT__TRY(rrt__progress_report(q->options->progress, "quantize", q->done, q->total, err));
    }
    return rrt__gguf_write_end(&q->writer, err);
}

static rrt_status write(void *user, const rrt__parameter *p, rrt_error *err)
{
    quantizer *q = user;
    rrt_status status = p->linear ? write_matrix(q, p, err)
                                  : rrt__gguf_write_data(&q->writer, p->values, p->rows * sizeof(float), err);
    return status ? rrt__at(err, status, "tensor '%s'", p->name) : RRT_STATUS_OK;
}

// Takes ownership of the JSON.
static rrt_status declare_json(quantizer *q, const char *key, json_t *json, rrt_error *err)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing '%s'", key);
    rrt_status status = rrt__gguf_write_string(&q->writer, key, text, strlen(text), err);
    free(text);
    return status;
}

static rrt_status declare_all(quantizer *q, rrt_error *err)
{
    const rrt_model *model = q->model;
    json_t *config;
    RRT__TRY(rrt__gguf_write_string(&q->writer, "general.architecture", RRT__GGUF_ARCHITECTURE,
                                    strlen(RRT__GGUF_ARCHITECTURE), err));
    RRT__TRY(rrt__config_to_json(model, RRT__DTYPE_F32, &config, err));
    RRT__TRY(declare_json(q, "rrt.config", config, err));
    RRT__TRY(declare_json(q, "rrt.lora_ranks", rrt__lora_ranks(model), err));
    if (model->tokenizer) RRT__TRY(rrt__tokenizer_pack(model->tokenizer, &q->writer, err));
    RRT__TRY(rrt__model_each_parameter(model, &model->family->hf, declare, q, err));
    RRT__TRY(rrt__json_check_memory(err));
    q->total = (double)q->writer.data_bytes;
    return rrt__alloc(&q->quants, q->quants_bytes, 1, "quantised rows", err);
}

static rrt_status write_all(quantizer *q, const char *path, rrt_error *err)
{
    RRT__TRY(declare_all(q, err));
    RRT__TRY(rrt__gguf_writer_begin(&q->writer, path, err));
    RRT__TRY(rrt__model_each_parameter(q->model, &q->model->family->hf, write, q, err));
    return rrt__gguf_writer_finish(&q->writer, err);
}

rrt_status rrt__quantized_parse(rrt__storage *storage, const char *name, rrt_error *err)
{
    static const rrt__storage offered[] = {RRT__STORAGE_Q8_0, RRT__STORAGE_Q6_0, RRT__STORAGE_Q4_1,
                                           RRT__STORAGE_Q4_0};
    for (size_t i = 0; i < sizeof offered / sizeof *offered; i++) {
        *storage = offered[i];
        if (name && strcmp(rrt__storage_name(*storage), name) == 0) return RRT_STATUS_OK;
    }
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "the type '%s' is not known: q8_0, q6_0, q4_1 or q4_0",
                     name ? name : "");
}

// A file that cannot be opened again is refused: a scale may exceed f16, for example.
static rrt_status verify(const char *path, rrt_error *err)
{
    rrt_model *again;
    rrt_status status = rrt_model_open(&again, path, NULL, err);
    rrt_model_close(again);
    if (!status) return RRT_STATUS_OK;
    rrt__at(err, status, "the quantised file, opened again");
    return rrt__hint(err, status, "nothing was kept; does the model hold a weight that is far too large?");
}

rrt_status rrt_model_quantize(const rrt_model *model, const char *path, const rrt_quantize_options *options,
                              rrt_error *err)
{
    quantizer q = {.model = model, .options = options, .writer = {.alignment = RRT__PACKED_ALIGNMENT}};
    rrt__destination destination;
    RRT__TRY(rrt__quantized_parse(&q.storage, options->type, err));
    RRT__TRY(rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, options->overwrite, err));
    rrt_status status = write_all(&q, destination.temporary, err);
    if (!status) status = verify(destination.temporary, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    if (status) rrt__destination_discard(&destination);
    rrt__gguf_writer_free(&q.writer);
    rrt__free(q.quants);
    return status;
}
