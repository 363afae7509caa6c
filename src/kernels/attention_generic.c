// Attention over keys and values in pages, without unpacking them. Compiled once per instruction set, with
// the same bits, like generic.c.
#include <stdbool.h>

#include "kernels/kv_pages.h"
#include "kernels/line.h"
#include "kernels/vector.h"

enum {
    PAGE = RRT__PAGE_TOKENS, // one line
    SPLIT = RRT__KV_SPLIT,
    QUERIES = 6,      // of a tile: they read keys and values together
    TILE_LINES = 12,  // lines of sums, at most
    COLUMN_LINES = 4, // lines of values side by side, at most
};

// With a copy for each shape of tile, the sums stay in registers. Without vectors they are in memory anyway,
// and the copies would only slow compilation.
#if defined(__AVX2__)
#define SHAPED RRT__INLINE
#else
#define SHAPED static __attribute__((noinline))
#endif

// Up to QUERIES queries, and the tokens of a split that any of them attends to.
typedef struct tile {
    _Alignas(64) float weights[QUERIES][SPLIT]; // scores, then e^(score - largest); 0: not attended to
    float before[QUERIES], now[QUERIES];        // factors of what was seen before and of this split
    const rrt__query *queries;
    const rrt__kv_view *kv;
    size_t begin, first, end; // begin: of the split
    size_t ahead;             // end of the tokens that are fetched in advance; 0: none
} tile;

// Lines of sums of each query that stay in registers, together with what is added to them. They divide the
// pages of a split.
RRT__INLINE int lines_beside(int queries)
{
#if defined(__AVX512F__)
    return queries == 1 ? 8 : queries <= 3 ? 4 : 2;
#else
    return queries == 1 ? 4 : queries == 2 ? 2 : 1;
#endif
}

// The types are constants after inlining.
RRT__INLINE rrt__line load(const void *from, size_t first, rrt__kv_type type)
{
    return type == RRT__KV_TYPE_F16    ? rrt__line_widen_f16((const uint16_t *)from + first)
           : type == RRT__KV_TYPE_Q8_0 ? rrt__line_widen_i8((const int8_t *)from + first)
                                       : rrt__line_load((const float *)from + first);
}

// A line with only `count` numbers.
RRT__INLINE rrt__line load_part(const void *from, size_t first, size_t count, rrt__kv_type type)
{
    float line[PAGE] = {0};
    for (size_t i = 0; i < count; i++)
        line[i] = type == RRT__KV_TYPE_F16    ? rrt__f16_to_f32(((const uint16_t *)from)[first + i])
                  : type == RRT__KV_TYPE_Q8_0 ? (float)((const int8_t *)from)[first + i]
                                              : ((const float *)from)[first + i];
    return rrt__line_load(line);
}

RRT__INLINE const uint16_t *scales_of(const unsigned char *numbers, size_t head_dim)
{
    return (const uint16_t *)(const void *)(numbers + PAGE * head_dim);
}

// Pages are far apart, and no processor foresees the next one: while one is read, the same numbers of that
// one split later are fetched. A page's own, if nothing follows.
static const unsigned char *next_of(const tile *t, size_t page)
{
    return t->kv->pages[page * PAGE + SPLIT < t->ahead ? page + SPLIT / PAGE : page];
}

RRT__INLINE void fetch(const unsigned char *next, size_t first, rrt__kv_type type)
{
    __builtin_prefetch(next + first * rrt__kv_size(type), 0, 2);
}

// --- scores

// sums[q · pages + p] = Σ query q[d] · keys of page p[d,:] over d in [begin, end), one addition after
// another.
SHAPED void score_block(rrt__line *restrict sums, const tile *t, const unsigned char *const *keys,
                        const unsigned char *const *next, size_t begin, size_t end, int queries, int pages,
                        rrt__kv_type type)
{
    rrt__line sum[TILE_LINES];
    const float *vectors[QUERIES];
#pragma GCC unroll 6
    for (int q = 0; q < queries; q++) vectors[q] = t->queries[q].vector;
#pragma GCC unroll 12
    for (int i = 0; i < queries * pages; i++) sum[i] = rrt__line_zero();
    for (size_t d = begin; d < end; d++) {
        rrt__line key[TILE_LINES] = {0};
#pragma GCC unroll 12
        for (int p = 0; p < pages; p++) {
            key[p] = load(keys[p], d * PAGE, type);
            fetch(next[p], d * PAGE, type);
        }
#pragma GCC unroll 12
        for (int i = 0; i < queries * pages; i++)
            sum[i] = rrt__line_fma(vectors[i / pages][d], key[i % pages], sum[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < queries * pages; i++) sums[i] = sum[i];
}

// The same over all d, with the scales of q8_0.
SHAPED void score_all(rrt__line *restrict sums, const tile *t, const unsigned char *const *keys,
                      const unsigned char *const *next, int queries, int pages, rrt__kv_type type)
{
    size_t head_dim = t->kv->head_dim;
    if (type != RRT__KV_TYPE_Q8_0) {
        score_block(sums, t, keys, next, 0, head_dim, queries, pages, type);
        return;
    }
#pragma GCC unroll 12
    for (int i = 0; i < queries * pages; i++) sums[i] = rrt__line_zero();
    for (size_t begin = 0, b = 0; begin < head_dim; begin += RRT__KV_BLOCK, b++) {
        size_t end = head_dim - begin < RRT__KV_BLOCK ? head_dim : begin + RRT__KV_BLOCK;
        rrt__line part[TILE_LINES];
        score_block(part, t, keys, next, begin, end, queries, pages, type);
#pragma GCC unroll 12
        for (int i = 0; i < queries * pages; i++) {
            const uint16_t *scales = scales_of(keys[i % pages], head_dim) + b * PAGE;
            sums[i] = rrt__line_fma_lanes(part[i], rrt__line_widen_f16(scales), sums[i]);
        }
    }
}

// The weights of pages [page, page + pages) become scale · query · keys.
SHAPED void score_pages(tile *t, size_t page, float scale, int queries, int pages, rrt__kv_type type)
{
    const unsigned char *keys[TILE_LINES] = {0}, *next[TILE_LINES] = {0};
    rrt__line sums[TILE_LINES];
#pragma GCC unroll 12
    for (int p = 0; p < pages; p++) {
        keys[p] = t->kv->pages[page + (size_t)p] + t->kv->key_offset;
        next[p] = next_of(t, page + (size_t)p) + t->kv->key_offset;
    }
    score_all(sums, t, keys, next, queries, pages, type);
#pragma GCC unroll 12
    for (int i = 0; i < queries * pages; i++) {
        float *to = t->weights[i / pages] + (page + (size_t)(i % pages)) * PAGE - t->begin;
        rrt__line_store(to, rrt__line_scale(sums[i], scale));
    }
}

SHAPED void score(tile *t, float scale, int queries, rrt__kv_type type)
{
    size_t page = t->first / PAGE, end = (t->end + PAGE - 1) / PAGE;
    const int pages = lines_beside(queries);
    for (; page + (size_t)pages <= end; page += (size_t)pages)
        score_pages(t, page, scale, queries, pages, type);
    for (; page < end; page++) score_pages(t, page, scale, queries, 1, type);
}

// --- weights

// Adds a split's scores. The factors that put what was seen before, and the split, in relation to the largest
// of both.
static void join(rrt__seen *seen, float largest, float total, float *before, float *now)
{
    bool begins = seen->total == 0;
    float top = begins || largest > seen->largest ? largest : seen->largest;
    *before = begins ? 0 : fast_exp(seen->largest - top);
    *now = fast_exp(largest - top);
    seen->total = fmaf(seen->total, *before, total * *now);
    seen->largest = top;
}

static void weigh(tile *t, rrt__seen *seen, const rrt__scoring *scoring, int queries)
{
    for (int q = 0; q < queries; q++) {
        const rrt__query *query = &t->queries[q];
        size_t first = query->first > t->first ? query->first : t->first,
               end = query->end < t->end ? query->end : t->end;
        float *weights = t->weights[q], total, largest;
        t->before[q] = 1, t->now[q] = 0;
        if (first >= end) {
            memset(weights + (t->first - t->begin), 0, (t->end - t->first) * sizeof *weights);
            continue;
        }
        if (scoring->cap != 0) cap_softly(weights + (first - t->begin), scoring->cap, end - first);
        largest = exponentials(weights + (first - t->begin), end - first, &total);
        memset(weights + (t->first - t->begin), 0, (first - t->first) * sizeof *weights);
        memset(weights + (end - t->begin), 0, (t->end - end) * sizeof *weights);
        join(&seen[q], largest, total, &t->before[q], &t->now[q]);
    }
}

// --- values

// out = before · out + now · sum, of `count` numbers.
RRT__INLINE void add_values(float *out, float before, float now, rrt__line sum, size_t count)
{
    float line[PAGE] = {0};
    if (now == 0) return; // nothing attended to: what is no number stays out, too
    if (count == PAGE) {
        rrt__line_store(out, rrt__line_fma(before, rrt__line_load(out), rrt__line_scale(sum, now)));
        return;
    }
    memcpy(line, out, count * sizeof *line);
    rrt__line_store(line, rrt__line_fma(before, rrt__line_load(line), rrt__line_scale(sum, now)));
    memcpy(out, line, count * sizeof *line);
}

// The weights of a page's tokens times the scales of their values.
SHAPED void scale_weights(float (*restrict scaled)[PAGE], const tile *t, size_t page, size_t column,
                          int queries, int lines)
{
    const unsigned char *values = t->kv->pages[page / PAGE] + t->kv->value_offset;
#pragma GCC unroll 12
    for (int i = 0; i < queries * lines; i++) {
        size_t block = (column + (size_t)(i % lines) * PAGE) / RRT__KV_BLOCK;
        rrt__line scale = rrt__line_widen_f16(scales_of(values, t->kv->head_dim) + block * PAGE),
                  weights = rrt__line_load(t->weights[i / lines] + (page - t->begin));
        rrt__line_store(scaled[i], rrt__line_fma_lanes(weights, scale, rrt__line_zero()));
    }
}

// Values [column, column + 16 · lines) of some tokens; or, if part is not 0, `part` of them.
typedef struct columns {
    size_t column, part;
    int lines;
} columns;

// Adds the tokens [begin, end) of a page.
SHAPED void sum_page(rrt__line *restrict sums, const tile *t, columns c, size_t begin, size_t end,
                     int queries, rrt__kv_type type)
{
    const unsigned char *values = t->kv->pages[begin / PAGE] + t->kv->value_offset,
                        *next = next_of(t, begin / PAGE) + t->kv->value_offset;
    size_t page = begin / PAGE * PAGE, at = (begin - page) * t->kv->head_dim + c.column;
    const float *weights = t->weights[0] + (page - t->begin);
    _Alignas(64) float scaled[TILE_LINES][PAGE];
    if (type == RRT__KV_TYPE_Q8_0) scale_weights(scaled, t, page, c.column, queries, c.lines);
    for (size_t i = begin - page; i < end - page; i++, at += t->kv->head_dim) {
        rrt__line value[COLUMN_LINES] = {0};
#pragma GCC unroll 4
        for (int l = 0; l < c.lines; l++) {
            size_t first = at + (size_t)l * PAGE;
            value[l] = c.part ? load_part(values, first, c.part, type) : load(values, first, type);
            fetch(next, first, type);
        }
#pragma GCC unroll 12
        for (int s = 0; s < queries * c.lines; s++)
            sums[s] = rrt__line_fma(type == RRT__KV_TYPE_Q8_0 ? scaled[s][i]
                                                              : weights[s / c.lines * SPLIT + (int)i],
                                    value[s % c.lines], sums[s]);
    }
}

SHAPED void sum_columns(const tile *t, rrt__seen *seen, columns c, int queries, rrt__kv_type type)
{
    rrt__line sums[TILE_LINES];
#pragma GCC unroll 12
    for (int i = 0; i < queries * c.lines; i++) sums[i] = rrt__line_zero();
    for (size_t begin = t->first, end; begin < t->end; begin = end) {
        end = begin / PAGE * PAGE + PAGE;
        end = end < t->end ? end : t->end;
        sum_page(sums, t, c, begin, end, queries, type);
    }
#pragma GCC unroll 12
    for (int i = 0; i < queries * c.lines; i++)
        add_values(seen[i / c.lines].values + c.column + (size_t)(i % c.lines) * PAGE, t->before[i / c.lines],
                   t->now[i / c.lines], sums[i], c.part ? c.part : PAGE);
}

SHAPED void sum_values(const tile *t, rrt__seen *seen, int queries, rrt__kv_type type)
{
    const int fit = lines_beside(queries), lines = fit < COLUMN_LINES ? fit : COLUMN_LINES;
    size_t column = 0, head_dim = t->kv->head_dim, wide = (size_t)lines * PAGE;
    for (; column + wide <= head_dim; column += wide)
        sum_columns(t, seen, (columns){column, 0, lines}, queries, type);
    for (; column + PAGE <= head_dim; column += PAGE)
        sum_columns(t, seen, (columns){column, 0, 1}, queries, type);
    if (column < head_dim) sum_columns(t, seen, (columns){column, head_dim - column, 1}, queries, type);
}

// --- tiles

SHAPED void attend(tile *t, rrt__seen *seen, const rrt__scoring *scoring, int queries)
{
    switch (t->kv->types.key) {
    case RRT__KV_TYPE_F16:
        score(t, scoring->scale, queries, RRT__KV_TYPE_F16);
        break;
    case RRT__KV_TYPE_Q8_0:
        score(t, scoring->scale, queries, RRT__KV_TYPE_Q8_0);
        break;
    default:
        score(t, scoring->scale, queries, RRT__KV_TYPE_F32);
        break;
    }
    weigh(t, seen, scoring, queries);
    switch (t->kv->types.value) {
    case RRT__KV_TYPE_F16:
        sum_values(t, seen, queries, RRT__KV_TYPE_F16);
        break;
    case RRT__KV_TYPE_Q8_0:
        sum_values(t, seen, queries, RRT__KV_TYPE_Q8_0);
        break;
    default:
        sum_values(t, seen, queries, RRT__KV_TYPE_F32);
        break;
    }
}

// One function for each number of queries, a constant in it.
#define ATTEND(n)                                                                                            \
    static void attend_##n(tile *t, rrt__seen *seen, const rrt__scoring *scoring)                            \
    {                                                                                                        \
        attend(t, seen, scoring, n);                                                                         \
    }
ATTEND(1)
ATTEND(2)
ATTEND(3)
ATTEND(4)
ATTEND(5)
ATTEND(6)

static void (*const attend_tile[QUERIES + 1])(tile *, rrt__seen *, const rrt__scoring *) = {
    NULL, attend_1, attend_2, attend_3, attend_4, attend_5, attend_6};

void RRT__VARIANT_NAME(rrt__kv_attend_)(rrt__seen *seen, const rrt__query *queries, size_t count,
                                        rrt__kv_view kv, const rrt__scoring *scoring, size_t split)
{
    tile t = {.kv = &kv, .begin = split * SPLIT};
    for (size_t q = 0, n; q < count; q += n) {
        n = count - q < QUERIES ? count - q : QUERIES;
        t.queries = queries + q;
        t.first = t.begin + SPLIT, t.end = t.begin;
        for (size_t i = q; i < q + n; i++) {
            t.first = queries[i].first < t.first ? queries[i].first : t.first;
            t.end = queries[i].end > t.end ? queries[i].end : t.end;
        }
        t.ahead = q == 0 ? t.end : 0;
        t.first = t.first > t.begin ? t.first : t.begin;
        t.end = t.end < t.begin + SPLIT ? t.end : t.begin + SPLIT;
        if (t.first < t.end) attend_tile[n](&t, seen + q, scoring);
    }
}

void RRT__VARIANT_NAME(rrt__kv_merge_)(rrt__seen *seen, const rrt__seen *of_split, size_t head_dim)
{
    float before, now;
    if (of_split->total == 0) return;
    join(seen, of_split->largest, of_split->total, &before, &now);
    for (size_t d = 0; d < head_dim; d++)
        seen->values[d] = fmaf(before, seen->values[d], now * of_split->values[d]);
}
