#include "convert/low_rank.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/algebra.h"

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

rrt_status rrt__low_rank_open(rrt__low_rank_room *room, size_t out, size_t in, rrt_error *err)
{
    size_t n = min(out, in);
    *room = (rrt__low_rank_room){0};
    rrt_status status = rrt__alloc(&room->moment, n * n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->vectors, n * n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->values, n, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->sketch, n * in, sizeof(float), "SVD room", err);
    if (!status) status = rrt__alloc(&room->support, 2 * n, sizeof(int), "SVD room", err);
    if (status) rrt__low_rank_close(room);
    return status;
}

void rrt__low_rank_close(rrt__low_rank_room *room)
{
    rrt__free(room->moment);
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

static void swap(float *a, float *b)
{
    float value = *a;
    *a = *b;
    *b = value;
}

// The `rank` largest eigenvalues, descending, and their vectors as rows of room->vectors [rank, n].
static rrt_status top_eigenvectors(rrt__low_rank_room *room, size_t n, size_t rank, rrt_error *err)
{
    int code = rrt__algebra_eigenvectors(room->moment, n, rank, room->values, room->vectors, room->support);
    if (code != 0) return solver_failed(code, err);
    for (size_t i = 0; i < rank / 2; i++) {
        size_t j = rank - 1 - i;
        swap(&room->values[i], &room->values[j]);
        for (size_t c = 0; c < n; c++) swap(&room->vectors[i * n + c], &room->vectors[j * n + c]);
    }
    return RRT_STATUS_OK;
}

static float length_of(const float *x, size_t count)
{
    double square = 0;
    for (size_t i = 0; i < count; i++) square += (double)x[i] * x[i];
    return (float)sqrt(square);
}

// Moves each direction's length from a to b; zero directions get b = 0 and a random row of a.
static void balance(const rrt__low_rank_room *room, float *b, float *a, size_t out, size_t in, size_t rank,
                    const float *energies)
{
    for (size_t k = 0; k < rank; k++) {
        float length = length_of(a + k * in, in);
        bool empty = !(energies[k] > 1e-12f * energies[0]) || !(length > 0);
        for (size_t i = 0; empty && i < in; i++)
            a[k * in + i] =
                (float)(rrt__random_gaussian(room->seed, room->stream, k * in + i) / sqrt((double)in));
        for (size_t i = 0; !empty && i < in; i++) a[k * in + i] /= length;
        for (size_t r = 0; r < out; r++) b[r * rank + k] *= empty ? 0 : length;
    }
}

rrt_status rrt__low_rank(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                         const float *l, size_t rank, float *b, float *a, float *energies, rrt_error *err)
{
    const rrt__operand matrix = {weighed, in, false};
    rrt__algebra_square(room->moment, weighed, out, in);
    RRT__TRY(top_eigenvectors(room, min(out, in), rank, err));
    for (size_t i = 0; i < rank; i++) energies[i] = room->values[i] > 0 ? room->values[i] : 0;
    if (out <= in) { // b = U, a = Uᵀ·M·L⁻¹
        for (size_t i = 0; i < rank * out; i++) b[i % out * rank + i / out] = room->vectors[i];
        rrt__algebra_multiply(a, in, (rrt__operand){room->vectors, out, false}, matrix, rank, in, out, 1, 0);
    } else { // b = M·V, a = Vᵀ·L⁻¹
        rrt__algebra_multiply(b, rank, matrix, (rrt__operand){room->vectors, in, true}, out, rank, in, 1, 0);
        memcpy(a, room->vectors, rank * in * sizeof(float));
    }
    if (l) rrt__algebra_solve_lower(a, l, rank, in);
    balance(room, b, a, out, in, rank, energies);
    return RRT_STATUS_OK;
}

rrt_status rrt__low_rank_energies(rrt__low_rank_room *room, const float *weighed, size_t out, size_t in,
                                  float *energies, rrt_error *err)
{
    size_t side = min(out, in);
    rrt__algebra_square(room->moment, weighed, out, in);
    int code = rrt__algebra_eigenvalues(room->moment, side, room->values);
    if (code != 0) return solver_failed(code, err);
    for (size_t i = 0; i < side; i++) {
        float value = room->values[side - 1 - i];
        energies[i] = value > 0 ? value : 0;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__low_rank_step(rrt__low_rank_room *room, const float *r, size_t out, size_t in, const float *c,
                              size_t rank, float *q, float *a, rrt_error *err)
{
    rrt__algebra_multiply_symmetric(room->sketch, a, c, rank, in, 1);
    rrt__algebra_multiply(q, out, (rrt__operand){room->sketch, in, false}, (rrt__operand){r, in, true}, rank,
                          out, in, 1, 0);
    int code = rrt__algebra_orthonormalise(q, rank, out, room->values);
    if (code != 0) return solver_failed(code, err);
    rrt__algebra_multiply(a, in, (rrt__operand){q, out, false}, (rrt__operand){r, in, false}, rank, in, out,
                          1, 0);
    return RRT_STATUS_OK;
}
