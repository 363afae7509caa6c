#include "train/muon.h"

#include <math.h>

#include "kernels/gemm.h"

// x becomes a·x + b·(x·xᵀ)·x + c·(x·xᵀ)²·x: odd polynomials that drive the singular values to 1. The
// coefficients are Jordan's; they tolerate singular values slightly above 1, which rounding to bfloat16
// can cause.
static const float a = 3.4445f, b = -4.7750f, c = 2.0315f;
rrt_status rrt__muon_create(rrt__muon *muon, rrt__arena *arena, size_t max_count, size_t side, int n_threads,
                            rrt_error *err)
{
    size_t threads = (size_t)rrt__team_threads(n_threads), square = side * sizeof(float);
    RRT__TRY(rrt__arena_alloc(arena, &muon->direction, max_count, sizeof(float), "the optimizer", err));
    RRT__TRY(rrt__arena_alloc(arena, &muon->next, max_count, sizeof(float), "the optimizer", err));
    RRT__TRY(rrt__arena_alloc(arena, &muon->xxt, side, square, "the optimizer", err));
    RRT__TRY(rrt__arena_alloc(arena, &muon->square, side, square, "the optimizer", err));
    return rrt__arena_alloc(arena, &muon->squares, threads, sizeof *muon->squares, "the optimizer", err);
}

// Scales to a Frobenius norm of 1: then no singular value exceeds 1.
static void normalize(rrt__team team, const rrt__muon *muon, rrt__share own)
{
    double sum = 0;
    for (size_t i = own.begin; i < own.end; i++)
        sum += (double)muon->direction[i] * (double)muon->direction[i];
    muon->squares[team.ith] = sum;
    rrt__team_barrier(team);
    sum = 1e-30;
    for (int t = 0; t < team.nth; t++) sum += muon->squares[t];
    float scale = (float)(1 / sqrt(sum));
    for (size_t i = own.begin; i < own.end; i++) muon->direction[i] *= scale;
    rrt__team_barrier(team);
}

void rrt__muon_orthogonalize(rrt__team team, const rrt__muon *muon, size_t out, size_t in)
{
    bool is_wide = out <= in;
    rrt__products products = muon->products;
    size_t side = is_wide ? out : in;
    float *x = muon->direction, *xxt = muon->xxt, *polynomial = muon->square;
    rrt__share own = rrt__team_share(team, out * in, 16), square = rrt__team_share(team, side * side, 16);
    rrt__team_barrier(team);
    normalize(team, muon, own);
    for (int step = 0; step < RRT__MUON_STEPS; step++) {
        if (is_wide)
            rrt__gemm_share(team, products, xxt, x, x, side, side, in, 0);
        else
            rrt__gemm_weight_gradient_share(team, products, xxt, x, x, out, side, side, 0);
        rrt__team_barrier(team);
        rrt__gemm_share(team, products, polynomial, xxt, xxt, side, side, side, 0);
        rrt__team_barrier(team);
        for (size_t i = square.begin; i < square.end; i++) polynomial[i] = b * xxt[i] + c * polynomial[i];
        rrt__team_barrier(team);
        if (is_wide)
            rrt__gemm_input_gradient_share(team, products, muon->next, polynomial, x, side, side, in, 0);
        else
            rrt__gemm_share(team, products, muon->next, x, polynomial, out, side, side, 0);
        rrt__team_barrier(team);
        for (size_t i = own.begin; i < own.end; i++) x[i] = a * x[i] + muon->next[i];
        rrt__team_barrier(team);
    }
}
