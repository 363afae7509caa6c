#include "train/head.h"

#include <string.h>

#include "kernels/gemm.h"
#include "pass/exit.h"
#include "train/sparse.h"

rrt_status rrt__head_create(rrt__head *head, const rrt_model *model, size_t teacher_vocab,
                            size_t teacher_hidden, size_t stored_top, int n_threads, rrt_error *err)
{
    size_t vocab = model->shape.vocab, threads = (size_t)rrt__team_threads(n_threads);
    rrt__arena *arena = &head->arena;
    *head = (rrt__head){0};
    rrt_status status;
    RRT__GOTO(rrt__arena_alloc(arena, &head->logits, RRT__HEAD_ROWS, vocab * sizeof(float), "logits", err));
    RRT__GOTO(rrt__arena_alloc(arena, &head->teacher_logits, RRT__HEAD_ROWS, teacher_vocab * sizeof(float),
                               "logits", err));
    RRT__GOTO(rrt__arena_alloc(arena, &head->teacher_normed, RRT__HEAD_ROWS, teacher_hidden * sizeof(float),
                               "hidden states", err));
    RRT__GOTO(rrt__arena_alloc(arena, &head->row_gradient, threads, vocab * sizeof(float), "logits", err));
    RRT__GOTO(rrt__arena_alloc(arena, &head->stored, threads, stored_top * sizeof(float), "logits", err));
    RRT__GOTO(rrt__arena_alloc(arena, &head->sums, threads, sizeof *head->sums, "loss sums", err));
done:
    if (status) rrt__head_free(head);
    return status;
}

void rrt__head_free(rrt__head *head)
{
    rrt__arena_free(&head->arena);
    *head = (rrt__head){0};
}

typedef struct chunk {
    const rrt__pass *pass;
    rrt__head *head;
    rrt__tape *tape;
    const rrt__loss_inputs *inputs; // of the whole batch
    rrt__loss_sums *sums;
    size_t begin, rows;
} chunk;

// Replaces the row's logits by their gradient.
static void score_row(const chunk *c, size_t row)
{
    const rrt__objective *o = c->inputs->objective;
    const rrt__teacher_signal *teacher_signal = c->inputs->teacher_signal;
    size_t vocab = c->tape->model->shape.vocab;
    float *logits = c->head->logits + row * vocab;
    float *gradient = c->head->row_gradient + (size_t)c->pass->team.ith * vocab;
    const rrt__gradient_kernels *kernels = c->tape->kernels;
    int32_t target = c->inputs->targets[c->begin + row];
    if (c->inputs->best) c->inputs->best[c->begin + row] = (int32_t)rrt__argmax(logits, vocab);
    memset(gradient, 0, vocab * sizeof *gradient);
    if (target >= 0) {
        float weight = c->inputs->weight, distil = weight * o->kd_weight;
        double cross_entropy =
            kernels->cross_entropy(gradient, logits, vocab, (size_t)target, weight - distil);
        double divergence = 0;
        if (teacher_signal->rows)
            divergence =
                rrt__sparse_distil(kernels, o->divergence, gradient, logits, teacher_signal->vocab,
                                   teacher_signal->rows[c->begin + row], teacher_signal->top, distil,
                                   c->head->stored + (size_t)c->pass->team.ith * teacher_signal->top);
        else if (teacher_signal->model)
            divergence = kernels->distil[o->divergence](
                gradient, logits, c->head->teacher_logits + row * teacher_signal->model->shape.vocab,
                teacher_signal->vocab, o->temperature, distil);
        c->sums->rows++;
        c->sums->cross_entropy += cross_entropy;
        c->sums->divergence += divergence;
        c->sums->loss += (1 - (double)o->kd_weight) * cross_entropy + (double)o->kd_weight * divergence;
    }
    float cap = (float)c->tape->model->shape.logit_cap, scale = rrt__model_logit_scale(c->tape->model);
    if (cap != 0) kernels->softcap(gradient, logits, cap, vocab);
    for (size_t i = 0; i < vocab; i++) logits[i] = scale * gradient[i];
}

// Computes the teacher's logits for the chunk.
static void run_teacher(const chunk *c)
{
    const rrt__teacher_signal *t = c->inputs->teacher_signal;
    const rrt_model *model = t->model;
    const float *hidden = t->hidden + c->begin * model->shape.hidden;
    rrt__pass pass = rrt__pass_make(c->pass->team, model, t->workspace, NULL, 0);
    pass.products = t->products;
    rrt__forward_norm_share(&pass, &model->final_norm, c->head->teacher_normed, hidden, 0, c->rows);
    rrt__team_barrier(pass.team);
    rrt__forward_head(&pass, model->head, c->head->teacher_normed, c->rows, c->head->teacher_logits);
}

static void run_chunk(const chunk *c)
{
    rrt__tape *tape = c->tape;
    rrt__team team = c->pass->team;
    const rrt_model *model = tape->model;
    size_t hidden = model->shape.hidden, vocab = model->shape.vocab, at = c->begin * hidden;
    const float *normed = tape->shared.normed[0] + at;
    rrt__forward_norm_share(c->pass, &model->final_norm, tape->shared.normed[0], c->inputs->hidden, c->begin,
                            c->begin + c->rows);
    rrt__team_barrier(team);
    rrt__forward_head(c->pass, model->head, normed, c->rows, c->head->logits);
    if (c->inputs->teacher_signal->model) run_teacher(c);
    for (size_t r = (size_t)team.ith; r < c->rows; r += (size_t)team.nth) score_row(c, r);
    rrt__team_barrier(team);
    if (c->inputs->weight == 0) return;
    rrt__gemm_input_gradient_share(team, tape->products, tape->d_normed[0] + at, c->head->logits,
                                   model->head->weight, c->rows, vocab, hidden, 0);
    if (tape->trains[RRT__PARAMETER_EMBEDDING])
        rrt__gemm_weight_gradient_share(team, tape->products, tape->gradient->head->weight, c->head->logits,
                                        normed, c->rows, vocab, hidden, 1);
    rrt__team_barrier(team);
}

void rrt__head_backward(const rrt__pass *pass, rrt__head *head, rrt__tape *tape,
                        const rrt__loss_inputs *inputs, rrt__loss_sums *sums)
{
    size_t rows = inputs->rows;
    for (size_t begin = 0; begin < rows; begin += RRT__HEAD_ROWS) {
        size_t count = rows - begin < RRT__HEAD_ROWS ? rows - begin : RRT__HEAD_ROWS;
        chunk c = {pass, head, tape, inputs, sums, begin, count};
        run_chunk(&c);
    }
    if (inputs->weight == 0) return;
    rrt__tape_backward_norm(pass->team, tape, &tape->model->final_norm, &tape->gradient->final_norm,
                            inputs->hidden, tape->d_normed[0], tape->d_hidden, rows);
}
