// The thread that owns model and engine.
#include "base/clock.h"
#include "serve/server_inside.h"

// --- the end of choices and completions

// Building a long reply takes longer than a step may.
static void answer_aside(rrt__work *work)
{
    rrt__completion *completion = (rrt__completion *)work; // its first member
    if (completion->has_begun)
        rrt__reply_end(completion);
    else
        rrt__reply_whole(completion);
    rrt__completion_free(completion);
}

static void end_completion(rrt__completion *completion)
{
    enum { LONG_BYTES = 1 << 20 };
    rrt__completion **at = &completion->server->completions;
    while (*at != completion) at = &(*at)->next;
    *at = completion->next;
    completion->work.run = answer_aside;
    rrt__aside_put(&completion->server->aside,
                   completion->bytes > LONG_BYTES ? RRT__LANE_LONG : RRT__LANE_SHORT, &completion->work);
}

static void measure(const rrt__choice *c)
{
    rrt__metrics *m = &c->completion->server->metrics;
    rrt__metrics_count(m, &m->outcomes[c->outcome], 1);
    if (c->outcome != RRT__OUTCOME_STOP && c->outcome != RRT__OUTCOME_LENGTH) return;
    rrt__metrics_observe(m, RRT__LATENCY_REQUEST, rrt__now_seconds() - c->completion->arrived);
    if (!c->n_tokens) return;
    rrt__metrics_observe(m, RRT__LATENCY_PREFILL, c->first - c->started);
    rrt__metrics_observe(m, RRT__LATENCY_DECODE, c->last - c->first);
}

// The last choice of a completion also ends and frees the completion.
static void end_choice(rrt__choice *c, rrt__outcome outcome)
{
    rrt__completion *completion = c->completion;
    rrt__server *server = completion->server;
    rrt__choice **at = &server->choices;
    while (*at && *at != c) at = &(*at)->next;
    if (*at) *at = c->next;
    if (c->request) {
        rrt_engine_describe_request(server->engine, c->request, &c->stats);
        rrt__exchange_client(completion->exchange)->running--;
        completion->n_running--;
    }
    c->outcome = outcome;
    c->is_over = true;
    measure(c);
    bool is_heard = outcome != RRT__OUTCOME_ABORT && !completion->error.status;
    if (completion->parameters.stream && is_heard) rrt__reply_send(c);
    if (--completion->n_open == 0) end_completion(completion);
}

// Ends the rest of a completion.
void rrt__completion_cancel(rrt__completion *completion)
{
    rrt_engine *engine = completion->server->engine;
    rrt__choice *c = completion->choices;
    completion->server->n_waiting -= completion->n_choices - completion->n_submitted;
    completion->n_submitted = completion->n_choices;
    for (size_t left = completion->n_open; left; c++) { // the last one frees the completion
        if (c->is_over) continue;
        left--;
        if (c->request)
            rrt_engine_cancel(engine, c->request);
        else
            end_choice(c, completion->error.status ? RRT__OUTCOME_ERROR : RRT__OUTCOME_ABORT);
    }
}

static void cancel_all(rrt__server *server, const rrt_error *why)
{
    while (server->completions) {
        server->completions->error = *why;
        rrt__completion_cancel(server->completions);
    }
}

static void cancel_gone(rrt__server *server)
{
    for (rrt__completion *completion = server->completions, *next; completion; completion = next) {
        next = completion->next;
        if (!rrt__exchange_is_gone(completion->exchange)) continue;
        rrt__exchange_leave_slot(completion->exchange); // the next request may have it before the cleanup
        rrt__completion_cancel(completion);
    }
}

// --- tokens ---------------------------------------------------------------------------------------------

static void note_start(rrt__choice *c, double now)
{
    if (c->started > 0) return;
    c->started = now;
    rrt__metrics_observe(&c->completion->server->metrics, RRT__LATENCY_QUEUE, now - c->completion->arrived);
}

static void note_token(rrt__choice *c, const rrt_token *token)
{
    rrt__metrics *m = &c->completion->server->metrics;
    double now = rrt__now_seconds();
    if (!c->n_tokens) {
        note_start(c, c->completion->server->step_began);
        c->first = now;
        rrt__metrics_observe(m, RRT__LATENCY_FIRST_TOKEN, now - c->completion->arrived);
    } else {
        rrt__metrics_observe(m, RRT__LATENCY_INTER_TOKEN, now - c->last);
    }
    c->last = now;
    rrt__reply_note(c, token);
}

static rrt_status add_text(rrt__choice *c, int32_t id, rrt_error *err)
{
    size_t length;
    const char *bytes = rrt_token_bytes(c->completion->server->tokenizer, id, &length);
    return bytes ? rrt__reply_text_add(&c->text, &c->completion->parameters.stops, bytes, length, err)
                 : RRT_STATUS_OK;
}

static rrt__outcome outcome_of(rrt__completion *completion, rrt_finish finish)
{
    if (finish == RRT_FINISH_STOP) return RRT__OUTCOME_STOP;
    if (finish == RRT_FINISH_LENGTH) return RRT__OUTCOME_LENGTH;
    if (finish == RRT_FINISH_ERROR)
        rrt__fail(&completion->error, RRT_STATUS_NUMERIC, "the model's logits are not numbers");
    return completion->error.status ? RRT__OUTCOME_ERROR : RRT__OUTCOME_ABORT;
}

int rrt__worker_take_token(void *user, uint64_t request, const rrt_token *token, rrt_finish finish)
{
    (void)request;
    rrt__choice *c = user;
    rrt__completion *completion = c->completion;
    if (!token) {
        end_choice(c, outcome_of(completion, finish));
        return 0;
    }
    if (token->is_prompt) {
        rrt__reply_note(c, token);
        return 0;
    }
    note_token(c, token);
    bool ends =
        !completion->parameters.ignore_end && rrt_tokenizer_ends(completion->server->tokenizer, token->id);
    if (ends) return 0; // its text is not part of the reply
    if (add_text(c, token->id, &completion->error))
        end_choice(c, RRT__OUTCOME_ERROR);
    else if (c->text.is_stopped)
        end_choice(c, RRT__OUTCOME_STOP);
    else if (completion->parameters.stream && !rrt__reply_send(c))
        end_choice(c, RRT__OUTCOME_ABORT);
    else
        return 0;
    return 1;
}

// Publishes the engine's progress for the metrics. Requests begin in order of arrival: all but those that the
// engine counts as waiting have begun.
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

// Waits for work; *incoming: new completions. False: stop.
static bool waits_for_work(rrt__server *server, rrt__completion **incoming)
{
    pthread_mutex_lock(&server->lock);
    while (!server->incoming && !server->completions && !server->stops)
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
    rrt__completion *incoming = NULL;
    if (!rrt__load(server)) return NULL;
    while (waits_for_work(server, &incoming)) {
        rrt__completions_take(server, incoming);
        cancel_gone(server);
        rrt__completions_submit(server);
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
    rrt__completions_take(server, incoming);
    cancel_all(server, &stopping);
    return NULL;
}
