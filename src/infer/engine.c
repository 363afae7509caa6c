// Requests come and go.
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "infer/engine_inside.h"
#include "infer/task.h"

enum { DEFAULT_REQUESTS = 32, PROMPT_ROWS = 128, TOKENS_PER_REQUEST = 1024 };

static size_t pages_for(size_t tokens)
{
    return (tokens + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS;
}

static bool is_same_norm(const rrt__norm *a, const rrt__norm *b)
{
    return a->gain == b->gain && a->bias == b->bias;
}

// Whether each layer of the block makes the same keys and values in all loops: no LoRA on k and v, and the
// vectors before them tied.
static bool is_kv_tied(const rrt_model *model, int layers, int loops)
{
    static const rrt__norm_place norms[] = {RRT__NORM_ATTENTION, RRT__NORM_K};
    static const rrt__matrix matrices[] = {RRT__MATRIX_K, RRT__MATRIX_V};
    for (int i = model->plan.prelude; i < model->plan.prelude + layers * loops; i++) {
        const rrt__depth *first = &model->depths[model->plan.prelude + (i - model->plan.prelude) % layers];
        const rrt__depth *depth = &model->depths[i];
        for (int k = 0; k < 2; k++)
            if (depth->lora[matrices[k]].rank || depth->bias[matrices[k]] != first->bias[matrices[k]] ||
                !is_same_norm(&depth->norm[norms[k]], &first->norm[norms[k]]) ||
                depth->attention != first->attention || depth->input != first->input)
                return false;
    }
    return true;
}

static rrt_status create_batch(rrt_engine *e, rrt__row_batch *batch, size_t rows, rrt_error *err)
{
    RRT__TRY(rrt__arena_alloc(&e->arena, &batch->spans, rows, sizeof *batch->spans, "a step's rows", err));
    RRT__TRY(
        rrt__arena_alloc(&e->arena, &batch->segments, rows, sizeof *batch->segments, "a step's rows", err));
    return rrt__arena_alloc(&e->arena, &batch->source, rows, sizeof *batch->source, "a step's rows", err);
}

static rrt_status create_step(rrt_engine *e, size_t rows, rrt_error *err)
{
    const rrt__shape *shape = &e->model->shape;
    size_t hidden = shape->hidden * sizeof(float), vocab = shape->vocab;
    size_t threads = (size_t)e->options.threads, logit_rows = rows < RRT__LOGIT_ROWS ? rows : RRT__LOGIT_ROWS;
    const char *what = "a step's rows";
    RRT__TRY(rrt__workspace_create(&e->workspace, e->model, rows, shape->context, e->options.threads, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->states, rows, hidden, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->before, rows, hidden, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->exit_states, rows, sizeof *e->exit_states, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->last_exit_states, rows, sizeof *e->exit_states, what, err));
    RRT__TRY(create_batch(e, &e->block, rows, err));
    RRT__TRY(create_batch(e, &e->coda, rows, err));
    RRT__TRY(create_batch(e, &e->fill, rows, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->entering, rows, sizeof *e->entering, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->answers, rows, sizeof *e->answers, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->tops, rows, RRT__MOST_TOP * sizeof *e->tops, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->exits, rows, sizeof *e->exits, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->logits, logit_rows, vocab * sizeof(float), "logits", err));
    return rrt__arena_alloc(&e->arena, &e->candidates, threads, vocab * sizeof *e->candidates, "samplers",
                            err);
}

// What is 0 gets its default.
static void set_defaults(rrt_engine_options *o, const rrt_model *model, int loops)
{
    size_t least_rows = (size_t)loops;
    o->threads = rrt__team_threads(o->threads);
    if (!o->requests) o->requests = DEFAULT_REQUESTS;
    if (!o->rows) o->rows = o->requests + PROMPT_ROWS;
    if (o->rows < o->requests) o->rows = o->requests;
    if (o->rows < least_rows) o->rows = least_rows; // deeper keys and values of one token fit
    size_t longest = model->shape.context < TOKENS_PER_REQUEST ? model->shape.context : TOKENS_PER_REQUEST;
    if (!o->kv_tokens) o->kv_tokens = o->requests * longest;
}

rrt_status rrt_engine_tokens_that_fit(size_t *tokens, const rrt_model *model, const char *kv_type,
                                      rrt_error *err)
{
    rrt__kv_type type;
    RRT__TRY(rrt__kv_type_parse(&type, kv_type, err));
    size_t pages = rrt__memory_available() / 10 * 9 / rrt__page_bytes(model, type);
    bool all = pages >= pages_for(model->shape.context);
    *tokens = all ? model->shape.context : pages * RRT__PAGE_TOKENS;
    return RRT_STATUS_OK;
}

// Told now: a page takes memory only when it is first used, which may be hours later.
static rrt_status check_memory(const rrt_engine *e, rrt__kv_type type, rrt_error *err)
{
    double free_bytes = (double)rrt__memory_available(),
           bytes = (double)pages_for(e->options.kv_tokens) * (double)rrt__page_bytes(e->model, type);
    if (bytes <= free_bytes) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_MEMORY,
                                  "keys and values of %zu tokens take %.2f GB of memory, %.2f GB are free",
                                  e->options.kv_tokens, bytes / 1e9, free_bytes / 1e9);
    return rrt__hint(err, status, "give them less room (kv_tokens; --ctx, or --kv-tokens of serve)");
}

static rrt_status open_engine(rrt_engine *e, rrt_error *err)
{
    const rrt_model *model = e->model;
    const rrt__plan *plan = &model->plan;
    int loops = rrt__plan_has_boundary(plan) ? plan->loops : 1;
    rrt__kv_type kv_type;
    RRT__TRY(rrt__kv_type_parse(&kv_type, e->options.kv_type, err));
    set_defaults(&e->options, model, loops);
    RRT__TRY(check_memory(e, kv_type, err));
    e->layers = (plan->n_depths - plan->prelude - plan->coda) / loops;
    e->is_kv_tied = is_kv_tied(model, e->layers, loops);
    if (getentropy(&e->key, sizeof e->key)) e->key = (uint64_t)(uintptr_t)e; // keys that nobody can guess
    RRT__TRY(rrt__schedule_create(&e->schedule, e->options.batching, e->options.rows, e->options.requests,
                                  loops, err));
    RRT__TRY(rrt__pages_create(&e->pages, model, kv_type, pages_for(e->options.kv_tokens), err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->running, e->options.requests, sizeof(void *), "places", err));
    return create_step(e, e->options.rows, err);
}

rrt_status rrt_engine_open(rrt_engine **out, const rrt_model *model, const rrt_engine_options *options,
                           rrt_error *err)
{
    *out = NULL;
    RRT__TRY(rrt__alloc(out, 1, sizeof **out, "an engine", err));
    rrt_engine *e = *out;
    e->model = model;
    if (options) e->options = *options;
    rrt_status status = open_engine(e, err);
    if (status) {
        rrt_engine_close(e);
        *out = NULL;
    }
    return status;
}

void rrt_engine_close(rrt_engine *e)
{
    if (!e) return;
    for (size_t i = 0; e->running && i < e->options.requests; i++) rrt__task_free(e->running[i]);
    for (rrt__task *next; e->first; e->first = next) {
        next = e->first->next;
        rrt__task_free(e->first);
    }
    rrt__workspace_free(&e->workspace);
    rrt__schedule_free(&e->schedule);
    rrt__pages_free(&e->pages);
    rrt__arena_free(&e->arena);
    rrt__free(e);
}

rrt_status rrt_engine_submit(rrt_engine *e, const rrt_request *request, uint64_t *id, rrt_error *err)
{
    rrt__task *task;
    *id = 0;
    RRT__TRY(rrt__task_create(&task, e->model, e->pages.type, request, err));
    if (task->n_promised > e->pages.count) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_ARGUMENT,
                      "%zu tokens of prompt and %zu to make need %zu pages of keys and values: there are %zu",
                      request->prompt_tokens, request->max_tokens, task->n_promised, e->pages.count);
        rrt__task_free(task);
        return rrt__hint(err, status, "ask for fewer tokens, or give the engine room for more (kv_tokens)");
    }
    if (e->options.most_waiting && e->stats.waiting >= e->options.most_waiting) {
        rrt__task_free(task);
        return RRT_STATUS_OK;
    }
    *id = task->id = ++e->next_id;
    *(e->first ? &e->last->next : &e->first) = task;
    e->last = task;
    e->stats.waiting++;
    return RRT_STATUS_OK;
}

static void take_first(rrt_engine *e)
{
    e->first = e->first->next;
    e->stats.waiting--;
}

// Pages that hold the beginning of the prompt already. Its last token runs in any case: its logits are
// wanted.
static size_t share_pages(rrt_engine *e, rrt__task *t)
{
    const rrt__rope *rope = &e->model->shape.rope;
    int64_t kind[] = {t->loops, (int64_t)rrt__rope_length_class(rope, t->sequence.tokens)};
    t->key = rrt__hash(e->key, kind, sizeof kind);
    if (e->options.no_prefix_reuse || t->request.wants_prompt_logprobs) return 0;
    while ((t->n_keyed + 1) * RRT__PAGE_TOKENS < t->request.prompt_tokens) {
        const int32_t *tokens = t->ids + t->n_keyed * RRT__PAGE_TOKENS;
        if (!rrt__pages_share(&e->pages, &t->sequence, t->key, tokens)) break;
        t->key = rrt__pages_key(t->key, tokens);
        t->n_keyed++;
    }
    return t->n_keyed * RRT__PAGE_TOKENS;
}

// In the order they came: who waits begins at the latest when all before it have ended.
static void admit(rrt_engine *e)
{
    while (e->first && rrt__schedule_has_place(&e->schedule) &&
           e->n_promised + e->first->n_promised <= e->pages.count) {
        rrt__task *t = e->first;
        take_first(e);
        size_t cached = share_pages(e, t);
        e->running[rrt__schedule_begin(&e->schedule, t->request.prompt_tokens, cached)] = t;
        t->stats.cached_tokens = cached;
        e->n_promised += t->n_promised;
        e->stats.running++;
        e->stats.prompt_tokens += t->request.prompt_tokens;
        e->stats.cached_tokens += cached;
    }
}

// Pages whose tokens have run all their loops can serve others from here on.
static void publish(rrt_engine *e, size_t place)
{
    rrt__task *t = e->running[place];
    size_t done = rrt__schedule_done(&e->schedule, place);
    while (t->is_exact && (t->n_keyed + 1) * RRT__PAGE_TOKENS <= done) {
        const int32_t *tokens = t->ids + t->n_keyed * RRT__PAGE_TOKENS;
        rrt__pages_publish(&e->pages, &t->sequence, t->n_keyed, t->key, tokens);
        t->key = rrt__pages_key(t->key, tokens);
        t->n_keyed++;
    }
}

static void say_goodbye(const rrt__task *t)
{
    if (t->request.callback && !t->is_silent) t->request.callback(t->request.user, t->id, NULL, t->finish);
}

static void end(rrt_engine *e, size_t place)
{
    rrt__task *t = e->running[place];
    rrt__schedule_end(&e->schedule, place);
    rrt__pages_release(&e->pages, &t->sequence, 0);
    e->n_promised -= t->n_promised;
    e->stats.running--;
    say_goodbye(t);
    e->running[place] = NULL;
    rrt__task_free(t);
}

void rrt_engine_cancel(rrt_engine *e, uint64_t id)
{
    for (size_t i = 0; i < e->options.requests; i++) {
        if (!e->running[i] || e->running[i]->id != id) continue;
        e->running[i]->finish = RRT_FINISH_CANCELLED;
        end(e, i);
        return;
    }
    rrt__task *before = NULL, *t = e->first;
    for (; t && t->id != id; t = t->next) before = t;
    if (!t) return;
    *(before ? &before->next : &e->first) = t->next;
    if (t == e->last) e->last = before;
    e->stats.waiting--;
    t->finish = RRT_FINISH_CANCELLED;
    say_goodbye(t);
    rrt__task_free(t);
}

rrt_status rrt_engine_step(rrt_engine *e, bool *busy, rrt_error *err)
{
    (void)err;
    admit(e);
    rrt__schedule_fill(&e->schedule);
    if (e->schedule.n_running) {
        rrt__batch_block(e);
        rrt__team_run(e->options.threads, rrt__engine_run, e);
        rrt__answers_report(e);
        e->stats.steps++;
    }
    rrt__schedule_advance(&e->schedule);
    for (size_t i = 0; i < e->options.requests; i++) {
        if (!e->running[i]) continue;
        publish(e, i);
        if (e->running[i]->finish) end(e, i);
    }
    *busy = e->first || e->stats.running;
    return RRT_STATUS_OK;
}

void rrt_engine_describe(const rrt_engine *e, rrt_engine_stats *stats)
{
    *stats = e->stats;
    stats->refills = e->schedule.refills;
    stats->pages = e->pages.count;
    stats->pages_used = e->pages.count - e->pages.n_free;
    stats->kv_bytes_per_token = e->pages.page_bytes / RRT__PAGE_TOKENS;
}

void rrt_engine_describe_request(const rrt_engine *e, uint64_t id, rrt_request_stats *stats)
{
    *stats = (rrt_request_stats){0};
    for (size_t i = 0; i < e->options.requests; i++)
        if (e->running[i] && e->running[i]->id == id) *stats = e->running[i]->stats;
}
