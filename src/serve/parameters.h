// What a request says about how its tokens are to be made.
#ifndef RRT__SERVE_PARAMETERS_H
#define RRT__SERVE_PARAMETERS_H

#include "base/json.h"
#include "rrt/session.h"
#include "serve/text.h"

enum { RRT__NO_LOGPROBS = -1 };

// Free with rrt__parameters_free.
typedef struct rrt__parameters {
    size_t max_tokens; // SIZE_MAX: not said
    rrt_sampling sampling;
    int logprobs; // so many alternatives for each token; RRT__NO_LOGPROBS: none are asked for
    bool stream, include_usage, echo, ignore_end;
    rrt__stops stops;
    int loops, min_loops, draft_loops, draft_tokens; // 0: not said
    char exit[64];                                   // "rule:threshold"; "": not said
    char kv[32];                                     // "": not said
} rrt__parameters;

// ARGUMENT for a value that cannot be, UNSUPPORTED for a parameter that we lack and that would change the
// result; err->where is the parameter's name. Unknown ones are ignored, but within "rrt". exit_rule: the rule
// that a threshold alone is for.
rrt_status rrt__parameters_read(rrt__parameters *out, const json_t *body, bool is_chat, const char *exit_rule,
                                rrt_error *err);
void rrt__parameters_free(rrt__parameters *parameters);

#endif
