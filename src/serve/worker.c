// The thread that owns model and engine.
#include "base/clock.h"
#include "serve/server_inside.h"

// --- the end of choices and jobs ------------------------------------------------------------------------

// A long reply takes longer to write down than a step may.
static void answer_aside(rrt__work *work)
{
    rrt__job *job = (rrt__job *)work; // its first member
    if (job->has_begun)
        rrt__reply_end(job);
    else
        rrt__reply_whole(job);
    rrt__job_free(job);
}

static void end_job(rrt__job *job)
{
    enum { LONG_BYTES = 1 << 20 };
    rrt__job **at = &job->server->jobs;
    while (*at != job) at = &(*at)->next;
    *at = job->next;
    job->work.run = answer_aside;
    rrt__aside_put(&job->server->aside, job->bytes > LONG_BYTES ? RRT__LANE_LONG : RRT__LANE_SHORT,
                   &job->work);
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
    if (c->request) {
        rrt_engine_describe_request(server->engine, c->request, &c->stats);
        rrt__exchange_client(job->exchange)->running--;
        job->n_running--;
    }
    c->outcome = outcome;
    c->is_over = true;
    measure(c);
    bool is_heard = outcome != RRT__OUTCOME_ABORT && !job->error.status;
    if (job->parameters.stream && is_heard) rrt__reply_send(c);
    if (--job->n_open == 0) end_job(job);
}

// Ends what is left of a job.
void rrt__job_cancel(rrt__job *job)
{
    rrt_engine *engine = job->server->engine;
    rrt__choice *c = job->choices;
    job->server->n_waiting -= job->n_choices - job->n_submitted;
    job->n_submitted = job->n_choices;
    for (size_t left = job->n_open; left; c++) { // the last takes the job with it
        if (c->is_over) continue;
        left--;
        if (c->request)
            rrt_engine_cancel(engine, c->request);
        else
            end_choice(c, job->error.status ? RRT__OUTCOME_ERROR : RRT__OUTCOME_ABORT);
    }
}

static void cancel_all(rrt__server *server, const rrt_error *why)
{
    while (server->jobs) {
        server->jobs->error = *why;
        rrt__job_cancel(server->jobs);
    }
}

static void cancel_gone(rrt__server *server)
{
    for (rrt__job *job = server->jobs, *next; job; job = next) {
        next = job->next;
        if (!rrt__exchange_is_gone(job->exchange)) continue;
        rrt__exchange_leave_place(job->exchange); // the next may have it before this is cleared away
        rrt__job_cancel(job);
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

int rrt__worker_take_token(void *user, uint64_t request, const rrt_token *token, rrt_finish finish)
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
    else if (job->parameters.stream && !rrt__reply_send(c))
        end_choice(c, RRT__OUTCOME_ABORT);
    else
        return 0;
    return 1;
}

// What the engine has done, for the metrics. Requests begin in the order they came: all but those that it
// says are waiting have begun.
static void publish(rrt__server *server)
{
    rrt_engine_stats stats;
    size_t count = 0;
    rrt_engine_describe(server->engine, &stats);
    for (rrt__choice *c = server->choices; c; c = c->next) count++;
    for (rrt__choice *c = server->choices; c && count > stats.waiting; c = c->next, count--)
        note_start(c, server->step_began);
    stats.waiting += server->n_waiting;
    rrt__metrics_put_engine(&server->metrics, &stats);
}

// Waits until there is something to do; *incoming is what came. False: stop.
static bool waits_for_work(rrt__server *server, rrt__job **incoming)
{
    pthread_mutex_lock(&server->lock);
    while (!server->incoming && !server->jobs && !server->stops)
        pthread_cond_wait(&server->wake, &server->lock);
    *incoming = server->incoming;
    server->incoming = NULL;
    bool stops = server->stops;
    pthread_mutex_unlock(&server->lock);
    return !stops;
}

void *rrt__worker_run(void *argument)
{
    rrt__server *server = argument;
    rrt__job *incoming = NULL;
    if (!rrt__load(server)) return NULL;
    while (waits_for_work(server, &incoming)) {
        rrt__jobs_take(server, incoming);
        cancel_gone(server);
        rrt__jobs_submit(server);
        rrt_error err = {0};
        bool busy;
        server->step_began = rrt__now_seconds();
        if (server->choices && rrt_engine_step(server->engine, &busy, &err)) {
            rrt__server_log(server, "a step of the engine failed: %s", err.message);
            cancel_all(server, &err);
        }
        publish(server);
    }
    const rrt_error stopping = {.status = RRT_STATUS_CANCELLED, .message = "the server is stopping"};
    rrt__jobs_take(server, incoming);
    cancel_all(server, &stopping);
    return NULL;
}
