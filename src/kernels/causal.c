#include "kernels/causal.h"

#include <string.h>

#include "kernels/algebra.h"

enum { BLOCK_ROWS = 64 };

size_t rrt__causal_scratch(size_t tokens)
{
    return (2 * BLOCK_ROWS + 1) * tokens;
}

// The keys [low, end) that a block of query rows [begin, end) reads, and the range that one row attends to,
// relative to low.
typedef struct block {
    size_t begin, end, low;
} block;

static size_t first_seen(const rrt__causal *a, size_t row)
{
    return a->window && row >= a->window ? row + 1 - a->window : 0;
}

static block open_block(const rrt__causal *a, size_t begin)
{
    size_t end = begin + BLOCK_ROWS < a->tokens ? begin + BLOCK_ROWS : a->tokens;
    return (block){begin, end, first_seen(a, begin)};
}

// Zeroes the values, of keys [low, end), that a query row does not attend to.
static void hide(float *values, const rrt__causal *a, const block *b, size_t row)
{
    memset(values, 0, (first_seen(a, row) - b->low) * sizeof *values);
    memset(values + row + 1 - b->low, 0, (b->end - row - 1) * sizeof *values);
}

// A matrix whose rows are `stride` apart, and its transpose.
static rrt__operand whole(const float *values, size_t stride)
{
    return (rrt__operand){values, stride, false};
}

static rrt__operand turned(const float *values, size_t stride)
{
    return (rrt__operand){values, stride, true};
}

void rrt__causal_forward(const rrt__kernels *kernels, const rrt__causal *a, size_t head, float *out,
                         float *log_sums, float *scratch)
{
    size_t d = a->head_dim, q_stride = a->heads * d, kv_stride = a->kv_heads * d;
    size_t kv_offset = head / (a->heads / a->kv_heads) * d;
    for (size_t begin = 0; begin < a->tokens; begin += BLOCK_ROWS) {
        block b = open_block(a, begin);
        size_t count = b.end - begin, keys = b.end - b.low, at = begin * q_stride + head * d;
        const float *k = a->k + b.low * kv_stride + kv_offset, *v = a->v + b.low * kv_stride + kv_offset;
        rrt__algebra_multiply(scratch, keys, whole(a->q + at, q_stride), turned(k, kv_stride), count, keys, d,
                              a->scale, 0);
        for (size_t row = begin; row < b.end; row++) {
            float *scores = scratch + (row - begin) * keys, *seen = scores + first_seen(a, row) - b.low;
            size_t n_seen = row + 1 - first_seen(a, row);
            if (a->cap != 0) kernels->softcap(seen, a->cap, n_seen);
            log_sums[row * a->heads + head] = kernels->softmax(seen, n_seen);
            hide(scores, a, &b, row);
        }
        rrt__algebra_multiply(out + at, q_stride, whole(scratch, keys), whole(v, kv_stride), count, d, keys,
                              1, 0);
    }
}

static float dot(const float *a, const float *b, size_t count)
{
    float sum = 0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

// Arguments of the backward pass, with its kernels.
typedef struct back {
    const rrt__kernels *kernels;
    const rrt__gradient_kernels *gradients;
    const rrt__causal *attention;
    const rrt__causal_gradient *gradient;
} back;

// p: the scores of one query row and its keys, becomes their softmax; dp: its gradient, becomes the gradient
// of the scores before their scale. room: scratch for as many values.
static void backward_row(const back *w, size_t head, size_t row, float *p, float *dp, float *room)
{
    const rrt__causal *a = w->attention;
    size_t d = a->head_dim, at = (row * a->heads + head) * d, seen = row + 1 - first_seen(a, row);
    float through = dot(w->gradient->out + at, w->gradient->dout + at, d);
    float log_sum = w->gradient->log_sums[row * a->heads + head];
    if (a->cap != 0) {
        w->kernels->softcap(p, a->cap, seen);
        memcpy(room, p, seen * sizeof *room);
    }
    w->gradients->softmax(p, dp, log_sum, through, a->scale, seen);
    if (a->cap != 0) w->gradients->softcap(dp, room, a->cap, seen);
}

// A block of query rows of one head: sets their dq, adds to dk and dv.
static void backward_block(const back *w, size_t head, size_t begin, float *scratch)
{
    const rrt__causal *a = w->attention;
    const rrt__causal_gradient *g = w->gradient;
    block b = open_block(a, begin);
    size_t d = a->head_dim, q_stride = a->heads * d, kv_stride = a->kv_heads * d, count = b.end - begin;
    size_t kv = b.low * kv_stride + head / (a->heads / a->kv_heads) * d, at = begin * q_stride + head * d;
    size_t keys = b.end - b.low;
    float *p = scratch, *ds = p + count * keys, *room = ds + count * keys;
    rrt__algebra_multiply(p, keys, whole(a->q + at, q_stride), turned(a->k + kv, kv_stride), count, keys, d,
                          a->scale, 0);
    rrt__algebra_multiply(ds, keys, whole(g->dout + at, q_stride), turned(a->v + kv, kv_stride), count, keys,
                          d, 1, 0);
    for (size_t row = begin; row < b.end; row++) {
        size_t line = (row - begin) * keys, seen = line + first_seen(a, row) - b.low;
        backward_row(w, head, row, p + seen, ds + seen, room);
        hide(p + line, a, &b, row);
        hide(ds + line, a, &b, row);
    }
    rrt__algebra_multiply(g->dq + at, q_stride, whole(ds, keys), whole(a->k + kv, kv_stride), count, d, keys,
                          1, 0);
    rrt__algebra_multiply(g->dk + kv, kv_stride, turned(ds, keys), whole(a->q + at, q_stride), keys, d, count,
                          1, 1);
    rrt__algebra_multiply(g->dv + kv, kv_stride, turned(p, keys), whole(g->dout + at, q_stride), keys, d,
                          count, 1, 1);
}

void rrt__causal_backward(const rrt__kernels *kernels, const rrt__gradient_kernels *gradients,
                          const rrt__causal *attention, const rrt__causal_gradient *gradient, size_t kv_head,
                          float *scratch)
{
    const back w = {kernels, gradients, attention, gradient};
    size_t group = attention->heads / attention->kv_heads;
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (size_t begin = 0; begin < attention->tokens; begin += BLOCK_ROWS)
            backward_block(&w, head, begin, scratch);
}
