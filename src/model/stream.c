#include "model/stream.h"

#include <string.h>

#include "model/forward.h"
#include "model/read.h"

enum { HEAD_ROWS = 4096 }; // of the head in memory at a time

typedef struct stream {
    const rrt_model *model;
    // What runs: the same model in f32, all of whose slots are one and the same memory, and whose embedding
    // has the rows of the text alone.
    rrt_model view;
    rrt__linear embedding, head;
    rrt__workspace workspace;
    rrt__span span;
    int threads, depth;
    float *weight[RRT__MATRIX_COUNT], *a[RRT__MATRIX_COUNT], *b[RRT__MATRIX_COUNT];
    float *part;        // logits [count, HEAD_ROWS]
    const int32_t *ids; // rows of the view's embedding
    rrt__arena arena;
} stream;

static rrt_status room(stream *s, float **out, size_t rows, size_t columns, rrt_error *err)
{
    return rrt__arena_alloc(&s->arena, out, rows, columns * sizeof(float), "a matrix at a time", err);
}

static rrt_status copy_list(stream *s, void *out_pointer, const void *from, size_t count, size_t size,
                            rrt_error *err)
{
    void *copy;
    RRT__TRY(rrt__arena_alloc(&s->arena, &copy, count, size, "a view of a model", err));
    memcpy(copy, from, count * size);
    memcpy(out_pointer, &copy, sizeof copy);
    return RRT_STATUS_OK;
}

// Room for the greatest LoRA on each matrix, and for the matrix.
static rrt_status open_matrices(stream *s, rrt_error *err)
{
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in, rank = 0;
        rrt__shape_matrix(&s->model->shape, m, &out, &in);
        for (int d = 0; d < s->model->plan.n_depths; d++) {
            size_t own = s->model->depths[d].lora[m].rank;
            rank = own > rank ? own : rank;
        }
        if (rrt__family_has(s->model->family, m)) RRT__TRY(room(s, &s->weight[m], out, in, err));
        RRT__TRY(room(s, &s->a[m], rank, in, err));
        RRT__TRY(room(s, &s->b[m], out, rank, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status open_view(stream *s, size_t count, rrt_error *err)
{
    const rrt_model *model = s->model;
    const rrt__plan *plan = &model->plan;
    s->view = *model;
    s->view.matrices = RRT__MATRICES_F32;
    RRT__TRY(copy_list(s, &s->view.slots, model->slots, (size_t)plan->n_slots, sizeof *model->slots, err));
    RRT__TRY(
        copy_list(s, &s->view.depths, model->depths, (size_t)plan->n_depths, sizeof *model->depths, err));
    s->embedding = (rrt__linear){.out = count, .in = model->shape.hidden};
    s->head = (rrt__linear){.out = HEAD_ROWS, .in = model->shape.hidden};
    s->view.embedding = &s->embedding;
    s->view.head = &s->head;
    RRT__TRY(room(s, &s->embedding.weight, count, model->shape.hidden, err));
    RRT__TRY(room(s, &s->head.weight, HEAD_ROWS, model->shape.hidden, err));
    RRT__TRY(room(s, &s->part, count, HEAD_ROWS, err));
    RRT__TRY(open_matrices(s, err));
    return rrt__workspace_create(&s->workspace, &s->view, count, count, s->threads, err);
}

// *to becomes the same matrix, its values in room.
static rrt_status take(const stream *s, rrt__linear *to, const rrt__linear *from, float *room, rrt_error *err)
{
    const rrt__rows all = rrt__linear_rows(from);
    *to = (rrt__linear){.out = from->out, .in = from->in, .weight = room};
    return rrt__rows_read(&all, 0, from->out, from->in, s->threads, room, err);
}

// The matrices of a depth come into memory.
static rrt_status take_depth(stream *s, rrt_error *err)
{
    int slot = s->model->plan.slot[s->depth];
    rrt__depth *depth = &s->view.depths[s->depth];
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        const rrt__lora *lora = &s->model->depths[s->depth].lora[m];
        if (!rrt__family_has(s->model->family, m)) continue;
        RRT__TRY(
            take(s, &s->view.slots[slot].matrix[m], &s->model->slots[slot].matrix[m], s->weight[m], err));
        if (!lora->rank) continue;
        RRT__TRY(take(s, &depth->lora[m].a, &lora->a, s->a[m], err));
        RRT__TRY(take(s, &depth->lora[m].b, &lora->b, s->b[m], err));
    }
    return RRT_STATUS_OK;
}

static void embed(rrt__team team, void *argument)
{
    stream *s = argument;
    rrt__forward_embed(team, &s->view, &s->workspace, &s->span, 1, s->ids);
}

static void run_depth(rrt__team team, void *argument)
{
    stream *s = argument;
    const rrt__segment segment = {s->depth, 0, s->span.count};
    rrt__forward_block(team, &s->view, &s->workspace, &s->span, 1, &segment, 1);
}

static void norm(rrt__team team, void *argument)
{
    stream *s = argument;
    rrt__forward_norm(team, &s->view, s->workspace.kernels, &s->view.final_norm, s->workspace.normed[0],
                      s->workspace.hidden, 0, s->span.count);
}

static void run_head(rrt__team team, void *argument)
{
    stream *s = argument;
    rrt__forward_head(team, &s->view, &s->workspace, s->workspace.normed[0], s->span.count, s->part);
}

static rrt_status run_text(stream *s, const int32_t *ids, rrt_error *err)
{
    size_t count = s->span.count, hidden = s->model->shape.hidden;
    int32_t *rows;
    RRT__TRY(rrt__arena_alloc(&s->arena, &rows, count, sizeof *rows, "ids", err));
    for (size_t i = 0; i < count; i++) {
        rows[i] = (int32_t)i;
        RRT__TRY(rrt__linear_read(s->model->embedding, (size_t)ids[i], (size_t)ids[i] + 1,
                                  s->embedding.weight + i * hidden, err));
    }
    s->ids = rows;
    rrt__team_run(s->threads, embed, s);
    for (s->depth = 0; s->depth < s->model->plan.n_depths; s->depth++) {
        RRT__TRY(take_depth(s, err));
        rrt__team_run(s->threads, run_depth, s);
    }
    rrt__team_run(s->threads, norm, s);
    return RRT_STATUS_OK;
}

// A part of the vocabulary at a time.
static rrt_status run_heads(stream *s, float *logits, rrt_error *err)
{
    const rrt__rows all = rrt__linear_rows(s->model->head);
    size_t vocab = s->model->shape.vocab, hidden = s->model->shape.hidden;
    for (size_t begin = 0, end; begin < vocab; begin = end) {
        end = vocab - begin < HEAD_ROWS ? vocab : begin + HEAD_ROWS;
        s->view.shape.vocab = s->head.out = end - begin;
        RRT__TRY(rrt__rows_read(&all, begin, end, hidden, s->threads, s->head.weight, err));
        rrt__team_run(s->threads, run_head, s);
        for (size_t i = 0; i < s->span.count; i++)
            memcpy(logits + i * vocab + begin, s->part + i * (end - begin), (end - begin) * sizeof *logits);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__stream_logits(const rrt_model *model, const int32_t *ids, size_t count, int threads,
                              float *logits, rrt_error *err)
{
    stream s = {.model = model, .span = {.count = count}, .threads = threads};
    rrt_status status = open_view(&s, count, err);
    if (!status) status = run_text(&s, ids, err);
    if (!status) status = run_heads(&s, logits, err);
    rrt__workspace_free(&s.workspace);
    rrt__arena_free(&s.arena);
    return status;
}
