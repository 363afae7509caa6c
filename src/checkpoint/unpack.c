// Reads the matrices of a deferred model into memory: as stored, for inference, or as f32, for code that
// reads or changes weights.
#include <string.h>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantize.h"
#include "checkpoint/stored.h"
#include "format/repack.h"
#include "kernels/storage.h"
#include "model/read.h"

typedef struct taking {
    rrt_model *model;
    int threads;
    const rrt_progress *progress;
    double done, total; // values
    rrt_status (*take)(struct taking *taking, const rrt__parameter *matrix, rrt_error *err);
    rrt__storage quantized; // F32: no quantisation
} taking;

static rrt_status take_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    taking *t = user;
    if (!p->linear) return RRT_STATUS_OK;
    rrt_status status = t->take(t, p, err);
    if (status) return rrt__at(err, status, "tensor '%s'", p->name);
    t->done += (double)rrt__parameter_count(p);
    return rrt__progress_report(t->progress, "load", t->done, t->total, err);
}

static rrt_status take_all(taking *t, rrt_error *err)
{
    rrt_model_info info;
    rrt_model_describe(t->model, &info);
    t->total = (double)info.params_total;
    return rrt__model_each_parameter(t->model, &t->model->family->hf, take_one, t, err);
}

// Matrices that a conversion made are in memory already; a mapped file will be closed.
static bool is_f32_in_memory(const taking *t, const rrt__linear *linear)
{
    return t->model->matrices == RRT__MATRICES_DEFERRED && linear->data &&
           linear->storage == RRT__STORAGE_F32;
}

static rrt_status take_f32(taking *t, const rrt__parameter *p, rrt_error *err)
{
    rrt__linear *linear = p->linear;
    const rrt__linear stored = *linear;
    const rrt__rows rows = rrt__linear_rows(&stored);
    float *values;
    if (is_f32_in_memory(t, linear)) return RRT_STATUS_OK;
    RRT__TRY(
        rrt__arena_room(&t->model->arena, &values, stored.out * stored.in, sizeof *values, "a matrix", err));
    RRT__TRY(rrt__rows_read(&rows, 0, stored.out, stored.in, t->threads, values, err));
    *linear = (rrt__linear){.out = stored.out, .in = stored.in, .weight = values};
    return RRT_STATUS_OK;
}

// --- as stored

// A tensor being read into memory, by rows.
typedef struct moving {
    const rrt__stored *from;
    size_t in;
    rrt__storage storage;
    unsigned char *data; // the matrix in memory
} moving;

// Finds the value that is not finite in rows [first, first + count).
static rrt_status fail_not_finite(const moving *m, size_t first, size_t count, rrt_error *err)
{
    float *values;
    RRT__TRY(rrt__alloc(&values, count * m->in, sizeof *values, "rows of a matrix", err));
    rrt_status status = rrt__stored_read(m->from, first, first + count, values, err);
    rrt__free(values);
    return status ? status
                  : rrt__fail(err, RRT_STATUS_NUMERIC, "a scale of rows %zu to %zu is not finite", first,
                              first + count - 1);
}

static rrt_status repack_piece(void *user, size_t begin, size_t end, rrt_error *err)
{
    const moving *m = user;
    size_t group_bytes = rrt__storage_bytes(m->storage, RRT__GROUP, m->in);
    for (size_t first = begin; first < end; first += RRT__GROUP) {
        const unsigned char *rows[RRT__GROUP];
        size_t count = end - first < RRT__GROUP ? end - first : RRT__GROUP;
        for (size_t r = 0; r < count; r++) rows[r] = rrt__stored_row(m->from, first + r);
        unsigned char *group = m->data + first / RRT__GROUP * group_bytes;
        if (!rrt__repack_group(group, m->from->tensor->dtype, rows, count, m->in))
            return fail_not_finite(m, first, count, err);
    }
    rrt__stored_forget(m->from, begin, end);
    return RRT_STATUS_OK;
}

static rrt_status take_tensor(taking *t, rrt__linear *linear, const rrt__stored *stored, rrt_error *err)
{
    size_t out = linear->out, in = linear->in;
    moving m = {.from = stored, .in = in, .storage = rrt__storage_of_dtype(stored->tensor->dtype)};
    RRT__TRY(rrt__arena_room(&t->model->arena, &m.data, rrt__storage_bytes(m.storage, out, in), 1, "a matrix",
                             err));
    RRT__TRY(rrt__pieces_each(0, out, rrt__rows_piece(in, RRT__GROUP), t->threads, repack_piece, &m, err));
    *linear = (rrt__linear){.out = out, .in = in, .storage = m.storage, .data = m.data};
    return RRT_STATUS_OK;
}

// A scale that is not finite would make all results NaN: fails here instead.
static rrt_status check_scales(const rrt__linear *w, rrt_error *err)
{
    size_t group_bytes = rrt__packed_group_bytes(w->storage, w->in),
           count = rrt__packed_scale_bytes(w->storage, w->in) / sizeof(uint16_t);
    for (size_t g = 0; g < rrt__linear_groups(w->out); g++)
        for (size_t i = 0; i < count; i++) {
            uint16_t half;
            memcpy(&half, w->data + g * group_bytes + i * sizeof half, sizeof half);
            if ((half & 0x7c00) == 0x7c00)
                return rrt__fail(err, RRT_STATUS_NUMERIC, "scale %zu of group %zu is not finite", i, g);
        }
    return RRT_STATUS_OK;
}

rrt__storage rrt__resident_storage(const rrt__linear *linear)
{
    const rrt__stored *stored = rrt__rows_stored(linear->from);
    if (linear->data) return linear->storage;
    rrt__storage storage = stored ? rrt__storage_of_dtype(stored->tensor->dtype) : RRT__STORAGE_COUNT;
    return storage != RRT__STORAGE_COUNT ? storage : RRT__STORAGE_F32;
}

static rrt__storage storage_to_be(const taking *t, const rrt__parameter *p)
{
    return t->quantized ? rrt__quantized_storage(t->model, p, t->quantized)
                        : rrt__resident_storage(p->linear);
}

static rrt_status take_quantized(taking *t, const rrt__parameter *p, rrt_error *err)
{
    unsigned char *data;
    rrt__storage storage = storage_to_be(t, p);
    RRT__TRY(rrt__arena_room(&t->model->arena, &data, rrt__storage_bytes(storage, p->rows, p->columns), 1,
                             "a matrix", err));
    RRT__TRY(rrt__quantize_rows(p->linear, 0, p->rows, storage, t->threads, data, err));
    *p->linear = (rrt__linear){.out = p->rows, .in = p->columns, .storage = storage, .data = data};
    return RRT_STATUS_OK;
}

static rrt_status take_stored(taking *t, const rrt__parameter *p, rrt_error *err)
{
    if (t->quantized) return take_quantized(t, p, err);
    if (p->linear->data)
        return rrt__storage_is_packed(p->linear->storage) ? check_scales(p->linear, err) : RRT_STATUS_OK;
    if (storage_to_be(t, p) != RRT__STORAGE_F32)
        return take_tensor(t, p->linear, rrt__rows_stored(p->linear->from), err);
    return take_f32(t, p, err);
}

// Memory to allocate: not for matrices in memory or in a mapped file.
typedef struct sum {
    const taking *taking;
    double bytes;
} sum;

static rrt_status add_bytes(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    sum *s = user;
    const taking *t = s->taking;
    if (!p->linear) return RRT_STATUS_OK;
    if (t->take == take_f32)
        s->bytes += is_f32_in_memory(t, p->linear) ? 0 : 4.0 * (double)p->rows * (double)p->columns;
    else if (t->quantized || !p->linear->data)
        s->bytes += (double)rrt__storage_bytes(storage_to_be(t, p), p->rows, p->columns);
    return RRT_STATUS_OK;
}

static rrt_status check_memory(const taking *t, rrt_error *err)
{
    sum needed = {t, 0};
    double free_bytes = (double)rrt__memory_available();
    RRT__TRY(rrt__model_each_parameter(t->model, &t->model->family->hf, add_bytes, &needed, err));
    if (needed.bytes <= free_bytes) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_MEMORY, "its weights%s take %.2f GB of memory, %.2f GB are free",
                  t->take == take_f32 ? " as f32" : "", needed.bytes / 1e9, free_bytes / 1e9);
    if (t->take == take_f32) return status;
    return rrt__hint(err, status, "quantise them while they are read (--type q4_0), or take a smaller file");
}

rrt_status rrt__model_take_in(rrt_model *model, rrt__storage quantized, const rrt_open_options *options,
                              rrt_error *err)
{
    taking t = {.model = model,
                .threads = options->threads,
                .progress = options->progress,
                .take = take_stored,
                .quantized = quantized};
    RRT__TRY(check_memory(&t, err));
    RRT__TRY(take_all(&t, err));
    model->matrices = RRT__MATRICES_STORED;
    return RRT_STATUS_OK;
}

// --- as f32

static void close_files(rrt_model *model)
{
    rrt__gguf_close(model->file);
    rrt__safetensors_close(model->folder);
    rrt_model_close(model->base);
    model->file = NULL;
    model->folder = NULL;
    model->base = NULL;
}

rrt_status rrt__model_to_f32(rrt_model *model, int threads, const rrt_progress *progress, rrt_error *err)
{
    taking t = {.model = model, .threads = threads, .progress = progress, .take = take_f32};
    if (model->matrices == RRT__MATRICES_F32) return RRT_STATUS_OK;
    RRT__TRY(check_memory(&t, err));
    RRT__TRY(take_all(&t, err));
    model->matrices = RRT__MATRICES_F32;
    close_files(model);
    return RRT_STATUS_OK;
}

rrt_status rrt_model_unpack(rrt_model *model, rrt_error *err)
{
    if (model->kv_window)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a model that was opened with kv last can only run");
    return rrt__model_to_f32(model, 0, NULL, err);
}
