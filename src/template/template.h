// Chat templates: Jinja as transformers runs it (its sandboxed environment, trim_blocks, lstrip_blocks, loop
// controls, {% generation %}), compiled once and rendered from JSON. What we lack is refused by name when the
// template is compiled, or where a value first needs it.
#ifndef RRT__TEMPLATE_TEMPLATE_H
#define RRT__TEMPLATE_TEMPLATE_H

#include <stdint.h>
#include <time.h>

#include "base/json.h"
#include "base/memory.h"

// What a template may take: it is somebody else's program.
enum {
    RRT__TEMPLATE_MAX_BYTES = 512 << 10, // of its source
    RRT__TEMPLATE_MAX_MEMORY = 40 << 20, // compiled; and again for each rendering
    RRT__TEMPLATE_MAX_OUTPUT = 8 << 20,  // of one string, the result among them
    RRT__TEMPLATE_MAX_WORK = 1 << 24,    // nodes evaluated, and 64 bytes looked at count as one
    RRT__TEMPLATE_MAX_NESTING = 200,     // of what stands in each other
    RRT__TEMPLATE_MAX_DEPTH = 1000,      // of evaluation, macros in macros among it
};

typedef struct rrt__template rrt__template; // read-only after compiling: any number of threads may share it

// UNSUPPORTED for a construct that we lack, FORMAT for what is no Jinja; the message names the line.
rrt_status rrt__template_compile(rrt__template **out, const char *text, size_t length, rrt_error *err);
void rrt__template_free(rrt__template *compiled);

bool rrt__template_has_generation(const rrt__template *compiled); // {% generation %}

// A variable. Its strings are remembered as input through all that a template does with them, unless they are
// trusted; the value of word_key (NULL: none) is trusted wherever it is a word of letters, digits, - and _.
typedef struct rrt__template_input {
    const char *name;
    const json_t *value;
    bool is_trusted;
    const char *word_key;
} rrt__template_input;

// What is known of each byte of a rendered text.
enum {
    RRT__MARK_INPUT = 1, // comes from a string that is not trusted
    RRT__MARK_REPLY = 2, // stands in {% generation %}
};

typedef struct rrt__rendered {
    rrt__string text;
    rrt__string marks; // as long
} rrt__rendered;

// Where a template calls raise_exception, the error's message is its, and its status ARGUMENT; FORMAT for any
// other failure that Jinja has too, UNSUPPORTED for what we lack or a limit. now: what strftime_now tells, in
// local time. Free with rrt__rendered_free, also after a failure.
rrt_status rrt__template_render(const rrt__template *compiled, const rrt__template_input *inputs,
                                size_t count, time_t now, rrt__rendered *out, rrt_error *err);
void rrt__rendered_free(rrt__rendered *rendered);

#endif
