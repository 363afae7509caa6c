#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct {
    const char *name;
    rrt__verb run;
    const char *about;
} verbs[] = {
    {"inspect", rrt__cli_inspect, "what is in a model: family, shape, plan, parameters, bytes"},
    {"convert", rrt__cli_convert, "pretrained to recursive: tie layers, LoRA per depth"},
    {"tokenize", rrt__cli_tokenize, "text to token ids, or back"},
    {"logits", rrt__cli_logits, "logits after the last of some tokens"},
    {"generate", rrt__cli_generate, "continue a text"},
    {"chat", rrt__cli_chat, "the same turn by turn, with the model's chat template"},
    {"eval", rrt__cli_eval,
     "ppl: perplexity on a text; kl: distance from another model; tasks: zero-shot questions"},
    {"train", rrt__cli_train, "uptraining: cross-entropy, distillation; resumable"},
    {"teach", rrt__cli_teach, "a teacher's most likely next tokens, once, for training"},
    {"report", rrt__cli_report, "curves of training runs as a page"},
    {"quantize", rrt__cli_quantize, "one small file, used as it lies there: q8_0, q6_0, q4_1, q4_0"},
    {"export", rrt__cli_export, "for other programs: Hugging Face folder, PEFT adapter, GGUF for llama.cpp"},
    {"serve", rrt__cli_serve, "an OpenAI-compatible server: completions, chat, metrics, a page"},
    {"bench", rrt__cli_bench, "speed: prompt, decoding, concurrent requests, a training step"},
    {"simulate", rrt__cli_simulate, "batching on machines that we do not have, from their timings"},
};

enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

static void print_help(void)
{
    printf("rrt %s: Relaxed Recursive Transformers (kernels: %s)\n\nusage: rrt VERB [arguments]\n\n",
           rrt_version(), rrt_cpu_kernels());
    for (int i = 0; i < VERB_COUNT; i++) printf("  %-10s %s\n", verbs[i].name, verbs[i].about);
    printf("\nrrt VERB --help tells the options of a verb.\n"
           "A MODEL is a .gguf file, a Hugging Face folder, a PEFT adapter, or a folder that rrt wrote.\n");
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    signal(SIGXFSZ, SIG_IGN); // a file beyond `ulimit -f` is a failed write, which is told
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help();
        return rrt__cli_finish(RRT_STATUS_OK, NULL);
    }
    if (strcmp(name, "--version") == 0) {
        printf("rrt %s (kernels: %s)\n", rrt_version(), rrt_cpu_kernels());
        return rrt__cli_finish(RRT_STATUS_OK, NULL);
    }
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(name, verbs[i].name) == 0) return verbs[i].run(argc - 1, argv + 1);
    if (*name)
        fprintf(stderr, "rrt: unknown verb '%s' (rrt --help lists the verbs)\n", name);
    else
        fprintf(stderr, "rrt: a verb is missing (rrt --help lists the verbs)\n");
    return 2;
}
