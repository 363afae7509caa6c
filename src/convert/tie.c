#include "convert/tie.h"

#include <string.h>

#include "base/rng.h"
#include "convert/moments.h"
#include "kernels/algebra.h"

// Step length of W' per round. 1 goes to the optimum for the current low-rank parts, and anything below 2
// lowers the error. Since the low-rank parts will follow, 1.8 needs half the rounds of 1.
static const float STRIDE = 1.8f;

// Buffers for solving one tie.
typedef struct room {
    rrt__low_rank_room low_rank;
    float *original;   // [out, in]: of the current depth, if not in memory
    float *difference; // [out, in]
    float *alone;      // [out, in]: the shared weight without low-rank parts
    float *system;     // [in, in]: Cholesky factor of the system for W'
    float *factor;     // [in, in]: Cholesky factor L_l of the current depth
    float *update;     // [min(out, in), in]
    double *weight;    // [n] 1 / ‖W_l·L_l‖²
    float *energies;   // [min(out, in)]
    rrt__arena arena;
} room;

static void room_close(room *r)
{
    rrt__low_rank_close(&r->low_rank);
    rrt__arena_free(&r->arena);
}

static rrt_status room_open(room *r, const rrt__tie *tie, rrt_error *err)
{
    size_t side = tie->out < tie->in ? tie->out : tie->in, square = tie->depths[0].moment ? tie->in : 0;
    bool reads = false;
    for (int l = 0; l < tie->n; l++) reads = reads || !tie->depths[l].original;
    *r = (room){0};
    RRT__TRY(rrt__low_rank_open(&r->low_rank, tie->out, tie->in, err));
    const struct {
        float **buffer;
        size_t rows, width;
    } buffers[] = {{&r->original, reads ? tie->out : 0, tie->in},
                   {&r->difference, tie->out, tie->in},
                   {&r->alone, tie->out, square},
                   {&r->system, tie->in, square},
                   {&r->factor, tie->in, square},
                   {&r->update, side, square},
                   {&r->energies, side, 1}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        RRT__TRY(rrt__arena_alloc(&r->arena, buffers[i].buffer, buffers[i].rows,
                                  buffers[i].width * sizeof(float), "a tie's room", err));
    return rrt__arena_alloc(&r->arena, &r->weight, (size_t)tie->n, sizeof(double), "weights", err);
}

// Σ x·y
static double dot(const float *x, const float *y, size_t rows, size_t columns)
{
    double sum = 0;
    for (size_t i = 0; i < rows * columns; i++) sum += (double)x[i] * y[i];
    return sum;
}

static void subtract_shared(room *r, const rrt__tie *tie, const rrt__tie_depth *t)
{
    for (size_t i = 0; i < tie->out * tie->in; i++) r->difference[i] = t->original[i] - tie->shared[i];
}

// difference = (W_l - W')·L_l, with L_l in r->factor.
static rrt_status weigh(room *r, const rrt__tie *tie, const rrt__tie_depth *t, rrt_error *err)
{
    subtract_shared(r, tie, t);
    if (!t->moment) return RRT_STATUS_OK;
    memcpy(r->factor, t->moment, tie->in * tie->in * sizeof(float));
    RRT__TRY(rrt__moment_factor(r->factor, tie->in, err));
    rrt__algebra_multiply_lower(r->difference, r->factor, tie->out, tie->in);
    return RRT_STATUS_OK;
}

// Finds the best low-rank part of a depth for the current shared weight.
static rrt_status solve_depth(room *r, const rrt__tie *tie, int l, rrt_error *err)
{
    rrt__tie_depth *t = &tie->depths[l];
    RRT__TRY(weigh(r, tie, t, err));
    double total = dot(r->difference, r->difference, tie->out, tie->in), kept = 0;
    r->low_rank.seed = tie->seed;
    r->low_rank.stream = t->stream;
    if (t->rank > 0)
        RRT__TRY(rrt__low_rank(&r->low_rank, r->difference, tie->out, tie->in, t->moment ? r->factor : NULL,
                               t->rank, t->b, t->a, r->energies, err));
    for (size_t i = 0; i < t->rank; i++) kept += r->energies[i];
    t->residual = total * r->weight[l];
    t->kept = kept < total ? kept / total : 1;
    return RRT_STATUS_OK;
}

// The shared weight without low-rank parts: alone = (Σ_l weight_l · W_l · C_l) · system⁻¹, with system = Σ_l
// weight_l · C_l, which is left factored. ‖W_l·L_l‖² is the scalar product of W_l and W_l·C_l.
static rrt_status solve_alone(room *r, const rrt__tie *tie, rrt_error *err)
{
    size_t size = tie->out * tie->in, square = tie->in * tie->in;
    for (int l = 0; l < tie->n; l++) {
        const rrt__tie_depth *t = &tie->depths[l];
        rrt__algebra_multiply_symmetric(r->difference, t->original, t->moment, tie->out, tie->in, 1);
        double norm = dot(t->original, r->difference, tie->out, tie->in);
        r->weight[l] = norm > 0 ? 1 / norm : 0;
        for (size_t i = 0; i < size; i++) r->alone[i] += (float)r->weight[l] * r->difference[i];
        for (size_t i = 0; i < square; i++) r->system[i] += (float)r->weight[l] * t->moment[i];
    }
    RRT__TRY(rrt__moment_factor(r->system, tie->in, err));
    rrt__moment_solve(r->alone, tie->out, r->system, tie->in);
    memcpy(tie->shared, r->alone, tie->out * tie->in * sizeof(float));
    return RRT_STATUS_OK;
}

// Improves the low-rank parts for the current shared weight: one step finds the best B for A, then the best A
// for B. During the alternation b holds orthonormal rows [rank, out].
static rrt_status improve_low_rank(room *r, const rrt__tie *tie, int steps, rrt_error *err)
{
    for (int l = 0; l < tie->n; l++) {
        rrt__tie_depth *t = &tie->depths[l];
        subtract_shared(r, tie, t);
        for (int i = 0; i < steps && t->rank > 0; i++)
            RRT__TRY(rrt__low_rank_step(&r->low_rank, r->difference, tie->out, tie->in, t->moment, t->rank,
                                        t->b, t->a, err));
    }
    return RRT_STATUS_OK;
}

// A step towards the best shared weight for these low-rank parts, alone - Σ_l weight_l · B_l · (A_l · C_l)
// · system⁻¹.
static void improve_shared(room *r, const rrt__tie *tie)
{
    for (size_t i = 0; i < tie->out * tie->in; i++) tie->shared[i] += STRIDE * (r->alone[i] - tie->shared[i]);
    for (int l = 0; l < tie->n; l++) {
        const rrt__tie_depth *t = &tie->depths[l];
        if (t->rank == 0) continue;
        rrt__algebra_multiply_symmetric(r->update, t->a, t->moment, t->rank, tie->in, (float)r->weight[l]);
        rrt__moment_solve(r->update, t->rank, r->system, tie->in);
        rrt__algebra_multiply(tie->shared, tie->in, (rrt__operand){t->b, tie->out, true},
                              (rrt__operand){r->update, tie->in, false}, tie->out, tie->in, t->rank, -STRIDE,
                              1);
    }
}

// Random start of the subspace iteration.
static void start_low_rank(const rrt__tie *tie)
{
    for (int l = 0; l < tie->n; l++)
        for (size_t i = 0; i < tie->depths[l].rank * tie->in; i++)
            tie->depths[l].a[i] = (float)rrt__random_gaussian(0, 0, i);
}

static bool has_low_rank(const rrt__tie *tie)
{
    bool any = false;
    for (int l = 0; l < tie->n; l++) any = any || tie->depths[l].rank > 0;
    return any;
}

static rrt_status calibrated(room *r, const rrt__tie *tie, int rounds, rrt_error *err)
{
    RRT__TRY(solve_alone(r, tie, err));
    if (rounds > 1 && has_low_rank(tie)) start_low_rank(tie);
    for (int i = 1; i < rounds && has_low_rank(tie); i++) {
        RRT__TRY(improve_low_rank(r, tie, i == 1 ? RRT__TIE_FIRST_STEPS : 1, err));
        improve_shared(r, tie);
    }
    for (int l = 0; l < tie->n; l++) RRT__TRY(solve_depth(r, tie, l, err));
    return RRT_STATUS_OK;
}

static rrt_status plain(room *r, const rrt__tie *tie, rrt_error *err)
{
    for (int l = 0; l < tie->n; l++) {
        rrt__tie_depth *t = &tie->depths[l];
        bool reads = !t->original;
        if (reads) {
            RRT__TRY(t->from.read(t->from.from, 0, tie->out, r->original, err));
            t->original = r->original;
        }
        double norm = dot(t->original, t->original, tie->out, tie->in);
        r->weight[l] = norm > 0 ? 1 / norm : 0;
        RRT__TRY(solve_depth(r, tie, l, err));
        if (reads) t->original = NULL; // the next depth reads into the same buffer
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__tie_plain(const rrt__tie *tie, rrt_error *err)
{
    room r;
    rrt_status status = room_open(&r, tie, err);
    if (!status) status = plain(&r, tie, err);
    room_close(&r);
    return status;
}

rrt_status rrt__tie_calibrated(const rrt__tie *tie, int rounds, rrt_error *err)
{
    room r;
    rrt_status status = room_open(&r, tie, err);
    if (!status) status = calibrated(&r, tie, rounds, err);
    room_close(&r);
    return status;
}

static rrt_status spectra(room *r, const rrt__tie *tie, rrt_error *err)
{
    size_t side = tie->out < tie->in ? tie->out : tie->in;
    RRT__TRY(solve_alone(r, tie, err));
    for (int l = 0; l < tie->n; l++) {
        const rrt__tie_depth *t = &tie->depths[l];
        RRT__TRY(weigh(r, tie, t, err));
        RRT__TRY(rrt__low_rank_energies(&r->low_rank, r->difference, tie->out, tie->in, t->energies, err));
        for (size_t i = 0; i < side; i++) t->energies[i] *= (float)r->weight[l];
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__tie_spectra(const rrt__tie *tie, rrt_error *err)
{
    room r;
    rrt_status status = room_open(&r, tie, err);
    if (!status) status = spectra(&r, tie, err);
    room_close(&r);
    return status;
}
