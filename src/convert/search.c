// The search for a plan: try, measure the KL, keep the best (ours; the paper fixes its plans by hand).
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "convert/convert.h"
#include "model/parameters.h"
#include "rrt/eval.h"

enum {
    MAX_CANDIDATES = 64,
    SEARCH_ROUNDS = 2,    // the order of plans shows early
    JUDGE_TOKENS = 2048,  // held back from calibration
    MAX_SEARCH_LOOPS = 3, // without --loops
};

typedef struct search {
    const rrt_model *source;
    rrt_convert_options options;
    uint64_t target;
    rrt__grams grams;
    rrt__trace trace;
    const int32_t *judge_ids;
    size_t judge_count;
    rrt_convert_candidate *candidates;
    size_t count, judged;
    rrt__norms_mode norms;
    rrt__sharing sharing;
} search;

static uint64_t body_of(const search *s, const rrt_convert_candidate *candidate)
{
    rrt__plan plan;
    const rrt__shape *shape = &s->source->shape;
    if (rrt__plan_make(&plan, s->sharing, candidate->loops, candidate->layers_per_block, candidate->prelude,
                       candidate->coda, NULL))
        return UINT64_MAX;
    uint64_t embedding = (uint64_t)shape->vocab * shape->hidden * (shape->tied_head ? 1 : 2);
    return rrt__shape_parameters(s->source->family, shape, &plan, s->norms) - embedding;
}

static bool is_known(const search *s, const rrt_convert_candidate *c)
{
    for (size_t i = 0; i < s->count; i++) {
        const rrt_convert_candidate *k = &s->candidates[i];
        if (k->loops == c->loops && k->prelude == c->prelude && k->coda == c->coda &&
            k->lora_budget == c->lora_budget)
            return true;
    }
    return false;
}

static rrt_convert_options options_of(const search *s, const rrt_convert_candidate *c)
{
    rrt_convert_options o = s->options;
    o.loops = c->loops;
    o.prelude = c->prelude;
    o.coda = c->coda;
    o.lora_budget = c->lora_budget;
    o.rank = 0;
    return o;
}

static rrt_status judge(search *s, rrt_convert_candidate *c, rrt_error *err)
{
    rrt_convert_options options = options_of(s, c);
    rrt_eval_options eval = {.threads = s->options.threads};
    rrt_eval_kl_result result;
    rrt_model_info info;
    rrt_model *model;
    options.progress = NULL;
    RRT__TRY(rrt__convert_run(&model, s->source, &options, &s->grams, SEARCH_ROUNDS, NULL, err));
    rrt_model_describe(model, &info);
    rrt_status status = rrt_eval_kl(model, s->source, s->judge_ids, s->judge_count, &eval, &result, err);
    rrt_model_close(model);
    RRT__TRY(status);
    c->params_body = info.params_body;
    c->kl = result.kl;
    return RRT_STATUS_OK;
}

static rrt_status judge_listed(search *s, rrt_error *err)
{
    const rrt_progress *progress = s->options.progress;
    for (; s->judged < s->count; s->judged++) {
        RRT__TRY(judge(s, &s->candidates[s->judged], err));
        if (progress && progress->report &&
            progress->report(progress->user, "search", (double)s->judged + 1, (double)s->count))
            return rrt__fail(err, RRT_STATUS_CANCELLED, "the search was cancelled");
    }
    return RRT_STATUS_OK;
}

// Lists a plan, if it is possible, small enough and new. With LoRA: for all that the plan leaves of the
// target.
static void list_plan(search *s, int loops, int prelude, int coda, bool with_lora)
{
    int middle = s->source->plan.n_depths - prelude - coda;
    if (prelude < 0 || coda < 0 || middle < loops || middle % loops || s->count == MAX_CANDIDATES) return;
    rrt_convert_candidate c = {
        .loops = loops, .layers_per_block = middle / loops, .prelude = prelude, .coda = coda};
    uint64_t body = body_of(s, &c);
    if (body > s->target) return;
    c.lora_budget = with_lora ? s->target - body : 0;
    if (with_lora && c.lora_budget < s->target / 100) return; // not worth a try of its own
    if (!is_known(s, &c)) s->candidates[s->count++] = c;
}

// Blocks of every size, ends shared out evenly.
static void list_loops(search *s, int loops)
{
    int n_layers = s->source->plan.n_depths;
    for (int block = 1; block * loops <= n_layers; block++) {
        int ends = n_layers - block * loops;
        for (int with_lora = 0; with_lora < 2; with_lora++)
            list_plan(s, loops, ends / 2, ends - ends / 2, with_lora);
    }
}

static size_t best_of(const search *s)
{
    size_t best = 0;
    for (size_t i = 1; i < s->count; i++)
        if (s->candidates[i].kl < s->candidates[best].kl) best = i;
    return best;
}

// Moves unshared layers from one end to the other as long as that helps.
static rrt_status climb(search *s, rrt_error *err)
{
    for (;;) {
        size_t before = best_of(s);
        rrt_convert_candidate c = s->candidates[before];
        list_plan(s, c.loops, c.prelude + 1, c.coda - 1, c.lora_budget > 0);
        list_plan(s, c.loops, c.prelude - 1, c.coda + 1, c.lora_budget > 0);
        RRT__TRY(judge_listed(s, err));
        if (best_of(s) == before) return RRT_STATUS_OK;
    }
}

static void mark_frontier(search *s)
{
    for (size_t i = 0; i < s->count; i++) {
        rrt_convert_candidate *c = &s->candidates[i];
        c->on_frontier = 1;
        for (size_t k = 0; k < s->count; k++)
            if (s->candidates[k].params_body <= c->params_body && s->candidates[k].kl < c->kl)
                c->on_frontier = 0;
    }
}

static rrt_status run(search *s, rrt_error *err)
{
    int least = s->options.loops ? s->options.loops : 2,
        most = s->options.loops ? s->options.loops : MAX_SEARCH_LOOPS;
    RRT__TRY(rrt__alloc(&s->candidates, MAX_CANDIDATES, sizeof *s->candidates, "candidates", err));
    for (int loops = least; loops <= most; loops++) list_loops(s, loops);
    if (s->count == 0)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "no plan of %d to %d loops has a body of %llu parameters or fewer", least, most,
                         (unsigned long long)s->target);
    RRT__TRY(judge_listed(s, err));
    RRT__TRY(climb(s, err));
    mark_frontier(s);
    return RRT_STATUS_OK;
}

static rrt_status open_search(search *s, rrt_error *err)
{
    const rrt_convert_options *o = &s->options;
    s->options.init = RRT_INIT_CALIBRATED;
    s->options.rank = 0;
    s->options.lora_budget = 0;
    RRT__TRY(rrt__convert_check(s->source, o, err));
    RRT__TRY(rrt__norms_parse(&s->norms, o->norms ? o->norms : "tied", err));
    RRT__TRY(rrt__sharing_parse(&s->sharing, o->sharing ? o->sharing : "cycle", err));
    if (s->sharing == RRT__SHARING_NONE)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "a search is over shared plans: cycle or sequence");
    s->judge_count = o->calibration_count / 4 < JUDGE_TOKENS ? o->calibration_count / 4 : JUDGE_TOKENS;
    size_t seen = o->calibration_count - s->judge_count;
    s->judge_ids = o->calibration_ids + seen;
    RRT__TRY(rrt__trace_open(&s->trace, s->source, seen, err));
    return rrt__grams_collect(&s->grams, &s->trace, s->source, o->calibration_ids, o->threads, o->progress,
                              err);
}

rrt_status rrt_convert_search(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                              uint64_t target_body, rrt_convert_frontier *frontier,
                              rrt_convert_report *report, rrt_error *err)
{
    double start = rrt__now_seconds();
    search s = {.source = source, .options = *options, .target = target_body};
    *out = NULL;
    rrt_status status = open_search(&s, err);
    if (!status) status = run(&s, err);
    rrt__grams_free(&s.grams);
    rrt__trace_free(&s.trace);
    if (!status) {
        rrt_convert_options best = options_of(&s, &s.candidates[best_of(&s)]);
        status = rrt_convert(out, source, &best, report, err);
    }
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
