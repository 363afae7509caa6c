#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/guess.h"
#include "cli/cli.h"
#include "cli/line_editor.h"

static const struct {
    const char *name; // NULL: a title
    rrt__verb run;
    const char *about;
} verbs[] = {
    {NULL, NULL, "Run a model"},
    {"generate", rrt__cli_generate, "continue a text"},
    {"chat", rrt__cli_chat, "talk with a model in the terminal, or by a script"},
    {"serve", rrt__cli_serve, "an OpenAI-compatible server: completions, chat, metrics, a page"},
    {NULL, NULL, "Make a recursive model"},
    {"convert", rrt__cli_convert, "pretrained to recursive: tie or keep layers, LoRA per depth"},
    {"train", rrt__cli_train, "uptraining by cross-entropy or distillation, resumable"},
    {"teach", rrt__cli_teach, "store a teacher's most likely next tokens for training"},
    {"report", rrt__cli_report, "curves of training runs as a page"},
    {"quantize", rrt__cli_quantize, "one small file, ready to run: q8_0, q6_0, q4_1, q4_0"},
    {"export", rrt__cli_export, "for other programs: Hugging Face folder, PEFT adapter, GGUF for llama.cpp"},
    {NULL, NULL, "Measure and look inside"},
    {"inspect", rrt__cli_inspect, "what is in a model: family, shape, plan, parameters, bytes"},
    {"eval", rrt__cli_eval, "perplexity, KL divergence from a teacher, exits, zero-shot tasks"},
    {"bench", rrt__cli_bench, "speed: prompt, decoding, concurrent requests, a training step"},
    {"simulate", rrt__cli_simulate, "throughput of batching on other machines, from their step times"},
    {"tokenize", rrt__cli_tokenize, "text to token ids, or back"},
    {"logits", rrt__cli_logits, "logits after the last of some tokens"},
};

enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

static void print_help(void)
{
    printf("rrt %s: Relaxed Recursive Transformers (kernels: %s)\n\nusage: rrt VERB [arguments]\n",
           rrt_version(), rrt_cpu_kernels());
    for (int i = 0; i < VERB_COUNT; i++)
        if (verbs[i].name)
            printf("  %-10s %s\n", verbs[i].name, verbs[i].about);
        else
            printf("\n%s:\n", verbs[i].about);
    printf("\nrrt help VERB lists the options of a verb, rrt --version what this rrt was built with.\n"
           "A MODEL is a .gguf file, a Hugging Face folder, a PEFT adapter, or a folder that rrt wrote.\n\n"
           "Examples:\n"
           "  rrt chat -m model.gguf\n"
           "  rrt convert model.gguf recursive --loops 2 --rank 64\n");
}

static void print_version(void)
{
    printf("rrt %s (kernels: %s)\nserver: %s\nline editing: %s\n", rrt_version(), rrt_cpu_kernels(),
           rrt__cli_server_name(), rrt__line_editor_name());
}

static int fail_unknown(const char *name)
{
    rrt_error err;
    rrt__guess guess = rrt__guess_begin(name, strlen(name));
    for (int i = 0; i < VERB_COUNT; i++)
        if (verbs[i].name) rrt__guess_offer(&guess, verbs[i].name);
    rrt_status status = *name ? rrt__fail(&err, RRT_STATUS_ARGUMENT, "unknown verb '%s'", name)
                              : rrt__fail(&err, RRT_STATUS_ARGUMENT, "a verb is missing");
    if (guess.best)
        rrt__hint(&err, status, "did you mean '%s'? rrt help lists the verbs", guess.best);
    else
        rrt__hint(&err, status, "rrt help lists the verbs");
    return rrt__cli_finish(status, &err);
}

static int run_verb(int argc, char **argv)
{
    for (int i = 0; i < VERB_COUNT; i++)
        if (verbs[i].name && strcmp(argv[0], verbs[i].name) == 0) return verbs[i].run(argc, argv);
    return fail_unknown(argv[0]);
}

// rrt help VERB… is rrt VERB… --help.
static int help(int argc, char **argv)
{
    enum { MAX_WORDS = 3 };
    char option[] = "--help", *words[MAX_WORDS + 2];
    if (argc == 0) {
        print_help();
        return rrt__cli_finish(RRT_STATUS_OK, NULL);
    }
    int count = argc < MAX_WORDS ? argc : MAX_WORDS;
    memcpy(words, argv, (size_t)count * sizeof *words);
    words[count] = option;
    words[count + 1] = NULL;
    return run_verb(count + 1, words);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    signal(SIGXFSZ, SIG_IGN); // a file beyond `ulimit -f` is a failed write, which is told
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return help(0, NULL);
    if (strcmp(name, "help") == 0) return help(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0) {
        print_version();
        return rrt__cli_finish(RRT_STATUS_OK, NULL);
    }
    return argc > 1 ? run_verb(argc - 1, argv + 1) : fail_unknown("");
}
