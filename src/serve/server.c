#include "serve/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "serve/server_inside.h"

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};

static void stop_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof stop_signals / sizeof *stop_signals; i++) sigaddset(set, stop_signals[i]);
}

const char *rrt__server_model_name(const rrt__server *server)
{
    return server->options.alias;
}

rrt__server_state rrt__server_state_now(rrt__server *server)
{
    pthread_mutex_lock(&server->lock);
    rrt__server_state state = server->state;
    pthread_mutex_unlock(&server->lock);
    return state;
}

bool rrt__server_stops(rrt__server *server)
{
    pthread_mutex_lock(&server->lock);
    bool stops = server->stops;
    pthread_mutex_unlock(&server->lock);
    return stops;
}

void rrt__server_log(const rrt__server *server, const char *format, ...)
{
    char *line;
    va_list list;
    va_start(list, format);
    int length = vasprintf(&line, format, list);
    va_end(list);
    if (length < 0) return;
    if (server->options.log) server->options.log(line);
    free(line);
}

// --- open -----------------------------------------------------------------------------------------------

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static rrt_status start(rrt__server *server, rrt_error *err)
{
    const rrt__server_options *o = &server->options;
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return rrt__fail_errno(err, "no random numbers");
    snprintf(server->id, sizeof server->id, "%012" PRIx64, random >> 16);
    const rrt__http_options http = {.host = o->host,
                                    .port = o->port,
                                    .max_body_bytes = o->max_body_bytes,
                                    .max_connections = o->max_connections,
                                    .max_slots = o->engine.requests + o->max_waiting,
                                    .max_bytes = o->max_bytes,
                                    .patience_s = o->patience_s,
                                    .admit = rrt__api_admit,
                                    .handle = rrt__api_handle,
                                    .user = server};
    RRT__TRY(rrt__aside_open(&server->aside, err));
    RRT__TRY(rrt__http_open(&server->http, &http, err));
    if (pthread_create(&server->worker, NULL, rrt__worker_run, server) != 0)
        return rrt__fail(err, RRT_STATUS_MEMORY, "cannot start a thread");
    server->has_worker = true;
    if (!rrt__http_is_local(server->http) && !o->api_keys.count)
        rrt__server_log(server,
                        "warning: whoever reaches this machine may use the server: there is no "
                        "--api-key, and it listens at %s, not only at 127.0.0.1",
                        o->host);
    return RRT_STATUS_OK;
}

rrt_status rrt__server_open(rrt__server **out, const rrt__server_options *options, rrt_error *err)
{
    rrt__server *server;
    sigset_t signals;
    RRT__TRY(rrt__alloc(&server, 1, sizeof *server, "the server", err));
    server->options = *options;
    if (!options->alias) server->options.alias = last_part(options->model);
    server->created = time(NULL);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->wake, NULL);
    rrt__metrics_open(&server->metrics);
    rrt__give_back_at_once();
    stop_set(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    rrt_status status = start(server, err);
    if (status)
        rrt__server_close(server);
    else
        *out = server;
    return status;
}

int rrt__server_port(const rrt__server *server)
{
    return rrt__http_port(server->http);
}

// --- run ------------------------------------------------------------------------------------------------

typedef struct throughput {
    double since;
    uint64_t prompt_tokens, generated_tokens;
} throughput;

static double mean_loops(const rrt_engine_stats *stats)
{
    uint64_t count = 0, sum = 0;
    for (int i = 1; i <= RRT_MAX_LOOPS; i++) {
        count += stats->exits[i];
        sum += stats->exits[i] * (uint64_t)i;
    }
    return count ? (double)sum / (double)count : 0;
}

// Logs a line every few seconds while there is progress.
static void log_throughput(rrt__server *server, throughput *last)
{
    enum { INTERVAL_S = 5 };
    double now = rrt__now_seconds(), seconds = now - last->since;
    if (seconds < INTERVAL_S) return;
    rrt_engine_stats s;
    rrt__metrics_engine(&server->metrics, &s);
    uint64_t prompt = s.prompt_tokens - last->prompt_tokens,
             made = s.generated_tokens - last->generated_tokens;
    if (prompt || made || s.running)
        rrt__server_log(
            server,
            "prompts %.1f tokens/s, replies %.1f tokens/s, running %zu, waiting %zu, keys and values "
            "%.1f %%, mean loops %.2f",
            (double)prompt / seconds, (double)made / seconds, s.running, s.waiting,
            s.pages ? 100. * (double)s.pages_used / (double)s.pages : 0, mean_loops(&s));
    *last = (throughput){now, s.prompt_tokens, s.generated_tokens};
}

// The first signal lets running requests finish, a second one does not. Before the model is loaded,
// nothing runs.
static void take_signal(rrt__server *server)
{
    enum { DRAIN_PATIENCE_S = 10 }; // a client that does not read must not delay the end
    pthread_mutex_lock(&server->lock);
    if (server->state == RRT__SERVER_READY) {
        server->state = RRT__SERVER_DRAINING;
        server->drains_until = rrt__now_seconds() + server->options.drain_s;
    } else {
        server->stops = true;
    }
    bool stops = server->stops;
    pthread_mutex_unlock(&server->lock);
    rrt__http_hurry(server->http, DRAIN_PATIENCE_S);
    if (stops)
        rrt__server_log(server, "stopping at once");
    else
        rrt__server_log(server, "stopping: %zu replies are to be finished (a second signal stops at once)",
                        rrt__http_slots(server->http));
}

static bool goes_on(rrt__server *server)
{
    pthread_mutex_lock(&server->lock);
    bool drains = server->state == RRT__SERVER_DRAINING;
    bool done =
        server->stops || server->state == RRT__SERVER_FAILED || (drains && !rrt__http_slots(server->http));
    bool is_late = !done && drains && rrt__now_seconds() > server->drains_until;
    pthread_mutex_unlock(&server->lock);
    if (is_late) rrt__server_log(server, "stopping at once: replies are not finished after --drain-timeout");
    return !done && !is_late;
}

rrt_status rrt__server_run(rrt__server *server, rrt_error *err)
{
    static const struct timespec tick = {.tv_nsec = 200000000};
    throughput last = {.since = rrt__now_seconds()};
    bool was_ready = false;
    sigset_t signals;
    stop_set(&signals);
    while (goes_on(server)) {
        if (sigtimedwait(&signals, NULL, &tick) > 0) take_signal(server);
        rrt__http_watch(server->http);
        log_throughput(server, &last);
        if (!was_ready && rrt__server_state_now(server) == RRT__SERVER_READY) {
            was_ready = true;
            rrt__server_log(server, "ready: %s, %d loops of %d layers, %zu requests at a time; %s",
                            rrt__server_model_name(server), server->info.loops, server->info.layers_per_block,
                            server->options.engine.requests, server->memory);
        }
    }
    pthread_mutex_lock(&server->lock);
    bool failed = server->state == RRT__SERVER_FAILED && !server->stops;
    if (failed) *err = server->error;
    pthread_mutex_unlock(&server->lock);
    return failed ? err->status : RRT_STATUS_OK;
}

// --- close ----------------------------------------------------------------------------------------------

// Lets finished replies reach their clients.
static void flush(rrt__http *http)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    double end = rrt__now_seconds() + 1;
    while (rrt__http_open_exchanges(http) && rrt__now_seconds() < end) nanosleep(&pause, NULL);
}

void rrt__server_close(rrt__server *server)
{
    if (!server) return;
    pthread_mutex_lock(&server->lock);
    server->stops = true;
    pthread_cond_signal(&server->wake);
    pthread_mutex_unlock(&server->lock);
    if (server->has_worker) {
        pthread_join(server->worker, NULL);
        rrt__aside_close(&server->aside);
        flush(server->http);
    } else {
        rrt__aside_close(&server->aside);
    }
    rrt__http_close(server->http);
    rrt_engine_close(server->engine);
    rrt_chat_close(server->chat);
    json_decref(server->chat_arguments);
    rrt_model_close(server->model);
    rrt__metrics_close(&server->metrics);
    pthread_cond_destroy(&server->wake);
    pthread_mutex_destroy(&server->lock);
    rrt__free(server);
}
