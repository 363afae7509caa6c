#include "infer/schedule.h"

#include <string.h>

rrt_status rrt__schedule_create(rrt__schedule *s, rrt_batching batching, size_t rows, size_t places,
                                int loops, rrt_error *err)
{
    *s = (rrt__schedule){.batching = batching, .rows = rows, .loops = loops, .n_places = places};
    rrt_status status;
    RRT__GOTO(rrt__arena_alloc(&s->arena, &s->places, places, sizeof *s->places, "places", err));
    RRT__GOTO(rrt__arena_alloc(&s->arena, &s->flights, rows, sizeof *s->flights, "rows", err));
done:
    if (status) rrt__schedule_free(s);
    return status;
}

void rrt__schedule_free(rrt__schedule *s)
{
    rrt__arena_free(&s->arena);
    *s = (rrt__schedule){0};
}

bool rrt__schedule_has_place(const rrt__schedule *s)
{
    if (s->batching == RRT_BATCHING_STATIC && s->n_taken && !s->is_gathering) return false;
    return s->n_taken < s->n_places;
}

size_t rrt__schedule_begin(rrt__schedule *s, size_t prompt, size_t cached)
{
    size_t place = 0;
    while (s->places[place].is_taken) place++;
    if (!s->n_taken++) s->is_gathering = true;
    s->places[place] = (rrt__place){
        .is_taken = true, .age = s->next_age++, .prompt = prompt, .known = prompt, .entered = cached};
    return place;
}

static size_t rows_in_flight(const rrt__schedule *s)
{
    size_t rows = 0;
    for (size_t i = 0; i < s->n_flights; i++) rows += s->flights[i].count;
    return rows;
}

static void enter(rrt__schedule *s, size_t place, size_t count)
{
    rrt__place *p = &s->places[place];
    for (size_t i = 0; i < s->n_flights; i++)
        if (s->flights[i].loop > 1 && !s->flights[i].is_held) {
            s->refills++;
            break;
        }
    s->flights[s->n_flights++] =
        (rrt__flight){.place = place, .position = p->entered, .count = count, .loop = 1};
    p->entered += count;
}

// The oldest place that has tokens to enter, of its prompt or made since; n_places: none.
static size_t oldest(const rrt__schedule *s, bool of_prompt)
{
    size_t found = s->n_places;
    for (size_t i = 0; i < s->n_places; i++) {
        const rrt__place *p = &s->places[i];
        if (!p->is_taken || p->delay || p->entered == p->known || (p->entered < p->prompt) != of_prompt)
            continue;
        if (found == s->n_places || p->age < s->places[found].age) found = i;
    }
    return found;
}

static bool comes_before(const rrt__flight *a, const rrt__flight *b)
{
    if (a->is_held != b->is_held) return b->is_held;
    if (a->loop != b->loop) return a->loop < b->loop;
    if (a->place != b->place) return a->place < b->place;
    return a->position < b->position;
}

// By insertion: most are in order already.
static void sort(rrt__schedule *s)
{
    s->n_running = 0;
    for (size_t i = 0; i < s->n_flights; i++) {
        rrt__flight flight = s->flights[i];
        size_t at = i;
        for (; at > 0 && comes_before(&flight, &s->flights[at - 1]); at--)
            s->flights[at] = s->flights[at - 1];
        s->flights[at] = flight;
        s->n_running += !flight.is_held;
    }
}

static bool any_running(const rrt__schedule *s)
{
    for (size_t i = 0; i < s->n_flights; i++)
        if (!s->flights[i].is_held) return true;
    return false;
}

void rrt__schedule_fill(rrt__schedule *s)
{
    size_t left = s->rows - rows_in_flight(s), place;
    bool may_enter = s->batching == RRT_BATCHING_DEPTH || !any_running(s);
    while (may_enter && left && (place = oldest(s, false)) < s->n_places) {
        enter(s, place, 1);
        left--;
    }
    while (may_enter && left && (place = oldest(s, true)) < s->n_places) {
        size_t count = s->places[place].prompt - s->places[place].entered;
        enter(s, place, count < left ? count : left);
        left -= count < left ? count : left;
    }
    s->is_gathering = false;
    sort(s);
    if (s->n_running || !s->n_flights) return;
    for (size_t i = 0; i < s->n_flights; i++) s->flights[i].is_held = false; // no rows left for more drafts
    sort(s);
}

void rrt__schedule_add_token(rrt__schedule *s, size_t place)
{
    s->places[place].known++;
}

void rrt__schedule_rewind(rrt__schedule *s, size_t place, size_t known)
{
    rrt__place *p = &s->places[place];
    p->known = known;
    if (p->entered >= known) p->entered = known - 1;
    for (size_t i = 0; i < s->n_flights; i++)
        if (s->flights[i].place == place && s->flights[i].position >= p->entered) s->flights[i].leaves = true;
}

size_t rrt__schedule_done(const rrt__schedule *s, size_t place)
{
    size_t done = s->places[place].entered;
    for (size_t i = 0; i < s->n_flights; i++)
        if (s->flights[i].place == place && s->flights[i].position < done) done = s->flights[i].position;
    return done;
}

static void keep_flights(rrt__schedule *s, bool (*keeps)(const rrt__flight *flight, size_t place),
                         size_t place)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_flights; i++)
        if (keeps(&s->flights[i], place)) s->flights[n++] = s->flights[i];
    s->n_flights = n;
}

static bool stays(const rrt__flight *flight, size_t place)
{
    (void)place;
    return !flight->leaves;
}

static bool is_of_another(const rrt__flight *flight, size_t place)
{
    return flight->place != place;
}

void rrt__schedule_advance(rrt__schedule *s)
{
    for (size_t i = 0; i < s->n_running; i++) s->flights[i].loop++;
    keep_flights(s, stays, 0);
    for (size_t i = 0; i < s->n_places; i++)
        if (s->places[i].delay) s->places[i].delay--;
}

void rrt__schedule_end(rrt__schedule *s, size_t place)
{
    keep_flights(s, is_of_another, place);
    s->places[place].is_taken = false;
    s->n_taken--;
}
