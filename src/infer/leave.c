// Decides which tokens leave the loops, and when: max loops, an exit rule, a replayed trace, drafts.
#include <string.h>

#include "infer/engine_inside.h"

typedef enum fate {
    GOES_ON,
    IS_ASKED, // its logits decide, or propose a draft
    LEAVES,   // this is its exit
} fate;

size_t rrt__chunk_first_logits(const rrt__engine_request *r, const rrt__chunk *c)
{
    size_t end = c->position + c->count, prompt = r->spec.prompt_tokens;
    if (c->has_left) return end;
    if (c->position < prompt && r->spec.wants_prompt_logprobs) return c->position;
    return end < prompt ? end : end - 1;
}

static bool leaves_by_state(const rrt_engine *e, const rrt__engine_request *r, const rrt__chunk *c)
{
    const rrt__exit_view view = rrt__exit_look(e->model, c->loop, e->states, e->before, c->row, NULL);
    return rrt__exit_leaves(&r->rule, e->model, &e->exit_states[c->row], &view);
}

// How many drafts may follow an accepted token: verifying n of them yields n + 1 tokens.
static size_t max_drafts(const rrt__engine_request *r)
{
    size_t left = r->spec.max_tokens - r->n_generated - 1;
    size_t wanted = (size_t)r->spec.draft_tokens;
    return wanted < left ? wanted : left;
}

static fate fate_of_draft(const rrt__engine_request *r, const rrt__chunk *c)
{
    bool wants_more = c->loop == r->spec.draft_loops && c->position + 1 - r->n_accepted < max_drafts(r);
    return wants_more ? IS_ASKED : GOES_ON;
}

static fate fate_of(const rrt_engine *e, const rrt__engine_request *r, const rrt__chunk *c)
{
    size_t prompt = r->spec.prompt_tokens;
    if (c->loop == r->loops) return LEAVES;
    if (c->position < prompt || c->has_left || e->options.batching >= RRT_BATCHING_SEQUENCE) return GOES_ON;
    if (r->spec.draft_loops) return fate_of_draft(r, c);
    if (r->spec.exit_trace) return c->loop >= r->spec.exit_trace[c->position + 1 - prompt] ? LEAVES : GOES_ON;
    if (!r->has_rule) return GOES_ON;
    bool may_leave = c->loop >= r->min_loops;
    if (rrt__exit_reads_logits(r->rule.kind)) return may_leave ? IS_ASKED : GOES_ON;
    return leaves_by_state(e, r, c) && may_leave ? LEAVES : GOES_ON; // the rule sees every boundary
}

// Lets held drafts go on together.
static void release_drafts(rrt_engine *e, size_t slot)
{
    for (size_t i = 0; i < e->schedule.n_chunks; i++)
        if (e->schedule.chunks[i].slot == slot) e->schedule.chunks[i].is_held = false;
}

static void add_logits_rows(rrt_engine *e, size_t chunk, bool is_exit)
{
    const rrt__chunk *c = &e->schedule.chunks[chunk];
    rrt__engine_request *r = rrt__chunk_request(e, c);
    size_t position = is_exit ? rrt__chunk_first_logits(r, c) : c->position;
    for (; position < c->position + c->count; position++) {
        e->logits_rows[e->n_logits_rows] =
            (rrt__logits_row){.request = r,
                              .chunk = chunk,
                              .position = position,
                              .loop = c->loop,
                              .is_asked = !is_exit,
                              .is_exit = is_exit,
                              .top = e->tops + e->n_logits_rows * RRT__MAX_TOP};
        e->n_logits_rows++;
    }
}

// For the keys and values that the next step computes of it.
static void keep_state(rrt_engine *e, const rrt__chunk *c)
{
    size_t width = e->model->shape.hidden;
    memcpy(e->states + (e->schedule.rows + e->n_left) * width, e->states + c->row * width,
           width * sizeof *e->states);
    e->left[e->n_left++] = (rrt__left_token){rrt__chunk_request(e, c), c->position, c->loop};
}

// A token leaves before its last loop: prepares the keys and values of the deeper loops by the policy.
static void leave_early(rrt_engine *e, size_t chunk)
{
    rrt__chunk *c = &e->schedule.chunks[chunk];
    rrt__engine_request *r = rrt__chunk_request(e, c);
    e->stats.kv_filled[r->policy]++;
    if (r->policy == RRT__KV_RECOMPUTE) {
        c->has_left = true;
        c->leaves = false;
        // The next token reads the coda's keys and values of the last loop, so it must not run the
        // coda earlier.
        if (e->coda_depths.begin < e->coda_depths.end) e->schedule.slots[c->slot].delay = r->loops - c->loop;
        return;
    }
    c->leaves = true;
    r->is_exact = false;
    if (rrt__kv_policy_copies(r->policy)) e->exits[e->n_exits++] = chunk;
    if (r->policy == RRT__KV_PROPAGATE) keep_state(e, c);
}

// Whether coda and head run in this step. They read their weights for however few rows, so that where they
// are much of the model it pays to let rows wait for others (engine_plan.c: choose_coda_steps).
static bool runs_coda(rrt_engine *e)
{
    const rrt__schedule *s = &e->schedule;
    bool any_goes_on = false, any_waits = false;
    for (size_t i = 0; i < s->n_chunks; i++) {
        any_goes_on |= i < s->n_running && !s->chunks[i].waits;
        any_waits |= s->chunks[i].waits;
    }
    if (!any_waits) return false;
    bool waits = any_goes_on && e->waited_steps + 1 < e->options.coda_steps;
    e->waited_steps = waits ? e->waited_steps + 1 : 0;
    return !waits;
}

// Whether a chunk that has just run a loop goes on, or needs coda and head.
static void look_at(rrt_engine *e, rrt__chunk *c)
{
    const rrt__engine_request *r = rrt__chunk_request(e, c);
    fate now = fate_of(e, r, c);
    c->leaves = false;
    c->waits = now == LEAVES ? RRT__WAIT_TO_LEAVE : now == IS_ASKED ? RRT__WAIT_TO_BE_ASKED : RRT__WAIT_NONE;
    if (now == GOES_ON && r->spec.draft_loops && c->loop == r->spec.draft_loops) release_drafts(e, c->slot);
}

static void stop_waiting(rrt_engine *e, size_t chunk)
{
    rrt__chunk *c = &e->schedule.chunks[chunk];
    if (!c->waits) return;
    c->leaves = c->waits == RRT__WAIT_TO_LEAVE;
    c->waits = RRT__WAIT_NONE;
    c->waited = chunk >= e->schedule.n_running;
    add_logits_rows(e, chunk, c->leaves);
    if (c->leaves && c->loop < rrt__chunk_request(e, c)->loops) leave_early(e, chunk);
}

void rrt__leave_by_states(rrt_engine *e)
{
    rrt__schedule *s = &e->schedule;
    e->n_logits_rows = e->n_exits = e->n_left = 0;
    for (size_t i = 0; i < s->n_running; i++) look_at(e, &s->chunks[i]);
    if (!runs_coda(e)) return;
    // Those that have waited come first: of a request they are the earlier tokens, which are reported in
    // order.
    for (size_t i = s->n_running; i < s->n_chunks; i++) stop_waiting(e, i);
    for (size_t i = 0; i < s->n_running; i++) stop_waiting(e, i);
}

// The draft is known but not accepted; the chunk that proposed it is held until the drafts go on.
static void take_draft(rrt_engine *e, const rrt__logits_row *a)
{
    rrt__chunk *c = &e->schedule.chunks[a->chunk];
    c->is_held = true;
    a->request->ids[a->position + 1] = a->chosen;
    rrt__schedule_add_token(&e->schedule, c->slot);
    e->stats.drafted++;
    a->request->stats.drafted++;
}

void rrt__leave_by_logits(rrt_engine *e)
{
    for (size_t i = 0; i < e->n_logits_rows; i++) {
        rrt__logits_row *a = &e->logits_rows[i];
        if (!a->is_asked) continue;
        if (a->is_exit) leave_early(e, a->chunk);
        if (a->request->spec.draft_loops) take_draft(e, a);
    }
}
