// The training kernels: the reference against finite differences of the forward kernels, every variant
// against the reference, the backward pass through attention and products, and distillation from a stored
// teacher.
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"
#include "format/dtype.h"
#include "kernels/causal.h"
#include "kernels/gemm.h"
#include "model/family.h"
#include "test.h"
#include "train/sparse.h"
#include "truth.h"
#include "truth_gradients.h"

static const rrt__gradient_kernels *const truth = &truth_gradient_kernels;
static const rrt__kernels *const forward = &truth_kernels;

static void fill(float *values, size_t count, uint64_t stream, double mean, double deviation)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(mean + deviation * rrt__random_gaussian(11, stream, i));
}

static float *make(size_t count, uint64_t stream, double mean, double deviation)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    fill(values, count, stream, mean, deviation);
    return values;
}

static void assert_values(const char *what, const float *got, const float *expected, size_t count,
                          double tolerance)
{
    double scale = 0;
    for (size_t i = 0; i < count; i++) scale = fmax(scale, fabs((double)expected[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance * scale))
            fail_msg("%s: value %zu is %.7g, not %.7g", what, i, got[i], expected[i]);
}

// --- finite differences

// Σ dy · f(x): a scalar whose gradient with respect to x is what the backward kernel gives.
typedef double (*scalar)(const float *x, void *context);

// Central differences of a scalar with respect to x.
static void differentiate(scalar function, void *context, float *x, size_t count, float *gradient)
{
    const float step = 1e-2f;
    for (size_t i = 0; i < count; i++) {
        float kept = x[i];
        x[i] = kept + step;
        double above = function(x, context);
        x[i] = kept - step;
        double below = function(x, context);
        x[i] = kept;
        gradient[i] = (float)((above - below) / (2 * (double)step));
    }
}

static double weigh(const float *dy, const float *y, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)dy[i] * y[i];
    return sum;
}

enum { ROWS = 3, WIDTH = 13 };

typedef struct norm_case {
    float x[ROWS * WIDTH], gain[WIDTH], bias[WIDTH], dy[ROWS * WIDTH];
    bool centred;
} norm_case;

static double norm_of(const norm_case *c)
{
    float y[ROWS * WIDTH];
    if (c->centred)
        forward->layer_norm(y, c->x, c->gain, c->bias, ROWS, WIDTH, 1e-5f);
    else
        forward->rms_norm(y, c->x, c->gain, ROWS, WIDTH, 1e-5f);
    return weigh(c->dy, y, ROWS * WIDTH);
}

static double norm_by_place(const float *x, void *context)
{
    (void)x; // one of the case's own arrays
    return norm_of(context);
}

static void norm_gradients_match_finite_differences(void **state)
{
    (void)state;
    for (int centred = 0; centred < 2; centred++) {
        norm_case c = {.centred = centred};
        fill(c.x, ROWS * WIDTH, 1, 0.3, 1);
        fill(c.gain, WIDTH, 2, 1, 0.3);
        fill(c.bias, WIDTH, 3, 0, 1);
        fill(c.dy, ROWS * WIDTH, 4, 0, 1);
        float dx[ROWS * WIDTH] = {0}, dgain[WIDTH] = {0}, dbias[WIDTH] = {0}, expected[ROWS * WIDTH];
        if (centred)
            truth->layer_norm(dx, dgain, dbias, c.x, c.gain, c.dy, ROWS, WIDTH, 1e-5f);
        else
            truth->rms_norm(dx, dgain, c.x, c.gain, c.dy, ROWS, WIDTH, 1e-5f);
        differentiate(norm_by_place, &c, c.x, ROWS * WIDTH, expected);
        assert_values("norm dx", dx, expected, ROWS * WIDTH, 2e-3);
        differentiate(norm_by_place, &c, c.gain, WIDTH, expected);
        assert_values("norm dgain", dgain, expected, WIDTH, 1e-3);
        differentiate(norm_by_place, &c, c.bias, WIDTH, expected);
        if (centred) assert_values("norm dbias", dbias, expected, WIDTH, 1e-3);
    }
}

typedef struct activation_case {
    float gate[WIDTH], up[WIDTH], dy[WIDTH];
    rrt__mlp_kind kind;
} activation_case;

static void activate(const activation_case *c, float *y)
{
    if (c->kind == RRT__MLP_SILU_GATED)
        forward->silu_mul(y, c->gate, c->up, WIDTH);
    else if (c->kind == RRT__MLP_GELU_GATED)
        forward->gelu_mul(y, c->gate, c->up, WIDTH);
    else
        forward->gelu(y, c->up, WIDTH);
}

static double activation_by_place(const float *x, void *context)
{
    (void)x;
    const activation_case *c = context;
    float y[WIDTH];
    activate(c, y);
    return weigh(c->dy, y, WIDTH);
}

static void activation_gradients_match_finite_differences(void **state)
{
    (void)state;
    for (int kind = 0; kind <= RRT__MLP_GELU; kind++) {
        activation_case c = {.kind = (rrt__mlp_kind)kind};
        fill(c.gate, WIDTH, 1, 0, 1.5);
        fill(c.up, WIDTH, 2, 0, 1.5);
        fill(c.dy, WIDTH, 3, 0, 1);
        float d_gate[WIDTH], d_up[WIDTH], expected[WIDTH];
        differentiate(activation_by_place, &c, c.gate, WIDTH, d_gate);
        differentiate(activation_by_place, &c, c.up, WIDTH, d_up);
        activate(&c, expected);
        if (kind == RRT__MLP_SILU_GATED)
            truth->silu_mul(c.gate, c.up, c.dy, WIDTH);
        else if (kind == RRT__MLP_GELU_GATED)
            truth->gelu_mul(c.gate, c.up, c.dy, WIDTH);
        else
            truth->gelu(c.up, c.dy, WIDTH);
        if (kind != RRT__MLP_GELU) assert_values("d gate", c.gate, d_gate, WIDTH, 1e-3);
        assert_values("d up", c.up, d_up, WIDTH, 1e-3);
        assert_values("activated again", c.dy, expected, WIDTH, 1e-6);
    }
}

enum { VOCAB = 11 };

typedef struct loss_case {
    float teacher[VOCAB];
    int kind; // a divergence, or -1 for cross-entropy
    float temperature;
} loss_case;

static double loss_by_place(const float *x, void *context)
{
    const loss_case *c = context;
    float unused[VOCAB] = {0};
    if (c->kind < 0) return truth->cross_entropy(unused, x, VOCAB, 4, 1);
    return truth->distil[c->kind](unused, x, c->teacher, VOCAB, c->temperature, 1);
}

static void loss_gradients_match_finite_differences(void **state)
{
    (void)state;
    for (int kind = -1; kind < RRT__DIVERGENCE_COUNT; kind++) {
        loss_case c = {.kind = kind, .temperature = 1.5f};
        float logits[VOCAB], gradient[VOCAB] = {0}, expected[VOCAB];
        fill(logits, VOCAB, 1, 0, 2);
        fill(c.teacher, VOCAB, 2, 0, 2);
        if (kind < 0)
            truth->cross_entropy(gradient, logits, VOCAB, 4, 1);
        else
            truth->distil[kind](gradient, logits, c.teacher, VOCAB, c.temperature, 1);
        differentiate(loss_by_place, &c, logits, VOCAB, expected);
        // The total variation has corners.
        assert_values("loss", gradient, expected, VOCAB,
                      kind == RRT__DIVERGENCE_TOTAL_VARIATION ? 2e-2 : 2e-3);
    }
}

// A store that holds every token is the teacher itself; a store of some is a coarser teacher.
static double sparse_by_place(const float *x, void *context)
{
    float unused[VOCAB] = {0}, scratch[VOCAB];
    rrt__logits_cache_row *row = ((void **)context)[0];
    const int *kind = ((void **)context)[1];
    return rrt__sparse_distil(truth, (rrt__divergence_kind)*kind, unused, x, VOCAB, *row, 4, 1, scratch);
}

static void a_cache_of_every_token_teaches_as_the_teacher_does(void **state)
{
    (void)state;
    for (int kind = 0; kind < RRT__DIVERGENCE_COUNT; kind++) {
        float student[VOCAB], teacher[VOCAB], full[VOCAB] = {0}, sparse[VOCAB] = {0}, expected[VOCAB],
                                              scratch[VOCAB];
        uint32_t ids[VOCAB];
        uint16_t log_p[VOCAB];
        fill(student, VOCAB, 1, 0, 2);
        fill(teacher, VOCAB, 2, 0, 2);
        double total = forward->log_sum_exp(teacher, VOCAB);
        for (uint32_t i = 0; i < VOCAB; i++) ids[i] = (i * 7) % VOCAB;
        for (uint32_t i = 0; i < VOCAB; i++) log_p[i] = rrt__f32_to_f16((float)(teacher[ids[i]] - total));
        rrt__logits_cache_row row = {ids, log_p};
        double whole = truth->distil[kind](full, student, teacher, VOCAB, 1, 0.5f);
        double stored = rrt__sparse_distil(truth, (rrt__divergence_kind)kind, sparse, student, VOCAB, row,
                                           VOCAB, 0.5f, scratch);
        assert_near(stored, whole, 5e-3 * fabs(whole));
        assert_values("all stored", sparse, full, VOCAB, 1e-2); // f16 logarithms
        memset(sparse, 0, sizeof sparse);
        stored =
            rrt__sparse_distil(truth, (rrt__divergence_kind)kind, sparse, student, VOCAB, row, 4, 1, scratch);
        assert_true(stored <= whole * 1.005 && stored >= 0);
        void *context[2] = {&row, &kind};
        differentiate(sparse_by_place, context, student, VOCAB, expected);
        assert_values("some stored", sparse, expected, VOCAB,
                      kind == RRT__DIVERGENCE_TOTAL_VARIATION ? 2e-2 : 2e-3);
    }
}

// --- attention

enum {
    TOKENS = 70,
    HEADS = 4,
    KV_HEADS = 2,
    HEAD_DIM = 6,
    Q = TOKENS * HEADS * HEAD_DIM,
    KV = TOKENS * KV_HEADS * HEAD_DIM
};

typedef struct attention_case {
    float q[Q], k[KV], v[KV], dout[Q], out[Q], log_sums[TOKENS * HEADS];
    float *scratch;
    size_t window;
    float cap;
} attention_case;

static rrt__causal whole_of(const attention_case *c)
{
    return (rrt__causal){TOKENS, HEADS, KV_HEADS, HEAD_DIM, c->window, 0.4f, c->cap, c->q, c->k, c->v};
}

static void run_attention(attention_case *c)
{
    rrt__causal whole = whole_of(c);
    for (size_t h = 0; h < HEADS; h++)
        rrt__causal_forward(forward, &whole, h, c->out, c->log_sums, c->scratch);
}

static double attention_by_place(const float *x, void *context)
{
    (void)x;
    attention_case *c = context;
    run_attention(c);
    return weigh(c->dout, c->out, Q);
}

// Row by row, as it is defined.
static void attend_plainly(const attention_case *c, float *out)
{
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t h = 0; h < HEADS; h++) {
            const float *q = c->q + (t * HEADS + h) * HEAD_DIM;
            double weights[TOKENS], total = 0;
            size_t first = c->window && t >= c->window ? t + 1 - c->window : 0;
            for (size_t s = first; s <= t; s++) {
                double score = 0;
                for (size_t d = 0; d < HEAD_DIM; d++)
                    score += (double)q[d] * c->k[(s * KV_HEADS + h / 2) * HEAD_DIM + d];
                score *= 0.4;
                total += weights[s] = exp(c->cap != 0 ? c->cap * tanh(score / c->cap) : score);
            }
            for (size_t d = 0; d < HEAD_DIM; d++) {
                double sum = 0;
                for (size_t s = first; s <= t; s++)
                    sum += weights[s] / total * c->v[(s * KV_HEADS + h / 2) * HEAD_DIM + d];
                out[(t * HEADS + h) * HEAD_DIM + d] = (float)sum;
            }
        }
}

static void check_attention(size_t window, float cap)
{
    attention_case *c = malloc(sizeof *c);
    assert_non_null(c);
    c->window = window;
    c->cap = cap;
    c->scratch = malloc(rrt__causal_scratch(TOKENS) * sizeof(float));
    fill(c->q, Q, 1, 0, 1);
    fill(c->k, KV, 2, 0, 1);
    fill(c->v, KV, 3, 0, 1);
    fill(c->dout, Q, 4, 0, 1);
    float *expected = malloc(Q * sizeof *expected), *dq = calloc(Q, sizeof *dq), *dk = calloc(KV, sizeof *dk),
          *dv = calloc(KV, sizeof *dv);
    attend_plainly(c, expected);
    run_attention(c);
    assert_values("attention", c->out, expected, Q, 1e-5);
    rrt__causal whole = whole_of(c);
    rrt__causal_gradient gradient = {c->out, c->dout, c->log_sums, dq, dk, dv};
    for (size_t h = 0; h < KV_HEADS; h++)
        rrt__causal_backward(forward, truth, &whole, &gradient, h, c->scratch);
    differentiate(attention_by_place, c, c->q, Q, expected);
    assert_values("attention dq", dq, expected, Q, 2e-3);
    differentiate(attention_by_place, c, c->k, KV, expected);
    assert_values("attention dk", dk, expected, KV, 2e-3);
    differentiate(attention_by_place, c, c->v, KV, expected);
    assert_values("attention dv", dv, expected, KV, 2e-3);
    free(expected), free(dq), free(dk), free(dv), free(c->scratch), free(c);
}

static void attention_and_its_gradients_match_their_definition(void **state)
{
    (void)state;
    check_attention(0, 0);
    check_attention(2, 0);
    check_attention(9, 1.5f);
    check_attention(0, 1.5f);
    check_attention(66, 0);
}

static void the_backward_pass_of_rope_undoes_it(void **state)
{
    (void)state;
    // The rotation backwards undoes it: its transpose is its inverse.
    float x[2 * 10], kept[2 * 10], angles[6];
    fill(x, 20, 1, 0, 1);
    memcpy(kept, x, sizeof x);
    for (int i = 0; i < 3; i++) {
        angles[i] = cosf((float)i + 0.3f);
        angles[i + 3] = sinf((float)i + 0.3f);
    }
    forward->rope(x, angles, 2, 10, 6);
    truth->rope(x, angles, 2, 10, 6);
    assert_values("rope", x, kept, 20, 1e-6);
}

// --- variants

static void check_gelu_mul(const rrt__gradient_kernels *k, size_t count)
{
    float *gate = make(count, 1, 0, 2), *up = make(count, 2, 0, 1), *dy = make(count, 3, 0, 1);
    float *gate2 = make(count, 1, 0, 2), *up2 = make(count, 2, 0, 1), *dy2 = make(count, 3, 0, 1);
    truth->gelu_mul(gate, up, dy, count);
    k->gelu_mul(gate2, up2, dy2, count);
    assert_values("gelu d gate", gate2, gate, count, 1e-5);
    assert_values("gelu d up", up2, up, count, 1e-5);
    assert_values("gelu y", dy2, dy, count, 1e-5);
    truth->softcap(dy, up, 3, count);
    k->softcap(dy2, up, 3, count);
    assert_values("softcap d", dy2, dy, count, 1e-5);
    free(gate), free(up), free(dy), free(gate2), free(up2), free(dy2);
}

static void check_rows(const rrt__gradient_kernels *k, size_t width)
{
    size_t count = 4 * width;
    float *x = make(count, 1, 0.2, 1), *gain = make(width, 2, 1, 0.3), *dy = make(count, 3, 0, 1);
    float *a = make(count, 4, 0, 1), *b = make(count, 4, 0, 1);
    float *ga = calloc(2 * width, sizeof *ga), *gb = calloc(2 * width, sizeof *gb);
    truth->rms_norm(a, ga, x, gain, dy, 4, width, 1e-5f);
    k->rms_norm(b, gb, x, gain, dy, 4, width, 1e-5f);
    truth->layer_norm(a, ga, ga + width, x, gain, dy, 4, width, 1e-5f);
    k->layer_norm(b, gb, gb + width, x, gain, dy, 4, width, 1e-5f);
    assert_values("dx", b, a, count, 1e-5);
    assert_values("dgain, dbias", gb, ga, 2 * width, 1e-5);
    truth->silu_mul(a, x, dy, count);
    float *x2 = make(count, 1, 0.2, 1), *dy2 = make(count, 3, 0, 1);
    k->silu_mul(b, x2, dy2, count);
    assert_values("silu d gate", b, a, count, 1e-5);
    assert_values("silu d up", x2, x, count, 1e-5);
    assert_values("silu y", dy2, dy, count, 1e-5);
    truth->gelu(x, dy, count);
    k->gelu(x2, dy2, count);
    assert_values("gelu dx", x2, x, count, 1e-5);
    truth->softmax(x, dy, 2.5f, 0.2f, 0.7f, count);
    k->softmax(x2, dy2, 2.5f, 0.2f, 0.7f, count);
    assert_values("softmax p", x2, x, count, 1e-5);
    assert_values("softmax ds", dy2, dy, count, 1e-5);
    assert_near(k->sum_squares(x, count), truth->sum_squares(x, count), 1e-5 * truth->sum_squares(x, count));
    free(x), free(gain), free(dy), free(a), free(b), free(ga), free(gb), free(x2), free(dy2);
}

static void check_losses(const rrt__gradient_kernels *k, size_t vocab)
{
    float *s = make(vocab, 1, 0, 3), *t = make(vocab, 2, 0, 3);
    for (int kind = -1; kind < RRT__DIVERGENCE_COUNT; kind++) {
        float *a = calloc(vocab, sizeof *a), *b = calloc(vocab, sizeof *b);
        double expected = kind < 0 ? truth->cross_entropy(a, s, vocab, vocab / 2, 0.3f)
                                   : truth->distil[kind](a, s, t, vocab, 1.3f, 0.3f);
        double got = kind < 0 ? k->cross_entropy(b, s, vocab, vocab / 2, 0.3f)
                              : k->distil[kind](b, s, t, vocab, 1.3f, 0.3f);
        assert_near(got, expected, 2e-5 * fabs(expected) + 1e-6);
        assert_values("a loss's gradient", b, a, vocab, 2e-5);
        free(a), free(b);
    }
    free(s), free(t);
}

static void check_adam(const rrt__gradient_kernels *k, size_t count)
{
    const rrt__adam step = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1 / 0.19f, 1 / 0.0975f, 0.5f};
    float *wa = make(count, 1, 0, 1), *wb = make(count, 1, 0, 1), *g = make(count, 2, 0, 1);
    float *ma = make(count, 3, 0, 0.1), *mb = make(count, 3, 0, 0.1);
    float *va = make(count, 4, 0.5, 0.01), *vb = make(count, 4, 0.5, 0.01);
    truth->adam(wa, ma, va, g, count, &step);
    k->adam(wb, mb, vb, g, count, &step);
    assert_values("adam weights", wb, wa, count, 1e-6);
    assert_values("adam mean", mb, ma, count, 1e-6);
    assert_values("adam variance", vb, va, count, 1e-6);
    free(wa), free(wb), free(g), free(ma), free(mb), free(va), free(vb);
}

static void every_variant_matches_its_formula(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 2, 7, 8, 17, 64, 577, 2000};
    const rrt__gradient_kernels *variants[] = {&rrt__gradient_kernels_reference, rrt__gradient_kernels_get()};
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            check_rows(variants[v], widths[i] < 2 ? 2 : widths[i]); // a mean of one value has no gradient
            check_gelu_mul(variants[v], widths[i]);
            check_losses(variants[v], widths[i] + 1);
            check_adam(variants[v], widths[i]);
        }
}

// --- products

typedef struct product {
    float *x, *w, *dy, *dx, *dw;
    size_t rows, out, in;
} product;

static void run_products(rrt__team team, void *argument)
{
    const product *p = argument;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        rrt__gemm_input_gradient_share(team, rrt__products_f32, p->dx, p->dy, p->w, p->rows, p->out, p->in,
                                       accumulate);
        rrt__gemm_weight_gradient_share(team, rrt__products_f32, p->dw, p->dy, p->x, p->rows, p->out, p->in,
                                        accumulate);
        rrt__team_barrier(team);
    }
}

static void product_gradients_match_sums_in_double(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1}, {5, 3, 40}, {40, 17, 5}, {33, 64, 33}, {2, 100, 7}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int threads = 1; threads <= 3; threads++) {
            size_t rows = shapes[i][0], out = shapes[i][1], in = shapes[i][2];
            product p = {make(rows * in, 1, 0, 1),
                         make(out * in, 2, 0, 1),
                         make(rows * out, 3, 0, 1),
                         make(rows * in, 4, 0, 1),
                         make(out * in, 5, 0, 1),
                         rows,
                         out,
                         in};
            rrt__team_run(threads, run_products, &p);
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < in; c++) {
                    double sum = 0;
                    for (size_t o = 0; o < out; o++) sum += (double)p.dy[r * out + o] * p.w[o * in + c];
                    assert_near((double)p.dx[r * in + c], 2 * sum, 1e-3);
                }
            for (size_t o = 0; o < out; o++)
                for (size_t c = 0; c < in; c++) {
                    double sum = 0;
                    for (size_t r = 0; r < rows; r++) sum += (double)p.dy[r * out + o] * p.x[r * in + c];
                    assert_near((double)p.dw[o * in + c], 2 * sum, 1e-3);
                }
            free(p.x), free(p.w), free(p.dy), free(p.dx), free(p.dw);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_gradients_match_finite_differences),
        cmocka_unit_test(activation_gradients_match_finite_differences),
        cmocka_unit_test(loss_gradients_match_finite_differences),
        cmocka_unit_test(a_cache_of_every_token_teaches_as_the_teacher_does),
        cmocka_unit_test(attention_and_its_gradients_match_their_definition),
        cmocka_unit_test(the_backward_pass_of_rope_undoes_it),
        cmocka_unit_test(every_variant_matches_its_formula),
        cmocka_unit_test(product_gradients_match_sums_in_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
