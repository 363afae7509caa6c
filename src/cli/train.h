// What rrt train is asked.
#ifndef RRT__CLI_TRAIN_H
#define RRT__CLI_TRAIN_H

#include "cli/cli.h"

typedef struct rrt__train_arguments {
    rrt__cli_common common;
    rrt_train_options train;
    rrt__list files;
    const char *out, *teacher, *scratch, *kd, *optimizer, *exit_loss, *kv, *resume, *heldout;
    double kd_weight, kd_temperature; // 0: not given
    size_t tokens, match_tokens, checkpoint_steps, heldout_tokens, eval_every;
    bool exit_kd, gates, recompute, bf16, force, dry_run;
    char *student;
    rrt__cli_model model; // the student, and how its layers run
} rrt__train_arguments;

// Parses, and checks what is known to be wrong from the options alone. Lists are the caller's to free.
rrt_status rrt__train_parse(rrt__train_arguments *arguments, int argc, char **argv, rrt_error *err);

#endif
