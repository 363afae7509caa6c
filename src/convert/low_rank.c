#include "convert/low_rank.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

rrt_status rrt__low_rank_open(rrt__low_rank_room *room, size_t out, size_t in, rrt_error *err)
{
    size_t n = least(out, in);
    *room = (rrt__low_rank_room){0};
    rrt_status status = rrt__alloc(&room->gram, n * n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->vectors, n * n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->values, n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->sketch, n * in, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->support, 2 * n, sizeof(int), "SVD room", err);
    if (status) rrt__low_rank_close(room);
    return status;
}

void rrt__low_rank_close(rrt__low_rank_room *room)
{
    rrt__free(room->gram);
    rrt__free(room->vectors);
    rrt__free(room->values);
    rrt__free(room->sketch);
    rrt__free(room->support);
    *room = (rrt__low_rank_room){0};
}

static rrt_status solver_failed(int code, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_NUMERIC,
                     "the eigenvalue solver failed (code %d): the matrix may not be finite", code);
}

// The smaller of M·Mᵀ and Mᵀ·M, whose eigenvalues are the energies.
static void square(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in)
{
    int side = (int)least(out, in);
    // LAPACK's 'U' of a row-major lower triangle.
    cblas_ssyrk(CblasRowMajor, CblasLower, out <= in ? CblasNoTrans : CblasTrans, side,
                (int)(out <= in ? in : out), 1, weighed, (int)in, 0, room->gram, side);
}

// The `rank` greatest eigenvalues, falling, and their vectors as rows of room->vectors [rank, n].
static rrt_status top_eigenvectors(rrt__low_rank_room *room, size_t n, size_t rank, rrt_error *err)
{
    lapack_int found = 0, size = (lapack_int)n;
    // Row-major rows are column-major columns: each eigenvector LAPACK finds is a row for us.
    lapack_int info = LAPACKE_ssyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', size, room->gram, size, 0, 0,
                                     size - (lapack_int)rank + 1, size, 0, &found, room->values,
                                     room->vectors, size, room->support);
    if (info != 0 || found != (lapack_int)rank) return solver_failed((int)info, err);
    for (size_t i = 0; i < rank / 2; i++) {
        size_t j = rank - 1 - i;
        float value = room->values[i];
        room->values[i] = room->values[j];
        room->values[j] = value;
        cblas_sswap(size, room->vectors + i * n, 1, room->vectors + j * n, 1);
    }
    return RRT_STATUS_OK;
}

// Moves each direction's length from a to b; directions without any get b = 0 and a random row of a.
static void balance(const rrt__low_rank_room *room, float *b, float *a, size_t out, size_t in, size_t rank,
                    const float *energies)
{
    for (size_t k = 0; k < rank; k++) {
        float length = cblas_snrm2((int)in, a + k * in, 1);
        bool empty = !(energies[k] > 1e-12f * energies[0]) || !(length > 0);
        for (size_t i = 0; empty && i < in; i++)
            a[k * in + i] =
                (float)(rrt__random_gaussian(room->seed, room->stream, k * in + i) / sqrt((double)in));
        if (!empty) cblas_sscal((int)in, 1 / length, a + k * in, 1);
        cblas_sscal((int)out, empty ? 0 : length, b + k, (int)rank);
    }
}

rrt_status rrt__low_rank(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                         const float *l, size_t rank, float *b, float *a, float *energies, rrt_error *err)
{
    int m = (int)out, n = (int)in, k = (int)rank;
    square(room, weighed, out, in);
    RRT__TRY(top_eigenvectors(room, least(out, in), rank, err));
    for (size_t i = 0; i < rank; i++) energies[i] = room->values[i] > 0 ? room->values[i] : 0;
    if (out <= in) { // b = U, a = Uᵀ·M·L⁻¹
        for (size_t i = 0; i < rank; i++) cblas_scopy(m, room->vectors + i * out, 1, b + i, k);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k, n, m, 1, room->vectors, m, weighed, n, 0, a,
                    n);
    } else { // b = M·V, a = Vᵀ·L⁻¹
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, k, n, 1, weighed, n, room->vectors, n, 0, b,
                    k);
        memcpy(a, room->vectors, rank * in * sizeof(float));
    }
    if (l)
        cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, k, n, 1, l, n, a, n);
    balance(room, b, a, out, in, rank, energies);
    return RRT_STATUS_OK;
}

rrt_status rrt__low_rank_energies(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                                  float *energies, rrt_error *err)
{
    size_t side = least(out, in);
    lapack_int size = (lapack_int)side;
    square(room, weighed, out, in);
    lapack_int info = LAPACKE_ssyevd(LAPACK_COL_MAJOR, 'N', 'U', size, room->gram, size, room->values);
    if (info != 0) return solver_failed((int)info, err);
    for (size_t i = 0; i < side; i++) {
        float value = room->values[side - 1 - i];
        energies[i] = value > 0 ? value : 0;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__low_rank_step(rrt__low_rank_room *room, const float *r, size_t out, size_t in, const float *c,
                              size_t rank, float *q, float *a, rrt_error *err)
{
    int m = (int)out, n = (int)in, k = (int)rank;
    cblas_ssymm(CblasRowMajor, CblasRight, CblasLower, k, n, 1, c, n, a, n, 0, room->sketch, n);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, k, m, n, 1, room->sketch, n, r, n, 0, q, m);
    // A row of q is a column to LAPACK: q's rows become orthonormal.
    lapack_int info = LAPACKE_sgeqrf(LAPACK_COL_MAJOR, m, k, q, m, room->values);
    if (!info) info = LAPACKE_sorgqr(LAPACK_COL_MAJOR, m, k, k, q, m, room->values);
    if (info != 0) return solver_failed((int)info, err);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k, n, m, 1, q, m, r, n, 0, a, n);
    return RRT_STATUS_OK;
}
