// Decides whose turn it is: choices wait here, not in the engine, and each free batch slot goes to the client
// with the fewest slots, or among equals to the one that got its last slot longest ago; within a client to
// the completion by the same rule, then to the oldest choice. So the prompts of one request do not keep
// others waiting until all of them have run. A new client counts as if it had just got a batch slot:
// otherwise a client that always reconnects would always be first.
#include "serve/server_inside.h"

enum { DRAFT_TOKENS = 4 }; // of a server whose engine drafts by layers

static rrt_request request_of(const rrt__choice *c)
{
    const rrt__parameters *p = &c->completion->parameters;
    const rrt__server *server = c->completion->server;
    bool drafts = server->options.engine.draft_layers && !p->draft_loops;
    bool wants = p->logprobs != RRT__NO_LOGPROBS;
    return (rrt_request){
        .prompt = c->prompt,
        .prompt_tokens = c->prompt_tokens,
        .max_tokens = p->max_tokens,
        .sampling = p->sampling,
        .ignore_end = p->ignore_end,
        .prefix_lm = c->completion->is_chat && server->info.prefix_lm,
        .wants_logprobs = wants,
        .wants_prompt_logprobs = wants && p->echo,
        .top_logprobs = wants ? p->logprobs : 0,
        .loops = p->loops,
        .min_loops = p->min_loops,
        .exit = p->exit[0] ? p->exit : server->options.exit,
        .kv = p->kv[0] ? p->kv : server->options.kv,
        .draft_loops = drafts ? 1 : p->draft_loops,
        .draft_tokens = drafts ? DRAFT_TOKENS : p->draft_tokens,
    };
}

// Finds out at once, and not at the completion's turn, whether the engine can run it: submits the longest
// prompt and cancels it.
static rrt_status check(rrt__completion *completion, rrt_error *err)
{
    const rrt__choice *longest = completion->choices;
    uint64_t id;
    for (size_t i = 1; i < completion->n_choices; i++)
        if (completion->choices[i].prompt_tokens > longest->prompt_tokens) longest = &completion->choices[i];
    const rrt_request request = request_of(longest);
    RRT__TRY(rrt_engine_submit(completion->server->engine, &request, &id, err));
    rrt_engine_cancel(completion->server->engine, id);
    return RRT_STATUS_OK;
}

static void take(rrt__server *server, rrt__completion *completion)
{
    rrt_error err = {0};
    rrt__completion **last = &server->completions;
    while (*last) last = &(*last)->next;
    completion->next = NULL;
    *last = completion;
    server->n_waiting += completion->n_choices;
    rrt__client *client = rrt__exchange_client(completion->exchange);
    completion->turn = server->n_turns;
    if (!client->turn) client->turn = server->n_turns;
    if (check(completion, &err)) {
        completion->error = err;
        rrt__completion_cancel(completion);
    }
}

void rrt__completions_take(rrt__server *server, rrt__completion *incoming)
{
    for (rrt__completion *completion = incoming, *next; completion; completion = next) {
        next = completion->next;
        take(server, completion);
    }
}

static bool comes_before(const rrt__completion *a, const rrt__completion *b)
{
    const rrt__client *of_a = rrt__exchange_client(a->exchange), *of_b = rrt__exchange_client(b->exchange);
    if (of_a->running != of_b->running) return of_a->running < of_b->running;
    if (of_a->turn != of_b->turn) return of_a->turn < of_b->turn;
    return a->n_running != b->n_running ? a->n_running < b->n_running : a->turn < b->turn;
}

static rrt__completion *next_completion(const rrt__server *server)
{
    rrt__completion *next = NULL;
    for (rrt__completion *completion = server->completions; completion; completion = completion->next)
        if (completion->n_submitted < completion->n_choices && (!next || comes_before(completion, next)))
            next = completion;
    return next;
}

static void submit(rrt__server *server, rrt__completion *completion)
{
    rrt_error err = {0};
    rrt__choice *c = &completion->choices[completion->n_submitted];
    rrt_request request = request_of(c);
    request.callback = rrt__worker_take_token;
    request.user = c;
    if (rrt_engine_submit(server->engine, &request, &c->request, &err)) {
        completion->error = err;
        rrt__completion_cancel(completion);
        return;
    }
    completion->n_submitted++;
    server->n_waiting--;
    completion->n_running++;
    rrt__client *client = rrt__exchange_client(completion->exchange);
    client->running++;
    completion->turn = client->turn = ++server->n_turns;
    rrt__free(c->prompt); // the engine has its own copy
    c->prompt = NULL;
    rrt__choice **last = &server->choices;
    while (*last) last = &(*last)->next;
    c->next = NULL;
    *last = c;
}

void rrt__completions_submit(rrt__server *server)
{
    rrt_engine_stats stats;
    rrt__completion *completion;
    if (!server->n_waiting) return;
    rrt_engine_describe(server->engine, &stats);
    if (stats.waiting) return; // for pages, and nobody may overtake it
    size_t free = server->options.engine.requests - stats.running;
    while (free-- && (completion = next_completion(server))) submit(server, completion);
}
