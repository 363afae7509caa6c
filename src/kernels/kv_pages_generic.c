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

// Where a token's key or value lies: number d at at[d · step], the scale of block b at scale[b · scale_step].
typedef struct place {
    rrt__kv_type type;
    unsigned char *at;
    uint16_t *scale;
    size_t step, scale_step; // in numbers
} place;

static place key_place(const rrt__kv_view *kv, size_t position)
{
    rrt__kv_type type = kv->types.key;
    unsigned char *keys = kv->pages[position / PAGE] + kv->key_offset;
    size_t lane = position % PAGE, size = rrt__kv_size(type);
    uint16_t *scales = (uint16_t *)(void *)(keys + PAGE * kv->head_dim * size);
    return (place){type, keys + lane * size, scales + lane, PAGE, PAGE};
}

static place value_place(const rrt__kv_view *kv, size_t position)
{
    rrt__kv_type type = kv->types.value;
    unsigned char *values = kv->pages[position / PAGE] + kv->value_offset;
    size_t row = position % PAGE, size = rrt__kv_size(type);
    uint16_t *scales = (uint16_t *)(void *)(values + PAGE * kv->head_dim * size);
    return (place){type, values + row * kv->head_dim * size,
                   scales + row * rrt__kv_blocks(type, kv->head_dim), 1, 1};
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

static void store_f16(const place *to, const float *x, size_t head_dim)
{
    uint16_t half[PAGE], *at = (uint16_t *)(void *)to->at;
    for (size_t begin = 0; begin < head_dim; begin += PAGE) {
        size_t count = head_dim - begin < PAGE ? head_dim - begin : PAGE;
        narrow(half, x + begin, count);
        for (size_t i = 0; i < count; i++) at[(begin + i) * to->step] = half[i];
    }
}

static void store_q8_0(const place *to, const float *x, size_t head_dim)
{
    for (size_t begin = 0, b = 0; begin < head_dim; begin += RRT__KV_BLOCK, b++) {
        size_t end = head_dim - begin < RRT__KV_BLOCK ? head_dim : begin + RRT__KV_BLOCK;
        float largest = 0;
        uint16_t half[PAGE];
        for (size_t i = begin; i < end; i++)
            if (!isnan(largest) && !(fabsf(x[i]) <= largest)) largest = fabsf(x[i]); // NaN stays
        float scale = largest < INFINITY ? largest / 127.0f : NAN;
        narrow(half, &scale, 1);
        to->scale[b * to->scale_step] = half[0];
        scale = rrt__f16_to_f32(half[0]);
        for (size_t i = begin; i < end; i++) {
            float q = scale > 0 ? nearbyintf(x[i] / scale) : 0; // the scale was rounded: q may exceed 127
            to->at[i * to->step] = (unsigned char)(int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
        }
    }
}

static void store(const place *to, const float *x, size_t head_dim)
{
    if (to->type == RRT__KV_TYPE_F16) store_f16(to, x, head_dim);
    if (to->type == RRT__KV_TYPE_Q8_0) store_q8_0(to, x, head_dim);
    for (size_t d = 0; d < head_dim && to->type == RRT__KV_TYPE_F32; d++)
        memcpy(to->at + d * to->step * sizeof *x, x + d, sizeof *x);
}

void RRT__VARIANT_NAME(rrt__kv_store_)(rrt__kv_view kv, size_t position, const float *key, const float *value)
{
    const place of_key = key_place(&kv, position), of_value = value_place(&kv, position);
    store(&of_key, key, kv.head_dim);
    store(&of_value, value, kv.head_dim);
}

static void copy(const place *to, const place *from, size_t head_dim)
{
    size_t size = rrt__kv_size(from->type), step = from->step * size;
    for (size_t d = 0; d < head_dim; d++) memcpy(to->at + d * step, from->at + d * step, size);
    for (size_t b = 0; b < rrt__kv_blocks(from->type, head_dim); b++)
        to->scale[b * to->scale_step] = from->scale[b * from->scale_step];
}

void RRT__VARIANT_NAME(rrt__kv_copy_)(rrt__kv_view to, rrt__kv_view from, size_t position)
{
    const place keys[] = {key_place(&to, position), key_place(&from, position)},
                values[] = {value_place(&to, position), value_place(&from, position)};
    copy(&keys[0], &keys[1], from.head_dim);
    copy(&values[0], &values[1], from.head_dim);
}

// --- attention: compiled once per type, which is a constant after inlining

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

// Σ query[d] · keys[d,:] over d in [begin, end). Four chains of additions, so that none waits for the
// previous one.
RRT__INLINE rrt__line score(const float *restrict query, const void *keys, size_t begin, size_t end,
                            rrt__kv_type type)
{
    rrt__line sums[4];
    size_t d = begin;
    for (int c = 0; c < 4; c++) sums[c] = rrt__line_zero();
    for (; d + 4 <= end; d += 4)
        for (size_t c = 0; c < 4; c++)
            sums[c] = rrt__line_fma(query[d + c], load(keys, (d + c) * PAGE, type), sums[c]);
    for (; d < end; d++) sums[0] = rrt__line_fma(query[d], load(keys, d * PAGE, type), sums[0]);
    return rrt__line_add(rrt__line_add(sums[0], sums[1]), rrt__line_add(sums[2], sums[3]));
}

// scores[0..16) = scale · query · the page's keys.
RRT__INLINE void score_page(float *restrict scores, const float *restrict query, const unsigned char *keys,
                            size_t head_dim, float scale, rrt__kv_type type)
{
    rrt__line sum = rrt__line_zero();
    if (type != RRT__KV_TYPE_Q8_0) sum = score(query, keys, 0, head_dim, type);
    const uint16_t *scales = (const uint16_t *)(const void *)(keys + PAGE * head_dim);
    for (size_t begin = 0; begin < head_dim && type == RRT__KV_TYPE_Q8_0;
         begin += RRT__KV_BLOCK, scales += PAGE) {
        size_t end = head_dim - begin < RRT__KV_BLOCK ? head_dim : begin + RRT__KV_BLOCK;
        sum = rrt__line_fma_lanes(score(query, keys, begin, end, type), rrt__line_widen_f16(scales), sum);
    }
    rrt__line_store(scores, rrt__line_scale(sum, scale));
}

// out[0 …) = Σ_t weight[t] · values[t, column …) / total over tokens [first, end), for this many lines; or,
// if part is not 0, for one line with `part` numbers.
RRT__INLINE void weigh_values(float *restrict out, const float *restrict weights, const rrt__kv_view *kv,
                              const rrt__attention *a, size_t column, size_t lines, size_t part, float total,
                              rrt__kv_type type)
{
    rrt__line sums[COLUMN_LINES];
    size_t blocks = rrt__kv_blocks(type, kv->head_dim), bytes = kv->head_dim * rrt__kv_size(type);
    for (size_t l = 0; l < lines; l++) sums[l] = rrt__line_zero();
    for (size_t t = a->first; t < a->end;) {
        const unsigned char *values = kv->pages[t / PAGE] + kv->value_offset;
        const uint16_t *scales = (const uint16_t *)(const void *)(values + PAGE * bytes) + t % PAGE * blocks;
        size_t page_end = (t / PAGE + 1) * PAGE, end = page_end < a->end ? page_end : a->end;
        for (size_t at = t % PAGE * kv->head_dim + column; t < end; t++, at += kv->head_dim, scales += blocks)
            for (size_t l = 0; l < lines; l++) {
                float weight = weights[t];
                if (type == RRT__KV_TYPE_Q8_0)
                    weight *= rrt__f16_to_f32(scales[(column + l * PAGE) / RRT__KV_BLOCK]);
                sums[l] = rrt__line_fma(
                    weight, part ? load_part(values, at, part, type) : load(values, at + l * PAGE, type),
                    sums[l]);
            }
    }
    for (size_t l = 0; l < lines; l++) {
        float line[PAGE];
        rrt__line_store(line, rrt__line_scale(sums[l], 1.0f / total));
        memcpy(out + l * PAGE, line, (part ? part : PAGE) * sizeof *line);
    }
}

RRT__INLINE void score_all(float *restrict scores, const float *restrict query, const rrt__kv_view *kv,
                           const rrt__attention *a, rrt__kv_type type)
{
    for (size_t begin = a->first / PAGE * PAGE; begin < a->end; begin += PAGE)
        score_page(scores + begin, query, kv->pages[begin / PAGE] + kv->key_offset, kv->head_dim, a->scale,
                   type);
}

RRT__INLINE void weigh_all(float *restrict out, const float *restrict weights, const rrt__kv_view *kv,
                           const rrt__attention *a, float total, rrt__kv_type type)
{
    size_t head_dim = kv->head_dim, column = 0, wide = COLUMN_LINES * PAGE;
    for (; column + wide <= head_dim; column += wide)
        weigh_values(out + column, weights, kv, a, column, COLUMN_LINES, 0, total, type);
    for (; column + PAGE <= head_dim; column += PAGE)
        weigh_values(out + column, weights, kv, a, column, 1, 0, total, type);
    if (column < head_dim)
        weigh_values(out + column, weights, kv, a, column, 1, head_dim - column, total, type);
}

void RRT__VARIANT_NAME(rrt__kv_attend_)(float *restrict out, const float *restrict query, rrt__kv_view kv,
                                        const rrt__attention *a, float *restrict scratch)
{
    float total;
    if (kv.types.key == RRT__KV_TYPE_F16)
        score_all(scratch, query, &kv, a, RRT__KV_TYPE_F16);
    else if (kv.types.key == RRT__KV_TYPE_Q8_0)
        score_all(scratch, query, &kv, a, RRT__KV_TYPE_Q8_0);
    else
        score_all(scratch, query, &kv, a, RRT__KV_TYPE_F32);
    if (a->cap != 0) cap_softly(scratch + a->first, a->cap, a->end - a->first);
    exponentials(scratch + a->first, a->end - a->first, &total);
    if (kv.types.value == RRT__KV_TYPE_F16)
        weigh_all(out, scratch, &kv, a, total, RRT__KV_TYPE_F16);
    else if (kv.types.value == RRT__KV_TYPE_Q8_0)
        weigh_all(out, scratch, &kv, a, total, RRT__KV_TYPE_Q8_0);
    else
        weigh_all(out, scratch, &kv, a, total, RRT__KV_TYPE_F32);
}
