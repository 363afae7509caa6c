#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/progress.h"
#include "convert/conversion.h"
#include "convert/made.h"
#include "convert/tie.h"

// One tie and its memory.
typedef struct job {
    rrt__conversion *conversion;
    int slot;
    rrt__matrix matrix;
    rrt__tie tie;
    rrt__arena arena;
} job;

// The gain to fold into the matrix of this layer; NULL: none.
static const float *folded_gain(const rrt__conversion *c, rrt__matrix matrix, int layer)
{
    rrt__norm_place place = rrt__matrix_norm(matrix);
    if (c->recipe->norms != RRT__NORMS_FOLDED || place == RRT__NORM_COUNT) return NULL;
    return c->source->depths[layer].norm[place].gain;
}

// W_l, with the gain of the norm before it multiplied in if norms are folded.
static void put_layer(const rrt__conversion *c, rrt__matrix matrix, rrt__made *made, int i, int layer)
{
    made->source[i] = c->source->depths[layer].slot->matrix[matrix];
    made->gain[i] = folded_gain(c, matrix, layer);
}

// Reads the original of one depth into memory for calibrated ties, which use it repeatedly.
static rrt_status original_weight(job *j, int layer, rrt__tie_depth *t, rrt_error *err)
{
    rrt__made *made;
    float *values;
    RRT__TRY(rrt__made_open(&made, &j->arena, 1, j->tie.in, err));
    put_layer(j->conversion, j->matrix, made, 0, layer);
    t->from = rrt__made_rows(made);
    if (!made->gain[0]) t->original = made->source[0].weight;
    if (t->original || !j->conversion->moments) return RRT_STATUS_OK;
    RRT__TRY(
        rrt__arena_alloc(&j->arena, &values, j->tie.out * j->tie.in, sizeof *values, "a folded weight", err));
    t->original = values;
    return t->from.read(t->from.from, 0, j->tie.out, values, err);
}

// E[x·xᵀ] of the matrix's input, damped; with folded norms, of the input before the gain.
static rrt_status input_moment(job *j, int layer, const float **out, rrt_error *err)
{
    rrt__input place = rrt__matrix_input(j->matrix);
    size_t width = j->tie.in;
    float *moment;
    RRT__TRY(rrt__arena_alloc(&j->arena, &moment, width * width, sizeof(float), "a moment", err));
    memcpy(moment, rrt__moments_at(j->conversion->moments, layer, place), width * width * sizeof(float));
    const float *gain = folded_gain(j->conversion, j->matrix, layer);
    for (size_t r = 0; gain && r < width; r++)
        for (size_t c = 0; c <= r; c++)
            moment[r * width + c] = gain[r] * gain[c] != 0 ? moment[r * width + c] / (gain[r] * gain[c]) : 0;
    rrt__moment_damp(moment, width);
    *out = moment;
    return RRT_STATUS_OK;
}

static rrt_status job_open(job *j, rrt__conversion *c, int slot, rrt__matrix matrix, float *const *energies,
                           rrt_error *err)
{
    const rrt__plan *plan = &c->model->plan;
    const rrt__linear *linear = &c->model->slots[slot].matrix[matrix];
    *j = (job){.conversion = c, .slot = slot, .matrix = matrix};
    j->tie =
        (rrt__tie){.out = linear->out, .in = linear->in, .shared = linear->weight, .seed = c->recipe->seed};
    RRT__TRY(rrt__arena_alloc(&j->arena, &j->tie.depths, (size_t)plan->n_depths, sizeof *j->tie.depths,
                              "a tie", err));
    for (int d = 0; d < plan->n_depths; d++) {
        if (plan->slot[d] != slot) continue;
        rrt__tie_depth *t = &j->tie.depths[j->tie.n++];
        const rrt__lora *lora = &c->model->depths[d].lora[matrix];
        int layer = rrt__recipe_depth_layer(c->recipe, d);
        t->depth = d;
        t->stream = rrt__conversion_stream(d, matrix);
        RRT__TRY(original_weight(j, layer, t, err));
        t->rank = lora->rank;
        t->a = lora->a.weight;
        t->b = lora->b.weight;
        t->energies = energies ? energies[rrt__conversion_at(d, matrix)] : NULL;
        if (c->moments) RRT__TRY(input_moment(j, layer, &t->moment, err));
    }
    return RRT_STATUS_OK;
}

static bool is_end(const rrt__plan *plan, int slot)
{
    return slot < plan->prelude || slot >= plan->n_slots - plan->coda;
}

// Whether a slot keeps the weights of its only layer.
static bool keeps_layer(const rrt__conversion *c, int slot)
{
    const rrt__plan *plan = &c->model->plan;
    bool is_used_once = !rrt__recipe_is_shared(c->recipe, slot);
    return is_end(plan, slot) || (is_used_once && c->recipe->init != RRT_INIT_RANDOM);
}

// The shared weight by one of the simple rules (paper §2.2), computed on demand. Stepwise and lower may take
// a layer that is not tied here; prelude, coda and slots used once keep their own.
static rrt_status defer_shared(rrt__conversion *c, int slot, rrt__matrix matrix, rrt_error *err)
{
    const rrt__plan *plan = &c->model->plan;
    rrt__linear *linear = &c->model->slots[slot].matrix[matrix];
    int users = 0, n = 0;
    int layer = keeps_layer(c, slot)
                    ? rrt__recipe_depth_layer(c->recipe, rrt__model_first_depth(c->model, slot))
                    : rrt__recipe_slot_layer(c->recipe, slot);
    bool is_random = !keeps_layer(c, slot) && c->recipe->init == RRT_INIT_RANDOM;
    for (int d = 0; d < plan->n_depths; d++) users += plan->slot[d] == slot;
    rrt__made *made;
    RRT__TRY(rrt__made_open(&made, &c->model->arena,
                            is_random    ? 0
                            : layer >= 0 ? 1
                                         : users,
                            linear->in, err));
    made->seed = c->recipe->seed;
    made->stream = rrt__conversion_at(slot, matrix);
    if (made->count && layer >= 0) put_layer(c, matrix, made, n++, layer);
    for (int d = 0; d < plan->n_depths && n < made->count; d++)
        if (plan->slot[d] == slot) put_layer(c, matrix, made, n++, rrt__recipe_depth_layer(c->recipe, d));
    linear->from = rrt__made_rows(made);
    return RRT_STATUS_OK;
}

static rrt_status defer_all(rrt__conversion *c, rrt_error *err)
{
    for (int s = 0; s < c->model->plan.n_slots; s++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            if (rrt__family_has(c->model->family, m)) RRT__TRY(defer_shared(c, s, (rrt__matrix)m, err));
    return RRT_STATUS_OK;
}

// The same in memory, for a tie.
static rrt_status read_shared(job *j, rrt_error *err)
{
    const rrt__rows *from = &j->conversion->model->slots[j->slot].matrix[j->matrix].from;
    RRT__TRY(rrt__arena_alloc(&j->arena, &j->tie.shared, j->tie.out * j->tie.in, sizeof(float),
                              "a shared weight", err));
    return from->read(from->from, 0, j->tie.out, j->tie.shared, err);
}

// The usual initialisation of a LoRA: A Gaussian, B zero, so that the model starts as the plain
// recursive one.
static void zero_init(job *j)
{
    uint64_t seed = j->conversion->recipe->seed;
    for (int l = 0; l < j->tie.n; l++) {
        rrt__tie_depth *t = &j->tie.depths[l];
        for (size_t i = 0; i < t->rank * j->tie.in; i++)
            t->a[i] = (float)(rrt__random_gaussian(seed, t->stream, i) / sqrt((double)j->tie.in));
        if (t->rank) memset(t->b, 0, j->tie.out * t->rank * sizeof(float)); // NULL without a LoRA
        t->kept = 0;
    }
}

static rrt_status solve(job *j, rrt_error *err)
{
    const rrt__conversion *c = j->conversion;
    bool keeps = keeps_layer(c, j->slot);
    if (c->moments && !keeps) return rrt__tie_calibrated(&j->tie, c->recipe->rounds, err);
    if (c->moments) memcpy(j->tie.shared, j->tie.depths[0].original, j->tie.out * j->tie.in * sizeof(float));
    if (keeps) return RRT_STATUS_OK;
    RRT__TRY(read_shared(j, err));
    RRT__TRY(rrt__tie_plain(&j->tie, err));
    if (c->recipe->lora_init == RRT_LORA_INIT_ZERO) zero_init(j);
    return RRT_STATUS_OK;
}

static void report(const job *j)
{
    for (int l = 0; l < j->tie.n && j->tie.n > 1; l++) {
        const rrt__tie_depth *t = &j->tie.depths[l];
        j->conversion->rows[rrt__conversion_at(t->depth, j->matrix)] = (rrt_convert_row){
            t->depth, j->slot, rrt__matrix_name(j->matrix), (int)t->rank, t->residual, t->kept};
    }
}

// All ties; each thread takes the next one.
typedef struct queue {
    rrt__conversion *conversion;
    float *const *energies; // NULL: solve the ties
    int count;
    atomic_int next, done, failed;
    rrt_error error; // of the first tie that failed
} queue;

static rrt_status report_progress(const queue *q, int done, rrt_error *err)
{
    return rrt__progress_report(q->conversion->recipe->progress, q->energies ? "spectra" : "convert", done,
                                q->count, err);
}

static rrt_status run_job(queue *q, int index, rrt_error *err)
{
    job j;
    rrt__conversion *c = q->conversion;
    rrt__matrix matrix = (rrt__matrix)(index % RRT__MATRIX_COUNT);
    if (!rrt__family_has(c->model->family, matrix)) return RRT_STATUS_OK;
    rrt_status status = job_open(&j, c, index / RRT__MATRIX_COUNT, matrix, q->energies, err);
    if (!status && !q->energies) status = solve(&j, err);
    if (!status && q->energies && j.tie.n > 1) status = rrt__tie_spectra(&j.tie, err);
    if (!status && !q->energies) report(&j);
    rrt__arena_free(&j.arena);
    return status ? rrt__at(err, status, "matrix %s of slot %d", rrt__matrix_name(matrix),
                            index / RRT__MATRIX_COUNT)
                  : RRT_STATUS_OK;
}

static void work(rrt__team team, void *argument)
{
    queue *q = argument;
    int index;
    while (!atomic_load(&q->failed) && (index = atomic_fetch_add(&q->next, 1)) < q->count) {
        rrt_error err = {0};
        rrt_status status = run_job(q, index, &err);
        int done = atomic_fetch_add(&q->done, 1) + 1;
        if (!status && team.ith == 0 && done < q->count) status = report_progress(q, done, &err);
        if (status && !atomic_exchange(&q->failed, 1)) q->error = err;
    }
}

static rrt_status run(rrt__conversion *c, float *const *energies, rrt_error *err)
{
    queue q = {.conversion = c, .energies = energies, .count = c->model->plan.n_slots * RRT__MATRIX_COUNT};
    rrt__team_run(c->recipe->threads, work, &q);
    if (q.failed && err) *err = q.error;
    if (q.failed) return q.error.status;
    return report_progress(&q, q.count, err); // the thread that reports may finish before others
}

rrt_status rrt__conversion_weights(rrt__conversion *c, rrt_error *err)
{
    if (!c->moments) RRT__TRY(defer_all(c, err));
    return run(c, NULL, err);
}

rrt_status rrt__conversion_spectra(rrt__conversion *c, float *const *energies, rrt_error *err)
{
    return run(c, energies, err);
}
