// Batching without a model: the engine's schedule, and a clock with given step times.
#include "infer/schedule.h"
#include "rrt/bench.h"

typedef struct simulation {
    const rrt_simulation *asked;
    rrt__schedule schedule;
    size_t *request;   // [slots]
    size_t *generated; // [slots]: tokens
    size_t *first;     // [requests]: index of its first exit
    rrt__arena arena;
} simulation;

static double ms_of(const rrt_step_times *times, double rows)
{
    size_t i = 0;
    if (!times->count || rows == 0) return 0;
    while (i < times->count && times->ms[i][0] < rows) i++;
    if (i == 0) return times->ms[0][1];
    if (i == times->count) return times->ms[i - 1][1];
    const double *a = times->ms[i - 1], *b = times->ms[i];
    return a[1] + (b[1] - a[1]) * (rows - a[0]) / (b[0] - a[0]);
}

// The loop after which the next token of a slot leaves.
static int exit_of(const simulation *s, size_t slot)
{
    const rrt_simulation *asked = s->asked;
    bool all = asked->batching == RRT_BATCHING_SEQUENCE || asked->batching == RRT_BATCHING_STATIC;
    int loops = asked->exits[s->first[s->request[slot]] + s->generated[slot]];
    return all || loops > asked->loops ? asked->loops : loops;
}

static void run_step(simulation *s, rrt_simulation_result *result)
{
    rrt__schedule *schedule = &s->schedule;
    size_t entering = 0, leaving = 0;
    for (size_t i = 0; i < schedule->n_chunks; i++) {
        rrt__chunk *c = &schedule->chunks[i];
        c->leaves = c->loop == exit_of(s, c->slot);
        entering += c->loop == 1;
        leaving += c->leaves;
    }
    for (size_t i = 0; i < schedule->n_chunks; i++) {
        const rrt__chunk *c = &schedule->chunks[i];
        if (!c->leaves) continue;
        result->tokens++;
        if (++s->generated[c->slot] < s->asked->lengths[s->request[c->slot]])
            rrt__schedule_add_token(schedule, c->slot);
    }
    result->steps++;
    result->rows += schedule->n_chunks;
    result->seconds +=
        (ms_of(&s->asked->embedding, (double)entering) + ms_of(&s->asked->block, (double)schedule->n_chunks) +
         ms_of(&s->asked->head, (double)leaving)) /
        1000;
    rrt__schedule_advance(schedule);
    for (size_t p = 0; p < schedule->n_slots; p++)
        if (schedule->slots[p].is_taken && s->generated[p] == s->asked->lengths[s->request[p]])
            rrt__schedule_end(schedule, p);
}

static void run(simulation *s, rrt_simulation_result *result)
{
    for (size_t next = 0; next < s->asked->requests || s->schedule.n_taken;) {
        for (; next < s->asked->requests && rrt__schedule_has_slot(&s->schedule); next++) {
            if (!s->asked->lengths[next]) continue;
            size_t slot = rrt__schedule_begin(&s->schedule, 1, 0, false);
            s->request[slot] = next;
            s->generated[slot] = 0;
        }
        rrt__schedule_fill(&s->schedule);
        run_step(s, result);
    }
}

rrt_status rrt_simulate(const rrt_simulation *asked, rrt_simulation_result *result, rrt_error *err)
{
    simulation s = {.asked = asked};
    rrt_status status;
    *result = (rrt_simulation_result){0};
    RRT__GOTO(
        rrt__schedule_create(&s.schedule, asked->batching, asked->rows, asked->rows, asked->loops, err));
    RRT__GOTO(rrt__arena_alloc(&s.arena, &s.request, asked->rows, sizeof *s.request, "slots", err));
    RRT__GOTO(rrt__arena_alloc(&s.arena, &s.generated, asked->rows, sizeof *s.generated, "slots", err));
    RRT__GOTO(rrt__arena_alloc(&s.arena, &s.first, asked->requests, sizeof *s.first, "requests", err));
    for (size_t i = 1; i < asked->requests; i++) s.first[i] = s.first[i - 1] + asked->lengths[i - 1];
    run(&s, result);
done:
    rrt__schedule_free(&s.schedule);
    rrt__arena_free(&s.arena);
    return status;
}
