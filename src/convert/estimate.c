// What a conversion takes, by counting: operations of matrix products, eigenvectors, and values that are
// read one by one (kernels/speed.h), step by step as tie.c, low_rank.c, moments.c, reconstruct.c and
// prune.c take them. Products of triangles count as whole ones, as their speed is about half.
#include "convert/convert.h"
#include "convert/prune.h"
#include "convert/tie.h"
#include "kernels/speed.h"
#include "model/parameters.h"

enum {
    PASSES = 6,             // over the values of a matrix, for each depth of a plain tie
    FIXED_BYTES = 48 << 20, // the program, its libraries and their buffers
};

// Of the candidates for leaving out the most are never measured again; about so many are, for each layer
// that goes.
static const double MEASURED_SHARE = 0.25;

typedef struct estimate {
    const rrt_model *source;
    const rrt__recipe *recipe;
    rrt__operations work;
    double tie_floats; // of the largest tie at work
    double rank;       // of every LoRA, on average where a budget is spent
} estimate;

typedef struct sides {
    double out, in, min;
} sides;

static sides sides_of(const estimate *e, int m)
{
    size_t out, in;
    rrt__shape_matrix(&e->source->shape, m, &out, &in);
    return (sides){(double)out, (double)in, (double)(out < in ? out : in)};
}

static bool has(const estimate *e, int m)
{
    return rrt__family_has(e->source->family, m);
}

static double cube(double n)
{
    return n * n * n;
}

static int users_of(const estimate *e, int slot)
{
    int users = 0;
    for (int d = 0; d < e->recipe->plan.n_depths; d++) users += e->recipe->plan.slot[d] == slot;
    return users;
}

static double rank_of(const estimate *e, sides s)
{
    return e->rank < s.min ? e->rank : s.min;
}

// rrt__low_rank, whose eigenvectors come from one thread.
static void add_low_rank(estimate *e, sides s, double rank, bool alone)
{
    e->work.product += 2 * s.min * s.out * s.in + 2 * rank * s.out * s.in;
    *(alone ? &e->work.eigen_alone : &e->work.eigen) += cube(s.min);
}

static void add_plain_tie(estimate *e, sides s, int n)
{
    double rank = rank_of(e, s);
    e->work.elements += n * PASSES * s.out * s.in;
    for (int l = 0; l < n && rank > 0; l++) add_low_rank(e, s, rank, false);
}

static void add_calibrated_tie(estimate *e, sides s, int n, int rounds)
{
    double rank = rank_of(e, s), steps = rounds > 1 ? RRT__TIE_FIRST_STEPS + rounds - 2 : 0,
           square = s.in * s.in;
    double alone = n * 2 * s.out * square + cube(s.in) / 3 + 2 * 2 * s.out * square,
           step = 2 * rank * (square + 2 * s.out * s.in) + 4 * rank * rank * s.out,
           shared = 2 * rank * (square + 2 * square + s.out * s.in),
           last = cube(s.in) / 3 + 2 * s.out * square;
    e->work.product += alone + n * last;
    e->work.elements += n * (4 * s.out * s.in + 2 * square);
    if (rank == 0) return;
    e->work.product += n * (steps * step + (rounds - 1) * shared + 2 * rank * square);
    for (int l = 0; l < n; l++) add_low_rank(e, s, rank, false);
}

// What tells where ranks gain most.
static void add_spectra(estimate *e, sides s, int n)
{
    e->work.product += (n + 2) * 2 * s.out * s.in * s.in + (n + 1) * cube(s.in) / 3;
    e->work.eigen += n * cube(s.min);
}

static void add_ties(estimate *e, int rounds)
{
    bool calibrated = e->recipe->init == RRT_INIT_CALIBRATED;
    for (int slot = 0; slot < e->recipe->plan.n_slots; slot++) {
        int n = users_of(e, slot);
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            if (!has(e, m) || n < 2) continue;
            sides s = sides_of(e, m);
            double moments = calibrated ? (n + 2) * s.in * s.in + 2 * s.out * s.in : 0,
                   floats = 3 * s.out * s.in + 2 * s.min * s.min + s.min * s.in + moments;
            if (floats > e->tie_floats) e->tie_floats = floats;
            if (calibrated)
                add_calibrated_tie(e, s, n, rounds);
            else
                add_plain_tie(e, s, n);
            if (e->recipe->lora_budget) add_spectra(e, s, n);
        }
    }
}

// Operations of one layer per token, attention over a window of that many tokens included.
static double layer_operations(const estimate *e, double window)
{
    return rrt__shape_layer_operations(e->source->family, &e->source->shape, window);
}

static void add_moments(estimate *e, double tokens)
{
    const rrt__shape *s = &e->source->shape;
    double q = (double)(s->heads * s->head_dim), h = (double)s->hidden, f = (double)s->ffn;
    e->work.product += e->source->plan.n_depths * tokens *
                       (layer_operations(e, RRT__TRACE_WINDOW) + 2 * (2 * h * h + q * q + f * f));
}

static void add_refit(estimate *e, int m, double tokens, bool unshared)
{
    sides s = sides_of(e, m);
    double rank = rank_of(e, s);
    e->work.product += 2 * tokens * s.out * s.in; // what it gives now
    if (!unshared && rank == 0) return;
    e->work.product +=
        2 * tokens * (s.in * s.in / 2 + s.out * s.in) + cube(s.in) / 3 + 4 * s.out * s.in * s.in;
    if (!unshared) add_low_rank(e, s, rank, true);
}

static void add_reconstruction(estimate *e, double tokens)
{
    const rrt__plan *plan = &e->recipe->plan;
    double seen = (double)rrt__convert_seen((size_t)tokens), layer = layer_operations(e, RRT__TRACE_WINDOW);
    if (rrt__family_has_norm(e->source->family, RRT__NORM_AFTER_MLP)) return;
    for (int d = 0; d < plan->n_depths; d++) {
        e->work.product += (tokens - seen) * layer;
        if (d < plan->prelude) continue;
        e->work.product += tokens * layer;
        add_refit(e, RRT__MATRIX_O, tokens, d >= plan->n_depths - plan->coda);
        add_refit(e, RRT__MATRIX_DOWN, tokens, d >= plan->n_depths - plan->coda);
    }
}

static void add_choice_of_layers(estimate *e)
{
    const rrt__shape *s = &e->source->shape;
    double layer = layer_operations(e, RRT__PRUNE_WINDOW), tokens = (double)e->recipe->n_ids,
           head = 2 * (double)s->hidden * (double)s->vocab / RRT__PRUNE_JUDGED_STEP;
    int all = e->source->plan.n_depths;
    double measured = all;
    for (int n = all - 1; n > e->recipe->n_layers; n--) measured += 1 + MEASURED_SHARE * n;
    e->work.product += tokens * (measured + 1) * (layer * all / 2 + head) + tokens * layer * all;
    e->work.elements += tokens / RRT__PRUNE_JUDGED_STEP * measured * 4 * (double)s->vocab;
}

// --- the whole

static uint64_t embedding_of(const estimate *e)
{
    const rrt__shape *s = &e->source->shape;
    return (uint64_t)s->vocab * s->hidden * (s->tied_head ? 1 : 2);
}

// Sum of out + in over all matrices that get a LoRA: parameters per rank.
static double price_of_rank(const estimate *e)
{
    return (double)rrt__shape_lora_parameters(e->source->family, &e->source->shape, &e->recipe->plan, 1);
}

static void count_parameters(estimate *e, rrt_convert_forecast *f)
{
    const rrt__recipe *r = e->recipe;
    uint64_t plain = rrt__shape_parameters(e->source->family, &e->source->shape, &r->plan, r->norms),
             lora = rrt__shape_lora_parameters(e->source->family, &e->source->shape, &r->plan, r->rank);
    f->params_lora = r->lora_budget ? r->lora_budget : lora;
    f->params_total = plain + f->params_lora;
    f->params_body = f->params_total - embedding_of(e);
}

static uint64_t peak_bytes(const estimate *e, const rrt_convert_forecast *f, int threads)
{
    const rrt_model *source = e->source;
    const rrt__shape *s = &source->shape;
    double hidden = (double)s->hidden, q = (double)(s->heads * s->head_dim), ffn = (double)s->ffn,
           layers = source->plan.n_depths, tokens = (double)e->recipe->n_ids;
    rrt_model_info info;
    rrt_model_describe(source, &info);
    double whole = 4 * (double)info.params_total, ties = 4 * e->tie_floats * threads;
    double fixed = FIXED_BYTES;
    if (e->recipe->by_text)
        return (uint64_t)(fixed + whole +
                          4 * tokens * (layers * hidden + (double)s->vocab / RRT__PRUNE_JUDGED_STEP));
    if (e->recipe->init != RRT_INIT_CALIBRATED)
        return (uint64_t)(fixed + 4 * (double)f->params_lora +
                          ties); // what is read of the source is given back
    double trace = 4 * 2 * layers * (double)rrt__convert_seen(e->recipe->n_ids) * hidden,
           moments = 4 * layers * (2 * hidden * hidden + q * q + ffn * ffn),
           refit = 4 * (tokens * (4 * hidden + q + ffn) + 3 * ffn * ffn + 8 * hidden * ffn);
    return (uint64_t)(fixed + whole + 4 * (double)f->params_total + trace +
                      (moments + ties > refit ? moments + ties : refit));
}

rrt_status rrt_convert_estimate(const rrt_model *source, const rrt_convert_options *options,
                                uint64_t target_body, rrt_convert_forecast *forecast, rrt_error *err)
{
    const rrt_convert_options defaults = {0}, *o = options ? options : &defaults;
    rrt__recipe recipe;
    rrt__speed speed;
    estimate e = {.source = source, .recipe = &recipe};
    size_t plans = 1;
    RRT__TRY(target_body ? rrt__search_first(&recipe, &plans, source, o, target_body, err)
                         : rrt__recipe_resolve(&recipe, source, o, err));
    RRT__TRY(rrt__speed_measure(&speed, 512, source->shape.hidden, o->threads, err));
    bool calibrated = recipe.init == RRT_INIT_CALIBRATED;
    double price = price_of_rank(&e);
    e.rank = recipe.lora_budget ? (price > 0 ? (double)recipe.lora_budget / price : 0) : (double)recipe.rank;
    *forecast = (rrt_convert_forecast){.sharing = rrt__sharing_name(recipe.plan.sharing),
                                       .loops = recipe.plan.loops,
                                       .layers_per_block = recipe.plan.layers_per_block,
                                       .prelude = recipe.plan.prelude,
                                       .coda = recipe.plan.coda,
                                       .plans = plans};
    count_parameters(&e, forecast);
    if (recipe.by_text) add_choice_of_layers(&e);
    if (calibrated) add_moments(&e, (double)rrt__convert_seen(recipe.n_ids));
    if (!recipe.keeps) add_ties(&e, recipe.rounds);
    if (calibrated) add_reconstruction(&e, (double)recipe.n_ids);
    forecast->seconds = rrt__operations_seconds(&e.work, &speed);
    if (plans > 1) {
        e.work = (rrt__operations){0};
        add_ties(&e, RRT__SEARCH_ROUNDS);
        add_reconstruction(&e, 0.75 * (double)recipe.n_ids);
        forecast->seconds += (double)plans * rrt__operations_seconds(&e.work, &speed);
    }
    forecast->peak_bytes = peak_bytes(&e, forecast, speed.threads);
    return RRT_STATUS_OK;
}
