// Creates models from a configuration only: baselines that are trained from scratch.
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "model/parameters.h"
#include "tokenizer/tokenizer.h"

typedef struct randomising {
    uint64_t seed, stream;
    double residual_scale; // of matrices that write to the hidden state
} randomising;

// N(0, 0.02²), like GPT-2 and its successors; matrices that write to the hidden state are scaled down by the
// number of writes, so that it does not grow with depth.
static rrt_status randomise_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    randomising *r = user;
    size_t count = rrt__parameter_count(p), length = strlen(p->name);
    bool is_bias = length > 5 && strcmp(p->name + length - 5, ".bias") == 0;
    bool writes = p->matrix == RRT__MATRIX_O || p->matrix == RRT__MATRIX_DOWN;
    double scale = 0.02 * (writes ? r->residual_scale : 1);
    for (size_t i = 0; i < count; i++)
        p->values[i] = p->columns ? (float)(scale * rrt__random_gaussian(r->seed, r->stream, i))
                                  : (is_bias || p->kind == RRT__PARAMETER_GATE ? 0.0f : 1.0f);
    r->stream++;
    return RRT_STATUS_OK;
}

static rrt_status read_config(rrt__config *config, const char *folder, rrt_error *err)
{
    char path[4096];
    json_t *json;
    RRT__TRY(rrt__path_join(path, folder, "config.json", err));
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = rrt__config_from_json(config, json, err);
    json_decref(json);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

rrt_status rrt_model_create(rrt_model **out, const char *folder, uint64_t seed, rrt_error *err)
{
    rrt__config config;
    *out = NULL;
    RRT__TRY(read_config(&config, folder, err));
    RRT__TRY(rrt__config_create(out, &config, RRT__MATRICES_F32, err));
    randomising r = {seed, 0, 1 / sqrt(2.0 * config.plan.n_depths)};
    rrt_status status = rrt__model_each_parameter(*out, &config.family->hf, randomise_one, &r, err);
    if (!status && rrt__tokenizer_is_in(folder)) status = rrt_tokenizer_open(&(*out)->tokenizer, folder, err);
    if (!status && (*out)->tokenizer && (size_t)rrt_tokenizer_vocab((*out)->tokenizer) > config.shape.vocab)
        status = rrt__fail(err, RRT_STATUS_MISMATCH, "the tokenizer has %d ids, but the vocabulary is %zu",
                           rrt_tokenizer_vocab((*out)->tokenizer), config.shape.vocab);
    if (status) {
        rrt_model_close(*out);
        *out = NULL;
    }
    return status;
}
