#include "convert/fit.h"

#include <string.h>

#include "convert/moments.h"
#include "kernels/algebra.h"
#include "kernels/gemm.h"

rrt_status rrt__fit_open(rrt__fit *fit, size_t tokens, size_t out, size_t in, rrt_error *err)
{
    *fit = (rrt__fit){.tokens = tokens};
    const struct {
        float **buffer;
        size_t rows, width;
    } buffers[] = {{&fit->missing, tokens, out},
                   {&fit->moment, in, in},
                   {&fit->cross, out, in},
                   {&fit->energies, out, 1}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        RRT__TRY(rrt__arena_alloc(&fit->arena, buffers[i].buffer, buffers[i].rows,
                                  buffers[i].width * sizeof(float), "the reconstruction pass", err));
    return rrt__low_rank_open(&fit->room, out, in, err);
}

void rrt__fit_close(rrt__fit *fit)
{
    rrt__low_rank_close(&fit->room);
    rrt__arena_free(&fit->arena);
}

// moment = E[x·xᵀ], cross = E[missing·xᵀ]
static void gather(rrt__team team, rrt__fit *fit, const float *x, size_t out, size_t in)
{
    rrt__share own = rrt__team_share(team, in, RRT__GEMM_GRAIN);
    float scale = 1.0f / (float)fit->tokens;
    for (size_t r = own.begin; r < own.end; r++) memset(fit->moment + r * in, 0, in * sizeof(float));
    rrt__team_barrier(team);
    rrt__moment_add_share(team, fit->moment, in, x, fit->tokens, scale);
    rrt__algebra_multiply(fit->cross + own.begin, in, (rrt__operand){fit->missing, out, true},
                          (rrt__operand){x + own.begin, in, false}, out, own.end - own.begin, fit->tokens,
                          scale, 0);
    rrt__team_barrier(team);
}

// With λ for the damping, W for the original and L·Lᵀ = moment + λ, the fit is (cross + λ·W)·(L·Lᵀ)⁻¹. Leaves
// in this thread's rows of cross the input of the next step: the fit itself, or for a LoRA (fit - W')·L.
static void solve_rows(rrt__team team, rrt__fit *fit, const rrt__fit_target *t)
{
    rrt__share rows = rrt__team_share(team, t->linear->out, 1);
    size_t in = t->linear->in, count = rows.end - rows.begin, first = rows.begin * in, size = count * in;
    float *solved = fit->cross + first, *shared = t->room + first;
    if (count == 0) return;
    for (size_t i = 0; i < size; i++) solved[i] += fit->damping * t->original[first + i];
    if (!t->lora) {
        rrt__moment_solve(solved, count, fit->moment, in);
        return;
    }
    rrt__algebra_solve_lower_transposed(solved, fit->moment, count, in);
    memcpy(shared, t->linear->weight + first, size * sizeof(float));
    rrt__algebra_multiply_lower(shared, fit->moment, count, in);
    for (size_t i = 0; i < size; i++) solved[i] -= shared[i];
}

static rrt_status factor(rrt__fit *fit, size_t in)
{
    fit->damping = rrt__moment_damp(fit->moment, in);
    return rrt__moment_factor(fit->moment, in, &fit->error);
}

static rrt_status store(rrt__fit *fit, const rrt__fit_target *t)
{
    size_t out = t->linear->out, in = t->linear->in;
    fit->room.stream = t->stream;
    if (t->lora)
        return rrt__low_rank(&fit->room, fit->cross, out, in, fit->moment, t->lora->rank, t->lora->b.weight,
                             t->lora->a.weight, fit->energies, &fit->error);
    memcpy(t->linear->weight, fit->cross, out * in * sizeof(float));
    return RRT_STATUS_OK;
}

void rrt__fit_matrix(rrt__team team, rrt__fit *fit, const float *x, const rrt__fit_target *target)
{
    gather(team, fit, x, target->linear->out, target->linear->in);
    if (team.ith == 0) fit->status = factor(fit, target->linear->in);
    rrt__team_barrier(team);
    if (fit->status) return;
    solve_rows(team, fit, target);
    rrt__team_barrier(team);
    if (team.ith == 0) fit->status = store(fit, target);
    rrt__team_barrier(team);
}
