// What generate and chat share: tokens are added to a history, and the text is written as it is made.
#ifndef RRT__CLI_GENERATION_H
#define RRT__CLI_GENERATION_H

#include "cli/cli.h"
#include "infer/reply_text.h"

typedef struct rrt__generation {
    rrt_engine *engine;
    const rrt_tokenizer *tokenizer;
    rrt_request request; // what is asked, but for the prompt
    size_t context;      // tokens that a history can have
    bool stream;         // write the text as it is made
    int32_t *history;    // prompt, and tokens made; without the one that ended it
    size_t n_history, capacity;
    rrt__list stop_list; // of --stop
    rrt__stops stops;
    rrt__reply_text text; // ends before a stop string
    json_t *ids, *exit_depths;
    size_t n_tokens;
    double first, last; // when these tokens were made, in seconds
    double begun;       // when the run began
    size_t n_read;      // tokens of the prompt that were run, and not found in pages
    // Why it ended: an "end" token, a "stop" string, the "length" asked for, the "context" full, or a
    // signal that "interrupted" it.
    const char *stop;
    rrt_status status; // of the callback
    rrt_error *err;
} rrt__generation;

enum { RRT__GENERATION_OPTIONS = 23 };

// What the options are parsed into that is not in the request, or of another type there.
typedef struct rrt__generation_arguments {
    double temperature, top_p, min_p;
    rrt__cli_kv kv;
    const char *kv_type;
    int draft_layers;
    size_t context; // 0: the model's, or what fits
} rrt__generation_arguments;

// Fills options[0..RRT__GENERATION_OPTIONS) with those that say where the text ends, how tokens are
// chosen, and how the model runs; the first two go on in the caller's group.
void rrt__generation_options(rrt__option *options, rrt__generation_arguments *arguments,
                             rrt__generation *generation, rrt__cli_model *model);

// After parsing: takes the arguments, opens an engine for one request at a time. FORMAT and the like if the
// model has no tokenizer.
rrt_status rrt__generation_start(rrt__generation *generation, rrt__generation_arguments *arguments,
                                 const rrt_model *model, int threads, rrt_error *err);

// Appends to the history.
rrt_status rrt__generation_add(rrt__generation *generation, const int32_t *ids, size_t count, rrt_error *err);

// Goes on from the history until something stops it; text, ids and exit depths are those of this run.
rrt_status rrt__generation_run(rrt__generation *generation, rrt_error *err);

// Tokens per second of the run. The first one comes with the prompt, and is not counted.
double rrt__generation_speed(const rrt__generation *generation);
// Tokens per second of its prompt, up to the first token made; 0 if there is none.
double rrt__generation_prompt_speed(const rrt__generation *generation);
void rrt__generation_free(rrt__generation *generation);

#endif
