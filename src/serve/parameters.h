// A request's parameters of generation.
#ifndef RRT__SERVE_PARAMETERS_H
#define RRT__SERVE_PARAMETERS_H

#include "base/json.h"
#include "infer/reply_text.h"
#include "rrt/session.h"

enum { RRT__NO_LOGPROBS = -1 };

// Free with rrt__parameters_free.
typedef struct rrt__parameters {
    size_t max_tokens; // SIZE_MAX: not given
    rrt_sampling sampling;
    int logprobs; // alternatives per token; RRT__NO_LOGPROBS: none requested
    bool stream, include_usage, echo, ignore_end;
    rrt__stops stops;
    int loops, min_loops, draft_loops, draft_tokens; // 0: not given
    char exit[64];                                   // "rule:threshold"; "": not given
    char kv[32];                                     // "": not given
} rrt__parameters;

// ARGUMENT for an impossible value, UNSUPPORTED for an unsupported parameter that would change the result;
// err->where is the parameter's name. Ignores unknown parameters, except within "rrt". exit_rule: the rule
// for a threshold without a rule.
rrt_status rrt__parameters_read(rrt__parameters *out, const json_t *body, bool is_chat, const char *exit_rule,
                                rrt_error *err);
void rrt__parameters_free(rrt__parameters *parameters);

#endif
