// Who leaves the loops, and when: the cap on loops, an exit rule, a trace that is replayed, drafts.
#include "infer/engine_inside.h"

typedef enum fate {
    GOES_ON,
    IS_ASKED, // its logits decide, or are a draft
    LEAVES,   // this is its exit
} fate;

size_t rrt__flight_first_answer(const rrt__task *t, const rrt__flight *f)
{
    size_t end = f->position + f->count, prompt = t->request.prompt_tokens;
    if (f->is_answered) return end;
    if (f->position < prompt && t->request.wants_prompt_logprobs) return f->position;
    return end < prompt ? end : end - 1;
}

static bool leaves_by_state(const rrt_engine *e, const rrt__task *t, const rrt__flight *f)
{
    const rrt__exit_view view = rrt__exit_look(e->model, f->loop, e->states, e->before, f->row, NULL);
    return rrt__exit_leaves(&t->rule, e->model, &e->exit_states[f->row], &view);
}

// How many drafts may follow a sure token: verifying n of them makes n + 1 tokens.
static size_t most_drafts(const rrt__task *t)
{
    size_t left = t->request.max_tokens - t->n_made - 1;
    size_t wanted = (size_t)t->request.draft_tokens;
    return wanted < left ? wanted : left;
}

static fate fate_of_draft(const rrt__task *t, const rrt__flight *f)
{
    bool wants_more = f->loop == t->request.draft_loops && f->position + 1 - t->n_sure < most_drafts(t);
    return wants_more ? IS_ASKED : GOES_ON;
}

static fate fate_of(const rrt_engine *e, const rrt__task *t, const rrt__flight *f)
{
    size_t prompt = t->request.prompt_tokens;
    if (f->loop == t->loops) return LEAVES;
    if (f->position < prompt || f->is_answered || e->options.batching >= RRT_BATCHING_SEQUENCE)
        return GOES_ON;
    if (t->request.draft_loops) return fate_of_draft(t, f);
    if (t->request.exit_trace)
        return f->loop >= t->request.exit_trace[f->position + 1 - prompt] ? LEAVES : GOES_ON;
    if (!t->has_rule || f->loop < t->least_loops) return GOES_ON;
    if (rrt__exit_reads_logits(t->rule.kind)) return IS_ASKED;
    return leaves_by_state(e, t, f) ? LEAVES : GOES_ON;
}

// Drafts that waited for more go on together.
static void release_drafts(rrt_engine *e, size_t place)
{
    for (size_t i = 0; i < e->schedule.n_flights; i++)
        if (e->schedule.flights[i].place == place) e->schedule.flights[i].is_held = false;
}

static void add_answers(rrt_engine *e, size_t flight, bool is_exit)
{
    const rrt__flight *f = &e->schedule.flights[flight];
    rrt__task *t = rrt__flight_task(e, f);
    size_t position = is_exit ? rrt__flight_first_answer(t, f) : f->position;
    for (; position < f->position + f->count; position++) {
        e->answers[e->n_answers] = (rrt__answer){.task = t,
                                                 .flight = flight,
                                                 .position = position,
                                                 .loop = f->loop,
                                                 .is_asked = !is_exit,
                                                 .is_exit = is_exit,
                                                 .top = e->tops + e->n_answers * RRT__MOST_TOP};
        e->n_answers++;
    }
}

// A token leaves before its last loop: what becomes of the keys and values of the others?
static void leave_early(rrt_engine *e, size_t flight)
{
    rrt__flight *f = &e->schedule.flights[flight];
    rrt__task *t = rrt__flight_task(e, f);
    e->stats.kv_filled[t->policy]++;
    if (t->policy == RRT__KV_RECOMPUTE) {
        f->is_answered = true;
        f->leaves = false;
        // What follows sees the coda's keys and values of the last loop: it must not come there before.
        if (e->model->plan.coda) e->schedule.places[f->place].delay = t->loops - f->loop;
        return;
    }
    f->leaves = true;
    t->is_exact = false;
    if (t->policy != RRT__KV_SHARED) e->exits[e->n_exits++] = flight;
}

void rrt__leave_by_states(rrt_engine *e)
{
    e->n_answers = e->n_exits = e->n_filled = 0;
    for (size_t i = 0; i < e->schedule.n_running; i++) {
        rrt__flight *f = &e->schedule.flights[i];
        const rrt__task *t = rrt__flight_task(e, f);
        fate now = fate_of(e, t, f);
        f->leaves = now == LEAVES;
        if (now != GOES_ON) add_answers(e, i, now == LEAVES);
        if (now == LEAVES && f->loop < t->loops) leave_early(e, i);
        if (now == GOES_ON && t->request.draft_loops && f->loop == t->request.draft_loops)
            release_drafts(e, f->place);
    }
}

// The draft is a token that is known but not sure; the one that made it waits for it.
static void take_draft(rrt_engine *e, const rrt__answer *a)
{
    rrt__flight *f = &e->schedule.flights[a->flight];
    f->is_held = true;
    a->task->ids[a->position + 1] = a->chosen;
    rrt__schedule_add_token(&e->schedule, f->place);
    e->stats.drafted++;
    a->task->stats.drafted++;
}

void rrt__leave_by_answers(rrt_engine *e)
{
    for (size_t i = 0; i < e->n_answers; i++) {
        rrt__answer *a = &e->answers[i];
        if (!a->is_asked) continue;
        if (a->is_exit) leave_early(e, a->flight);
        if (a->task->request.draft_loops) take_draft(e, a);
    }
}
