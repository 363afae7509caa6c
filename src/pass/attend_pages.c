// Attention of spans whose keys and values lie in pages. Queries of a span that share a K/V head form parts;
// threads take parts, or, where there are too few, splits of the keys of every part.
#include <string.h>

#include "pass/attend.h"

enum { LARGE = 48, SMALL = RRT__PART_QUERIES }; // queries of a part: a split stays in the cache meanwhile

// Queries [begin, end) of a span and K/V head: query i is of the span's row i / group.
typedef struct part {
    const rrt__block *block;
    const rrt__span *span;
    int depth;
    size_t row; // the span's first
    size_t kv_head, group, begin, end;
    size_t recent;                  // tokens before this one have only the last loop's keys and values
    rrt__share splits, last_splits; // of the tokens from there on, and of those before
    size_t index, units, slot; // of the parts before: how many, their splits, their queries in each split
    rrt__share share;          // of all parts' splits, this thread's
} part;

typedef void part_function(const part *part);

static rrt__query query_of(const part *p, size_t i)
{
    const rrt__pass *pass = p->block->pass;
    size_t window = rrt__attend_window(pass, p->depth), row = i / p->group,
           seen = p->span->sees_ahead ? p->span->count : row + 1, end = p->span->position + seen,
           head = (p->row + row) * pass->model->shape.heads + p->kv_head * p->group + i % p->group;
    return (rrt__query){pass->ws->q + head * pass->model->shape.head_dim,
                        window && end > window ? end - window : 0, end};
}

static rrt__share splits_of(size_t first, size_t end)
{
    if (first >= end) return (rrt__share){0, 0};
    return (rrt__share){first / RRT__KV_SPLIT, (end + RRT__KV_SPLIT - 1) / RRT__KV_SPLIT};
}

static void set_splits(part *p)
{
    size_t first = query_of(p, p->begin).first, end = query_of(p, p->end - 1).end;
    p->recent = rrt__sequence_recent(p->span->sequence, p->depth, p->span->position);
    p->splits = splits_of(first > p->recent ? first : p->recent, end);
    p->last_splits = splits_of(first, p->recent);
}

static size_t count_splits(const part *p)
{
    return p->last_splits.end - p->last_splits.begin + p->splits.end - p->splits.begin;
}

// Calls function, if there is one, for each part of up to `size` queries. Returns what follows the last.
static part each_part(const rrt__block *b, size_t size, rrt__share share, part_function *function)
{
    const rrt__pass *pass = b->pass;
    const rrt__shape *shape = &pass->model->shape;
    part p = {.block = b, .group = shape->heads / shape->kv_heads, .share = share};
    for (size_t s = 0; s < pass->n_spans; p.row += pass->spans[s++].count) {
        p.span = &pass->spans[s];
        size_t count = p.span->sequence && !p.span->only_stores ? p.span->count * p.group : 0;
        if (count) p.depth = rrt__block_row_depth(b, p.row);
        for (p.kv_head = 0; p.kv_head < shape->kv_heads; p.kv_head++)
            for (p.begin = 0; p.begin < count; p.begin = p.end) {
                p.end = count - p.begin < size ? count : p.begin + size;
                set_splits(&p);
                if (function) function(&p);
                p.index++;
                p.units += count_splits(&p);
                p.slot += count_splits(&p) * (p.end - p.begin);
            }
    }
    return p;
}

// --- a part while it runs

typedef struct open_part {
    rrt__query queries[LARGE], last_queries[LARGE];
    rrt__kv_view view, last_view;
    rrt__scoring scoring;
    size_t count, head_dim, n_splits;
} open_part;

static open_part open(const part *p)
{
    const rrt__shape *shape = &p->block->pass->model->shape;
    open_part o = {.view = rrt__sequence_view(p->span->sequence, p->depth, p->kv_head),
                   .scoring = {rrt__attend_scale(shape), (float)shape->attention_cap},
                   .count = p->end - p->begin,
                   .head_dim = shape->head_dim,
                   .n_splits = count_splits(p)};
    if (p->recent) o.last_view = rrt__sequence_last_view(p->span->sequence, p->depth, p->kv_head);
    for (size_t i = 0; i < o.count; i++) {
        o.last_queries[i] = o.queries[i] = query_of(p, p->begin + i);
        o.last_queries[i].end = p->recent;
        if (o.queries[i].first < p->recent) o.queries[i].first = p->recent;
    }
    return o;
}

// Split `at` of the part: those of the last loop's keys and values come first.
static void attend(const open_part *o, const part *p, size_t at, rrt__seen *seen)
{
    const rrt__kernels *kernels = p->block->pass->ws->kernels;
    size_t n_last = p->last_splits.end - p->last_splits.begin;
    if (at < n_last)
        kernels->attend(seen, o->last_queries, o->count, o->last_view, &o->scoring,
                        p->last_splits.begin + at);
    else
        kernels->attend(seen, o->queries, o->count, o->view, &o->scoring, p->splits.begin + at - n_last);
}

static rrt__seen nothing_seen(float *values, size_t head_dim)
{
    memset(values, 0, head_dim * sizeof *values);
    return (rrt__seen){0, 0, values};
}

// What is seen goes where attention's result does.
static void begin(const open_part *o, const part *p, rrt__seen *seen)
{
    const rrt__workspace *ws = p->block->pass->ws;
    for (size_t i = 0; i < o->count; i++)
        seen[i] = nothing_seen(ws->attended + (o->queries[i].vector - ws->q), o->head_dim);
}

static void finish(const open_part *o, const rrt__seen *seen)
{
    for (size_t i = 0; i < o->count; i++) {
        float scale = 1.0f / seen[i].total;
        for (size_t d = 0; d < o->head_dim; d++) seen[i].values[d] *= scale;
    }
}

static bool is_mine(const part *p)
{
    rrt__team team = p->block->pass->team;
    return p->index % (size_t)team.nth == (size_t)team.ith;
}

static void attend_part(const part *p)
{
    if (!is_mine(p)) return;
    rrt__seen seen[LARGE];
    const open_part o = open(p);
    begin(&o, p, seen);
    for (size_t at = 0; at < o.n_splits; at++) attend(&o, p, at, seen);
    finish(&o, seen);
}

// --- splits of a part by several threads

// This thread's are one after another, so that each can fetch the next in advance.
static void attend_splits(const part *p)
{
    const rrt__workspace *ws = p->block->pass->ws;
    const open_part o = open(p);
    for (size_t at = 0, slot = p->slot; at < o.n_splits; at++, slot += o.count) {
        if (p->units + at < p->share.begin || p->units + at >= p->share.end) continue;
        for (size_t i = slot; i < slot + o.count; i++)
            ws->split_seen[i] = nothing_seen(ws->split_values + i * o.head_dim, o.head_dim);
        attend(&o, p, at, ws->split_seen + slot);
    }
}

static void merge_splits(const part *p)
{
    if (!is_mine(p)) return;
    const rrt__workspace *ws = p->block->pass->ws;
    rrt__seen seen[LARGE];
    const open_part o = open(p);
    begin(&o, p, seen);
    for (size_t at = 0, slot = p->slot; at < o.n_splits; at++, slot += o.count)
        for (size_t i = 0; i < o.count; i++)
            ws->kernels->merge_seen(&seen[i], &ws->split_seen[slot + i], o.head_dim);
    finish(&o, seen);
}

// --- all parts

void rrt__attend_pages(const rrt__block *b)
{
    const rrt__share none = {0};
    size_t enough = RRT__PARTS_PER_THREAD * (size_t)b->pass->team.nth;
    if (each_part(b, LARGE, none, NULL).index >= enough) {
        each_part(b, LARGE, none, attend_part);
        return;
    }
    const part all = each_part(b, SMALL, none, NULL);
    if (all.index >= enough || all.units == all.index) {
        each_part(b, SMALL, none, attend_part);
        return;
    }
    each_part(b, SMALL, rrt__team_share(b->pass->team, all.units, 1), attend_splits);
    rrt__team_barrier(b->pass->team);
    each_part(b, SMALL, none, merge_splits);
}
