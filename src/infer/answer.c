// What logits say, and what becomes of it.
#include <math.h>

#include "infer/engine_inside.h"

// The most likely tokens, best first; of equal ones the lower id first.
static void find_top(rrt__answer *a, const float *logits, size_t vocab, size_t count, double total)
{
    a->n_top = 0;
    for (size_t i = 0; i < vocab && count; i++) {
        if (a->n_top == count && !(logits[i] > a->top[count - 1].logprob)) continue;
        size_t at = a->n_top < count ? a->n_top++ : count - 1;
        for (; at > 0 && logits[i] > a->top[at - 1].logprob; at--) a->top[at] = a->top[at - 1];
        a->top[at] = (rrt_token_logprob){(int32_t)i, logits[i]};
    }
    for (size_t i = 0; i < a->n_top; i++) a->top[i].logprob = (float)(a->top[i].logprob - total);
}

static bool is_of_prompt(const rrt__answer *a)
{
    return a->position + 1 < a->task->request.prompt_tokens;
}

static void read_logprobs(rrt_engine *e, rrt__answer *a, const float *logits)
{
    const rrt_request *r = &a->task->request;
    size_t vocab = e->model->shape.vocab;
    bool wanted = is_of_prompt(a) ? r->wants_prompt_logprobs : r->wants_logprobs;
    if (!wanted) return;
    double total = e->workspace.kernels->log_sum_exp(logits, vocab);
    int32_t next = is_of_prompt(a) ? a->task->ids[a->position + 1] : a->chosen;
    a->logprob = (float)(logits[next] - total);
    find_top(a, logits, vocab, (size_t)r->top_logprobs, total);
}

void rrt__answer_read(rrt_engine *e, rrt__answer *a, const float *logits, int thread)
{
    rrt__task *t = a->task;
    size_t vocab = e->model->shape.vocab;
    rrt_error err = {0};
    a->is_finite = !rrt__sample_at(logits, vocab, &t->request.sampling, a->position + 1,
                                   e->candidates + (size_t)thread * vocab, &a->chosen, &err);
    const rrt__flight *f = &e->schedule.flights[a->flight];
    if (a->is_asked && t->has_rule) {
        rrt__exit_view view = rrt__exit_look(e->model, a->loop, e->states, e->before, f->row, logits);
        if (t->request.sampling.temperature == 0) view.best = a->chosen;
        a->is_exit = rrt__exit_leaves(&t->rule, e->model, &e->exit_states[f->row], &view);
    }
    if (a->is_exit) read_logprobs(e, a, logits);
}

static void report(rrt__task *t, const rrt_token *token)
{
    if (!t->request.callback) return;
    if (t->request.callback(t->request.user, t->id, token, RRT_FINISH_NONE) == 0) return;
    t->finish = RRT_FINISH_CANCELLED;
    t->is_silent = true;
}

static void report_prompt(const rrt__answer *a)
{
    rrt__task *t = a->task;
    if (a->position == 0) report(t, &(rrt_token){.id = t->ids[0], .is_prompt = 1, .logprob = NAN});
    if (t->finish || !is_of_prompt(a)) return;
    report(t, &(rrt_token){.id = t->ids[a->position + 1],
                           .index = a->position + 1,
                           .is_prompt = 1,
                           .loops = a->loop,
                           .logprob = a->logprob,
                           .top = a->top,
                           .n_top = a->n_top});
}

// Whether a draft stands where the token comes to stand.
static bool is_drafted(const rrt_engine *e, const rrt__answer *a)
{
    size_t place = e->schedule.flights[a->flight].place;
    return a->position + 1 < e->schedule.places[place].known;
}

static bool is_accepted(const rrt_engine *e, const rrt__answer *a)
{
    return is_drafted(e, a) && a->task->ids[a->position + 1] == a->chosen;
}

static void count_made(rrt_engine *e, const rrt__answer *a)
{
    e->stats.generated_tokens++;
    e->stats.exits[rrt__counted_loop(a->loop)]++;
    a->task->n_made++;
    if (!is_accepted(e, a)) return;
    e->stats.accepted++;
    a->task->stats.accepted++;
}

static void report_made(rrt_engine *e, const rrt__answer *a)
{
    rrt__task *t = a->task;
    const rrt_request *r = &t->request;
    count_made(e, a);
    report(t, &(rrt_token){.id = a->chosen,
                           .index = a->position + 1,
                           .loops = a->loop,
                           .logprob = a->logprob,
                           .top = a->top,
                           .n_top = a->n_top});
    if (t->finish) return;
    const rrt_tokenizer *tokenizer = e->model->tokenizer;
    if (!r->ignore_end && tokenizer && rrt_tokenizer_ends(tokenizer, a->chosen))
        t->finish = RRT_FINISH_STOP;
    else if (t->n_made == r->max_tokens)
        t->finish = RRT_FINISH_LENGTH;
}

// The token takes its place after those that are sure. A draft that stands there already is either the same,
// or it was wrong, and with it all that came after.
static void take_made(rrt_engine *e, const rrt__answer *a)
{
    rrt__task *t = a->task;
    size_t place = e->schedule.flights[a->flight].place, at = a->position + 1;
    t->n_sure = at + 1;
    if (is_accepted(e, a)) return;
    t->ids[at] = a->chosen;
    if (is_drafted(e, a))
        rrt__schedule_rewind(&e->schedule, place, at + 1);
    else if (!t->finish)
        rrt__schedule_add_token(&e->schedule, place);
}

void rrt__answers_report(rrt_engine *e)
{
    for (size_t i = 0; i < e->n_answers; i++) {
        const rrt__answer *a = &e->answers[i];
        rrt__task *t = a->task;
        const rrt__place *place = &e->schedule.places[e->schedule.flights[a->flight].place];
        // What comes after a draft that was wrong is not the request's any more.
        if (t->finish || !a->is_exit || a->position >= place->entered) continue;
        if (!a->is_finite) {
            t->finish = RRT_FINISH_ERROR;
            continue;
        }
        if (t->request.wants_prompt_logprobs && a->position < t->request.prompt_tokens) report_prompt(a);
        if (t->finish || is_of_prompt(a)) continue;
        if (t->request.max_tokens == 0) {
            t->finish = RRT_FINISH_LENGTH;
            continue;
        }
        report_made(e, a);
        take_made(e, a);
    }
}
