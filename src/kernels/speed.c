#include "kernels/speed.h"

#include "base/clock.h"
#include "base/team.h"
#include "kernels/algebra.h"

enum { MAX_SIDE = 1024, EIGEN_SIDE = 384, EIGEN_PART = 8 };

static const double MEASURED_S = 0.12; // of each kind, at the least

enum { PRODUCT, EIGEN, ELEMENTS, KINDS };

typedef struct measurement {
    size_t rows, width, side;
    float *values;      // [threads]: three matrices [side, side] of each
    int *support;       // [threads, 2 · EIGEN_SIDE]
    double done[KINDS]; // per second, by the first thread
    double sum;         // is used, and so computed
} measurement;

static void fill(float *values, size_t side)
{
    for (size_t i = 0; i < side * side; i++) values[i] = (float)(i * 2654435761u % 1000) * 1e-3f;
    for (size_t i = 0; i < side; i++) values[i * side + i] += 10;
}

static double add_up(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

static void work_once(int kind, measurement *m, int thread)
{
    size_t area = m->side * m->side, n = m->width;
    float *a = m->values + 3 * area * (size_t)thread, *b = a + area, *c = b + area;
    if (kind == PRODUCT) {
        rrt__algebra_multiply(c, n, (rrt__operand){a, n, false}, (rrt__operand){b, n, true}, m->rows, n, n, 1,
                              0);
    } else if (kind == EIGEN) {
        fill(a, EIGEN_SIDE);
        rrt__algebra_eigenvectors(a, EIGEN_SIDE, EIGEN_SIDE / EIGEN_PART, c, b,
                                  m->support + 2 * EIGEN_SIDE * (size_t)thread);
    } else {
        double sum = add_up(b, area);
        if (thread == 0) m->sum += sum;
    }
}

// Each kind until its time is over; the first time is to warm up.
static void measure(rrt__team team, void *argument)
{
    measurement *m = argument;
    float *own = m->values + 3 * m->side * m->side * (size_t)team.ith;
    fill(own, m->side);
    fill(own + m->side * m->side, m->side);
    for (int kind = 0; kind < KINDS; kind++) {
        double times = 0, took = 0;
        work_once(kind, m, team.ith);
        rrt__team_barrier(team);
        double begin = rrt__now_seconds();
        do {
            work_once(kind, m, team.ith);
            times++;
            took = rrt__now_seconds() - begin;
        } while (took < MEASURED_S);
        if (team.ith == 0) m->done[kind] = times / took;
        rrt__team_barrier(team);
    }
}

static size_t within(size_t value, size_t min, size_t max)
{
    return value < min ? min : value > max ? max : value;
}

rrt_status rrt__speed_measure(rrt__speed *speed, size_t rows, size_t width, int threads, rrt_error *err)
{
    measurement m = {.rows = within(rows, 16, MAX_SIDE), .width = within(width, 16, MAX_SIDE)};
    int n = rrt__team_threads(threads);
    m.side = within(m.rows > m.width ? m.rows : m.width, EIGEN_SIDE, MAX_SIDE);
    RRT__TRY(rrt__alloc(&m.values, 3 * m.side * m.side, (size_t)n * sizeof *m.values, "a measurement", err));
    rrt_status status =
        rrt__alloc(&m.support, 2 * (size_t)EIGEN_SIDE, (size_t)n * sizeof *m.support, "a measurement", err);
    if (!status) rrt__team_run(threads, measure, &m);
    *speed = (rrt__speed){.threads = n,
                          .product = m.done[PRODUCT] * n * 2 * (double)m.rows * (double)(m.width * m.width),
                          .eigen = m.done[EIGEN] * (double)EIGEN_SIDE * EIGEN_SIDE * EIGEN_SIDE,
                          .elements = m.done[ELEMENTS] * (double)(m.side * m.side)};
    rrt__free(m.values);
    rrt__free(m.support);
    return status;
}

double rrt__operations_seconds(const rrt__operations *work, const rrt__speed *speed)
{
    return work->product / speed->product + work->eigen / (speed->eigen * speed->threads) +
           work->elements / (speed->elements * speed->threads) + work->eigen_alone / speed->eigen;
}
