#include "infer/task.h"

#include <string.h>

static rrt_status check_prompt(const rrt_model *model, const rrt_request *r, rrt_error *err)
{
    size_t vocab = model->shape.vocab, context = model->shape.context;
    if (!r->prompt_tokens)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the prompt is empty: it needs a token");
    if (r->prompt_tokens > context) {
        rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT,
                                      "the prompt has %zu tokens: they do not fit the model's context of %zu",
                                      r->prompt_tokens, context);
        return rrt__hint(err, status, "shorten the prompt");
    }
    for (size_t i = 0; i < r->prompt_tokens; i++)
        if (r->prompt[i] < 0 || (size_t)r->prompt[i] >= vocab)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "token %zu is id %d: the vocabulary has 0 to %zu", i,
                             r->prompt[i], vocab - 1);
    return RRT_STATUS_OK;
}

static rrt_status check_draft(const rrt__task *t, const rrt_model *model, rrt_error *err)
{
    const rrt_request *r = &t->request;
    if (!r->draft_loops) return RRT_STATUS_OK;
    if (!rrt__plan_has_boundary(&model->plan))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "no loops can draft: the plan (sharing: %s, %d loops) has no loop boundary",
                         rrt__sharing_name(model->plan.sharing), model->plan.loops);
    if (r->draft_loops < 0 || r->draft_loops >= t->loops)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d loops to draft: 1 to %d is possible", r->draft_loops,
                         t->loops - 1);
    if (r->draft_tokens < 1 || r->draft_tokens > RRT__MOST_DRAFTS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d tokens to draft: 1 to %d is possible", r->draft_tokens,
                         RRT__MOST_DRAFTS);
    if (t->has_rule || r->exit_trace)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "drafts are verified by all loops: there can be no exit rule");
    return RRT_STATUS_OK;
}

static rrt_status set_loops(rrt__task *t, const rrt_model *model, rrt_error *err)
{
    const rrt_request *r = &t->request;
    short depths[RRT__MAX_DEPTHS];
    int count, loops = rrt__plan_has_boundary(&model->plan) ? model->plan.loops : 1;
    if (r->loops && r->loops != model->plan.loops)
        RRT__TRY(rrt__plan_depths(&model->plan, r->loops, depths, &count, err));
    t->loops = r->loops && r->loops < loops ? r->loops : loops;
    t->least_loops = r->min_loops;
    if (r->min_loops < 0 || r->min_loops > t->loops)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "min_loops %d: 0 to %d is possible", r->min_loops,
                         t->loops);
    t->has_rule = r->exit != NULL;
    if (t->has_rule) RRT__TRY(rrt__exit_rule_parse(&t->rule, r->exit, model, err));
    if (t->has_rule && t->rule.kind == RRT__EXIT_ORACLE)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the exit rule 'oracle' needs to know the last loop: it is for eval exits");
    return rrt__kv_policy_parse(&t->policy, r->kv, model, err);
}

static rrt_status copy_request(rrt__task *t, const rrt_model *model, rrt__kv_type kv_type, rrt_error *err)
{
    rrt_request *r = &t->request;
    size_t room = model->shape.context - r->prompt_tokens + 1; // the last token made is not run
    const char *what = "a request";
    if (r->max_tokens > room) r->max_tokens = room;
    size_t all = r->prompt_tokens + r->max_tokens, run = r->max_tokens ? all - 1 : all;
    t->n_promised = (run + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS;
    t->n_sure = r->prompt_tokens;
    t->is_exact = true;
    rrt__sequence_init(&t->sequence, model, kv_type, all);
    RRT__TRY(
        rrt__arena_alloc(&t->arena, &t->sequence.pages, t->n_promised, sizeof *t->sequence.pages, what, err));
    RRT__TRY(rrt__arena_alloc(&t->arena, &t->ids, all, sizeof *t->ids, what, err));
    memcpy(t->ids, r->prompt, r->prompt_tokens * sizeof *t->ids);
    r->prompt = t->ids;
    if (!r->exit_trace) return RRT_STATUS_OK;
    unsigned char *trace;
    RRT__TRY(rrt__arena_alloc(&t->arena, &trace, r->max_tokens, 1, what, err));
    memcpy(trace, r->exit_trace, r->max_tokens);
    r->exit_trace = trace;
    return RRT_STATUS_OK;
}

static rrt_status fill_in(rrt__task *t, const rrt_model *model, rrt__kv_type kv_type, rrt_error *err)
{
    const rrt_request *r = &t->request;
    RRT__TRY(check_prompt(model, r, err));
    RRT__TRY(rrt__check_sampling(&r->sampling, model->shape.vocab, err));
    if (r->top_logprobs < 0 || r->top_logprobs > RRT__MOST_TOP)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "top_logprobs %d: 0 to %d is possible", r->top_logprobs,
                         RRT__MOST_TOP);
    RRT__TRY(set_loops(t, model, err));
    RRT__TRY(check_draft(t, model, err));
    return copy_request(t, model, kv_type, err);
}

rrt_status rrt__task_create(rrt__task **out, const rrt_model *model, rrt__kv_type kv_type,
                            const rrt_request *request, rrt_error *err)
{
    *out = NULL;
    RRT__TRY(rrt__alloc(out, 1, sizeof **out, "a request", err));
    (*out)->request = *request;
    rrt_status status = fill_in(*out, model, kv_type, err);
    if (!status) return RRT_STATUS_OK;
    rrt__task_free(*out);
    *out = NULL;
    return status;
}

void rrt__task_free(rrt__task *task)
{
    if (!task) return;
    rrt__arena_free(&task->arena);
    rrt__free(task);
}
