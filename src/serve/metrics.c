#include "serve/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "pass/exit.h"

const char *const rrt__outcome_names[RRT__OUTCOMES] = {"stop", "length", "abort", "error"};

// vLLM's buckets, so that its dashboards work.
static const double request_bounds[RRT__MAX_BUCKETS] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                                        30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
static const struct {
    const char *name, *help;
    double bounds[RRT__MAX_BUCKETS]; // ascending; 0 after the last. None: request_bounds
} latencies[RRT__LATENCIES] = {
    [RRT__LATENCY_FIRST_TOKEN] = {"time_to_first_token_seconds",
                                  "From a request's arrival to its first token.",
                                  {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                   1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560}},
    [RRT__LATENCY_INTER_TOKEN] = {"inter_token_latency_seconds",
                                  "Between two tokens of a request.",
                                  {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5,
                                   7.5, 10, 20, 40, 80}},
    [RRT__LATENCY_REQUEST] = {"e2e_request_latency_seconds", "From a request's arrival to its end.", {0}},
    [RRT__LATENCY_QUEUE] = {"request_queue_time_seconds", "That a request waited for a batch slot.", {0}},
    [RRT__LATENCY_PREFILL] = {"request_prefill_time_seconds", "From its batch slot to its first token.", {0}},
    [RRT__LATENCY_DECODE] = {"request_decode_time_seconds", "From its first token to its last.", {0}},
};

static const double *bounds_of(rrt__latency latency)
{
    return latencies[latency].bounds[0] > 0 ? latencies[latency].bounds : request_bounds;
}

void rrt__metrics_open(rrt__metrics *m)
{
    *m = (rrt__metrics){0};
    pthread_mutex_init(&m->lock, NULL);
}

void rrt__metrics_close(rrt__metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

void rrt__metrics_observe(rrt__metrics *m, rrt__latency latency, double seconds)
{
    const double *bounds = bounds_of(latency);
    size_t bucket = 0;
    while (bucket < RRT__MAX_BUCKETS && bounds[bucket] > 0 && seconds > bounds[bucket]) bucket++;
    pthread_mutex_lock(&m->lock);
    m->latencies[latency].buckets[bucket]++;
    m->latencies[latency].count++;
    m->latencies[latency].sum += seconds;
    pthread_mutex_unlock(&m->lock);
}

void rrt__metrics_count(rrt__metrics *m, uint64_t *counter, uint64_t by)
{
    pthread_mutex_lock(&m->lock);
    *counter += by;
    pthread_mutex_unlock(&m->lock);
}

void rrt__metrics_put_engine(rrt__metrics *m, const rrt_engine_stats *stats)
{
    pthread_mutex_lock(&m->lock);
    m->engine = *stats;
    pthread_mutex_unlock(&m->lock);
}

void rrt__metrics_engine(rrt__metrics *m, rrt_engine_stats *stats)
{
    pthread_mutex_lock(&m->lock);
    *stats = m->engine;
    pthread_mutex_unlock(&m->lock);
}

// --- printing -------------------------------------------------------------------------------------------

typedef struct printer {
    rrt__string *out;
    rrt_error *err;
    rrt_status status; // the first failure
    char model[512];   // model_name="…"
} printer;

static void RRT__PRINTF(2, 3) print(printer *p, const char *format, ...)
{
    char line[1024];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (!p->status) p->status = rrt__string_append(p->out, line, (size_t)length, p->err);
}

static void head(printer *p, const char *name, const char *type, const char *help)
{
    print(p, "# HELP rrt_%s %s\n# TYPE rrt_%s %s\n", name, help, name, type);
}

static void single(printer *p, const char *name, const char *type, const char *help, double value)
{
    head(p, name, type, help);
    print(p, "rrt_%s{%s} %.15g\n", name, p->model, value);
}

static void labelled(printer *p, const char *name, const char *label, const char *value, uint64_t count)
{
    print(p, "rrt_%s{%s,%s=\"%s\"} %" PRIu64 "\n", name, p->model, label, value, count);
}

static void by_depth(printer *p, const char *name, const char *type, const char *help, int loops,
                     const uint64_t *counts, const size_t *sizes)
{
    head(p, name, type, help);
    for (int depth = 1; depth <= loops; depth++) {
        char text[16];
        snprintf(text, sizeof text, "%d", depth);
        labelled(p, name, "depth", text, counts ? counts[depth] : sizes[depth]);
    }
}

static void latency(printer *p, const rrt__metrics *m, rrt__latency which)
{
    const char *name = latencies[which].name;
    const double *bounds = bounds_of(which);
    uint64_t sum = 0;
    head(p, name, "histogram", latencies[which].help);
    for (size_t i = 0; i < RRT__MAX_BUCKETS && bounds[i] > 0; i++) {
        sum += m->latencies[which].buckets[i];
        print(p, "rrt_%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, p->model, bounds[i], sum);
    }
    print(p, "rrt_%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, p->model, m->latencies[which].count);
    print(p, "rrt_%s_sum{%s} %.9g\n", name, p->model, m->latencies[which].sum);
    print(p, "rrt_%s_count{%s} %" PRIu64 "\n", name, p->model, m->latencies[which].count);
}

static void exit_depth(printer *p, const rrt_engine_stats *e, int loops)
{
    uint64_t count = 0, sum = 0;
    head(p, "exit_depth", "histogram", "Loops after which generated tokens left.");
    for (int depth = 1; depth <= loops; depth++) {
        count += e->exits[depth];
        sum += e->exits[depth] * (uint64_t)depth;
        print(p, "rrt_exit_depth_bucket{%s,le=\"%d\"} %" PRIu64 "\n", p->model, depth, count);
    }
    print(p, "rrt_exit_depth_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", p->model, count);
    print(p, "rrt_exit_depth_sum{%s} %" PRIu64 "\n", p->model, sum);
    print(p, "rrt_exit_depth_count{%s} %" PRIu64 "\n", p->model, count);
}

static void requests(printer *p, const rrt__metrics *m)
{
    const rrt_engine_stats *e = &m->engine;
    single(p, "num_requests_running", "gauge", "Requests that have a batch slot.", (double)e->running);
    single(p, "num_requests_waiting", "gauge", "Requests that wait for one.", (double)e->waiting);
    single(p, "kv_cache_usage_perc", "gauge", "Part of the pages of keys and values in use, 0 to 1.",
           e->pages ? (double)e->pages_used / (double)e->pages : 0);
    single(p, "kv_bytes_per_token", "gauge", "Bytes of keys and values that a token takes.",
           (double)e->kv_bytes_per_token);
    single(p, "prefix_cache_queries_total", "counter", "Tokens of prompts looked up in pages.",
           (double)e->prompt_tokens);
    single(p, "prefix_cache_hits_total", "counter", "Tokens of prompts found in pages.",
           (double)e->cached_tokens);
    single(p, "prompt_tokens_total", "counter", "Tokens of prompts.", (double)e->prompt_tokens);
    single(p, "generation_tokens_total", "counter", "Tokens made.", (double)e->generated_tokens);
    head(p, "request_success_total", "counter", "Requests that ended, by reason.");
    for (int i = 0; i < RRT__OUTCOMES; i++)
        labelled(p, "request_success_total", "finished_reason", rrt__outcome_names[i], m->outcomes[i]);
    single(p, "requests_refused_total", "counter", "Requests refused with 429.", (double)m->refused);
}

static void recursion(printer *p, const rrt_engine_stats *e, int loops)
{
    exit_depth(p, e, loops);
    by_depth(p, "loop_steps_total", "counter", "Rows that ran each loop.", loops, e->rows, NULL);
    by_depth(p, "batch_occupancy", "gauge", "Rows of the last step in each loop.", loops, NULL, e->occupancy);
    single(p, "engine_steps_total", "counter", "Steps of the engine.", (double)e->steps);
    single(p, "refills_total", "counter", "Tokens that entered the loops beside others in deeper ones.",
           (double)e->refills);
    single(p, "spec_drafted_tokens_total", "counter", "Tokens drafted by fewer loops.", (double)e->drafted);
    single(p, "spec_accepted_tokens_total", "counter", "Drafted tokens that all loops agreed with.",
           (double)e->accepted);
    head(p, "kv_fill_tokens_total", "counter",
         "Tokens whose deeper keys and values were made after they left.");
    for (int i = 0; i < RRT__KV_POLICY_COUNT; i++)
        labelled(p, "kv_fill_tokens_total", "policy", rrt__kv_policy_name((rrt__kv_policy)i),
                 e->kv_filled[i]);
}

static void label_model(printer *p, const char *name)
{
    enum { MAX_LENGTH = 200 };
    char escaped[2 * MAX_LENGTH + 1], *out = escaped;
    for (; *name && out < escaped + sizeof escaped - 2; name++) {
        if (*name == '"' || *name == '\\') *out++ = '\\';
        *out++ = *name;
        if ((unsigned char)*name < ' ') out[-1] = ' ';
    }
    *out = '\0';
    snprintf(p->model, sizeof p->model, "model_name=\"%s\"", escaped);
}

rrt_status rrt__metrics_print(rrt__metrics *m, const char *model_name, int loops, rrt__string *out,
                              rrt_error *err)
{
    printer p = {.out = out, .err = err};
    label_model(&p, model_name);
    if (loops > RRT_MAX_LOOPS) loops = RRT_MAX_LOOPS;
    pthread_mutex_lock(&m->lock);
    requests(&p, m);
    for (int i = 0; i < RRT__LATENCIES; i++) latency(&p, m, i);
    recursion(&p, &m->engine, loops);
    pthread_mutex_unlock(&m->lock);
    return p.status;
}
