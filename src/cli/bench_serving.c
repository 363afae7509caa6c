// rrt bench --batching: many requests at a time.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/page.h"
#include "base/rates.h"
#include "cli/bench.h"
#include "cli/exit_trace.h"

enum { MAX_CASES = 128 };

static const char *const ways[] = {"depth", "sequence-exit", "sequence", "static"};

typedef struct cell {
    const char *way;
    size_t batch;
    char exit[64]; // "": none
    rrt__rates rates;
    rrt_bench_requests_result result; // of the last run
} cell;

typedef struct table {
    cell *cells;
    size_t count;
    rrt__exit_trace trace;
} table;

// The next item of a comma-separated list; false at its end.
static bool next_item(const char **list, char item[64])
{
    if (!**list) return false;
    size_t length = strcspn(*list, ",");
    snprintf(item, 64, "%.*s", (int)length, *list);
    *list += length + ((*list)[length] == ',');
    return true;
}

static rrt_status check_trace(const rrt__exit_trace *trace, const char *path, int loops, rrt_error *err)
{
    for (size_t i = 0; i < trace->tokens; i++)
        if (trace->exits[i] > loops)
            return rrt__cli_in_file(err,
                                    rrt__fail(err, RRT_STATUS_FORMAT,
                                              "token %zu leaves after %d loops: the model has %d", i + 1,
                                              trace->exits[i], loops),
                                    path);
    return RRT_STATUS_OK;
}

static rrt_status add_cells(table *t, const rrt__bench_serving *serving, size_t batch, rrt_error *err)
{
    char way[64], exit[64];
    int number;
    for (const char *list = serving->batching; next_item(&list, way);) {
        RRT__TRY(rrt__cli_choose("batching", way, ways, 4, &number, err));
        bool exits = number == RRT_BATCHING_DEPTH || number == RRT_BATCHING_SEQUENCE_EXIT;
        const char *rules = exits && serving->exits ? serving->exits : "";
        do {
            bool has_rule = next_item(&rules, exit);
            if (t->count == MAX_CASES)
                return rrt__fail(err, RRT_STATUS_ARGUMENT, "more than %d cases: shorten a list", MAX_CASES);
            cell *c = &t->cells[t->count++];
            *c = (cell){.way = ways[number], .batch = batch};
            if (has_rule) memcpy(c->exit, exit, sizeof exit);
        } while (*rules);
    }
    return RRT_STATUS_OK;
}

static rrt_status run_cell(cell *c, const table *t, const rrt__bench_serving *serving, const rrt_model *model,
                           bool is_last, rrt_error *err)
{
    rrt_bench_requests_options o = serving->options;
    int way = 0;
    while (ways[way] != c->way) way++;
    o.batching = (rrt_batching)way;
    o.concurrency = c->batch;
    o.exit = c->exit[0] ? c->exit : NULL;
    o.measures_agreement = is_last && o.exit;
    o.trace = t->trace.exits;
    o.trace_lengths = t->trace.lengths;
    o.trace_requests = t->trace.requests;
    RRT__TRY(rrt_bench_requests(model, &o, &c->result, err));
    rrt__rates_add(&c->rates, (double)c->result.tokens / c->result.seconds);
    return RRT_STATUS_OK;
}

static json_t *numbers(const uint64_t *values, int loops)
{
    json_t *list = json_array();
    for (int i = 1; i <= loops; i++) json_array_append_new(list, json_integer((json_int_t)values[i]));
    return list;
}

// Rows of each loop over time: [seconds, rows of loop 1, …].
static json_t *timeline(const rrt_bench_requests_result *r, int loops)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_samples; i++) {
        json_t *sample = json_array();
        json_array_append_new(sample, json_real(r->samples[i].seconds));
        for (int l = 1; l <= loops; l++) json_array_append_new(sample, json_real(r->samples[i].rows[l]));
        json_array_append_new(list, sample);
    }
    return list;
}

// What a step of so many rows takes, [rows, ms]: what rrt simulate reads.
static json_t *step_times(const rrt_bench_requests_result *r)
{
    json_t *list = json_array();
    for (int i = 0; i < RRT_BENCH_SIZES; i++) {
        double steps = (double)r->sizes[i].steps;
        if (steps == 0) continue;
        json_array_append_new(
            list, json_pack("[f, f]", (double)r->sizes[i].rows / steps, 1000 * r->sizes[i].seconds / steps));
    }
    return list;
}

// Where the time went.
static json_t *parts(const double seconds[RRT_ENGINE_PARTS])
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "prelude", seconds[RRT_ENGINE_PRELUDE], "loops",
                     seconds[RRT_ENGINE_LOOPS], "boundary", seconds[RRT_ENGINE_BOUNDARY], "head",
                     seconds[RRT_ENGINE_HEAD], "kv", seconds[RRT_ENGINE_KV], "rest",
                     seconds[RRT_ENGINE_REST]);
}

// tokens/s if every step were full, at what a full step cost.
static double full_rate(const cell *c)
{
    const rrt_bench_requests_result *r = &c->result;
    return (double)c->batch * (double)r->full_steps / r->full_seconds / r->mean_loops;
}

// Against the cell of the same batch with another way of batching: its tokens/s; NaN: it was not run.
static double rate_of(const table *t, const cell *c, const char *way)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->cells[i].batch == c->batch && strcmp(t->cells[i].way, way) == 0)
            return rrt__rates_mean(&t->cells[i].rates);
    return NAN;
}

// The gain from exits, beside its bound, and beside what full steps would give.
static void add_bounds(json_t *row, const table *t, const cell *c)
{
    double rate = rrt__rates_mean(&c->rates), gain = rate / rate_of(t, c, "sequence");
    json_object_set_new(row, "bound", json_real(c->result.bound));
    json_object_set_new(row, "gain", rrt__cli_number(gain));
    json_object_set_new(row, "share_of_bound", rrt__cli_number(gain / c->result.bound));
    json_object_set_new(row, "occupancy", rrt__cli_number(rate / full_rate(c)));
    json_object_set_new(row, "gain_over_static", rrt__cli_number(rate / rate_of(t, c, "static")));
    json_object_set_new(row, "limit_over_static", rrt__cli_number(full_rate(c) / rate_of(t, c, "static")));
    json_object_set_new(row, "seconds", parts(c->result.stats.seconds));
}

static json_t *row_of(const cell *c, int loops)
{
    const rrt_bench_requests_result *r = &c->result;
    return json_pack("{s:s, s:I, s:s, s:s?, s:f, s:f, s:f, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I}",
                     "test", "requests", "batch", (json_int_t)c->batch, "batching", c->way, "exit",
                     c->exit[0] ? c->exit : NULL, "tokens_per_s_mean", rrt__rates_mean(&c->rates),
                     "tokens_per_s_std", rrt__rates_deviation(&c->rates), "mean_loops", r->mean_loops,
                     "agreement", rrt__cli_number(r->agreement), "steps", (json_int_t)r->stats.steps,
                     "drafted", (json_int_t)r->stats.drafted, "accepted", (json_int_t)r->stats.accepted,
                     "exits", numbers(r->stats.exits, loops), "rows", numbers(r->stats.rows, loops),
                     "step_ms", step_times(r), "timeline", timeline(r, loops), "peak_rss_bytes",
                     (json_int_t)r->peak_rss_bytes);
}

// Cases in turns, so that what disturbs the machine disturbs all.
static rrt_status run_all(table *t, const rrt__bench_serving *serving, const rrt_model *model, int repeats,
                          rrt_error *err)
{
    for (int round = 0; round < repeats; round++)
        for (size_t i = 0; i < t->count; i++)
            RRT__TRY(run_cell(&t->cells[i], t, serving, model, round == repeats - 1, err));
    return RRT_STATUS_OK;
}

rrt_status rrt__bench_serving_run(rrt__bench_serving *serving, const rrt_model *model, const size_t *batches,
                                  int n_batches, int repeats, json_t *rows, rrt_error *err)
{
    table t = {0};
    rrt_model_info info;
    rrt_model_describe(model, &info);
    int loops = info.loops < RRT_MAX_LOOPS ? info.loops : RRT_MAX_LOOPS;
    if (!serving->batching) serving->batching = "depth";
    if (serving->html) {
        serving->force =
            serving->force || rrt__page_is_ours(serving->html, rrt__page_bench, rrt__page_bench_bytes);
        RRT__TRY(rrt__cli_check_destination(serving->html, serving->force, NULL, err));
    }
    rrt_status status = rrt__alloc(&t.cells, MAX_CASES, sizeof *t.cells, "results", err);
    if (!status && serving->trace_path) {
        status = rrt__exit_trace_read(&t.trace, serving->trace_path, err);
        if (!status) status = check_trace(&t.trace, serving->trace_path, info.loops, err);
    }
    for (int i = 0; !status && i < n_batches; i++) status = add_cells(&t, serving, batches[i], err);
    if (!status) status = run_all(&t, serving, model, repeats, err);
    for (size_t i = 0; !status && i < t.count; i++) {
        json_t *row = row_of(&t.cells[i], loops);
        add_bounds(row, &t, &t.cells[i]);
        json_array_append_new(rows, row);
    }
    if (!status && serving->html)
        status =
            rrt__page_write(serving->html, rrt__page_bench, rrt__page_bench_bytes, rows, serving->force, err);
    rrt__free(t.cells);
    rrt__exit_trace_free(&t.trace);
    return status;
}
