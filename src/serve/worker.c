// The thread that owns model and engine.
#include "base/clock.h"
#include "serve/inside.h"

// --- the end of choices and jobs ------------------------------------------------------------------------

static void end_job(rrt__job *job)
{
    rrt__job **at = &job->server->jobs;
    while (*at != job) at = &(*at)->next;
    *at = job->next;
    if (job->has_begun)
        rrt__reply_end(job);
    else
        rrt__reply_whole(job);
    rrt__job_free(job);
}

static void measure(const rrt__choice *c)
{
    rrt__metrics *m = &c->job->server->metrics;
    rrt__metrics_count(m, &m->outcomes[c->outcome], 1);
    if (c->outcome != RRT__OUTCOME_STOP && c->outcome != RRT__OUTCOME_LENGTH) return;
    rrt__metrics_observe(m, RRT__LATENCY_REQUEST, rrt__now_seconds() - c->job->arrived);
    if (!c->n_tokens) return;
    rrt__metrics_observe(m, RRT__LATENCY_PREFILL, c->first - c->started);
    rrt__metrics_observe(m, RRT__LATENCY_DECODE, c->last - c->first);
}

// The last choice of a job ends, and frees, that too.
static void end_choice(rrt__choice *c, rrt__outcome outcome)
{
    rrt__job *job = c->job;
    rrt__server *server = job->server;
    rrt__choice **at = &server->choices;
    while (*at && *at != c) at = &(*at)->next;
    if (*at) *at = c->next;
    if (c->request) rrt_engine_describe_request(server->engine, c->request, &c->stats);
    c->outcome = outcome;
    c->is_over = true;
    measure(c);
    pthread_mutex_lock(&server->lock);
    server->n_open--;
    pthread_mutex_unlock(&server->lock);
    if (job->has_begun && !job->error.status) rrt__reply_send(c);
    if (--job->n_open == 0) end_job(job);
}

// Ends what is left of a job.
static void cancel_job(rrt__job *job)
{
    rrt_engine *engine = job->server->engine;
    rrt__choice *c = job->choices;
    for (size_t left = job->n_open; left; c++) { // the last takes the job with it
        if (c->is_over) continue;
        left--;
        if (c->request)
            rrt_engine_cancel(engine, c->request);
        else
            end_choice(c, RRT__OUTCOME_ERROR);
    }
}

static void cancel_all(rrt__server *server, const rrt_error *why)
{
    while (server->jobs) {
        server->jobs->error = *why;
        cancel_job(server->jobs);
    }
}

static void cancel_gone(rrt__server *server)
{
    for (rrt__job *job = server->jobs, *next; job; job = next) {
        next = job->next;
        if (rrt__exchange_is_gone(job->exchange)) cancel_job(job);
    }
}

// --- tokens ---------------------------------------------------------------------------------------------

static void note_start(rrt__choice *c, double now)
{
    if (c->started > 0) return;
    c->started = now;
    rrt__metrics_observe(&c->job->server->metrics, RRT__LATENCY_QUEUE, now - c->job->arrived);
}

static void note_token(rrt__choice *c, const rrt_token *token)
{
    rrt__metrics *m = &c->job->server->metrics;
    double now = rrt__now_seconds();
    if (!c->n_tokens) {
        note_start(c, c->job->server->step_began);
        c->first = now;
        rrt__metrics_observe(m, RRT__LATENCY_FIRST_TOKEN, now - c->job->arrived);
    } else {
        rrt__metrics_observe(m, RRT__LATENCY_INTER_TOKEN, now - c->last);
    }
    c->last = now;
    rrt__reply_note(c, token);
}

static rrt_status add_text(rrt__choice *c, int32_t id, rrt_error *err)
{
    size_t length;
    const char *bytes = rrt_token_bytes(c->job->server->tokenizer, id, &length);
    return bytes ? rrt__reply_text_add(&c->text, &c->job->parameters.stops, bytes, length, err)
                 : RRT_STATUS_OK;
}

static rrt__outcome outcome_of(rrt__job *job, rrt_finish finish)
{
    if (finish == RRT_FINISH_STOP) return RRT__OUTCOME_STOP;
    if (finish == RRT_FINISH_LENGTH) return RRT__OUTCOME_LENGTH;
    if (finish == RRT_FINISH_ERROR)
        rrt__fail(&job->error, RRT_STATUS_NUMERIC, "the model's logits are not numbers");
    return job->error.status ? RRT__OUTCOME_ERROR : RRT__OUTCOME_ABORT;
}

// rrt_request_callback
static int on_token(void *user, uint64_t request, const rrt_token *token, rrt_finish finish)
{
    (void)request;
    rrt__choice *c = user;
    rrt__job *job = c->job;
    if (!token) {
        end_choice(c, outcome_of(job, finish));
        return 0;
    }
    if (token->is_prompt) {
        rrt__reply_note(c, token);
        return 0;
    }
    note_token(c, token);
    bool ends = !job->parameters.ignore_end && rrt_tokenizer_ends(job->server->tokenizer, token->id);
    if (ends) return 0; // its text is not the reply's
    if (add_text(c, token->id, &job->error))
        end_choice(c, RRT__OUTCOME_ERROR);
    else if (c->text.is_stopped)
        end_choice(c, RRT__OUTCOME_STOP);
    else if (job->has_begun && !rrt__reply_send(c))
        end_choice(c, RRT__OUTCOME_ABORT);
    else
        return 0;
    return 1;
}

// --- jobs begin -----------------------------------------------------------------------------------------

static rrt_status submit_choice(rrt__choice *c, rrt_error *err)
{
    const rrt__parameters *p = &c->job->parameters;
    rrt__server *server = c->job->server;
    bool wants = p->logprobs != RRT__NO_LOGPROBS;
    const rrt_request request = {
        .prompt = c->prompt,
        .prompt_tokens = c->prompt_tokens,
        .max_tokens = p->max_tokens,
        .sampling = p->sampling,
        .ignore_end = p->ignore_end,
        .wants_logprobs = wants,
        .wants_prompt_logprobs = wants && p->echo,
        .top_logprobs = wants ? p->logprobs : 0,
        .loops = p->loops,
        .min_loops = p->min_loops,
        .exit = p->exit[0] ? p->exit : server->options.exit,
        .kv = p->kv ? p->kv : server->options.kv,
        .draft_loops = p->draft_loops,
        .draft_tokens = p->draft_tokens,
        .callback = on_token,
        .user = c,
    };
    RRT__TRY(rrt_engine_submit(server->engine, &request, &c->request, err));
    rrt__choice **last = &server->choices;
    while (*last) last = &(*last)->next;
    *last = c;
    return RRT_STATUS_OK;
}

static void begin_job(rrt__job *job)
{
    rrt__server *server = job->server;
    job->next = server->jobs;
    server->jobs = job;
    rrt_error err = {0};
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; !status && i < job->n_choices; i++) status = submit_choice(&job->choices[i], &err);
    if (status) {
        job->error = err;
        cancel_job(job);
    } else if (job->parameters.stream) {
        job->has_begun = true;
        rrt__exchange_set(job->exchange, "Cache-Control", "no-store");
        rrt__exchange_set(job->exchange, "X-Accel-Buffering", "no"); // nginx would collect the events
        rrt__exchange_begin(job->exchange, "text/event-stream; charset=utf-8");
    }
}

// Waits until there is something to do; *incoming is what came. False: stop.
static bool waits_for_work(rrt__server *server, rrt__job **incoming)
{
    pthread_mutex_lock(&server->lock);
    while (!server->incoming && !server->choices && !server->stops)
        pthread_cond_wait(&server->wake, &server->lock);
    *incoming = server->incoming;
    server->incoming = NULL;
    bool stops = server->stops;
    pthread_mutex_unlock(&server->lock);
    return !stops;
}

static void begin_jobs(rrt__job *incoming)
{
    for (rrt__job *job = incoming, *next; job; job = next) {
        next = job->next;
        begin_job(job);
    }
}

// What the engine has done, for the metrics. Requests begin in the order they came: all but those that it
// says are waiting have begun.
static void publish(rrt__server *server)
{
    rrt_engine_stats stats;
    size_t count = 0;
    rrt_engine_describe(server->engine, &stats);
    rrt__metrics_put_engine(&server->metrics, &stats);
    for (rrt__choice *c = server->choices; c; c = c->next) count++;
    for (rrt__choice *c = server->choices; c && count > stats.waiting; c = c->next, count--)
        note_start(c, server->step_began);
}

void *rrt__worker_run(void *argument)
{
    rrt__server *server = argument;
    rrt__job *incoming = NULL;
    if (!rrt__load(server)) return NULL;
    while (waits_for_work(server, &incoming)) {
        begin_jobs(incoming);
        cancel_gone(server);
        rrt_error err = {0};
        int busy;
        server->step_began = rrt__now_seconds();
        if (server->choices && rrt_engine_step(server->engine, &busy, &err)) {
            rrt__server_log(server, "a step of the engine failed: %s", err.message);
            cancel_all(server, &err);
        }
        publish(server);
    }
    const rrt_error stopping = {.status = RRT_STATUS_CANCELLED, .message = "the server is stopping"};
    begin_jobs(incoming);
    cancel_all(server, &stopping);
    return NULL;
}
