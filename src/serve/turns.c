// Whose turn it is: choices wait here, not in the engine, and each place that falls free goes to the client
// that has the fewest, or got its last one longest ago, then to the job of which the same is true, then to
// the oldest. So the prompts of one request do not keep others waiting until all of them have run. Who is new
// counts as if it had just got a place: else who always comes anew would always be first.
#include "serve/server_inside.h"

static rrt_request request_of(const rrt__choice *c)
{
    const rrt__parameters *p = &c->job->parameters;
    const rrt__server *server = c->job->server;
    bool wants = p->logprobs != RRT__NO_LOGPROBS;
    return (rrt_request){
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
        .kv = p->kv[0] ? p->kv : server->options.kv,
        .draft_loops = p->draft_loops,
        .draft_tokens = p->draft_tokens,
    };
}

// What the engine cannot do is known at once, and not when it is the job's turn: the longest prompt is put
// into it, and taken back.
static rrt_status check(rrt__job *job, rrt_error *err)
{
    const rrt__choice *longest = job->choices;
    uint64_t id;
    for (size_t i = 1; i < job->n_choices; i++)
        if (job->choices[i].prompt_tokens > longest->prompt_tokens) longest = &job->choices[i];
    const rrt_request request = request_of(longest);
    RRT__TRY(rrt_engine_submit(job->server->engine, &request, &id, err));
    rrt_engine_cancel(job->server->engine, id);
    return RRT_STATUS_OK;
}

static void take(rrt__server *server, rrt__job *job)
{
    rrt_error err = {0};
    rrt__job **last = &server->jobs;
    while (*last) last = &(*last)->next;
    job->next = NULL;
    *last = job;
    server->n_waiting += job->n_choices;
    rrt__client *client = rrt__exchange_client(job->exchange);
    job->turn = server->n_turns;
    if (!client->turn) client->turn = server->n_turns;
    if (check(job, &err)) {
        job->error = err;
        rrt__job_cancel(job);
    }
}

void rrt__jobs_take(rrt__server *server, rrt__job *incoming)
{
    for (rrt__job *job = incoming, *next; job; job = next) {
        next = job->next;
        take(server, job);
    }
}

static bool comes_before(const rrt__job *a, const rrt__job *b)
{
    const rrt__client *of_a = rrt__exchange_client(a->exchange), *of_b = rrt__exchange_client(b->exchange);
    if (of_a->running != of_b->running) return of_a->running < of_b->running;
    if (of_a->turn != of_b->turn) return of_a->turn < of_b->turn;
    return a->n_running != b->n_running ? a->n_running < b->n_running : a->turn < b->turn;
}

static rrt__job *next_job(const rrt__server *server)
{
    rrt__job *next = NULL;
    for (rrt__job *job = server->jobs; job; job = job->next)
        if (job->n_submitted < job->n_choices && (!next || comes_before(job, next))) next = job;
    return next;
}

static void submit(rrt__server *server, rrt__job *job)
{
    rrt_error err = {0};
    rrt__choice *c = &job->choices[job->n_submitted];
    rrt_request request = request_of(c);
    request.callback = rrt__worker_take_token;
    request.user = c;
    if (rrt_engine_submit(server->engine, &request, &c->request, &err)) {
        job->error = err;
        rrt__job_cancel(job);
        return;
    }
    job->n_submitted++;
    server->n_waiting--;
    job->n_running++;
    rrt__client *client = rrt__exchange_client(job->exchange);
    client->running++;
    job->turn = client->turn = ++server->n_turns;
    rrt__free(c->prompt); // the engine has its own
    c->prompt = NULL;
    rrt__choice **last = &server->choices;
    while (*last) last = &(*last)->next;
    c->next = NULL;
    *last = c;
}

void rrt__jobs_submit(rrt__server *server)
{
    rrt_engine_stats stats;
    rrt__job *job;
    if (!server->n_waiting) return;
    rrt_engine_describe(server->engine, &stats);
    if (stats.waiting) return; // for pages, and nobody may overtake it
    size_t free = server->options.engine.requests - stats.running;
    while (free-- && (job = next_job(server))) submit(server, job);
}
