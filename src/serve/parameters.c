#include "serve/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

// --- values by kind -------------------------------------------------------------------------------------

static rrt_status wrong(const char *name, const char *kind, rrt_error *err)
{
    return rrt__at(err, rrt__fail(err, RRT_STATUS_ARGUMENT, "%s has to be %s", name, kind), "%s", name);
}

static rrt_status read_flag(const json_t *json, const char *name, bool *out, rrt_error *err)
{
    const json_t *value = json_object_get(json, name);
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    if (!json_is_boolean(value)) return wrong(name, "true or false", err);
    *out = json_is_true(value);
    return RRT_STATUS_OK;
}

static rrt_status read_number(const json_t *json, const char *name, double min, double max, bool is_whole,
                              double *out, rrt_error *err)
{
    const json_t *value = json_object_get(json, name);
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    char range[96];
    snprintf(range, sizeof range, "%s number from %g to %g", is_whole ? "a whole" : "a", min, max);
    if (!json_is_number(value) || (is_whole && !json_is_integer(value))) return wrong(name, range, err);
    double number = json_number_value(value);
    if (!(number >= min && number <= max)) return wrong(name, range, err);
    *out = number;
    return RRT_STATUS_OK;
}

static rrt_status read_int(const json_t *json, const char *name, int min, int max, int *out, rrt_error *err)
{
    double number = *out;
    RRT__TRY(read_number(json, name, min, max, true, &number, err));
    *out = (int)number;
    return RRT_STATUS_OK;
}

static rrt_status read_float(const json_t *json, const char *name, double max, float *out, rrt_error *err)
{
    double number = *out;
    RRT__TRY(read_number(json, name, 0, max, false, &number, err));
    *out = (float)number;
    return RRT_STATUS_OK;
}

// --- unsupported parameters -----------------------------------------------------------------------------

// Other servers' parameters that change the result, with the neutral number; any may be absent, false
// or empty.
static const struct {
    const char *name;
    double neutral;
    bool only_prompts; // supported in chats
} lacking[] = {
    {"n", 1},
    {"best_of", 1},
    {"presence_penalty", 0},
    {"frequency_penalty", 0},
    {"repetition_penalty", 1},
    {"repeat_penalty", 1},
    {"min_tokens", 0},
    {"prompt_logprobs", NAN},
    {"logit_bias", NAN},
    {"suffix", NAN},
    {"tools", NAN, true},
    {"functions", NAN},
    {"response_format", NAN},
    {"json_schema", NAN},
    {"grammar", NAN},
    {"guided_json", NAN},
    {"guided_regex", NAN},
    {"guided_choice", NAN},
    {"guided_grammar", NAN},
    {"structured_outputs", NAN},
    {"use_beam_search", NAN},
    {"stop_token_ids", NAN},
    {"bad_words", NAN},
    {"allowed_token_ids", NAN},
    {"chat_template", NAN},
    {"continue_final_message", NAN, true},
    {"documents", NAN, true},
    {"chat_template_kwargs", NAN, true},
    {"audio", NAN},
    {"prediction", NAN},
};

static bool is_neutral(const json_t *value, double neutral)
{
    if (rrt__json_is_absent(value) || json_is_false(value)) return true;
    if (json_is_number(value)) return json_number_value(value) == neutral;
    if (json_is_string(value)) return json_string_length(value) == 0;
    if (json_is_array(value)) return json_array_size(value) == 0;
    const char *type = json_string_value(json_object_get(value, "type"));
    return json_object_size(value) == 0 || (type && strcmp(type, "text") == 0); // of response_format
}

static rrt_status check_lacking(const json_t *body, bool is_chat, rrt_error *err)
{
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
        const char *name = lacking[i].name;
        if (is_neutral(json_object_get(body, name), lacking[i].neutral)) continue;
        if (is_chat && lacking[i].only_prompts) continue;
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s is not supported by rrt", name);
        if (!isnan(lacking[i].neutral)) rrt__hint(err, status, "only %g is", lacking[i].neutral);
        return rrt__at(err, status, "%s", name);
    }
    return RRT_STATUS_OK;
}

// --- groups of parameters -------------------------------------------------------------------------------

static rrt_status read_sampling(rrt_sampling *s, const json_t *body, rrt_error *err)
{
    s->temperature = 1;
    s->top_p = 1;
    RRT__TRY(read_float(body, "temperature", 100, &s->temperature, err));
    RRT__TRY(read_float(body, "top_p", 1, &s->top_p, err));
    RRT__TRY(read_float(body, "min_p", 1, &s->min_p, err));
    RRT__TRY(read_int(body, "top_k", -1, 1 << 24, &s->top_k, err));
    if (s->top_k < 0) s->top_k = 0; // vLLM's value for all
    const json_t *seed = json_object_get(body, "seed");
    if (!rrt__json_is_absent(seed) && !json_is_integer(seed)) return wrong("seed", "a whole number", err);
    s->seed = (uint64_t)json_integer_value(seed);
    if (rrt__json_is_absent(seed) && getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed)
        return rrt__fail_errno(err, "no random seed");
    return RRT_STATUS_OK;
}

static rrt_status read_stops(rrt__stops *stops, const json_t *body, rrt_error *err)
{
    const json_t *stop = json_object_get(body, "stop");
    if (rrt__json_is_absent(stop)) return RRT_STATUS_OK;
    size_t count = json_is_array(stop) ? json_array_size(stop) : 1;
    if (count > RRT__MAX_STOPS) return wrong("stop", "at most 4 strings", err);
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_is_array(stop) ? json_array_get(stop, i) : stop;
        if (!json_is_string(text) || json_string_length(text) == 0)
            return wrong("stop", "a string that is not empty, or several", err);
        if (json_string_length(text) > RRT__MAX_STOP_BYTES) return wrong("stop", "at most 1024 bytes", err);
        stops->lengths[i] = json_string_length(text);
        RRT__TRY(rrt__alloc(&stops->texts[i], stops->lengths[i], 1, "a stop string", err));
        memcpy(stops->texts[i], json_string_value(text), stops->lengths[i]);
        stops->count++;
    }
    return RRT_STATUS_OK;
}

static rrt_status read_logprobs(int *logprobs, const json_t *body, bool is_chat, rrt_error *err)
{
    enum { MAX_LOGPROBS = 20 };
    *logprobs = RRT__NO_LOGPROBS;
    const json_t *value = json_object_get(body, "logprobs");
    if (!is_chat && !json_is_boolean(value))
        return read_int(body, "logprobs", 0, MAX_LOGPROBS, logprobs, err);
    bool wants = false; // a flag, also in /v1/completions for older clients
    RRT__TRY(read_flag(body, "logprobs", &wants, err));
    if (!wants) return RRT_STATUS_OK;
    *logprobs = 0;
    return read_int(body, "top_logprobs", 0, MAX_LOGPROBS, logprobs, err);
}

static rrt_status read_streaming(rrt__parameters *p, const json_t *body, rrt_error *err)
{
    RRT__TRY(read_flag(body, "stream", &p->stream, err));
    const json_t *options = json_object_get(body, "stream_options");
    if (rrt__json_is_absent(options)) return RRT_STATUS_OK;
    if (!json_is_object(options)) return wrong("stream_options", "an object", err);
    return read_flag(options, "include_usage", &p->include_usage, err);
}

static rrt_status read_max_tokens(size_t *max_tokens, const json_t *body, rrt_error *err)
{
    int count = -1;
    RRT__TRY(read_int(body, "max_tokens", 0, 1 << 24, &count, err));
    RRT__TRY(read_int(body, "max_completion_tokens", 0, 1 << 24, &count, err)); // the newer name in chats
    *max_tokens = count < 0 ? SIZE_MAX : (size_t)count;
    return RRT_STATUS_OK;
}

// --- recursion ------------------------------------------------------------------------------------------

static rrt_status set_exit(rrt__parameters *p, const char *rule, const json_t *threshold, rrt_error *err)
{
    if (!rrt__json_is_absent(threshold) && !rrt__json_is_finite(threshold))
        return wrong("threshold", "a number", err);
    int length = rrt__json_is_absent(threshold)
                     ? snprintf(p->exit, sizeof p->exit, "%s", rule)
                     : snprintf(p->exit, sizeof p->exit, "%s:%g", rule, json_number_value(threshold));
    return length < (int)sizeof p->exit ? RRT_STATUS_OK : wrong("exit", "the name of a rule", err);
}

static rrt_status read_exit(rrt__parameters *p, const json_t *exit, rrt_error *err)
{
    if (rrt__json_is_absent(exit)) return RRT_STATUS_OK;
    if (json_is_string(exit)) return set_exit(p, json_string_value(exit), NULL, err);
    const char *rule = json_string_value(json_object_get(exit, "rule"));
    if (!rule) return wrong("exit", "{\"rule\", \"threshold\"} or \"rule:threshold\"", err);
    return set_exit(p, rule, json_object_get(exit, "threshold"), err);
}

static rrt_status read_loops(rrt__parameters *p, const json_t *json, rrt_error *err)
{
    RRT__TRY(read_int(json, "min_loops", 1, 1024, &p->min_loops, err));
    return read_int(json, "max_loops", 1, 1024, &p->loops, err);
}

static rrt_status check_known(const json_t *ours, rrt_error *err)
{
    static const char *const known[] = {"min_loops", "max_loops",   "exit",
                                        "kv_policy", "draft_loops", "draft_tokens"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)ours, name, value)
    {
        size_t i = 0, count = sizeof known / sizeof *known;
        while (i < count && strcmp(name, known[i]) != 0) i++;
        if (i < count) continue;
        rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "rrt.%s is not known", name);
        rrt__hint(err, status, "known: min_loops, max_loops, exit, kv_policy, draft_loops, draft_tokens");
        return rrt__at(err, status, "rrt.%s", name);
    }
    return RRT_STATUS_OK;
}

static rrt_status read_recursion(rrt__parameters *p, const json_t *body, const char *exit_rule,
                                 rrt_error *err)
{
    RRT__TRY(read_loops(p, body, err)); // and exit_threshold: names of vllm-rlt
    const json_t *threshold = json_object_get(body, "exit_threshold");
    if (!rrt__json_is_absent(threshold)) RRT__TRY(set_exit(p, exit_rule, threshold, err));
    const json_t *ours = json_object_get(body, "rrt");
    if (rrt__json_is_absent(ours)) return RRT_STATUS_OK;
    if (!json_is_object(ours)) return wrong("rrt", "an object", err);
    RRT__TRY(check_known(ours, err));
    RRT__TRY(read_loops(p, ours, err));
    RRT__TRY(read_int(ours, "draft_loops", 1, 1024, &p->draft_loops, err));
    if (p->draft_loops) p->draft_tokens = 4; // default
    RRT__TRY(read_int(ours, "draft_tokens", 1, 16, &p->draft_tokens, err));
    RRT__TRY(read_exit(p, json_object_get(ours, "exit"), err));
    const json_t *kv = json_object_get(ours, "kv_policy");
    if (!rrt__json_is_absent(kv) && !json_is_string(kv)) return wrong("kv_policy", "a string", err);
    if (json_is_string(kv) && json_string_length(kv) >= sizeof p->kv)
        return wrong("kv_policy", "the name of a policy", err);
    if (json_is_string(kv)) snprintf(p->kv, sizeof p->kv, "%s", json_string_value(kv));
    return RRT_STATUS_OK;
}

rrt_status rrt__parameters_read(rrt__parameters *p, const json_t *body, bool is_chat, const char *exit_rule,
                                rrt_error *err)
{
    *p = (rrt__parameters){0};
    RRT__TRY(check_lacking(body, is_chat, err));
    RRT__TRY(read_max_tokens(&p->max_tokens, body, err));
    RRT__TRY(read_sampling(&p->sampling, body, err));
    RRT__TRY(read_stops(&p->stops, body, err));
    RRT__TRY(read_logprobs(&p->logprobs, body, is_chat, err));
    RRT__TRY(read_streaming(p, body, err));
    if (!is_chat) RRT__TRY(read_flag(body, "echo", &p->echo, err));
    RRT__TRY(read_flag(body, "ignore_eos", &p->ignore_end, err));
    return read_recursion(p, body, exit_rule, err);
}

void rrt__parameters_free(rrt__parameters *p)
{
    for (size_t i = 0; i < p->stops.count; i++) rrt__free(p->stops.texts[i]);
}
