#include "infer/schedule.h"

#include <string.h>

rrt_status rrt__schedule_create(rrt__schedule *s, rrt_batching batching, size_t rows, size_t slots, int loops,
                                rrt_error *err)
{
    *s = (rrt__schedule){.batching = batching, .rows = rows, .loops = loops, .n_slots = slots};
    rrt_status status;
    RRT__GOTO(rrt__arena_alloc(&s->arena, &s->slots, slots, sizeof *s->slots, "slots", err));
    RRT__GOTO(rrt__arena_alloc(&s->arena, &s->chunks, rows, sizeof *s->chunks, "rows", err));
done:
    if (status) rrt__schedule_free(s);
    return status;
}

void rrt__schedule_free(rrt__schedule *s)
{
    rrt__arena_free(&s->arena);
    *s = (rrt__schedule){0};
}

bool rrt__schedule_has_slot(const rrt__schedule *s)
{
    if (s->batching == RRT_BATCHING_STATIC && s->n_taken && !s->is_gathering) return false;
    return s->n_taken < s->n_slots;
}

size_t rrt__schedule_begin(rrt__schedule *s, size_t prompt, size_t cached, bool is_whole)
{
    size_t slot = 0;
    while (s->slots[slot].is_taken) slot++;
    if (!s->n_taken++) s->is_gathering = true;
    s->slots[slot] = (rrt__batch_slot){.is_taken = true,
                                       .age = s->next_age++,
                                       .prompt = prompt,
                                       .is_whole = is_whole,
                                       .known = prompt,
                                       .entered = cached};
    return slot;
}

static size_t rows_in_flight(const rrt__schedule *s)
{
    size_t rows = 0;
    for (size_t i = 0; i < s->n_chunks; i++) rows += s->chunks[i].count;
    return rows;
}

static bool runs(const rrt__chunk *chunk)
{
    return !chunk->is_held && !chunk->waits;
}

static void enter(rrt__schedule *s, size_t slot, size_t count)
{
    rrt__batch_slot *p = &s->slots[slot];
    for (size_t i = 0; i < s->n_chunks; i++)
        if (s->chunks[i].loop > 1 && runs(&s->chunks[i])) {
            s->refills++;
            break;
        }
    s->chunks[s->n_chunks++] = (rrt__chunk){.slot = slot, .position = p->entered, .count = count, .loop = 1};
    p->entered += count;
}

static bool is_in_flight(const rrt__schedule *s, size_t slot)
{
    for (size_t i = 0; i < s->n_chunks; i++)
        if (s->chunks[i].slot == slot) return true;
    return false;
}

// The oldest slot with tokens that can enter, of its prompt or generated since; n_slots: none.
static size_t oldest(const rrt__schedule *s, bool of_prompt)
{
    size_t found = s->n_slots;
    for (size_t i = 0; i < s->n_slots; i++) {
        const rrt__batch_slot *p = &s->slots[i];
        if (!p->is_taken || p->delay || p->entered == p->known || (p->entered < p->prompt) != of_prompt)
            continue;
        if (s->window && is_in_flight(s, i)) continue;
        if (found == s->n_slots || p->age < s->slots[found].age) found = i;
    }
    return found;
}

static bool comes_before(const rrt__chunk *a, const rrt__chunk *b)
{
    if (runs(a) != runs(b)) return runs(a);
    if (a->loop != b->loop) return a->loop < b->loop;
    if (a->slot != b->slot) return a->slot < b->slot;
    return a->position < b->position;
}

// By insertion: the chunks are mostly sorted.
static void sort(rrt__schedule *s)
{
    s->n_running = 0;
    for (size_t i = 0; i < s->n_chunks; i++) {
        rrt__chunk chunk = s->chunks[i];
        size_t at = i;
        for (; at > 0 && comes_before(&chunk, &s->chunks[at - 1]); at--) s->chunks[at] = s->chunks[at - 1];
        s->chunks[at] = chunk;
        s->n_running += runs(&chunk);
    }
}

static bool any_running(const rrt__schedule *s)
{
    for (size_t i = 0; i < s->n_chunks; i++)
        if (runs(&s->chunks[i])) return true;
    return false;
}

void rrt__schedule_fill(rrt__schedule *s)
{
    size_t left = s->rows - rows_in_flight(s), slot;
    bool may_enter = s->batching == RRT_BATCHING_DEPTH || !any_running(s);
    while (may_enter && left && (slot = oldest(s, false)) < s->n_slots) {
        enter(s, slot, 1);
        left--;
    }
    while (may_enter && left && (slot = oldest(s, true)) < s->n_slots) {
        size_t count = s->slots[slot].prompt - s->slots[slot].entered;
        if (count > left && s->slots[slot].is_whole) break; // its turn comes
        count = count < left ? count : left;
        if (s->window && count > s->window - s->slots[slot].entered % s->window)
            count = s->window - s->slots[slot].entered % s->window;
        enter(s, slot, count);
        left -= count;
    }
    s->is_gathering = false;
    sort(s);
    if (s->n_running || !s->n_chunks) return;
    for (size_t i = 0; i < s->n_chunks; i++) s->chunks[i].is_held = false; // no rows left for more drafts
    sort(s);
}

void rrt__schedule_add_token(rrt__schedule *s, size_t slot)
{
    s->slots[slot].known++;
}

void rrt__schedule_rewind(rrt__schedule *s, size_t slot, size_t known)
{
    rrt__batch_slot *p = &s->slots[slot];
    p->known = known;
    if (p->entered >= known) p->entered = known - 1;
    for (size_t i = 0; i < s->n_chunks; i++)
        if (s->chunks[i].slot == slot && s->chunks[i].position >= p->entered) s->chunks[i].leaves = true;
}

size_t rrt__schedule_done(const rrt__schedule *s, size_t slot)
{
    size_t done = s->slots[slot].entered;
    for (size_t i = 0; i < s->n_chunks; i++)
        if (s->chunks[i].slot == slot && s->chunks[i].position < done) done = s->chunks[i].position;
    return done;
}

static void keep_chunks(rrt__schedule *s, bool (*keeps)(const rrt__chunk *chunk, size_t slot), size_t slot)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_chunks; i++)
        if (keeps(&s->chunks[i], slot)) s->chunks[n++] = s->chunks[i];
    s->n_chunks = n;
}

static bool stays(const rrt__chunk *chunk, size_t slot)
{
    (void)slot;
    return !chunk->leaves;
}

static bool is_of_another(const rrt__chunk *chunk, size_t slot)
{
    return chunk->slot != slot;
}

void rrt__schedule_advance(rrt__schedule *s)
{
    for (size_t i = 0; i < s->n_chunks; i++) {
        rrt__chunk *c = &s->chunks[i];
        if ((i < s->n_running && !c->waits) || c->waited) c->loop++;
        c->waited = false;
    }
    keep_chunks(s, stays, 0);
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].delay) s->slots[i].delay--;
}

void rrt__schedule_end(rrt__schedule *s, size_t slot)
{
    keep_chunks(s, is_of_another, slot);
    s->slots[slot].is_taken = false;
    s->n_taken--;
}
