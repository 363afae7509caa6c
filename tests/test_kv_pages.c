// Keys and values in pages: what is stored where, and attention over it, for every type and variant.
#include "base/half.h"
#include "kernel_checks.h"

// --- keys and values in pages
// ------------------------------------------------------------------------------------------

enum {
    PAGES = 20, // more than two splits
    STORED = 3 * RRT__PAGE_TOKENS,
};

static const rrt__kv_types all_types[] = {{RRT__KV_TYPE_F16, RRT__KV_TYPE_F16},
                                          {RRT__KV_TYPE_F32, RRT__KV_TYPE_F32},
                                          {RRT__KV_TYPE_Q8_0, RRT__KV_TYPE_Q8_0},
                                          {RRT__KV_TYPE_F16, RRT__KV_TYPE_Q8_0},
                                          {RRT__KV_TYPE_Q8_0, RRT__KV_TYPE_F32}};
enum { TYPES = sizeof all_types / sizeof *all_types };

// Two K/V heads, with room before, between and after their keys and values; what no token filled is NaN.
typedef struct cache {
    unsigned char *pages[PAGES];
    rrt__kv_view views[2];
    size_t page_bytes;
} cache;

static void make_cache(cache *c, size_t head_dim, rrt__kv_types types)
{
    enum { BEFORE = 20, BETWEEN = 12 };
    size_t keys = rrt__kv_bytes(types.key, head_dim), values = rrt__kv_bytes(types.value, head_dim);
    c->page_bytes = BEFORE;
    for (int h = 0; h < 2; h++) {
        c->views[h] =
            (rrt__kv_view){c->pages, c->page_bytes, c->page_bytes + keys + BETWEEN, head_dim, types};
        c->page_bytes += keys + BETWEEN + values;
    }
    for (size_t p = 0; p < PAGES; p++) {
        c->pages[p] = malloc(c->page_bytes);
        assert_non_null(c->pages[p]);
        memset(c->pages[p], 0xff, c->page_bytes);
    }
}

static void free_cache(cache *c)
{
    for (size_t p = 0; p < PAGES; p++) free(c->pages[p]);
}

static void fill_cache(cache *c, const rrt__kernels *k, size_t n_tokens, double key_deviation)
{
    size_t head_dim = c->views[0].head_dim;
    for (size_t t = 0; t < n_tokens; t++) {
        float *key = make(head_dim, 100 + t, 0, key_deviation), *value = make(head_dim, 200 + t, 0, 1);
        k->kv_store(c->views[0], t, key, value);
        free(key), free(value);
    }
}

static double in_f16(float x)
{
    if (isfinite(x)) x = fmaxf(-65504, fminf(x, 65504));
    return rrt__f16_to_f32(rrt__f32_to_f16(x)); // held to numpy in test_dtype
}

// What a type has of number d of a token.
static double stored(const float *x, size_t d, size_t head_dim, rrt__kv_type type)
{
    if (type == RRT__KV_TYPE_F32) return x[d];
    if (type == RRT__KV_TYPE_F16) return in_f16(x[d]);
    size_t begin = d / RRT__KV_BLOCK * RRT__KV_BLOCK, end = begin + RRT__KV_BLOCK;
    float largest = 0;
    for (size_t i = begin; i < end && i < head_dim; i++) largest = fmaxf(largest, fabsf(x[i]));
    float scale = (float)in_f16(largest / 127);
    return scale > 0 ? fmax(-127, fmin(127, nearbyintf(x[d] / scale))) * scale : 0;
}

static void assert_number(const rrt__kernels *k, double got, double expected)
{
    if (got != expected && !(isnan(got) && isnan(expected)))
        fail_msg("%s: %.9g is stored, not %.9g", k->name, got, expected);
}

static void assert_token(const rrt__kernels *k, const rrt__kv_view *view, size_t at, const float *key,
                         const float *value)
{
    for (size_t d = 0; d < view->head_dim; d++) {
        assert_number(k, truth_key(view, at, d), stored(key, d, view->head_dim, view->types.key));
        assert_number(k, truth_value(view, at, d), stored(value, d, view->head_dim, view->types.value));
    }
}

static size_t count_filled(const cache *c)
{
    size_t count = 0;
    for (int h = 0; h < 2; h++)
        for (size_t t = 0; t < STORED; t++)
            for (size_t d = 0; d < c->views[h].head_dim; d++)
                count += !isnan(truth_key(&c->views[h], t, d)) + !isnan(truth_value(&c->views[h], t, d));
    return count;
}

// A token is where it belongs and nowhere else; then also at another head.
static void check_store(const rrt__kernels *k, size_t head_dim, rrt__kv_types type, double deviation)
{
    for (size_t at = 0; at < STORED; at += 7) {
        cache c;
        float *key = make(head_dim, 21, 0, deviation), *value = make(head_dim, 22, 0, deviation);
        make_cache(&c, head_dim, type);
        k->kv_store(c.views[0], at, key, value);
        assert_token(k, &c.views[0], at, key, value);
        assert_int_equal(count_filled(&c), 2 * head_dim);
        k->kv_copy(c.views[1], c.views[0], at);
        assert_token(k, &c.views[1], at, key, value);
        assert_int_equal(count_filled(&c), 4 * head_dim);
        free_cache(&c);
        free(key), free(value);
    }
}

// Ties, the ends of f16's range, and what is beyond it.
static void check_store_of_limits(const rrt__kernels *k)
{
    const struct {
        float x, f16;
    } cases[] = {{1 + 0x1p-11f, 1},
                 {1 + 3 * 0x1p-11f, 1 + 0x1p-9f},
                 {1 + 0x1.002p-11f, 1 + 0x1p-10f},
                 {0x1p-24f, 0x1p-24f},
                 {0x1p-25f, 0},
                 {0x1.8p-24f, 0x1p-23f},
                 {0x1.ff8p-15f, 0x1.ff8p-15f},
                 {0x1.ffcp-15f, 0x1p-14f},
                 {65504, 65504},
                 {65519, 65504},
                 {65520, 65504},
                 {1e30f, 65504},
                 {-70000, -65504},
                 {INFINITY, INFINITY},
                 {-INFINITY, -INFINITY},
                 {NAN, NAN}};
    enum { COUNT = sizeof cases / sizeof *cases };
    float x[COUNT];
    cache c;
    for (int i = 0; i < COUNT; i++) x[i] = cases[i].x;
    make_cache(&c, COUNT, all_types[0]);
    k->kv_store(c.views[0], 9, x, x);
    for (size_t i = 0; i < COUNT; i++) {
        assert_number(k, truth_key(&c.views[0], 9, i), cases[i].f16);
        assert_number(k, truth_value(&c.views[0], 9, i), cases[i].f16);
    }
    free_cache(&c);
}

static void check_stores(const rrt__kernels *k)
{
    for (int d = 0; d < HEAD_DIM_COUNT; d++)
        for (int type = 0; type < TYPES; type++) {
            check_store(k, head_dims[d], all_types[type], 1);
            check_store(k, head_dims[d], all_types[type], 1e-6); // subnormal in f16
            check_store(k, head_dims[d], all_types[type], 1e5);
        }
    check_store_of_limits(k);
}

static void tokens_are_stored_where_they_belong(void **state)
{
    (void)state;
    each_variant(check_stores);
}

// --- attention
// -----------------------------------------------------------------------------------------------------

enum { MANY = 14 }; // queries: two tiles, and a part of one

// Attention of some queries, split after split; or with each split alone, merged afterwards. out: [count,
// head_dim]
static void run_attention(const rrt__kernels *k, float *out, const rrt__query *queries, size_t count,
                          const rrt__kv_view *kv, rrt__scoring scoring, bool merges)
{
    size_t head_dim = kv->head_dim;
    float *values = make(MANY * head_dim, 14, 0, 0);
    rrt__seen seen[MANY], alone[MANY];
    memset(out, 0, count * head_dim * sizeof *out);
    for (size_t i = 0; i < count; i++) seen[i] = (rrt__seen){0, 0, out + i * head_dim};
    for (size_t split = 0; split * RRT__KV_SPLIT < PAGES * RRT__PAGE_TOKENS; split++) {
        memset(values, 0, MANY * head_dim * sizeof *values);
        for (size_t i = 0; i < count; i++) alone[i] = (rrt__seen){0, 0, values + i * head_dim};
        k->attend(merges ? alone : seen, queries, count, *kv, &scoring, split);
        for (size_t i = 0; merges && i < count; i++) k->merge_seen(&seen[i], &alone[i], head_dim);
    }
    for (size_t i = 0; i < count * head_dim; i++) out[i] *= 1.0f / seen[i / head_dim].total;
    free(values);
}

static void check_attention_to(const rrt__kernels *k, rrt__kv_types type, size_t first, size_t n_tokens,
                               size_t head_dim, double score_deviation, float cap)
{
    const rrt__scoring scoring = {1 / sqrtf((float)head_dim), cap};
    cache c;
    make_cache(&c, head_dim, type);
    fill_cache(&c, k, n_tokens, score_deviation);
    float *vector = make(head_dim, 13, 0, 1), *got = make(head_dim, 14, 0, 1),
          *expected = make(head_dim, 14, 0, 1);
    const rrt__query query = {vector, first, n_tokens};
    truth_attention(expected, &query, &c.views[0], &scoring);
    run_attention(k, got, &query, 1, &c.views[0], scoring, false);
    // A score of size s is known to about s · 2^-23 a few times over, and e^score no better. Values are of
    // order 3.
    assert_close(k, "attention", got, expected, head_dim, 1e-6, 2e-6 + 3e-6 * score_deviation);
    for (size_t d = 0; n_tokens == 1 && d < head_dim; d++)
        assert_near(got[d], truth_value(&c.views[0], 0, d), 1e-6 * fabs(got[d]));
    free_cache(&c);
    free(vector), free(got), free(expected);
}

static void check_attention_of(const rrt__kernels *k, size_t first, size_t n_tokens, size_t head_dim,
                               double score_deviation, float cap)
{
    for (int type = 0; type < TYPES; type++)
        check_attention_to(k, all_types[type], first, n_tokens, head_dim, score_deviation, cap);
}

static void check_attention(const rrt__kernels *k, size_t n_tokens, size_t head_dim, double score_deviation)
{
    check_attention_of(k, 0, n_tokens, head_dim, score_deviation, 0);
}

// What is no number is seen in all types; what f16 has no room for does no harm. (A key of -infinity is of a
// token that nobody looks at, but for q8_0.)
static void check_attention_to_limits(const rrt__kernels *k, rrt__kv_types type)
{
    const float one = 1, huge = 1e5f, bad[] = {NAN, INFINITY, -INFINITY};
    const rrt__query query = {&one, 0, 3};
    float out;
    for (int i = 0; i < 8; i++) {
        cache c;
        make_cache(&c, 1, type);
        for (size_t t = 0; t < 3; t++) k->kv_store(c.views[0], t, &one, &one);
        k->kv_store(c.views[0], 1,
                    i < 3    ? &bad[i]
                    : i == 3 ? &huge
                             : &one,
                    i > 4    ? &bad[i - 5]
                    : i == 4 ? &huge
                             : &one);
        run_attention(k, &out, &query, 1, &c.views[0], (rrt__scoring){1, 0}, false);
        bool is_hidden = i == 2 && type.key != RRT__KV_TYPE_Q8_0;
        assert_int_equal(isfinite(out) != 0, i == 3 || i == 4 || is_hidden);
        free_cache(&c);
    }
}

static void check_attentions(const rrt__kernels *k)
{
    for (int type = 0; type < TYPES; type++) check_attention_to_limits(k, all_types[type]);
    for (int d = 0; d < HEAD_DIM_COUNT; d++)
        for (size_t n = 1; n <= 40; n++) {
            check_attention(k, n, head_dims[d], 0); // an even mean
            check_attention(k, n, head_dims[d], 1);
            check_attention(k, n, head_dims[d], 30);   // gaps past what e^x can hold in f32
            check_attention(k, n, head_dims[d], 1000); // one token takes all
        }
    check_attention(k, 17, 33, 1);
    check_attention(k, 17, 100, 1); // lines of all kinds
    check_attention(k, 48, 1, 1);
    for (size_t first = 0; first < 40; first++) { // a window, from anywhere in a page
        check_attention_of(k, first, 40, 33, 1, 0);
        check_attention_of(k, first, first + 1, 8, 1, 0);
        check_attention_of(k, first, 40, 33, 30, 50);
    }
    for (size_t n = RRT__KV_SPLIT - 1; n <= PAGES * RRT__PAGE_TOKENS; n += 27) // several splits
        for (size_t first = 0; first < n; first += 59) {
            check_attention_of(k, first, n, 64, 1, 0);
            check_attention_of(k, first, n, 20, 30, 50);
        }
}

// Queries get the same bits alone, beside any others, and with their splits merged.
static void check_queries_beside_each_other(const rrt__kernels *k)
{
    const size_t dims[] = {20, 64, 80};
    const rrt__scoring scoring = {0.3f, 0};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (int type = 0; type < TYPES; type++) {
            size_t head_dim = dims[d];
            cache c;
            rrt__query queries[MANY];
            float *vectors = make(MANY * head_dim, 1, 0, 3), *alone = make(MANY * head_dim, 1, 0, 0),
                  *got = make(MANY * head_dim, 1, 0, 0);
            make_cache(&c, head_dim, all_types[type]);
            fill_cache(&c, k, PAGES * RRT__PAGE_TOKENS - 3, 1);
            for (size_t i = 0; i < MANY; i++) {
                size_t end = i < 7 ? 120 + 3 * i : PAGES * RRT__PAGE_TOKENS - 3 - i;
                queries[i] = (rrt__query){vectors + i * head_dim, i % 3 == 2 ? end - 30 : 0, end};
                run_attention(k, alone + i * head_dim, &queries[i], 1, &c.views[0], scoring, false);
            }
            for (size_t count = 1; count <= MANY; count++) {
                run_attention(k, got, queries, count, &c.views[0], scoring, count % 2);
                assert_same_bits(k, "queries side by side", got, alone, count * head_dim);
                run_attention(k, got, queries + MANY - count, count, &c.views[0], scoring, count % 2 == 0);
                assert_same_bits(k, "queries side by side", got, alone + (MANY - count) * head_dim,
                                 count * head_dim);
            }
            free_cache(&c);
            free(vectors), free(alone), free(got);
        }
}

static void queries_do_not_depend_on_their_neighbours(void **state)
{
    (void)state;
    each_variant(check_queries_beside_each_other);
}

static void attention_over_pages_matches_its_formula(void **state)
{
    (void)state;
    each_variant(check_attentions);
}

// --- the same bits from every table
// -----------------------------------------------------------------------------------

enum { SEEN = PAGES * RRT__PAGE_TOKENS - 3, MAX_VALUES = 2000000 };

// What stands in pages, and what attention makes of it.
static float *run_pages(const rrt__kernels *k, float *out, const float *query, size_t head_dim,
                        rrt__kv_types type)
{
    cache c;
    make_cache(&c, head_dim, type);
    fill_cache(&c, k, SEEN, 1);
    for (int cap = 0; cap < 2; cap++, out += head_dim)
        run_attention(k, out, &(rrt__query){query, cap ? 5 : 0, SEEN}, 1, &c.views[0],
                      (rrt__scoring){0.2f, cap ? 3 : 0}, false);
    for (size_t p = 0; p < PAGES; p++, out += c.page_bytes / sizeof *out)
        memcpy(out, c.pages[p], c.page_bytes / sizeof *out * sizeof *out);
    free_cache(&c);
    return out;
}

static size_t run_all(const rrt__kernels *k, float *out)
{
    float *query = make(100, 1, 0, 3), *at = out;
    for (int type = 0; type < TYPES; type++)
        for (size_t head_dim = 20; head_dim <= 100; head_dim += 20)
            at = run_pages(k, at, query, head_dim, all_types[type]);
    free(query);
    return (size_t)(at - out);
}

static void every_table_gives_the_same_bits(void **state)
{
    (void)state;
    float *expected = make(MAX_VALUES, 1, 0, 0), *got = make(MAX_VALUES, 1, 0, 0);
    size_t count = run_all(&rrt__kernels_reference, expected);
    assert_true(count < MAX_VALUES);
    for (size_t v = 0; v < VARIANT_COUNT; v++) {
        if (!rrt__kernels_can_run(variants[v])) continue;
        run_all(variants[v], got);
        assert_same_bits(variants[v], "pages", got, expected, count);
    }
    free(expected);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_stored_where_they_belong),
        cmocka_unit_test(attention_over_pages_matches_its_formula),
        cmocka_unit_test(queries_do_not_depend_on_their_neighbours),
        cmocka_unit_test(every_table_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
