#include "convert/tie.h"

#include <cblas.h>
#include <string.h>

#include "convert/gram.h"

// What one tie needs while it is solved.
typedef struct room {
    rrt__low_rank_room low_rank;
    float *difference; // [out, in]
    float *right;      // [out, in]: right side of the system for W'
    float *system;     // [in, in]: its factored matrix
    float **factor;    // [n] Cholesky factors L_l
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
    *r = (room){0};
    size_t size = tie->out * tie->in, n = (size_t)tie->n, side = tie->out < tie->in ? tie->out : tie->in;
    RRT__TRY(rrt__low_rank_open(&r->low_rank, tie->out, tie->in, err));
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->difference, size, sizeof(float), "a residual", err));
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->energies, side, sizeof(float), "a spectrum", err));
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->factor, n, sizeof(float *), "factors", err));
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->weight, n, sizeof(double), "weights", err));
    if (!tie->depths[0].gram) return RRT_STATUS_OK;
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->right, size, sizeof(float), "a system", err));
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->system, tie->in * tie->in, sizeof(float), "a system", err));
    for (int l = 0; l < tie->n; l++)
        RRT__TRY(
            rrt__arena_alloc(&r->arena, &r->factor[l], tie->in * tie->in, sizeof(float), "a factor", err));
    return RRT_STATUS_OK;
}

static double squared_norm(const float *x, size_t rows, size_t columns)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += cblas_dsdot((int)columns, x + i * columns, 1, x + i * columns, 1);
    return sum;
}

// ‖W·L‖_F², L NULL: ‖W‖_F². scratch: [out, in]
static double weighed_norm(const float *w, const float *l, size_t out, size_t in, float *scratch)
{
    if (!l) return squared_norm(w, out, in);
    memcpy(scratch, w, out * in * sizeof(float));
    cblas_strmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)out, (int)in, 1, l,
                (int)in, scratch, (int)in);
    return squared_norm(scratch, out, in);
}

static rrt_status prepare(room *r, const rrt__tie *tie, rrt_error *err)
{
    for (int l = 0; l < tie->n; l++) {
        const rrt__tie_depth *t = &tie->depths[l];
        if (t->gram) {
            memcpy(r->factor[l], t->gram, tie->in * tie->in * sizeof(float));
            RRT__TRY(rrt__gram_factor(r->factor[l], tie->in, err));
        }
        double norm = weighed_norm(t->original, r->factor[l], tie->out, tie->in, r->difference);
        r->weight[l] = norm > 0 ? 1 / norm : 0;
    }
    return RRT_STATUS_OK;
}

// The low-rank part of each depth for the shared weight as it stands.
static rrt_status solve_low_rank(room *r, const rrt__tie *tie, rrt_error *err)
{
    for (int l = 0; l < tie->n; l++) {
        rrt__tie_depth *t = &tie->depths[l];
        double total, kept = 0;
        for (size_t i = 0; i < tie->out * tie->in; i++) r->difference[i] = t->original[i] - tie->shared[i];
        if (t->rank > 0)
            RRT__TRY(rrt__low_rank(&r->low_rank, r->difference, tie->out, tie->in, r->factor[l], t->rank,
                                   t->b, t->a, r->energies, &total, err));
        else
            total = weighed_norm(r->difference, r->factor[l], tie->out, tie->in, r->low_rank.weighed);
        for (size_t i = 0; i < t->rank; i++) {
            kept += r->energies[i];
            if (t->energies) t->energies[i] = (float)(r->energies[i] * r->weight[l]);
        }
        t->residual = total * r->weight[l];
        t->kept = kept < total ? kept / total : 1;
    }
    return RRT_STATUS_OK;
}

// system = factored Σ_l weight_l · C_l
static rrt_status factor_system(room *r, const rrt__tie *tie, rrt_error *err)
{
    memset(r->system, 0, tie->in * tie->in * sizeof(float));
    for (int l = 0; l < tie->n; l++)
        cblas_saxpy((int)(tie->in * tie->in), (float)r->weight[l], tie->depths[l].gram, 1, r->system, 1);
    return rrt__gram_factor(r->system, tie->in, err);
}

// W' = (Σ_l weight_l · (W_l - B_l·A_l) · C_l) · system⁻¹
static void solve_shared(room *r, const rrt__tie *tie, bool has_low_rank)
{
    int m = (int)tie->out, n = (int)tie->in;
    memset(r->right, 0, tie->out * tie->in * sizeof(float));
    for (int l = 0; l < tie->n; l++) {
        const rrt__tie_depth *t = &tie->depths[l];
        int k = has_low_rank ? (int)t->rank : 0;
        memcpy(r->difference, t->original, tie->out * tie->in * sizeof(float));
        if (k)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, -1, t->b, k, t->a, n, 1,
                        r->difference, n);
        cblas_ssymm(CblasRowMajor, CblasRight, CblasLower, m, n, (float)r->weight[l], t->gram, n,
                    r->difference, n, 1, r->right, n);
    }
    rrt__gram_solve(r->right, tie->out, r->system, tie->in);
    memcpy(tie->shared, r->right, tie->out * tie->in * sizeof(float));
}

rrt_status rrt__tie_plain(const rrt__tie *tie, rrt_error *err)
{
    room r;
    rrt_status status = room_open(&r, tie, err);
    if (!status) status = prepare(&r, tie, err);
    if (!status) status = solve_low_rank(&r, tie, err);
    room_close(&r);
    return status;
}

rrt_status rrt__tie_calibrated(const rrt__tie *tie, int rounds, rrt_error *err)
{
    room r;
    rrt_status status = room_open(&r, tie, err);
    if (!status) status = prepare(&r, tie, err);
    if (!status) status = factor_system(&r, tie, err);
    for (int i = 0; !status && i < rounds; i++) {
        solve_shared(&r, tie, i > 0);
        status = solve_low_rank(&r, tie, err);
    }
    room_close(&r);
    return status;
}
