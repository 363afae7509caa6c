// What the verbs share. A verb is one file and reads: parse → open → do → report.
#ifndef RRT__CLI_H
#define RRT__CLI_H

#include "base/json.h"
#include "base/memory.h"
#include "base/options.h"
#include "rrt/rrt.h"

typedef int (*rrt__verb)(int argc, char **argv);

int rrt__cli_convert(int argc, char **argv);
int rrt__cli_inspect(int argc, char **argv);
int rrt__cli_tokenize(int argc, char **argv);
int rrt__cli_logits(int argc, char **argv);
int rrt__cli_generate(int argc, char **argv);
int rrt__cli_chat(int argc, char **argv);
int rrt__cli_eval(int argc, char **argv);
int rrt__cli_eval_tasks(int argc, char **argv);
int rrt__cli_eval_exits(int argc, char **argv);
int rrt__cli_bench(int argc, char **argv);
int rrt__cli_teach(int argc, char **argv);
int rrt__cli_train(int argc, char **argv);
int rrt__cli_report(int argc, char **argv);
int rrt__cli_simulate(int argc, char **argv);
int rrt__cli_quantize(int argc, char **argv);
int rrt__cli_export(int argc, char **argv);
int rrt__cli_serve(int argc, char **argv);
const char *rrt__cli_server_name(void); // the library that serves HTTP, or "none"

// Options that every verb has; parse adds -t, --json and --help behind the verb's own.
typedef struct rrt__cli_common {
    int threads;
    bool json;
} rrt__cli_common;

typedef struct rrt__cli_usage {
    const char *line;     // "rrt inspect MODEL"
    const char *about;    // a sentence or two; help breaks the lines
    const char *examples; // commands, one a line; what goes on in the next line ends in a backslash
    const rrt__option *options;
    int n_options;
    int positional; // so many at most
    int optional;   // so many of these may be missing
    bool no_json;   // there is no result that could be printed as an object
} rrt__cli_usage;

// The types of keys and values, as asked for.
typedef struct rrt__cli_kv {
    const char *both, *key, *value;
    char text[32]; // "KEYS/VALUES"
} rrt__cli_kv;

// The rows of verbs that keep keys and values, which fill it; usual: what they are without.
#define RRT__CLI_KV_ROWS(kv, usual)                                                                          \
    {0,           "kv-type", "TYPE", RRT__OPTION_STRING,                                                     \
     &(kv)->both, 0,         0,      "store keys and values as f16, f32 or q8_0 (default: " usual ")"},      \
        {0, "cache-type-k", "TYPE", RRT__OPTION_STRING, &(kv)->key, 0, 0, "the type of keys alone"},         \
    {                                                                                                        \
        0, "cache-type-v", "TYPE", RRT__OPTION_STRING, &(kv)->value, 0, 0, "the type of values alone"        \
    }

// *type: the name of both types as the library takes it, or NULL. ARGUMENT for an unknown one.
rrt_status rrt__cli_kv_type(rrt__cli_kv *kv, const char **type, rrt_error *err);

// What --exit and --kv take, the same in all verbs.
#define RRT__CLI_EXIT_RULES                                                                                  \
    "exit early by loops:N, confidence:P, margin:P, entropy:H, unchanged, state:D, "                         \
    "gate:P, agreement:P"
#define RRT__CLI_KV_POLICIES                                                                                 \
    "keys and values of loops not run: propagate, copy, recompute or shared; or last:W, of all loops for "   \
    "the newest W tokens alone"

// Parses, or prints help and exits with 0. Fails with ARGUMENT on a usage error.
rrt_status rrt__cli_parse(const rrt__cli_usage *usage, int argc, char **argv, rrt__cli_common *common,
                          char **positional, rrt_error *err);

// The number of a word among those that an option takes; NULL is the first.
rrt_status rrt__cli_choose(const char *option, const char *word, const char *const *words, int count,
                           int *chosen, rrt_error *err);

// Prints the one line for a failure and returns the exit code: 2 for a usage error, 1 for the rest. OK gives
// 0, after stdout was flushed without error.
int rrt__cli_finish(rrt_status status, const rrt_error *err);

// A progress bar with the time left on stderr, where that is a terminal. Asks to stop once a signal was
// caught.
const rrt_progress *rrt__cli_progress(void);

// Text that stands behind the bar from its next update on.
void rrt__cli_progress_note(const char *note);
bool rrt__cli_has_bar(void);

// Takes an unfinished bar off the terminal.
void rrt__cli_progress_end(void);

// From here on, Ctrl-C (SIGINT, SIGTERM, SIGHUP) ends the program through the progress callback, so that what
// is half written is removed. Before, it ends it at once.
void rrt__cli_catch_signals(void);

// The signal that was caught, 0 if none was; back to the state before catching.
int rrt__cli_caught_signal(void);
void rrt__cli_release_signals(void);

// Ends the program by the signal that was caught, so that the shell sees what happened; returns if none was.
void rrt__cli_raise_caught(void);

// The model that a verb runs, and how it is read.
typedef struct rrt__cli_model {
    const char *path, *type, *repeat, *kv;
    int loops;
    rrt__list loras;
} rrt__cli_model;

// The row of -m/--model, and those of --loops and --repeat, --type and --lora, which fill it.
#define RRT__CLI_MODEL_ROW(model)                                                                            \
    {                                                                                                        \
        'm', "model", "MODEL", RRT__OPTION_STRING, &(model)->path, 0, 0,                                     \
            "a .gguf file, a Hugging Face folder, or a folder that rrt wrote"                                \
    }
#define RRT__CLI_LOOPS_ROWS(model)                                                                           \
    {0,                                                                                                      \
     "loops",                                                                                                \
     "N",                                                                                                    \
     RRT__OPTION_INT,                                                                                        \
     &(model)->loops,                                                                                        \
     1,                                                                                                      \
     1024,                                                                                                   \
     "run prelude, N loops, coda; more than trained is possible (default: as trained)"},                     \
    {                                                                                                        \
        0, "repeat", "A-BxN", RRT__OPTION_STRING, &(model)->repeat, 0, 0,                                    \
            "run layers A to B of a plain model N times; A-BxN:G scales later times by G"                    \
    }
// --kv of verbs that run all loops.
#define RRT__CLI_KV_LAST_ROW(model)                                                                          \
    {                                                                                                        \
        0, "kv", "last:W", RRT__OPTION_STRING, &(model)->kv, 0, 0,                                           \
            "keep keys and values of all loops for the newest W tokens, else the last loop's"                \
    }
#define RRT__CLI_WEIGHTS_ROWS(model)                                                                         \
    {0,                                                                                                      \
     "type",                                                                                                 \
     "TYPE",                                                                                                 \
     RRT__OPTION_STRING,                                                                                     \
     &(model)->type,                                                                                         \
     0,                                                                                                      \
     0,                                                                                                      \
     "quantise weights while reading: q8_0, q6_0, q4_1, q4_0 (default: as stored)"},                         \
    {                                                                                                        \
        0, "lora", "FOLDER", RRT__OPTION_LIST, &(model)->loras, 0, 0,                                        \
            "apply a PEFT adapter, not merged; several adapters add up"                                      \
    }

// The rows of a chat template: a const char ** each.
#define RRT__CLI_TEMPLATE_ROWS(text, file, arguments)                                                        \
    {0,      "chat-template",                                                                                \
     "TEXT", RRT__OPTION_STRING,                                                                             \
     text,   0,                                                                                              \
     0,      "chat template in Jinja, or the name of one of the model's"},                                   \
        {0,      "chat-template-file",                                                                       \
         "FILE", RRT__OPTION_STRING,                                                                         \
         file,   0,                                                                                          \
         0,      "a file with the chat template, instead of --chat-template"},                               \
    {                                                                                                        \
        0, "chat-template-kwargs", "JSON", RRT__OPTION_STRING, arguments, 0, 0,                              \
            "more variables for the template ('{\"enable_thinking\": false}')"                               \
    }

// Opens it; ARGUMENT if -m was not given. Frees what the options took. Says on stderr if it runs more loops
// than it was trained with.
rrt_status rrt__cli_open_model(rrt_model **out, rrt__cli_model *model, int threads, rrt_error *err);

// The same, with matrices left in the files, and for what needs f32 weights: a quantised model is unpacked.
rrt_status rrt__cli_open_deferred(rrt_model **out, rrt__cli_model *model, rrt_error *err);
rrt_status rrt__cli_open_f32(rrt_model **out, rrt__cli_model *model, rrt_error *err);

// What rrt_model_open is to do with it, and the notice.
// Takes a policy that is the whole model's, last, out of those of requests. Call before the model is opened.
void rrt__cli_take_kv(rrt__cli_model *model, const char **policy);

rrt_open_options rrt__cli_open_options(const rrt__cli_model *model);
void rrt__cli_note_loops(const rrt_model_info *info);

// Better known before the work than after: whether a result may go to path. `input`, which may be NULL, is
// read and not to be destroyed by replacing what is there.
rrt_status rrt__cli_check_destination(const char *path, bool overwrite, const char *input, rrt_error *err);

// Better known early as well: whether path ends in .gguf, as other programs want it; and whether all of
// these can be read, which are files with something in them.
rrt_status rrt__cli_check_gguf_name(const char *path, rrt_error *err);
rrt_status rrt__cli_check_inputs(const rrt__list *files, rrt_error *err);

// *chat_template becomes the text of a file, if one is named; ARGUMENT if a template is there already.
rrt_status rrt__cli_read_template(rrt__string *text, const char *file, const char **chat_template,
                                  rrt_error *err);

// What is wrong in a file is not a usage error: names the file (NULL and "-": standard input), and turns
// ARGUMENT into FORMAT. With what files hold checked where they are read, the library's ARGUMENT is about an
// option.
rrt_status rrt__cli_in_file(rrt_error *err, rrt_status status, const char *path);

// Reads a text file (or stdin for NULL and "-") and gives its ids by the model's tokenizer; plain text, no
// BOS. FORMAT if there are fewer than `min`. Free with rrt_ids_free, after a failure too.
rrt_status rrt__cli_read_ids(const rrt_model *model, const char *path, size_t min, int32_t **ids,
                             size_t *count, rrt_error *err);

// The fewest tokens that a text to measure a model on may have: the first of a window is not scored, but it
// may be BOS.
size_t rrt__cli_min_tokens(const rrt_model *model);

// Prints one JSON object on stdout and frees it.
rrt_status rrt__cli_print_json(json_t *object, rrt_error *err);

// A number, or null where it is infinite or NaN, which JSON cannot say.
json_t *rrt__cli_number(double value);

// The parameters of a model by kind, as inspect and convert show them.
json_t *rrt__cli_params_json(const rrt_model_info *info);

// "1234567" → "1.23 M"; static storage, a few results live at once.
const char *rrt__cli_count(uint64_t value);
const char *rrt__cli_bytes(uint64_t value);
const char *rrt__cli_duration(double seconds); // "about" as exact as that: "40 s", "12 min", "3.5 h"

#endif
