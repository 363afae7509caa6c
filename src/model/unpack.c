// From a quantised or a deferred model to f32: for what runs, reads or changes weights.
#include "base/progress.h"
#include "model/held.h"

typedef struct unpacking {
    rrt_model *model;
    int threads;
    const rrt_progress *progress;
    double done, total; // values
} unpacking;

static rrt_status unpack(unpacking *u, float **to, rrt__held from, rrt__packed *packed, size_t rows,
                         rrt_error *err)
{
    const rrt__rows all = rrt__held_rows(&from);
    RRT__TRY(rrt__arena_alloc(&u->model->arena, to, rows * from.columns, sizeof(float), "a matrix", err));
    RRT__TRY(rrt__rows_read(&all, 0, rows, from.columns, u->threads, *to, err));
    packed->data = NULL;
    u->done += (double)rows * (double)from.columns;
    return rrt__progress_report(u->progress, "load", u->done, u->total, err);
}

static bool is_there(rrt__held held)
{
    return !held.values && (held.packed->data || held.from->read);
}

static rrt_status unpack_lora(unpacking *u, rrt__lora *lora, const rrt__linear *linear, rrt_error *err)
{
    rrt__held a = rrt__lora_a_held(lora, linear->in), b = rrt__lora_b_held(lora);
    if (lora->rank && is_there(a)) RRT__TRY(unpack(u, &lora->a, a, &lora->packed_a, lora->rank, err));
    if (lora->rank && is_there(b)) RRT__TRY(unpack(u, &lora->b, b, &lora->packed_b, linear->out, err));
    return RRT_STATUS_OK;
}

static rrt_status unpack_all(unpacking *u, rrt_error *err)
{
    rrt_model *model = u->model;
    size_t vocab = model->shape.vocab;
    RRT__TRY(unpack(u, &model->embedding, rrt__embedding_held(model), model->packed_embedding, vocab, err));
    if (model->shape.tied_head)
        model->head = model->embedding;
    else
        RRT__TRY(unpack(u, &model->head, rrt__head_held(model), model->packed_head, vocab, err));
    for (int i = 0; i < model->plan.n_slots * RRT__MATRIX_COUNT; i++) {
        rrt__linear *linear = &model->slots[i / RRT__MATRIX_COUNT].matrix[i % RRT__MATRIX_COUNT];
        rrt__held held = rrt__linear_held(linear);
        if (is_there(held)) RRT__TRY(unpack(u, &linear->weight, held, &linear->packed, linear->out, err));
    }
    for (int i = 0; i < model->plan.n_depths * RRT__MATRIX_COUNT; i++) {
        int d = i / RRT__MATRIX_COUNT, m = i % RRT__MATRIX_COUNT;
        RRT__TRY(
            unpack_lora(u, &model->depths[d].lora[m], &model->slots[model->plan.slot[d]].matrix[m], err));
    }
    return RRT_STATUS_OK;
}

static void close_files(rrt_model *model)
{
    rrt__gguf_close(model->file);
    rrt__safetensors_close(model->folder);
    rrt_model_close(model->base);
    model->file = NULL;
    model->folder = NULL;
    model->base = NULL;
}

rrt_status rrt__model_unpack(rrt_model *model, int threads, const rrt_progress *progress, rrt_error *err)
{
    rrt_model_info info;
    if (model->storage == RRT__STORAGE_F32) return RRT_STATUS_OK;
    rrt_model_describe(model, &info);
    unpacking u = {model, threads, progress, 0, (double)info.params_total};
    RRT__TRY(unpack_all(&u, err));
    model->storage = RRT__STORAGE_F32;
    close_files(model);
    return RRT_STATUS_OK;
}

rrt_status rrt_model_unpack(rrt_model *model, rrt_error *err)
{
    return rrt__model_unpack(model, 0, NULL, err);
}
