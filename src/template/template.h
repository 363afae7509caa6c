// Chat templates: Jinja as in transformers (its sandboxed environment, trim_blocks, lstrip_blocks, loop
// controls, {% generation %}), compiled once and rendered from JSON. Unsupported constructs are refused by
// name at compilation, or when a value first needs them.
#ifndef RRT__TEMPLATE_TEMPLATE_H
#define RRT__TEMPLATE_TEMPLATE_H

#include <stdint.h>
#include <time.h>

#include "base/json.h"
#include "base/memory.h"

// Limits of a template, which is an untrusted program.
enum {
    RRT__TEMPLATE_MAX_BYTES = 512 << 10, // of its source
    RRT__TEMPLATE_MAX_MEMORY = 40 << 20, // of the compiled template, and of each rendering
    RRT__TEMPLATE_MAX_OUTPUT = 8 << 20,  // of one string, the result included
    RRT__TEMPLATE_MAX_WORK = 1 << 24,    // evaluated nodes, plus one per 64 bytes read
    RRT__TEMPLATE_MAX_NESTING = 200,     // of nested constructs
    RRT__TEMPLATE_MAX_DEPTH = 1000,      // of evaluation, nested macros included
};

typedef struct rrt__template rrt__template; // read-only after compiling: any number of threads may share it

// UNSUPPORTED for an unsupported construct, FORMAT for invalid Jinja; the message has the line.
rrt_status rrt__template_compile(rrt__template **out, const char *text, size_t length, rrt_error *err);
void rrt__template_free(rrt__template *compiled);

bool rrt__template_has_generation(const rrt__template *compiled); // {% generation %}

// A variable. Its strings stay marked as input through all operations of the template, unless they are
// trusted; the value of word_key (NULL: none) is trusted if it is a word of letters, digits, - and _.
typedef struct rrt__template_input {
    const char *name;
    const json_t *value;
    bool is_trusted;
    const char *word_key;
} rrt__template_input;

// Marks of each byte of a rendered text.
enum {
    RRT__MARK_INPUT = 1, // from an untrusted string
    RRT__MARK_REPLY = 2, // in {% generation %}
};

typedef struct rrt__rendered {
    rrt__string text;
    rrt__string marks; // of the same length
} rrt__rendered;

// If a template calls raise_exception, the error has its message, and the status ARGUMENT; FORMAT for any
// other error that Jinja reports, too, UNSUPPORTED for unsupported features and at a limit. now: time of
// strftime_now, printed as local time. Free with rrt__rendered_free, also after a failure.
rrt_status rrt__template_render(const rrt__template *compiled, const rrt__template_input *inputs,
                                size_t count, time_t now, rrt__rendered *out, rrt_error *err);
void rrt__rendered_free(rrt__rendered *rendered);

#endif
