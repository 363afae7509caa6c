#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "cli/exit_trace.h"

static const char *const ways[] = {"depth", "sequence-exit", "sequence", "static"};
enum { WAYS = 4, MAX_TIMES = 64, MAX_BATCH = 1 << 20 };

// A case of the timings: an object of the file.
typedef struct timing {
    const char *name;
    int loops;
    size_t batch, fits;         // requests at a time; those that its memory would hold, 0: not known
    double ms[3][MAX_TIMES][2]; // of the block, the embedding, the head
    size_t n_ms[3];
    const json_t *exits; // shares of tokens that leave after each loop, in the place of the trace's
} timing;

static rrt_status fail_case(rrt_error *err, const timing *c, const char *what)
{
    return rrt__fail(err, RRT_STATUS_FORMAT, "case '%s': %s", c->name, what);
}

static rrt_status read_times(timing *c, const json_t *json, int part, rrt_error *err)
{
    static const char *const keys[] = {"step_ms", "embedding_ms", "head_ms"};
    const json_t *list = json_object_get(json, keys[part]), *pair;
    double(*ms)[2] = c->ms[part];
    size_t i;
    if (part && rrt__json_is_absent(list)) return RRT_STATUS_OK;
    if (!json_array_size(list) || json_array_size(list) > MAX_TIMES)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "case '%s': \"%s\" is not a list of 1 to 64 pairs [rows, ms]", c->name, keys[part]);
    json_array_foreach(list, i, pair)
    {
        ms[i][0] = json_number_value(json_array_get(pair, 0));
        ms[i][1] = json_number_value(json_array_get(pair, 1));
        if (!(ms[i][1] > 0) || !(ms[i][0] > (i ? ms[i - 1][0] : 0)))
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "case '%s': \"%s\" needs pairs [rows, ms] with rows that grow and ms above 0",
                             c->name, keys[part]);
    }
    c->n_ms[part] = json_array_size(list);
    return RRT_STATUS_OK;
}

// The most sequences that the memory holds beside the weights.
static rrt_status fill_memory(timing *c, const json_t *memory, rrt_error *err)
{
    static const char *const keys[] = {"limit_bytes", "weights_bytes", "kv_bytes_per_token", "tokens"};
    double values[4], per_sequence;
    for (int i = 0; i < 4; i++) {
        values[i] = json_number_value(json_object_get(memory, keys[i]));
        if (!(values[i] > 0))
            return rrt__fail(err, RRT_STATUS_FORMAT, "case '%s': \"memory\" needs \"%s\", a number above 0",
                             c->name, keys[i]);
    }
    per_sequence = values[2] * values[3] + json_number_value(json_object_get(memory, "bytes_per_sequence"));
    double batch = floor((values[0] - values[1]) / per_sequence);
    if (!(batch >= 1)) return fail_case(err, c, "\"memory\": not even one sequence fits");
    c->fits = batch < MAX_BATCH ? (size_t)batch : MAX_BATCH;
    return RRT_STATUS_OK;
}

static rrt_status read_case(timing *c, const json_t *json, rrt_error *err)
{
    const char *name = json_string_value(json_object_get(json, "name")),
               *way = json_string_value(json_object_get(json, "batching"));
    const json_t *memory = json_object_get(json, "memory");
    *c = (timing){.name = name ? name : way ? way : "?", .exits = json_object_get(json, "exits")};
    json_int_t batch = json_integer_value(json_object_get(json, "batch")),
               loops = json_integer_value(json_object_get(json, "loops"));
    if (memory) RRT__TRY(fill_memory(c, memory, err));
    if (!batch) batch = (json_int_t)c->fits;
    if (batch < 1 || batch > MAX_BATCH) return fail_case(err, c, "\"batch\" is not 1 to 1048576");
    c->batch = (size_t)batch;
    c->loops = loops ? (int)loops : (int)json_array_size(c->exits); // as rrt bench writes it
    if (c->loops < 1 || c->loops > RRT_MAX_LOOPS) return fail_case(err, c, "\"loops\" is not 1 to 64");
    if (c->exits && json_array_size(c->exits) != (size_t)c->loops)
        return fail_case(err, c, "\"exits\" needs a share for each loop");
    for (int part = 0; part < 3; part++) RRT__TRY(read_times(c, json, part, err));
    return RRT_STATUS_OK;
}

// The trace's exits, or others with these shares.
static void choose_exits(unsigned char *exits, const rrt__exit_trace *t, const timing *c)
{
    double total = 0;
    for (int l = 0; l < c->loops; l++) total += json_number_value(json_array_get(c->exits, (size_t)l));
    for (size_t i = 0; i < t->tokens; i++) {
        double u = rrt__random_uniform(1, 1, i) * total;
        int loop = 0;
        while (total > 0 && loop + 1 < c->loops &&
               (u -= json_number_value(json_array_get(c->exits, (size_t)loop))) >= 0)
            loop++;
        exits[i] = total > 0 ? (unsigned char)(loop + 1) : t->exits[i];
    }
}

static rrt_status simulate_case(json_t *rows, const timing *c, const rrt__exit_trace *t, rrt_error *err)
{
    unsigned char *exits;
    RRT__TRY(rrt__alloc(&exits, t->tokens, 1, "exits", err));
    choose_exits(exits, t, c);
    rrt_simulation s = {.loops = c->loops,
                        .rows = c->batch,
                        .block = {c->ms[0], c->n_ms[0]},
                        .embedding = {c->ms[1], c->n_ms[1]},
                        .head = {c->ms[2], c->n_ms[2]},
                        .lengths = t->lengths,
                        .requests = t->requests,
                        .exits = exits};
    rrt_status status = RRT_STATUS_OK;
    for (int way = WAYS - 1; !status && way >= 0; way--) {
        rrt_simulation_result r;
        s.batching = (rrt_batching)way;
        status = rrt_simulate(&s, &r, err);
        if (status) break;
        double steps = (double)r.steps, generated = (double)r.tokens;
        json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:I, s:i, s:f, s:f, s:f, s:I, s:I}", "name",
                                              c->name, "batching", ways[way], "batch", (json_int_t)c->batch,
                                              "fits", (json_int_t)c->fits, "loops", c->loops, "tokens_per_s",
                                              generated / r.seconds, "mean_loops", (double)r.rows / generated,
                                              "mean_rows", (double)r.rows / steps, "steps",
                                              (json_int_t)r.steps, "tokens", (json_int_t)r.tokens));
    }
    rrt__free(exits);
    return status;
}

// Against the last case without loops, or the first one: its static batching (the paper's ΔV), and its
// continuous one (ΔSeq).
static void add_ratios(json_t *rows)
{
    size_t i;
    json_t *row;
    double fixed = 0, sequence = 0;
    json_array_foreach(rows, i, row)
    {
        double speed = json_number_value(json_object_get(row, "tokens_per_s"));
        if (i % WAYS == 0 && (i == 0 || json_integer_value(json_object_get(row, "loops")) == 1)) {
            fixed = speed;
            sequence = json_number_value(json_object_get(json_array_get(rows, i + 1), "tokens_per_s"));
        }
        json_object_set_new(row, "over_static", json_real(speed / fixed));
        json_object_set_new(row, "over_sequence", json_real(speed / sequence));
    }
}

// {"cases": […]}, or what rrt bench --json prints.
static rrt_status simulate_all(json_t *rows, const json_t *timings, const rrt__exit_trace *t, rrt_error *err)
{
    size_t i;
    const json_t *json, *list = json_object_get(timings, "cases");
    if (!list) list = json_object_get(timings, "rows");
    if (!json_array_size(list))
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "there is no list \"cases\" (or \"rows\", as rrt bench --json has)");
    json_array_foreach(list, i, json)
    {
        timing c;
        RRT__TRY(read_case(&c, json, err));
        RRT__TRY(simulate_case(rows, &c, t, err));
    }
    add_ratios(rows);
    return RRT_STATUS_OK;
}

static void print_rows(const json_t *rows)
{
    size_t i;
    const json_t *row;
    printf("%-28s %-13s %6s %9s %10s %10s %11s %13s\n", "case", "batching", "batch", "tokens/s", "mean loops",
           "mean rows", "over static", "over sequence");
    json_array_foreach(rows, i, row) printf("%-28s %-13s %6d %9.1f %10.2f %10.1f %11.2f %13.2f\n",
                                            json_string_value(json_object_get(row, "name")),
                                            json_string_value(json_object_get(row, "batching")),
                                            (int)json_integer_value(json_object_get(row, "batch")),
                                            json_number_value(json_object_get(row, "tokens_per_s")),
                                            json_number_value(json_object_get(row, "mean_loops")),
                                            json_number_value(json_object_get(row, "mean_rows")),
                                            json_number_value(json_object_get(row, "over_static")),
                                            json_number_value(json_object_get(row, "over_sequence")));
}

int rrt__cli_simulate(int argc, char **argv)
{
    const char *timings_path = NULL, *trace_path = NULL;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Input"),
        {0, "timings", "FILE", RRT__OPTION_STRING, &timings_path, 0, 0,
         "times as JSON: what rrt bench --batching … --json wrote, or {\"cases\": [{\"name\", \"loops\", "
         "\"batch\" or \"memory\", \"step_ms\": [[rows, ms]…], …}]} (docs/FORMATS.md)"},
        {0, "trace", "FILE", RRT__OPTION_STRING, &trace_path, 0, 0,
         "a line per request: how many loops each of its tokens runs"},
    };
    const rrt__cli_usage usage = {
        .line = "rrt simulate --timings FILE --trace FILE",
        .about = "Computes the throughput of four ways of batching on a machine whose step times are known.",
        .examples = "rrt simulate --timings bench.json --trace exits.txt",
        .options = options,
        .n_options = sizeof options / sizeof *options};
    rrt_error err = {0};
    rrt__cli_common common;
    rrt__exit_trace t = {0};
    json_t *timings = NULL, *rows = json_array();
    rrt_status status;

    RRT__GOTO(rrt__cli_parse(&usage, argc, argv, &common, NULL, &err));
    if (!timings_path) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--timings FILE is missing"));
    if (!trace_path) RRT__GOTO(rrt__fail(&err, RRT_STATUS_ARGUMENT, "--trace FILE is missing"));
    RRT__GOTO(rrt__json_read(&timings, timings_path, &err));
    RRT__GOTO(rrt__exit_trace_read(&t, trace_path, &err));
    RRT__GOTO(rrt__cli_in_file(&err, simulate_all(rows, timings, &t, &err), timings_path));
    if (common.json)
        RRT__GOTO(rrt__cli_print_json(json_pack("{s:O}", "rows", rows), &err));
    else
        print_rows(rows);
done:
    json_decref(rows);
    json_decref(timings);
    rrt__exit_trace_free(&t);
    return rrt__cli_finish(status, &err);
}
