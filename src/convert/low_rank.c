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
    rrt_status status = rrt__alloc(&room->weighed, out * in, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->gram, n * n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->vectors, n * n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->values, n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->support, 2 * n, sizeof(int), "SVD room", err);
    if (status) rrt__low_rank_close(room);
    return status;
}

void rrt__low_rank_close(rrt__low_rank_room *room)
{
    rrt__free(room->weighed);
    rrt__free(room->gram);
    rrt__free(room->vectors);
    rrt__free(room->values);
    rrt__free(room->support);
    *room = (rrt__low_rank_room){0};
}

// The `rank` greatest eigenvalues, falling, and their vectors as rows of room->vectors [rank, n].
static rrt_status top_eigenvectors(rrt__low_rank_room *room, size_t n, size_t rank, rrt_error *err)
{
    lapack_int found = 0, size = (lapack_int)n;
    // Row-major rows are column-major columns: each eigenvector LAPACK finds is a row for us.
    lapack_int info = LAPACKE_ssyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', size, room->gram, size, 0, 0,
                                     size - (lapack_int)rank + 1, size, 0, &found, room->values,
                                     room->vectors, size, room->support);
    if (info != 0 || found != (lapack_int)rank)
        return rrt__fail(err, RRT_STATUS_NUMERIC,
                         "the eigenvalue solver failed (code %d): the matrix may not be finite", (int)info);
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
static void balance(float *b, float *a, size_t out, size_t in, size_t rank, const float *energies)
{
    for (size_t k = 0; k < rank; k++) {
        float length = cblas_snrm2((int)in, a + k * in, 1);
        bool empty = !(energies[k] > 1e-12f * energies[0]) || !(length > 0);
        for (size_t i = 0; empty && i < in; i++)
            a[k * in + i] = (float)(rrt__random_gaussian(0, k, i) / sqrt((double)in));
        if (!empty) cblas_sscal((int)in, 1 / length, a + k * in, 1);
        cblas_sscal((int)out, empty ? 0 : length, b + k, (int)rank);
    }
}

rrt_status rrt__low_rank(rrt__low_rank_room *room, const float *r, size_t out, size_t in, const float *l,
                         size_t rank, float *b, float *a, float *energies, double *total, rrt_error *err)
{
    int m = (int)out, n = (int)in, k = (int)rank;
    size_t side = least(out, in);
    memcpy(room->weighed, r, out * in * sizeof(float)); // R·L
    if (l)
        cblas_strmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, m, n, 1, l, n,
                    room->weighed, n);
    *total = 0;
    for (size_t i = 0; i < out; i++)
        *total += cblas_dsdot(n, room->weighed + i * in, 1, room->weighed + i * in, 1);
    // From the eigenvectors of the smaller of (RL)(RL)ᵀ and (RL)ᵀ(RL). LAPACK's 'U' of a row-major lower
    // triangle.
    bool by_rows = out <= in;
    cblas_ssyrk(CblasRowMajor, CblasLower, by_rows ? CblasNoTrans : CblasTrans, (int)side, by_rows ? n : m, 1,
                room->weighed, n, 0, room->gram, (int)side);
    RRT__TRY(top_eigenvectors(room, side, rank, err));
    for (size_t i = 0; i < rank; i++) energies[i] = room->values[i] > 0 ? room->values[i] : 0;
    if (by_rows) { // b = U, a = Uᵀ·R: the projection of R itself onto the left singular vectors of R·L
        for (size_t i = 0; i < rank; i++) cblas_scopy(m, room->vectors + i * side, 1, b + i, k);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k, n, m, 1, room->vectors, m, r, n, 0, a, n);
    } else { // b = R·L·V, a = Vᵀ·L⁻¹
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, k, n, 1, room->weighed, n, room->vectors, n,
                    0, b, k);
        memcpy(a, room->vectors, rank * in * sizeof(float));
        if (l)
            cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, k, n, 1, l, n, a,
                        n);
    }
    balance(b, a, out, in, rank, energies);
    return RRT_STATUS_OK;
}
