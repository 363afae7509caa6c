// Keys and values in pages: storing a token's, and attention without unpacking them. Compiled once per
// instruction set, with the same bits, like generic.c.
#include "kernels/kv_pages.h"
#include "kernels/line.h"
#include "kernels/vector.h"

enum {
    PAGE = RRT__PAGE_TOKENS, // one line
    COLUMN_LINES = 4,        // lines of values whose sums stay in registers
};

// --- one token

typedef struct token {
    unsigned char *key, *value; // its lane of the keys; its row of the values
} token;

static inline token find(const rrt__kv_view *kv, size_t position, size_t size)
{
    unsigned char *page = kv->pages[position / PAGE];
    size_t lane = position % PAGE;
    return (token){page + kv->key_offset + lane * size, page + kv->value_offset + lane * kv->head_dim * size};
}

static void store_f32(const token *to, size_t head_dim, const float *key, const float *value)
{
    float *keys = (float *)to->key;
    for (size_t d = 0; d < head_dim; d++) keys[d * PAGE] = key[d];
    memcpy(to->value, value, head_dim * sizeof *value);
}

// Clamps x to f16's range, before rounding.
static inline float saturate(float x)
{
    const float max = 65504.0f;
    float y = x > max ? max : x;
    y = y < -max ? -max : y;
    return fabsf(x) < INFINITY ? y : x;
}

static void narrow(uint16_t half[PAGE], const float *x, size_t count)
{
    float line[PAGE] = {0};
    for (size_t i = 0; i < count; i++) line[i] = saturate(x[i]);
    rrt__line_narrow(half, rrt__line_load(line));
}

static void store_f16(const token *to, size_t head_dim, const float *key, const float *value)
{
    uint16_t *keys = (uint16_t *)to->key, *values = (uint16_t *)to->value, half[PAGE];
    for (size_t begin = 0; begin < head_dim; begin += PAGE) {
        size_t count = head_dim - begin < PAGE ? head_dim - begin : PAGE;
        narrow(half, key + begin, count);
        for (size_t i = 0; i < count; i++) keys[(begin + i) * PAGE] = half[i];
        narrow(half, value + begin, count);
        memcpy(values + begin, half, count * sizeof *half);
    }
}

void RRT__VARIANT_NAME(rrt__kv_store_)(rrt__kv_view kv, size_t position, const float *key, const float *value)
{
    token to = find(&kv, position, rrt__kv_size(kv.type));
    (kv.type == RRT__KV_TYPE_F16 ? store_f16 : store_f32)(&to, kv.head_dim, key, value);
}

void RRT__VARIANT_NAME(rrt__kv_copy_)(rrt__kv_view to, rrt__kv_view from, size_t position)
{
    size_t size = rrt__kv_size(from.type), step = PAGE * size;
    token there = find(&to, position, size), here = find(&from, position, size);
    for (size_t d = 0; d < from.head_dim; d++) memcpy(there.key + d * step, here.key + d * step, size);
    memcpy(there.value, here.value, from.head_dim * size);
}

// --- attention: compiled once per type, which is a constant after inlining

RRT__INLINE rrt__line load(const void *from, size_t first, rrt__kv_type type)
{
    return type == RRT__KV_TYPE_F16 ? rrt__line_widen_f16((const uint16_t *)from + first)
                                    : rrt__line_load((const float *)from + first);
}

// A line with only `count` numbers.
RRT__INLINE rrt__line load_part(const void *from, size_t first, size_t count, rrt__kv_type type)
{
    float line[PAGE] = {0};
    for (size_t i = 0; i < count; i++)
        line[i] = type == RRT__KV_TYPE_F16 ? rrt__f16_to_f32(((const uint16_t *)from)[first + i])
                                           : ((const float *)from)[first + i];
    return rrt__line_load(line);
}

// scores[0..16) = scale · query · the page's keys. Four chains of additions, so that none waits for the
// previous one.
RRT__INLINE void score_page(float *restrict scores, const float *restrict query, const void *keys,
                            size_t head_dim, float scale, rrt__kv_type type)
{
    rrt__line sums[4];
    size_t d = 0;
    for (int c = 0; c < 4; c++) sums[c] = rrt__line_zero();
    for (; d + 4 <= head_dim; d += 4)
        for (size_t c = 0; c < 4; c++)
            sums[c] = rrt__line_fma(query[d + c], load(keys, (d + c) * PAGE, type), sums[c]);
    for (; d < head_dim; d++) sums[0] = rrt__line_fma(query[d], load(keys, d * PAGE, type), sums[0]);
    rrt__line sum = rrt__line_add(rrt__line_add(sums[0], sums[1]), rrt__line_add(sums[2], sums[3]));
    rrt__line_store(scores, rrt__line_scale(sum, scale));
}

// out[0 …) = Σ_t weight[t] · values[t, column …) / total over tokens [first, end), for this many lines; or,
// if part is not 0, for one line with `part` numbers.
RRT__INLINE void weigh_values(float *restrict out, const float *restrict weights, const rrt__kv_view *kv,
                              const rrt__attention *a, size_t column, size_t lines, size_t part, float total,
                              rrt__kv_type type)
{
    rrt__line sums[COLUMN_LINES];
    for (size_t l = 0; l < lines; l++) sums[l] = rrt__line_zero();
    for (size_t t = a->first; t < a->end;) {
        const unsigned char *values = kv->pages[t / PAGE] + kv->value_offset;
        size_t page_end = (t / PAGE + 1) * PAGE, end = page_end < a->end ? page_end : a->end;
        for (size_t at = t % PAGE * kv->head_dim + column; t < end; t++, at += kv->head_dim)
            for (size_t l = 0; l < lines; l++)
                sums[l] = rrt__line_fma(
                    weights[t], part ? load_part(values, at, part, type) : load(values, at + l * PAGE, type),
                    sums[l]);
    }
    for (size_t l = 0; l < lines; l++) {
        float line[PAGE];
        rrt__line_store(line, rrt__line_scale(sums[l], 1.0f / total));
        memcpy(out + l * PAGE, line, (part ? part : PAGE) * sizeof *line);
    }
}

RRT__INLINE void attend(float *restrict out, const float *restrict query, const rrt__kv_view *kv,
                        const rrt__attention *a, float *restrict scratch, rrt__kv_type type)
{
    size_t head_dim = kv->head_dim, column = 0, wide = COLUMN_LINES * PAGE;
    for (size_t begin = a->first / PAGE * PAGE; begin < a->end; begin += PAGE)
        score_page(scratch + begin, query, kv->pages[begin / PAGE] + kv->key_offset, head_dim, a->scale,
                   type);
    if (a->cap != 0) cap_softly(scratch + a->first, a->cap, a->end - a->first);
    float total;
    exponentials(scratch + a->first, a->end - a->first, &total);
    for (; column + wide <= head_dim; column += wide)
        weigh_values(out + column, scratch, kv, a, column, COLUMN_LINES, 0, total, type);
    for (; column + PAGE <= head_dim; column += PAGE)
        weigh_values(out + column, scratch, kv, a, column, 1, 0, total, type);
    if (column < head_dim)
        weigh_values(out + column, scratch, kv, a, column, 1, head_dim - column, total, type);
}

void RRT__VARIANT_NAME(rrt__kv_attend_)(float *restrict out, const float *restrict query, rrt__kv_view kv,
                                        const rrt__attention *a, float *restrict scratch)
{
    if (kv.type == RRT__KV_TYPE_F16)
        attend(out, query, &kv, a, scratch, RRT__KV_TYPE_F16);
    else
        attend(out, query, &kv, a, scratch, RRT__KV_TYPE_F32);
}
