// Reads logits rows, reports and accepts tokens.
#include <math.h>

#include "infer/engine_inside.h"

// The most likely tokens, best first; ties by lower id.
static void find_top(rrt__logits_row *row, const float *logits, size_t vocab, size_t count, double total)
{
    row->n_top = 0;
    for (size_t i = 0; i < vocab && count; i++) {
        if (row->n_top == count && !(logits[i] > row->top[count - 1].logprob)) continue;
        size_t at = row->n_top < count ? row->n_top++ : count - 1;
        for (; at > 0 && logits[i] > row->top[at - 1].logprob; at--) row->top[at] = row->top[at - 1];
        row->top[at] = (rrt_token_logprob){(int32_t)i, logits[i]};
    }
    for (size_t i = 0; i < row->n_top; i++) row->top[i].logprob = (float)(row->top[i].logprob - total);
}

static bool is_of_prompt(const rrt__logits_row *row)
{
    return row->position + 1 < row->request->spec.prompt_tokens;
}

static void read_logprobs(rrt_engine *e, rrt__logits_row *row, const float *logits)
{
    const rrt_request *spec = &row->request->spec;
    size_t vocab = e->model->shape.vocab;
    bool wanted = is_of_prompt(row) ? spec->wants_prompt_logprobs : spec->wants_logprobs;
    if (!wanted) return;
    double total = e->workspace.kernels->log_sum_exp(logits, vocab);
    int32_t next = is_of_prompt(row) ? row->request->ids[row->position + 1] : row->chosen;
    row->logprob = (float)(logits[next] - total);
    find_top(row, logits, vocab, (size_t)spec->top_logprobs, total);
}

void rrt__logits_row_read(rrt_engine *e, rrt__logits_row *row, const float *logits, int thread)
{
    rrt__engine_request *r = row->request;
    size_t vocab = e->model->shape.vocab;
    rrt_error err = {0};
    row->is_finite = !rrt__sample_at(logits, vocab, &r->spec.sampling, row->position + 1,
                                     e->candidates + (size_t)thread * vocab, &row->chosen, &err);
    const rrt__chunk *c = &e->schedule.chunks[row->chunk];
    if (row->is_asked && r->has_rule) {
        rrt__exit_view view = rrt__exit_look(e->model, row->loop, e->states, e->before, c->row, logits);
        if (r->spec.sampling.temperature == 0) view.best = row->chosen;
        row->is_exit = rrt__exit_leaves(&r->rule, e->model, &e->exit_states[c->row], &view);
    }
    if (row->is_exit) read_logprobs(e, row, logits);
}

static void report(rrt__engine_request *r, const rrt_token *token)
{
    if (!r->spec.callback) return;
    if (r->spec.callback(r->spec.user, r->id, token, RRT_FINISH_NONE) == 0) return;
    r->finish = RRT_FINISH_CANCELLED;
    r->is_silent = true;
}

// Of the model: an engine may count parts of it as loops.
static int loops_run(const rrt_engine *e, const rrt__logits_row *row)
{
    return e->options.draft_layers ? 1 : row->loop;
}

static void report_prompt(const rrt_engine *e, const rrt__logits_row *row)
{
    rrt__engine_request *r = row->request;
    if (row->position == 0) report(r, &(rrt_token){.id = r->ids[0], .is_prompt = 1, .logprob = NAN});
    if (r->finish || !is_of_prompt(row)) return;
    report(r, &(rrt_token){.id = r->ids[row->position + 1],
                           .index = row->position + 1,
                           .is_prompt = 1,
                           .loops = loops_run(e, row),
                           .logprob = row->logprob,
                           .top = row->top,
                           .n_top = row->n_top});
}

// Whether there is a draft at the position of the next token.
static bool is_drafted(const rrt_engine *e, const rrt__logits_row *row)
{
    size_t slot = e->schedule.chunks[row->chunk].slot;
    return row->position + 1 < e->schedule.slots[slot].known;
}

static bool is_accepted(const rrt_engine *e, const rrt__logits_row *row)
{
    return is_drafted(e, row) && row->request->ids[row->position + 1] == row->chosen;
}

static void count_token(rrt_engine *e, const rrt__logits_row *row)
{
    e->stats.generated_tokens++;
    e->stats.exits[rrt__counted_loop(row->loop)]++;
    row->request->n_generated++;
    if (!is_accepted(e, row)) return;
    e->stats.accepted++;
    row->request->stats.accepted++;
}

static void report_token(rrt_engine *e, const rrt__logits_row *row)
{
    rrt__engine_request *r = row->request;
    const rrt_request *spec = &r->spec;
    count_token(e, row);
    report(r, &(rrt_token){.id = row->chosen,
                           .index = row->position + 1,
                           .loops = loops_run(e, row),
                           .logprob = row->logprob,
                           .top = row->top,
                           .n_top = row->n_top});
    if (r->finish) return;
    const rrt_tokenizer *tokenizer = e->model->tokenizer;
    if (!spec->ignore_end && tokenizer && rrt_tokenizer_ends(tokenizer, row->chosen))
        r->finish = RRT_FINISH_STOP;
    else if (r->n_generated == spec->max_tokens)
        r->finish = RRT_FINISH_LENGTH;
}

// Puts the token after the accepted ones. A draft at this position is either the same token or wrong; if
// wrong, everything after it is dropped, too.
static void take_token(rrt_engine *e, const rrt__logits_row *row)
{
    rrt__engine_request *r = row->request;
    size_t slot = e->schedule.chunks[row->chunk].slot, at = row->position + 1;
    r->n_accepted = at + 1;
    if (is_accepted(e, row)) return;
    r->ids[at] = row->chosen;
    if (is_drafted(e, row))
        rrt__schedule_rewind(&e->schedule, slot, at + 1);
    else if (!r->finish)
        rrt__schedule_add_token(&e->schedule, slot);
}

void rrt__logits_rows_report(rrt_engine *e)
{
    for (size_t i = 0; i < e->n_logits_rows; i++) {
        const rrt__logits_row *row = &e->logits_rows[i];
        rrt__engine_request *r = row->request;
        const rrt__batch_slot *slot = &e->schedule.slots[e->schedule.chunks[row->chunk].slot];
        // Rows after a wrong draft no longer belong to the request.
        if (r->finish || !row->is_exit || row->position >= slot->entered) continue;
        if (!row->is_finite) {
            r->finish = RRT_FINISH_ERROR;
            continue;
        }
        if (r->spec.wants_prompt_logprobs && row->position < r->spec.prompt_tokens) report_prompt(e, row);
        if (r->finish || is_of_prompt(row)) continue;
        if (r->spec.max_tokens == 0) {
            r->finish = RRT_FINISH_LENGTH;
            continue;
        }
        report_token(e, row);
        take_token(e, row);
    }
}
