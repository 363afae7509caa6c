#include "infer/engine_request.h"

#include <string.h>

static rrt_status check_prompt(const rrt_model *model, const rrt_request *spec, rrt_error *err)
{
    size_t vocab = model->shape.vocab, context = model->shape.context;
    if (!spec->prompt_tokens)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the prompt is empty: it needs a token");
    if (spec->prompt_tokens > context) {
        rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT,
                                      "the prompt has %zu tokens: they do not fit the model's context of %zu",
                                      spec->prompt_tokens, context);
        return rrt__hint(err, status, "shorten the prompt");
    }
    for (size_t i = 0; i < spec->prompt_tokens; i++)
        if (spec->prompt[i] < 0 || (size_t)spec->prompt[i] >= vocab)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "token %zu is id %d: the vocabulary has 0 to %zu", i,
                             spec->prompt[i], vocab - 1);
    return RRT_STATUS_OK;
}

static rrt_status check_draft(const rrt__engine_request *r, const rrt_engine *e, rrt_error *err)
{
    const rrt_request *spec = &r->spec;
    const rrt_model *model = e->model;
    if (spec->exit_trace && e->options.draft_layers)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "drafts are verified by all layers: there can be no exit trace");
    if (!spec->draft_loops) return RRT_STATUS_OK;
    if (e->loops == 1)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "no loops can draft: the plan (sharing: %s, %d loops) has no loop boundary",
                         rrt__sharing_name(model->plan.sharing), model->plan.loops);
    if (spec->draft_loops < 0 || spec->draft_loops >= r->loops)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d loops to draft: 1 to %d is possible",
                         spec->draft_loops, r->loops - 1);
    if (spec->draft_tokens < 1 || spec->draft_tokens > RRT__MAX_DRAFTS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d tokens to draft: 1 to %d is possible",
                         spec->draft_tokens, RRT__MAX_DRAFTS);
    if (model->kv_window)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "drafts need the keys and values of every loop: the model was opened with kv last");
    if (r->has_rule || spec->exit_trace)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "drafts are verified by all loops: there can be no exit rule");
    return RRT_STATUS_OK;
}

static rrt_status set_loops(rrt__engine_request *r, const rrt_engine *e, rrt_error *err)
{
    const rrt_request *spec = &r->spec;
    const rrt_model *model = e->model;
    short depths[RRT__MAX_DEPTHS];
    int count;
    if (spec->loops && spec->loops != model->plan.loops)
        RRT__TRY(rrt__plan_depths(&model->plan, spec->loops, depths, &count, err));
    bool has_fewer = spec->loops && spec->loops < e->loops && !e->options.draft_layers;
    r->loops = has_fewer ? spec->loops : e->loops;
    r->min_loops = spec->min_loops;
    if (spec->min_loops < 0 || spec->min_loops > r->loops)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "min_loops %d: 0 to %d is possible", spec->min_loops,
                         r->loops);
    bool is_free = !spec->exit && !spec->exit_trace && !spec->draft_loops;
    r->has_rule = spec->exit || (is_free && rrt__exit_rule_of_model(&r->rule, model));
    RRT__TRY(rrt__kv_policy_parse(&r->policy, spec->kv, model, err));
    if (spec->exit)
        RRT__TRY(rrt__exit_rule_parse(&r->rule, spec->exit, model, r->policy, e->pages.type, err));
    if (r->has_rule && r->rule.kind == RRT__EXIT_ORACLE)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the exit rule 'oracle' needs to know the last loop: it is for eval exits");
    return RRT_STATUS_OK;
}

static rrt_status copy_request(rrt__engine_request *r, const rrt_model *model, rrt__kv_types kv_type,
                               rrt_error *err)
{
    rrt_request *spec = &r->spec;
    size_t room = model->shape.context - spec->prompt_tokens + 1; // the last generated token is not run
    const char *what = "a request";
    if (spec->max_tokens > room) spec->max_tokens = room;
    size_t all = spec->prompt_tokens + spec->max_tokens, run = spec->max_tokens ? all - 1 : all;
    r->n_reserved = (run + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS;
    r->n_accepted = spec->prompt_tokens;
    r->is_exact = true;
    rrt__sequence_init(&r->sequence, model, kv_type, all);
    r->sequence.loops = r->loops;
    if (model->kv_window)
        RRT__TRY(rrt__arena_alloc(&r->arena, &r->sequence.recent, r->n_reserved, sizeof *r->sequence.recent,
                                  what, err));
    RRT__TRY(
        rrt__arena_alloc(&r->arena, &r->sequence.pages, r->n_reserved, sizeof *r->sequence.pages, what, err));
    RRT__TRY(rrt__arena_alloc(&r->arena, &r->ids, all, sizeof *r->ids, what, err));
    memcpy(r->ids, spec->prompt, spec->prompt_tokens * sizeof *r->ids);
    spec->prompt = r->ids;
    if (!spec->exit_trace) return RRT_STATUS_OK;
    unsigned char *trace;
    RRT__TRY(rrt__arena_alloc(&r->arena, &trace, spec->max_tokens, 1, what, err));
    memcpy(trace, spec->exit_trace, spec->max_tokens);
    spec->exit_trace = trace;
    return RRT_STATUS_OK;
}

static rrt_status fill_in(rrt__engine_request *r, const rrt_engine *e, rrt_error *err)
{
    const rrt_request *spec = &r->spec;
    const rrt_model *model = e->model;
    RRT__TRY(check_prompt(model, spec, err));
    RRT__TRY(rrt__check_sampling(&spec->sampling, model->shape.vocab, err));
    if (spec->top_logprobs < 0 || spec->top_logprobs > RRT__MAX_TOP)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "top_logprobs %d: 0 to %d is possible", spec->top_logprobs,
                         RRT__MAX_TOP);
    if (spec->prefix_lm && model->kv_window)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "a prompt that attends both ways runs at once: the model was opened with kv last");
    RRT__TRY(set_loops(r, e, err));
    RRT__TRY(check_draft(r, e, err));
    return copy_request(r, model, e->pages.type, err);
}

rrt_status rrt__engine_request_create(rrt__engine_request **out, const rrt_engine *engine,
                                      const rrt_request *request, rrt_error *err)
{
    *out = NULL;
    RRT__TRY(rrt__alloc(out, 1, sizeof **out, "a request", err));
    (*out)->spec = *request;
    rrt_status status = fill_in(*out, engine, err);
    if (!status) return RRT_STATUS_OK;
    rrt__engine_request_free(*out);
    *out = NULL;
    return status;
}

void rrt__engine_request_free(rrt__engine_request *request)
{
    if (!request) return;
    rrt__arena_free(&request->arena);
    rrt__free(request);
}
