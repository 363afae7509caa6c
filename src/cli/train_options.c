#include <stdlib.h>
#include <string.h>

#include "base/destination.h"
#include "cli/train.h"

static rrt_status check_read(const char *read, const char *out, rrt_error *err)
{
    if (!rrt__path_is_at_or_in(read, out)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "-o %s would destroy %s, which is read", out, read);
}

static rrt_status check_usage(rrt__train_arguments *a, rrt_error *err)
{
    const struct {
        bool is_wrong;
        const char *message;
    } rules[] = {
        {!a->out, "where to? -o OUT is missing"},
        {!a->student && !a->scratch, "what is trained? STUDENT is missing, or --from-scratch CONFIG"},
        {a->student && a->scratch, "STUDENT and --from-scratch: one of them is trained"},
        {a->scratch && (a->model.loops || a->model.repeat),
         "--loops and --repeat are for a STUDENT: --from-scratch has the loops of its config.json"},
        {!a->teacher && (a->kd || a->kd_weight != 0 || a->kd_temperature != 0),
         "--kd, --kd-weight and --kd-temp need --teacher"},
        {a->kv && strcmp(a->kv, "shared") != 0, "--kv: only 'shared' is known; it cannot be taken back"},
        {a->exit_kd && !a->exit_loss, "--exit-kd needs --exit-loss aggressive:0.1 or weighted"},
        {a->resume && strcmp(a->resume, "auto") != 0, "--resume: only 'auto' is known"},
        {!a->heldout && (a->heldout_tokens || a->eval_every),
         "--heldout-tokens and --eval-every need --heldout FILE"},
        {a->resume && a->force, "--resume goes on with a run, --force replaces it: one of them"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].is_wrong) return rrt__fail(err, RRT_STATUS_ARGUMENT, "%s", rules[i].message);
    RRT__TRY(check_read(a->student ? a->student : a->scratch, a->out, err));
    if (a->force && a->teacher) RRT__TRY(check_read(a->teacher, a->out, err));
    if (a->force && a->heldout) RRT__TRY(check_read(a->heldout, a->out, err));
    for (size_t i = 0; a->force && i < a->files.count; i++)
        RRT__TRY(check_read(a->files.items[i], a->out, err));
    for (size_t i = 0; a->heldout && i < a->files.count; i++)
        if (rrt__path_is_at_or_in(a->heldout, a->files.items[i]))
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "--heldout %s is trained on: it is in --data too",
                             a->heldout);
    return RRT_STATUS_OK;
}

static rrt_status choose_kinds(rrt__train_arguments *a, rrt_error *err)
{
    static const char *const divergences[] = {"fkl", "rkl", "jsd", "tvd"};
    static const char *const optimizers[] = {"adamw", "muon"};
    int divergence, optimizer;
    RRT__TRY(rrt__cli_choose("kd", a->kd, divergences, 4, &divergence, err));
    RRT__TRY(rrt__cli_choose("optimizer", a->optimizer, optimizers, 2, &optimizer, err));
    a->train.divergence = (rrt_divergence)divergence;
    a->train.optimizer = (rrt_optimizer_kind)optimizer;
    return RRT_STATUS_OK;
}

// none, weighted, aggressive, aggressive:0.1
static rrt_status choose_exit_loss(rrt__train_arguments *a, rrt_error *err)
{
    static const char *const names[] = {"none", "aggressive", "weighted"};
    const char *text = a->exit_loss ? a->exit_loss : "none", *colon = strchr(text, ':');
    char *end = NULL;
    int kind = 0;
    while (kind < 3 && strcmp(text, names[kind]) != 0) kind++;
    if (colon && strncmp(text, "aggressive:", strlen("aggressive:")) == 0) {
        kind = RRT_EXIT_LOSS_AGGRESSIVE;
        a->train.exit_weight = strtod(colon + 1, &end);
        if (end == colon + 1 || *end || !(a->train.exit_weight > 0)) kind = 3;
    }
    a->train.exit_loss = (rrt_exit_loss)kind;
    if (kind < 3) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT,
                     "--exit-loss: '%s' is not known: aggressive:0.1 (any weight), weighted or none", text);
}

static void fill(rrt__train_arguments *a)
{
    rrt_train_options *o = &a->train;
    if (a->kd_weight > 0) o->kd_weight = a->kd_weight;
    if (a->kd_temperature > 0) o->kd_temperature = a->kd_temperature;
    o->files = a->files.items;
    o->n_files = a->files.count;
    o->tokens = a->tokens;
    o->match_tokens = a->match_tokens;
    o->checkpoint_steps = a->checkpoint_steps;
    o->heldout_every = a->eval_every;
    o->exit_kd = a->exit_kd;
    o->gates = a->gates;
    o->share_kv = a->kv != NULL;
    o->recompute = a->recompute;
    o->bf16 = a->bf16;
    o->resume = a->resume != NULL;
    o->overwrite = a->force;
    o->threads = a->common.threads;
    o->progress = rrt__cli_progress();
}

static rrt_status read_arguments(rrt__train_arguments *a, const rrt__option *options, int n_options, int argc,
                                 char **argv, rrt_error *err)
{
    const rrt__cli_usage usage = {
        .line = "rrt train STUDENT -o OUT --data FILE… --tokens N",
        .about =
            "Uptrains a model on text, by cross-entropy or by distillation from a teacher. Ctrl-C saves a "
            "checkpoint; --resume auto goes on from the last one, also after a crash.",
        .examples = "rrt train recursive -o run --data text.txt --teacher model.gguf --tokens 2M\n"
                    "rrt train recursive -o run --data text.txt --teacher model.gguf --tokens 2M --dry-run\n"
                    "rrt train recursive -o run --teacher STORE --minutes 60 --ctx 256 --batch 8 --bf16",
        .options = options,
        .n_options = n_options,
        .positional = 1,
        .optional = 1};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, &a->student, err));
    a->model.path = a->student;
    RRT__TRY(check_usage(a, err));
    RRT__TRY(choose_kinds(a, err));
    RRT__TRY(choose_exit_loss(a, err));
    fill(a);
    return RRT_STATUS_OK;
}

enum { MAX_OPTIONS = 64 };

static int list_run_options(rrt__option *out, rrt__train_arguments *a)
{
    rrt_train_options *o = &a->train;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Run"),
        {'o', "out", "OUT", RRT__OPTION_STRING, &a->out, 0, 0,
         "folder for the trained model, log and checkpoints"},
        {0, "data", "FILE…", RRT__OPTION_LIST, &a->files, 0, 0,
         "text, or .jsonl with \"text\" or \"messages\" per line; .zst too"},
        {0, "tokens", "N", RRT__OPTION_SIZE, &a->tokens, 1, 1e18, "train on N tokens, e.g. 2M"},
        {0, "minutes", "M", RRT__OPTION_REAL, &o->minutes, 1e-3, 1e7,
         "train for M minutes, or until --tokens are reached"},
        {0, "resume", "auto", RRT__OPTION_STRING, &a->resume, 0, 0,
         "go on from OUT's last checkpoint, if there is one"},
        {0, "force", NULL, RRT__OPTION_FLAG, &a->force, 0, 0, "replace OUT if it exists"},
        {0, "dry-run", NULL, RRT__OPTION_FLAG, &a->dry_run, 0, 0,
         "only estimate time and memory; write nothing"},
        {0, "checkpoint-minutes", "M", RRT__OPTION_REAL, &o->checkpoint_minutes, 1e-3, 1e7,
         "minutes between checkpoints (default 10)"},
        {0, "checkpoint-steps", "N", RRT__OPTION_SIZE, &a->checkpoint_steps, 1, 1e15,
         "also save a checkpoint every N steps"},
        {0, "seed", "S", RRT__OPTION_SEED, &o->seed, 0, 0,
         "seed of the text's order and of --from-scratch (default 0)"},
        {0, "from-scratch", "CONFIG", RRT__OPTION_STRING, &a->scratch, 0, 0,
         "random weights by a config.json, instead of STUDENT"},
        RRT__CLI_LOOPS_ROWS(&a->model),
        RRT__OPTION_GROUP("Measurement on the way"),
        {0, "heldout", "FILE", RRT__OPTION_STRING, &a->heldout, 0, 0,
         "text to measure on: KL to a teacher MODEL, or else cross-entropy"},
        {0, "heldout-tokens", "N", RRT__OPTION_SIZE, &a->heldout_tokens, 2, 1e9,
         "measure on the first N tokens of the held-out text (default 2048)"},
        {0, "eval-every", "TOKENS", RRT__OPTION_SIZE, &a->eval_every, 1, 1e18,
         "measure every TOKENS of training (default: a tenth of the run)"},
        RRT__OPTION_GROUP("Distillation"),
        {0, "teacher", "MODEL", RRT__OPTION_STRING, &a->teacher, 0, 0,
         "distil from MODEL, or from a STORE of rrt teach (then without --data)"},
        {0, "kd", "KIND", RRT__OPTION_STRING, &a->kd, 0, 0,
         "divergence from the teacher: fkl (default), rkl, jsd or tvd"},
        {0, "kd-weight", "W", RRT__OPTION_REAL, &a->kd_weight, 1e-6, 1,
         "loss = (1 - W) cross-entropy + W divergence (default 1)"},
        {0, "kd-temp", "T", RRT__OPTION_REAL, &a->kd_temperature, 0.01, 100,
         "temperature of both distributions (default 1)"},
        {0, "match-tokens", "N", RRT__OPTION_SIZE, &a->match_tokens, 1, 1e18,
         "begin with N tokens of hidden-state distillation (with --teacher)"},
    };
    memcpy(out, options, sizeof options);
    return sizeof options / sizeof *options;
}

static int list_step_options(rrt__option *out, rrt__train_arguments *a)
{
    rrt_train_options *o = &a->train;
    const rrt__option options[] = {
        RRT__OPTION_GROUP("Steps and memory"),
        {'c', "ctx", "N", RRT__OPTION_SIZE, &o->context, 2, 1 << 24, "tokens per sequence (default 512)"},
        {'b', "batch", "N", RRT__OPTION_SIZE, &o->batch, 1, 1e6, "sequences per step (default 4)"},
        {0, "micro", "N", RRT__OPTION_SIZE, &o->at_a_time, 1, 1e6,
         "sequences in memory at once, gradients add up (default: the batch)"},
        {0, "bf16", NULL, RRT__OPTION_FLAG, &a->bf16, 0, 0,
         "matrix products in bfloat16: faster, where the processor can"},
        {0, "recompute", NULL, RRT__OPTION_FLAG, &a->recompute, 0, 0,
         "less memory, slower: recompute activations in the backward pass"},
        RRT__OPTION_GROUP("Optimizer"),
        {0, "optimizer", "KIND", RRT__OPTION_STRING, &a->optimizer, 0, 0,
         "adamw (default), or muon for the layers' matrices"},
        {0, "lr", "R", RRT__OPTION_REAL, &o->learning_rate, 1e-12, 10, "peak learning rate (default 3e-4)"},
        {0, "warmup", "SHARE", RRT__OPTION_REAL, &o->warmup, 0, 1,
         "share of the run in which the learning rate rises (default 0.05)"},
        {0, "min-lr", "SHARE", RRT__OPTION_REAL, &o->min_rate, 0, 1,
         "final learning rate, as a share of --lr (default 0.1)"},
        {0, "weight-decay", "D", RRT__OPTION_REAL, &o->weight_decay, 0, 10,
         "weight decay of matrices (default 0.1)"},
        {0, "clip", "NORM", RRT__OPTION_REAL, &o->clip, 0, 1e9,
         "maximum gradient norm (default 1; 0: do not clip)"},
        {0, "lr-shared", "F", RRT__OPTION_REAL, &o->rate_shared, 0, 1e6,
         "factor on --lr for the layers' matrices (default 1; 0 freezes them)"},
        {0, "lr-lora", "F", RRT__OPTION_REAL, &o->rate_lora, 0, 1e6,
         "factor on --lr for LoRA (default 1; 0 freezes it)"},
        {0, "lr-norms", "F", RRT__OPTION_REAL, &o->rate_norm, 0, 1e6,
         "factor on --lr for norms (default 1; 0 freezes them)"},
        {0, "lr-embeddings", "F", RRT__OPTION_REAL, &o->rate_embedding, 0, 1e6,
         "factor on --lr for embedding and head (default 1; 0 freezes them)"},
        {0, "lr-gates", "F", RRT__OPTION_REAL, &o->rate_gate, 0, 1e6,
         "factor on --lr for gates (default 10)"},
        RRT__OPTION_GROUP("Early exit and sharing of keys and values"),
        {0, "exit-loss", "KIND", RRT__OPTION_STRING, &a->exit_loss, 0, 0,
         "also train earlier exits: aggressive:0.1, weighted or none (default)"},
        {0, "exit-kd", NULL, RRT__OPTION_FLAG, &a->exit_kd, 0, 0,
         "earlier exits learn the last exit's output instead of the main loss"},
        {0, "gates", NULL, RRT__OPTION_FLAG, &a->gates, 0, 0,
         "train a gate per loop boundary: does the last loop say the same token?"},
        {0, "kv", "shared", RRT__OPTION_STRING, &a->kv, 0, 0,
         "all loops read the first loop's keys and values, from now on"},
    };
    memcpy(out, options, sizeof options);
    return sizeof options / sizeof *options;
}

rrt_status rrt__train_parse(rrt__train_arguments *a, int argc, char **argv, rrt_error *err)
{
    rrt__option options[MAX_OPTIONS];
    int n_options = list_run_options(options, a);
    n_options += list_step_options(options + n_options, a);
    return read_arguments(a, options, n_options, argc, argv, err);
}
