// Submits, admits and ends requests.
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "infer/engine_inside.h"
#include "infer/engine_request.h"

enum { DEFAULT_REQUESTS = 32, PROMPT_ROWS = 128, TOKENS_PER_REQUEST = 1024 };

static size_t pages_for(size_t tokens)
{
    return (tokens + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS;
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
    // Beside the rows of a step: keys and values of loops that tokens of the last step left out.
    size_t requests = e->options.requests, left = requests * (e->is_kv_tied ? 1 : (size_t)e->schedule.loops);
    size_t threads = (size_t)e->options.threads, logit_rows = rows < RRT__LOGIT_ROWS ? rows : RRT__LOGIT_ROWS;
    const char *what = "a step's rows";
    RRT__TRY(
        rrt__workspace_create(&e->workspace, e->model, rows + left, shape->context, e->options.threads, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->states, rows + requests, hidden, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->before, rows, hidden, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->exit_states, rows, sizeof *e->exit_states, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->last_exit_states, rows, sizeof *e->exit_states, what, err));
    RRT__TRY(create_batch(e, &e->block, rows + left, err));
    RRT__TRY(create_batch(e, &e->coda, rows, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->entering, rows, sizeof *e->entering, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->logits_rows, rows, sizeof *e->logits_rows, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->tops, rows, RRT__MAX_TOP * sizeof *e->tops, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->exits, rows, sizeof *e->exits, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->left, requests, sizeof *e->left, what, err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->logits, logit_rows, vocab * sizeof(float), "logits", err));
    return rrt__arena_alloc(&e->arena, &e->candidates, threads, vocab * sizeof *e->candidates, "samplers",
                            err);
}

// Replaces zeros by defaults.
static void set_defaults(rrt_engine_options *o, const rrt_model *model)
{
    o->threads = rrt__team_threads(o->threads);
    if (!o->requests) o->requests = DEFAULT_REQUESTS;
    if (!o->rows) o->rows = o->requests + (model->prefix_lm ? model->shape.context : PROMPT_ROWS);
    if (o->rows < o->requests) o->rows = o->requests;
    size_t longest = model->shape.context < TOKENS_PER_REQUEST ? model->shape.context : TOKENS_PER_REQUEST;
    if (!o->kv_tokens) o->kv_tokens = o->requests * longest;
}

rrt_status rrt_engine_tokens_that_fit(size_t *tokens, const rrt_model *model, const char *kv_type,
                                      rrt_error *err)
{
    rrt__kv_types type;
    RRT__TRY(rrt__kv_types_parse(&type, kv_type, err));
    size_t pages = rrt__memory_available() / 10 * 9 / rrt__page_bytes(model, type);
    bool all = pages >= pages_for(model->shape.context);
    *tokens = all ? model->shape.context : pages * RRT__PAGE_TOKENS;
    return RRT_STATUS_OK;
}

// Checked now: a page takes memory only at its first use, which may be hours later.
static rrt_status check_memory(const rrt_engine *e, rrt__kv_types type, rrt_error *err)
{
    double free_bytes = (double)rrt__memory_available(),
           bytes = (double)pages_for(e->options.kv_tokens) * (double)rrt__page_bytes(e->model, type) +
                   (double)e->options.requests * (double)rrt__recent_bytes(e->model, type);
    if (bytes <= free_bytes) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_MEMORY,
                                  "keys and values of %zu tokens take %.2f GB of memory, %.2f GB are free",
                                  e->options.kv_tokens, bytes / 1e9, free_bytes / 1e9);
    return rrt__hint(err, status, "give them less room (kv_tokens; --ctx, or --kv-tokens of serve)");
}

static rrt_status open_engine(rrt_engine *e, rrt_error *err)
{
    const rrt_model *model = e->model;
    rrt__kv_types kv_type;
    RRT__TRY(rrt__kv_types_parse(&kv_type, e->options.kv_type, err));
    set_defaults(&e->options, model);
    RRT__TRY(check_memory(e, kv_type, err));
    RRT__TRY(rrt__engine_plan(e, err));
    if (getentropy(&e->key, sizeof e->key)) e->key = (uint64_t)(uintptr_t)e; // unpredictable keys
    RRT__TRY(rrt__schedule_create(&e->schedule, e->options.batching, e->options.rows, e->options.requests,
                                  e->loops, err));
    e->schedule.window = model->kv_window;
    RRT__TRY(rrt__arena_room(&e->arena, &e->recent, e->options.requests, rrt__recent_bytes(model, kv_type),
                             "keys and values", err));
    RRT__TRY(rrt__pages_create(&e->pages, model, kv_type, pages_for(e->options.kv_tokens), err));
    RRT__TRY(rrt__arena_alloc(&e->arena, &e->running, e->options.requests, sizeof(void *), "slots", err));
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
    for (size_t i = 0; e->running && i < e->options.requests; i++) rrt__engine_request_free(e->running[i]);
    for (rrt__engine_request *next; e->first; e->first = next) {
        next = e->first->next;
        rrt__engine_request_free(e->first);
    }
    rrt__workspace_free(&e->workspace);
    rrt__schedule_free(&e->schedule);
    rrt__pages_free(&e->pages);
    rrt__arena_free(&e->arena);
    rrt__free(e);
}

rrt_status rrt_engine_submit(rrt_engine *e, const rrt_request *request, uint64_t *id, rrt_error *err)
{
    rrt__engine_request *queued;
    *id = 0;
    RRT__TRY(rrt__engine_request_create(&queued, e, request, err));
    if (queued->n_reserved > e->pages.count) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_ARGUMENT,
                      "%zu tokens of prompt and %zu to make need %zu pages of keys and values: there are %zu",
                      request->prompt_tokens, request->max_tokens, queued->n_reserved, e->pages.count);
        rrt__engine_request_free(queued);
        return rrt__hint(err, status, "ask for fewer tokens, or give the engine room for more (kv_tokens)");
    }
    if (request->prefix_lm && request->prompt_tokens > e->options.rows - e->options.requests + 1) {
        rrt__engine_request_free(queued);
        rrt_status status =
            rrt__fail(err, RRT_STATUS_ARGUMENT,
                      "a prompt of %zu tokens that attends both ways runs in one step: %zu fit",
                      request->prompt_tokens, e->options.rows - e->options.requests + 1);
        return rrt__hint(err, status, "give a shorter prompt, or the engine more rows");
    }
    if (e->options.max_waiting && e->stats.waiting >= e->options.max_waiting) {
        rrt__engine_request_free(queued);
        return RRT_STATUS_OK;
    }
    *id = queued->id = ++e->next_id;
    *(e->first ? &e->last->next : &e->first) = queued;
    e->last = queued;
    e->stats.waiting++;
    return RRT_STATUS_OK;
}

static void take_first(rrt_engine *e)
{
    e->first = e->first->next;
    e->stats.waiting--;
}

// The block of a K/V window that a request begins in runs as a whole: pages have the last loop's keys and
// values only.
static void unshare_window(rrt_engine *e, rrt__engine_request *r, uint64_t key)
{
    size_t pages = pages_for(e->schedule.window);
    if (pages < 2) return;
    r->n_keyed -= r->n_keyed % pages;
    rrt__pages_release(&e->pages, &r->sequence, r->n_keyed);
    r->key = key;
    for (size_t i = 0; i < r->n_keyed; i++) r->key = rrt__pages_key(r->key, r->ids + i * RRT__PAGE_TOKENS);
}

// Shares pages that already hold the beginning of the prompt. The last token always runs: its logits
// are needed.
static size_t share_pages(rrt_engine *e, rrt__engine_request *r)
{
    const rrt__rope *rope = &e->model->shape.rope;
    int64_t kind[] = {r->loops, (int64_t)rrt__rope_length_class(rope, r->sequence.tokens)};
    const uint64_t key = rrt__hash(e->key, kind, sizeof kind);
    r->key = key;
    if (r->spec.prefix_lm) r->is_exact = false; // its pages depend on the whole prompt
    if (e->options.no_prefix_reuse || r->spec.wants_prompt_logprobs || r->spec.prefix_lm) return 0;
    while ((r->n_keyed + 1) * RRT__PAGE_TOKENS < r->spec.prompt_tokens) {
        const int32_t *tokens = r->ids + r->n_keyed * RRT__PAGE_TOKENS;
        if (!rrt__pages_share(&e->pages, &r->sequence, r->key, tokens)) break;
        r->key = rrt__pages_key(r->key, tokens);
        r->n_keyed++;
    }
    unshare_window(e, r, key);
    return r->n_keyed * RRT__PAGE_TOKENS;
}

// In order of arrival: a request begins at the latest when all before it have ended.
static void admit(rrt_engine *e)
{
    while (e->first && rrt__schedule_has_slot(&e->schedule) &&
           e->n_reserved + e->first->n_reserved <= e->pages.count) {
        rrt__engine_request *r = e->first;
        take_first(e);
        size_t cached = share_pages(e, r);
        size_t slot = rrt__schedule_begin(&e->schedule, r->spec.prompt_tokens, cached, r->spec.prefix_lm);
        e->running[slot] = r;
        if (e->model->kv_window)
            rrt__sequence_set_recent(&r->sequence,
                                     e->recent + slot * rrt__recent_bytes(e->model, e->pages.type), 0,
                                     r->n_reserved);
        r->stats.cached_tokens = cached;
        e->n_reserved += r->n_reserved;
        e->stats.running++;
        e->stats.prompt_tokens += r->spec.prompt_tokens;
        e->stats.cached_tokens += cached;
    }
}

// Publishes pages whose tokens have run all their loops.
static void publish(rrt_engine *e, size_t slot)
{
    rrt__engine_request *r = e->running[slot];
    size_t done = rrt__schedule_done(&e->schedule, slot);
    while (r->is_exact && (r->n_keyed + 1) * RRT__PAGE_TOKENS <= done) {
        const int32_t *tokens = r->ids + r->n_keyed * RRT__PAGE_TOKENS;
        rrt__pages_publish(&e->pages, &r->sequence, r->n_keyed, r->key, tokens);
        r->key = rrt__pages_key(r->key, tokens);
        r->n_keyed++;
    }
}

static void say_goodbye(const rrt__engine_request *r)
{
    if (r->spec.callback && !r->is_silent) r->spec.callback(r->spec.user, r->id, NULL, r->finish);
}

static void end(rrt_engine *e, size_t slot)
{
    rrt__engine_request *r = e->running[slot];
    rrt__schedule_end(&e->schedule, slot);
    for (size_t i = 0; i < e->n_left; i++)
        if (e->left[i].request == r) e->left[i].request = NULL;
    rrt__pages_release(&e->pages, &r->sequence, 0);
    e->n_reserved -= r->n_reserved;
    e->stats.running--;
    say_goodbye(r);
    e->running[slot] = NULL;
    rrt__engine_request_free(r);
}

void rrt_engine_cancel(rrt_engine *e, uint64_t id)
{
    for (size_t i = 0; i < e->options.requests; i++) {
        if (!e->running[i] || e->running[i]->id != id) continue;
        e->running[i]->finish = RRT_FINISH_CANCELLED;
        end(e, i);
        return;
    }
    rrt__engine_request *before = NULL, *r = e->first;
    for (; r && r->id != id; r = r->next) before = r;
    if (!r) return;
    *(before ? &before->next : &e->first) = r->next;
    if (r == e->last) e->last = before;
    e->stats.waiting--;
    r->finish = RRT_FINISH_CANCELLED;
    say_goodbye(r);
    rrt__engine_request_free(r);
}

void rrt__engine_lap(rrt_engine *e, rrt_engine_part part)
{
    double now = rrt__now_seconds();
    e->stats.seconds[part] += now - e->lap;
    e->lap = now;
}

rrt_status rrt_engine_step(rrt_engine *e, bool *busy, rrt_error *err)
{
    (void)err;
    e->lap = rrt__now_seconds();
    admit(e);
    rrt__schedule_fill(&e->schedule);
    if (e->schedule.n_chunks) {
        rrt__batch_block(e);
        rrt__team_run_fitting(&e->fit, e->options.threads, rrt__engine_run, e);
        rrt__logits_rows_report(e);
        e->stats.steps++;
    }
    rrt__schedule_advance(&e->schedule);
    for (size_t i = 0; i < e->options.requests; i++) {
        if (!e->running[i]) continue;
        publish(e, i);
        if (e->running[i]->finish) end(e, i);
    }
    *busy = e->first || e->stats.running;
    rrt__engine_lap(e, RRT_ENGINE_REST);
    return RRT_STATUS_OK;
}

void rrt_engine_describe(const rrt_engine *e, rrt_engine_stats *stats)
{
    *stats = e->stats;
    stats->refills = e->schedule.refills;
    stats->pages = e->pages.count;
    stats->pages_used = e->pages.count - e->pages.n_free;
    stats->kv_bytes_per_token = e->pages.page_bytes / RRT__PAGE_TOKENS;
    stats->kv_bytes_of_windows = e->options.requests * rrt__recent_bytes(e->model, e->pages.type);
}

void rrt_engine_describe_request(const rrt_engine *e, uint64_t id, rrt_request_stats *stats)
{
    *stats = (rrt_request_stats){0};
    for (size_t i = 0; i < e->options.requests; i++)
        if (e->running[i] && e->running[i]->id == id) *stats = e->running[i]->stats;
}
