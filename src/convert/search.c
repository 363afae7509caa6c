// The search for a plan: convert and reconstruct, measure the KL, keep the best (ours; the paper fixes its
// plans by hand). The ties' loss before the reconstruction does not predict the KL: of SmolLM2's plans at 60
// %, the one with the lowest loss (3 x 10, 7.6 %) has a KL of 4.3, the best (1 + 3 x 9 + 2, 8.2 %) one of
// 2.9, and 1 + 2 x 14 + 1 (8.4 %) one of 7.0.
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "convert/convert.h"
#include "convert/reconstruct.h"
#include "model/parameters.h"
#include "rrt/eval.h"

enum {
    MAX_CANDIDATES = 64,
    MIN_TOKENS = 8,       // a quarter of them must make a text
    JUDGE_TOKENS = 1024,  // held back from calibration
    MAX_SEARCH_LOOPS = 3, // if --loops is not given
};

typedef struct search {
    const rrt_model *source;
    rrt__recipe recipe; // of all candidates, without the plan and the LoRA budget
    int loops;          // 0: try 2 and 3
    rrt__sharing sharing;
    uint64_t target;
    rrt__moments moments;
    rrt__trace trace;
    const int32_t *judge_ids;
    size_t judge_count;
    rrt_convert_candidate *candidates;
    size_t count, expected; // plans tried; how many there will be, for progress
} search;

static uint64_t body_of(const search *s, const rrt_convert_candidate *candidate)
{
    rrt__plan plan;
    const rrt__shape *shape = &s->source->shape;
    if (rrt__plan_make(&plan, s->sharing, candidate->loops, candidate->layers_per_block, candidate->prelude,
                       candidate->coda, NULL))
        return UINT64_MAX;
    uint64_t embedding = (uint64_t)shape->vocab * shape->hidden * (shape->tied_head ? 1 : 2);
    return rrt__shape_parameters(s->source->family, shape, &plan, s->recipe.norms) - embedding;
}

static bool is_known(const search *s, const rrt_convert_candidate *c)
{
    for (size_t i = 0; i < s->count; i++) {
        const rrt_convert_candidate *k = &s->candidates[i];
        if (k->loops == c->loops && k->prelude == c->prelude && k->coda == c->coda) return true;
    }
    return false;
}

// Converts a candidate and reconstructs it on the first `tokens` tokens of the text.
static rrt_status convert(const search *s, const rrt_convert_candidate *c, size_t tokens, int rounds,
                          const rrt_progress *progress, rrt_model **out, rrt_convert_report *report,
                          rrt_error *err)
{
    rrt__recipe r = s->recipe;
    r.lora_budget = c->lora_budget;
    r.progress = progress;
    r.n_ids = tokens;
    r.rounds = rounds;
    RRT__TRY(rrt__plan_make(&r.plan, s->sharing, c->loops, c->layers_per_block, c->prelude, c->coda, err));
    RRT__TRY(rrt__convert_make(out, s->source, &r, &s->moments, report, err));
    rrt_status status = rrt__convert_reconstruct(*out, s->source, &s->trace, &r, err);
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    if (report) rrt_convert_report_free(report);
    return status;
}

// Reconstructs on the tokens of the trace, where the original need not run again, then measures the KL.
static rrt_status measure(const search *s, rrt_convert_candidate *c, rrt_error *err)
{
    rrt_eval_options eval = {.threads = s->recipe.threads};
    rrt_eval_kl_result result;
    rrt_model_info info;
    rrt_model *model;
    RRT__TRY(convert(s, c, s->trace.tokens, RRT__SEARCH_ROUNDS, NULL, &model, NULL, err));
    rrt_model_describe(model, &info);
    c->params_body = info.params_body;
    rrt_status status = rrt_eval_kl(model, s->source, s->judge_ids, s->judge_count, &eval, &result, err);
    rrt_model_close(model);
    if (!status) c->kl = result.kl;
    return status;
}

static rrt_status judge(search *s, rrt_convert_candidate *c, rrt_error *err)
{
    rrt_error why = {0};
    rrt_status status = measure(s, c, &why);
    c->failed = status == RRT_STATUS_NUMERIC;
    if (c->failed) c->params_body = body_of(s, c) + c->lora_budget;
    if (status && !c->failed && err) *err = why;
    if (status && !c->failed) return status;
    s->count++;
    if (s->expected < s->count) s->expected = s->count;
    return rrt__progress_report(s->recipe.progress, "search", (double)s->count, (double)s->expected, err);
}

// Judges a plan if it is possible, small enough and new, and spends the rest of the target on LoRA. *tried:
// the new candidate, or NULL.
static rrt_status try_plan(search *s, int loops, int prelude, int coda, const rrt_convert_candidate **tried,
                           rrt_error *err)
{
    int middle = s->source->plan.n_depths - prelude - coda;
    *tried = NULL;
    if (prelude < 0 || coda < 0 || middle < loops || middle % loops || s->count == MAX_CANDIDATES)
        return RRT_STATUS_OK;
    rrt_convert_candidate *c = &s->candidates[s->count];
    *c = (rrt_convert_candidate){
        .loops = loops, .layers_per_block = middle / loops, .prelude = prelude, .coda = coda};
    uint64_t body = body_of(s, c);
    if (body > s->target || is_known(s, c)) return RRT_STATUS_OK;
    c->lora_budget = s->target - body;
    RRT__TRY(judge(s, c, err));
    *tried = c;
    return RRT_STATUS_OK;
}

// Number of plans of up to `block` layers per block, with the other layers split evenly between prelude
// and coda.
static size_t count_plans(const search *s, int loops, int block)
{
    size_t count = 0;
    for (; block > 0; block--) {
        int ends = s->source->plan.n_depths - block * loops;
        rrt_convert_candidate c = {
            .loops = loops, .layers_per_block = block, .prelude = ends / 2, .coda = ends - ends / 2};
        count += body_of(s, &c) <= s->target;
    }
    return count;
}

// From the longest block to shorter ones while the KL falls, with an even split between prelude and coda.
static rrt_status try_loops(search *s, int loops, rrt_error *err)
{
    int n_layers = s->source->plan.n_depths;
    const rrt_convert_candidate *c, *before = NULL;
    for (int block = n_layers / loops; block > 0; block--) {
        int ends = n_layers - block * loops;
        RRT__TRY(try_plan(s, loops, ends / 2, ends - ends / 2, &c, err));
        if (c && before && !c->failed && c->kl > before->kl) {
            s->expected -= count_plans(s, loops, block - 1);
            break;
        }
        if (c && !c->failed) before = c;
    }
    return RRT_STATUS_OK;
}

static const rrt_convert_candidate *best_of(const search *s)
{
    const rrt_convert_candidate *best = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const rrt_convert_candidate *c = &s->candidates[i];
        if (!c->failed && (!best || c->kl < best->kl)) best = c;
    }
    return best;
}

// Moves unshared layers from one end to the other while the KL falls.
static rrt_status climb(search *s, rrt_error *err)
{
    const rrt_convert_candidate *best = best_of(s), *before = NULL, *tried;
    while (best && best != before) {
        before = best;
        RRT__TRY(try_plan(s, best->loops, best->prelude + 1, best->coda - 1, &tried, err));
        RRT__TRY(try_plan(s, best->loops, best->prelude - 1, best->coda + 1, &tried, err));
        best = best_of(s);
    }
    return RRT_STATUS_OK;
}

static void mark_frontier(search *s)
{
    for (size_t i = 0; i < s->count; i++) {
        rrt_convert_candidate *c = &s->candidates[i];
        c->on_frontier = !c->failed;
        for (size_t k = 0; k < s->count; k++) {
            const rrt_convert_candidate *other = &s->candidates[k];
            if (!other->failed && other->params_body <= c->params_body && other->kl < c->kl)
                c->on_frontier = 0;
        }
    }
}

static int min_loops(const search *s)
{
    return s->loops ? s->loops : 2;
}

static int max_loops(const search *s)
{
    return s->loops ? s->loops : MAX_SEARCH_LOOPS;
}

static rrt_status run(search *s, rrt_error *err)
{
    RRT__TRY(rrt__alloc(&s->candidates, MAX_CANDIDATES, sizeof *s->candidates, "candidates", err));
    for (int loops = min_loops(s); loops <= max_loops(s); loops++) RRT__TRY(try_loops(s, loops, err));
    RRT__TRY(climb(s, err));
    mark_frontier(s);
    if (best_of(s)) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_NUMERIC, "no plan gave a model whose output is finite");
    return rrt__hint(err, status, "give a longer calibration text, or a greater target");
}

// Known before the calibration, which takes minutes.
static rrt_status check_plans(search *s, rrt_error *err)
{
    for (int loops = min_loops(s); loops <= max_loops(s); loops++)
        s->expected += count_plans(s, loops, s->source->plan.n_depths / loops);
    if (s->expected) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT,
                     "no plan of %d to %d loops has a body of %llu parameters or fewer", min_loops(s),
                     max_loops(s), (unsigned long long)s->target);
}

// All that is known to be wrong before the calibration.
static rrt_status check_search(search *s, const rrt_convert_options *o, rrt_error *err)
{
    rrt__recipe *r = &s->recipe;
    s->loops = o->loops;
    RRT__TRY(rrt__recipe_begin(r, s->source, o, RRT_INIT_CALIBRATED, err));
    if (s->source->plan.sharing != RRT__SHARING_NONE)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the source runs in loops already: a search is for a plain model");
    if (o->rank || o->lora_budget || o->prelude || o->coda || o->layers || o->n_keep || o->loop_gain != 0 ||
        o->loop_norm)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a search finds prelude, coda and ranks itself, and keeps no layers: leave out what "
                         "sets them");
    RRT__TRY(rrt__sharing_parse(&s->sharing, o->sharing ? o->sharing : "cycle", err));
    if (s->sharing == RRT__SHARING_NONE)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "a search is over shared plans: cycle or sequence");
    if (r->n_ids < MIN_TOKENS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the calibration text has %zu tokens: a search needs at least %d", r->n_ids,
                         MIN_TOKENS);
    return check_plans(s, err);
}

static rrt_status open_search(search *s, const rrt_convert_options *o, rrt_error *err)
{
    rrt__recipe *r = &s->recipe;
    RRT__TRY(check_search(s, o, err));
    s->judge_count = r->n_ids / 4 < JUDGE_TOKENS ? r->n_ids / 4 : JUDGE_TOKENS;
    RRT__TRY(rrt__model_check_f32(s->source, "a calibrated conversion", err));
    size_t left = r->n_ids - s->judge_count, seen = rrt__convert_seen(left);
    s->judge_ids = r->ids + left;
    RRT__TRY(rrt__trace_open(&s->trace, s->source, seen, err));
    return rrt__moments_collect(&s->moments, &s->trace, s->source, r->ids, r->threads, r->progress, err);
}

// The longest block whose ends are shared out evenly, as the search itself begins.
rrt_status rrt__search_first(rrt__recipe *recipe, size_t *count, const rrt_model *source,
                             const rrt_convert_options *options, uint64_t target, rrt_error *err)
{
    enum { CLIMBED = 4 }; // moves of unshared layers from end to end
    search s = {.source = source, .target = target};
    RRT__TRY(check_search(&s, options, err));
    int loops = min_loops(&s), block = source->plan.n_depths / loops;
    while (loops < max_loops(&s) && !count_plans(&s, loops, block)) block = source->plan.n_depths / ++loops;
    rrt_convert_candidate c = {.loops = loops};
    for (uint64_t body = UINT64_MAX; body > target && block > 0; block--) {
        int ends = source->plan.n_depths - block * loops;
        c = (rrt_convert_candidate){
            .loops = loops, .layers_per_block = block, .prelude = ends / 2, .coda = ends - ends / 2};
        body = body_of(&s, &c);
    }
    *recipe = s.recipe;
    recipe->lora_budget = target - body_of(&s, &c);
    *count = s.expected + CLIMBED;
    return rrt__plan_make(&recipe->plan, s.sharing, c.loops, c.layers_per_block, c.prelude, c.coda, err);
}

rrt_status rrt_convert_search(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                              uint64_t target_body, rrt_convert_frontier *frontier,
                              rrt_convert_report *report, rrt_error *err)
{
    const rrt_convert_options defaults = {0};
    double start = rrt__now_seconds();
    search s = {.source = source, .target = target_body};
    *out = NULL;
    if (report) *report = (rrt_convert_report){0};
    if (frontier) *frontier = (rrt_convert_frontier){0};
    rrt_status status = open_search(&s, options ? options : &defaults, err);
    if (!status) status = run(&s, err);
    if (!status)
        status = convert(&s, best_of(&s), s.recipe.n_ids, RRT__CONVERT_ROUNDS, s.recipe.progress, out, report,
                         err);
    rrt__moments_free(&s.moments);
    rrt__trace_free(&s.trace);
    if (!status && report) report->seconds = rrt__now_seconds() - start;
    if (!status && frontier)
        *frontier = (rrt_convert_frontier){s.candidates, s.count};
    else
        rrt__free(s.candidates);
    return status;
}

void rrt_convert_frontier_free(rrt_convert_frontier *frontier)
{
    rrt__free(frontier->candidates);
    *frontier = (rrt_convert_frontier){0};
}
