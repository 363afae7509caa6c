#include "pass/stream.h"

#include <string.h>

#include "model/read.h"
#include "pass/loop.h"

enum { HEAD_ROWS = 4096 }; // rows of the head in memory at a time

typedef struct stream {
    const rrt_model *model;
    rrt__depth *depths; // [n_depths] in f32: the current one
    rrt__slot slot;     // used by every depth
    rrt__linear head;   // the current part of the model's head
    rrt__workspace workspace;
    rrt__span span;
    int threads, depth;
    float *weight[RRT__MATRIX_COUNT], *a[RRT__MATRIX_COUNT], *b[RRT__MATRIX_COUNT];
    float *part; // logits [count, HEAD_ROWS]
    rrt__arena arena;
} stream;

static rrt_status room(stream *s, float **out, size_t rows, size_t columns, rrt_error *err)
{
    return rrt__arena_alloc(&s->arena, out, rows, columns * sizeof(float), "a matrix at a time", err);
}

// Allocates the largest LoRA of each matrix, and the matrix.
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

static rrt_status open_depths(stream *s, rrt_error *err)
{
    size_t n = (size_t)s->model->plan.n_depths;
    RRT__TRY(rrt__arena_alloc(&s->arena, &s->depths, n, sizeof *s->depths, "depths", err));
    memcpy(s->depths, s->model->depths, n * sizeof *s->depths);
    for (size_t d = 0; d < n; d++) {
        s->depths[d].slot = &s->slot;
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            s->depths[d].lora[m].a = s->depths[d].lora[m].b = (rrt__linear){0};
    }
    return RRT_STATUS_OK;
}

static rrt_status open_stream(stream *s, rrt_error *err)
{
    size_t count = s->span.count;
    s->head = (rrt__linear){.in = s->model->shape.hidden};
    RRT__TRY(room(s, &s->head.weight, HEAD_ROWS, s->model->shape.hidden, err));
    RRT__TRY(room(s, &s->part, count, HEAD_ROWS, err));
    RRT__TRY(open_depths(s, err));
    RRT__TRY(open_matrices(s, err));
    return rrt__workspace_create_for(&s->workspace, s->model, s->depths, count, count, s->threads, err);
}

// *to becomes the same matrix with its values in `room`.
static rrt_status take(const stream *s, rrt__linear *to, const rrt__linear *from, float *room, rrt_error *err)
{
    const rrt__rows all = rrt__linear_rows(from);
    *to = (rrt__linear){.out = from->out, .in = from->in, .weight = room};
    return rrt__rows_read(&all, 0, from->out, from->in, s->threads, room, err);
}

// Loads the matrices of a depth.
static rrt_status take_depth(stream *s, rrt_error *err)
{
    const rrt__depth *from = &s->model->depths[s->depth];
    rrt__depth *to = &s->depths[s->depth];
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        if (!rrt__family_has(s->model->family, m)) continue;
        RRT__TRY(take(s, &s->slot.matrix[m], &from->slot->matrix[m], s->weight[m], err));
        if (!from->lora[m].rank) continue;
        RRT__TRY(take(s, &to->lora[m].a, &from->lora[m].a, s->a[m], err));
        RRT__TRY(take(s, &to->lora[m].b, &from->lora[m].b, s->b[m], err));
    }
    return RRT_STATUS_OK;
}

static rrt__pass pass_of(rrt__team team, stream *s)
{
    rrt__pass pass = rrt__pass_make(team, s->model, &s->workspace, &s->span, 1);
    pass.depths = s->depths;
    return pass;
}

static void set_rotations(rrt__team team, void *argument)
{
    rrt__pass pass = pass_of(team, argument);
    rrt__forward_rotations_share(&pass);
}

static void run_depth(rrt__team team, void *argument)
{
    stream *s = argument;
    rrt__pass pass = pass_of(team, s);
    rrt__walk_range(&pass, (rrt__depth_range){s->depth, s->depth + 1});
}

static void norm(rrt__team team, void *argument)
{
    stream *s = argument;
    rrt__pass pass = pass_of(team, s);
    rrt__forward_norm_share(&pass, &s->model->final_norm, s->workspace.normed[0], s->workspace.hidden, 0,
                            s->span.count);
}

static void run_head(rrt__team team, void *argument)
{
    stream *s = argument;
    rrt__pass pass = pass_of(team, s);
    rrt__forward_head(&pass, &s->head, s->workspace.normed[0], s->span.count, s->part);
}

// Loads only the embedding's rows of these ids.
static rrt_status embed(stream *s, const int32_t *ids, rrt_error *err)
{
    size_t hidden = s->model->shape.hidden;
    float scale = rrt__model_embedding_scale(s->model);
    for (size_t i = 0; i < s->span.count; i++) {
        float *row = s->workspace.hidden + i * hidden;
        RRT__TRY(rrt__linear_read(s->model->embedding, (size_t)ids[i], (size_t)ids[i] + 1, row, err));
        for (size_t c = 0; c < hidden && scale != 1; c++) row[c] *= scale;
    }
    return RRT_STATUS_OK;
}

static rrt_status run_text(stream *s, const int32_t *ids, rrt_error *err)
{
    RRT__TRY(embed(s, ids, err));
    rrt__team_run(s->threads, set_rotations, s);
    for (s->depth = 0; s->depth < s->model->plan.n_depths; s->depth++) {
        RRT__TRY(take_depth(s, err));
        rrt__team_run(s->threads, run_depth, s);
    }
    rrt__team_run(s->threads, norm, s);
    return RRT_STATUS_OK;
}

// Computes the logits of a part of the vocabulary at a time.
static rrt_status run_heads(stream *s, float *logits, rrt_error *err)
{
    const rrt__rows all = rrt__linear_rows(s->model->head);
    size_t vocab = s->model->shape.vocab, hidden = s->model->shape.hidden;
    for (size_t begin = 0, end; begin < vocab; begin = end) {
        end = vocab - begin < HEAD_ROWS ? vocab : begin + HEAD_ROWS;
        s->head.out = end - begin;
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
    rrt_status status = open_stream(&s, err);
    if (!status) status = run_text(&s, ids, err);
    if (!status) status = run_heads(&s, logits, err);
    rrt__workspace_free(&s.workspace);
    rrt__arena_free(&s.arena);
    return status;
}
