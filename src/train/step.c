#include "train/step.h"

#include <string.h>

rrt_status rrt__stepper_create(rrt__stepper *s, rrt_model *model, const rrt_model *teacher,
                               const rrt__optimizer_options *optimizer, const rrt__step_options *options,
                               rrt_error *err)
{
    *s = (rrt__stepper){.model = model, .teacher = teacher, .options = *options};
    rrt__products products = rrt__products_f32;
    size_t rows = options->sequences * options->context,
           threads = (size_t)rrt__team_threads(options->threads);
    rrt_status status;
    RRT__GOTO(rrt__optimizer_create(&s->optimizer, model, optimizer, options->threads, err));
    if (options->bf16 && rrt__gemm_bf16_is_available()) {
        RRT__GOTO(rrt__alloc(&s->scratch, threads, sizeof *s->scratch, "products in bf16", err));
        products = (rrt__products){RRT__PRODUCTS_BF16, s->scratch};
    }
    RRT__GOTO(rrt__tape_create(&s->tape, model, s->optimizer.gradient, rows, options->context,
                               options->recompute, options->threads, products, err));
    s->optimizer.muon.products = products;
    for (int kind = 0; kind < RRT__PARAMETER_KIND_COUNT; kind++)
        s->tape.trains[kind] = optimizer->scale[kind] != 0;
    size_t teacher_vocab = options->exits.kd ? model->shape.vocab : 0,
           teacher_hidden = options->exits.kd ? model->shape.hidden : 0;
    if (teacher && teacher->shape.vocab > teacher_vocab) teacher_vocab = teacher->shape.vocab;
    if (teacher && teacher->shape.hidden > teacher_hidden) teacher_hidden = teacher->shape.hidden;
    RRT__GOTO(rrt__head_create(&s->head, model, teacher_vocab, teacher_hidden, options->stored_top,
                               options->threads, err));
    RRT__GOTO(rrt__exits_create(&s->exits, &s->tape, &s->head, &options->exits, rows, err));
    if (teacher)
        RRT__GOTO(rrt__workspace_create(&s->teacher_workspace, teacher, rows, options->context,
                                        options->threads, err));
    RRT__GOTO(rrt__alloc(&s->spans, options->sequences, sizeof *s->spans, "spans", err));
    for (size_t i = 0; i < options->sequences; i++) s->spans[i].count = options->context;
done:
    if (status) rrt__stepper_free(s);
    return status;
}

void rrt__stepper_free(rrt__stepper *s)
{
    rrt__tape_free(&s->tape);
    rrt__optimizer_free(&s->optimizer);
    rrt__head_free(&s->head);
    rrt__exits_free(&s->exits);
    rrt__workspace_free(&s->teacher_workspace);
    rrt__free(s->spans);
    rrt__free(s->scratch);
    *s = (rrt__stepper){0};
}

typedef struct step {
    rrt__stepper *stepper;
    const rrt__batch *batch;
    float weight;
    double norm, learning_rate;
} step;

static rrt__pass teacher_pass(rrt__team team, const step *p)
{
    rrt__stepper *s = p->stepper;
    rrt__pass pass = rrt__pass_make(team, s->teacher, &s->teacher_workspace, s->spans, p->batch->n_sequences);
    pass.products = s->tape.products;
    return pass;
}

// Rows of the head that student and teacher share.
static size_t common_rows(const rrt__stepper *s)
{
    size_t rows = rrt__model_common_rows(s->model, s->teacher), stored = s->options.stored_vocab;
    return stored && stored < rows ? stored : rows;
}

// The teacher of the last exit; none if only gates are trained.
static rrt__teacher_signal teacher_signal_of(const rrt__stepper *s, const step *p)
{
    return (rrt__teacher_signal){.model = s->exits.only_gates ? NULL : s->teacher,
                                 .workspace = &p->stepper->teacher_workspace,
                                 .products = s->tape.products,
                                 .hidden = s->teacher_workspace.hidden,
                                 .rows = p->batch->stored,
                                 .top = s->options.stored_top,
                                 .vocab = common_rows(s)};
}

// The backward pass through loops and coda, with each exit's loss.
static void run_backward(const rrt__pass *pass, rrt__stepper *s, const rrt__loss_inputs *inputs,
                         const int32_t *ids)
{
    rrt__tape *tape = &s->tape;
    const rrt__plan *plan = &s->model->plan;
    size_t hidden = s->model->shape.hidden;
    rrt__share share = rrt__team_share(pass->team, pass->n_rows, 1);
    memset(tape->d_hidden + share.begin * hidden, 0, (share.end - share.begin) * hidden * sizeof(float));
    for (int loop = plan->loops; loop >= 1; loop--) {
        bool is_fresh = loop == plan->loops && !plan->coda;
        rrt__exits_backward(pass, &s->exits, loop, inputs, &s->head.sums[pass->team.ith]);
        if (!s->exits.only_gates) rrt__tape_backward(pass, tape, rrt__plan_loop(plan, loop), is_fresh);
    }
    if (s->exits.only_gates) return;
    rrt__tape_backward(pass, tape, rrt__plan_prelude(plan), false);
    rrt__tape_backward_embed(pass, tape, ids);
}

static void run_gradients(rrt__team team, void *argument)
{
    const step *p = argument;
    rrt__stepper *s = p->stepper;
    const rrt__batch *batch = p->batch;
    const rrt__plan *plan = &s->model->plan;
    const rrt__pass pass = rrt__tape_pass(&s->tape, team, s->spans, batch->n_sequences);
    const rrt__teacher_signal teacher_signal = teacher_signal_of(s, p);
    const rrt__loss_inputs inputs = {.targets = batch->targets,
                                     .rows = pass.n_rows,
                                     .objective = &s->options.objective,
                                     .teacher_signal = &teacher_signal,
                                     .weight = p->weight};
    if (teacher_signal.model) {
        const rrt__pass teacher = teacher_pass(team, p);
        rrt__walk(&teacher, batch->ids, s->teacher->plan.loops);
    }
    rrt__forward_embed(&pass, batch->ids);
    rrt__tape_forward(&pass, &s->tape, rrt__plan_prelude(plan));
    for (int n = 1; n <= plan->loops; n++) rrt__tape_forward(&pass, &s->tape, rrt__plan_loop(plan, n));
    run_backward(&pass, s, &inputs, batch->ids);
}

// Mean over depths and rows of the squared error relative to the square of the target: the scale that the
// next norm sees.
static void compare_rows(rrt__team team, const step *p, size_t rows)
{
    rrt__stepper *s = p->stepper;
    size_t width = s->model->shape.hidden;
    float share_of_depth = 1.0f / (float)s->model->plan.n_depths;
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        const float *got = s->tape.shared.hidden + r * width, *goal = s->teacher_workspace.hidden + r * width;
        float *gradient = s->tape.d_hidden + r * width, error = 0, square = 1e-12f;
        for (size_t i = 0; i < width; i++) {
            gradient[i] = got[i] - goal[i];
            error += gradient[i] * gradient[i];
            square += goal[i] * goal[i];
        }
        for (size_t i = 0; i < width; i++) gradient[i] *= 2 * p->weight * share_of_depth / square;
        s->head.sums[team.ith].match += (double)(error / square * share_of_depth);
    }
    if (team.ith == 0) s->head.sums[0].rows += p->batch->n_sequences * p->batch->context;
}

// Each depth reads the teacher's hidden state and is trained to produce the teacher's next one: no head, and
// a backward pass through one block at a time.
static void run_match(rrt__team team, void *argument)
{
    const step *p = argument;
    rrt__stepper *s = p->stepper;
    rrt__tape *tape = &s->tape;
    const rrt__pass student = rrt__tape_pass(tape, team, s->spans, p->batch->n_sequences),
                    teacher = teacher_pass(team, p);
    size_t width = s->model->shape.hidden;
    rrt__forward_rotations_share(&student);
    rrt__forward_embed(&teacher, p->batch->ids);
    for (int d = 0; d < s->model->plan.n_depths; d++) {
        const rrt__depth_range depth = {d, d + 1};
        rrt__team_copy_share(team, tape->shared.hidden, teacher.ws->hidden, student.n_rows, width);
        rrt__team_barrier(team);
        rrt__tape_forward(&student, tape, depth);
        rrt__walk_range(&teacher, depth);
        compare_rows(team, p, student.n_rows);
        rrt__team_barrier(team);
        rrt__tape_backward(&student, tape, depth, true);
    }
}

static void run_pass(rrt__stepper *s, const rrt__batch *batch, float weight,
                     void (*work)(rrt__team team, void *argument), rrt__loss_sums *sums)
{
    step p = {.stepper = s, .batch = batch, .weight = weight};
    int threads = rrt__team_threads(s->options.threads);
    for (int t = 0; t < threads; t++) s->head.sums[t] = (rrt__loss_sums){0};
    for (size_t i = 0; i < batch->n_sequences; i++) s->spans[i].count = batch->context;
    rrt__team_run(s->options.threads, work, &p);
    for (int t = 0; t < threads; t++) {
        sums->loss += s->head.sums[t].loss;
        sums->cross_entropy += s->head.sums[t].cross_entropy;
        sums->divergence += s->head.sums[t].divergence;
        sums->match += s->head.sums[t].match;
        sums->gates += s->head.sums[t].gates;
        sums->rows += s->head.sums[t].rows;
    }
}

void rrt__stepper_gradients(rrt__stepper *s, const rrt__batch *batch, float weight, rrt__loss_sums *sums)
{
    run_pass(s, batch, weight, run_gradients, sums);
}

void rrt__stepper_match(rrt__stepper *s, const rrt__batch *batch, float weight, rrt__loss_sums *sums)
{
    run_pass(s, batch, weight, run_match, sums);
}

static void run_norm(rrt__team team, void *argument)
{
    step *p = argument;
    double norm = rrt__optimizer_norm(team, &p->stepper->optimizer);
    if (team.ith == 0) p->norm = norm;
}

double rrt__stepper_norm(rrt__stepper *s)
{
    step p = {.stepper = s};
    rrt__team_run(s->options.threads, run_norm, &p);
    return p.norm;
}

static void run_update(rrt__team team, void *argument)
{
    const step *p = argument;
    rrt__optimizer_update(team, &p->stepper->optimizer, p->norm, p->learning_rate);
}

void rrt__stepper_update(rrt__stepper *s, double norm, double learning_rate)
{
    step p = {.stepper = s, .norm = norm, .learning_rate = learning_rate};
    rrt__team_run(s->options.threads, run_update, &p);
    s->optimizer.step++;
}

static void run_discard(rrt__team team, void *argument)
{
    rrt__optimizer_clear(team, &((const step *)argument)->stepper->optimizer);
}

void rrt__stepper_discard(rrt__stepper *s)
{
    step p = {.stepper = s};
    rrt__team_run(s->options.threads, run_discard, &p);
}
