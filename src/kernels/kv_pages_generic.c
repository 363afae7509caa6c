// Storing a token's keys and values in pages. Compiled once per instruction set, with the same bits, like
// generic.c.
#include "kernels/kv_pages.h"
#include "kernels/line.h"
#include "kernels/vector.h"

enum { PAGE = RRT__PAGE_TOKENS }; // one line

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
    return (place){type, values + row * kv->head_dim * size, scales + row, 1, PAGE};
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
