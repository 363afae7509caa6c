// What generate and chat share: sampling token by token, with the text written as it is made.
#ifndef RRT__CLI_GENERATION_H
#define RRT__CLI_GENERATION_H

#include "cli/cli.h"

typedef struct rrt__generation {
    rrt_session *session;
    const rrt_tokenizer *tokenizer;
    rrt_sampling sampling;
    size_t vocab, context, most_tokens;
    const char *stop; // why it ended: "end" token, "length" asked for, or "context" full
    bool ignore_end;  // go on after an end token
    bool stream;      // write the text as it is made
    rrt__string text;
    size_t written; // bytes of text that are out
    json_t *ids;
    size_t n_tokens;
    double seconds; // of decoding, the prompt not counted
} rrt__generation;

enum { RRT__SAMPLING_OPTIONS = 5 };

// What the options are parsed into.
typedef struct rrt__sampling_arguments {
    double temperature, top_p, min_p;
    int top_k;
} rrt__sampling_arguments;

// Fills options[0..RRT__SAMPLING_OPTIONS) with those that say how tokens are chosen; the seed goes to
// generation.
void rrt__generation_options(rrt__option *options, rrt__sampling_arguments *arguments,
                             rrt__generation *generation);
void rrt__generation_set(rrt__generation *generation, const rrt__sampling_arguments *arguments);

// Takes tokenizer and sizes from a model; the session is open.
rrt_status rrt__generation_start(rrt__generation *generation, const rrt_model *model, rrt_error *err);

// Chooses tokens until something stops it. What is chosen last is not in the session where it ended the text
// or was the last that was asked for.
rrt_status rrt__generation_run(rrt__generation *generation, rrt_error *err);

// Writes what is left of the text.
void rrt__generation_flush(rrt__generation *generation);
void rrt__generation_free(rrt__generation *generation);

#endif
