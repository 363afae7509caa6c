// What the tests of the engine share: quantised recursive models, and requests that write down what they get.
#ifndef RRT__TEST_ENGINES_H
#define RRT__TEST_ENGINES_H

#include "models.h"
#include "rrt/engine.h"

typedef struct layout {
    int loops, layers_per_block, prelude, coda;
    bool norms_loops;
} layout;

// With LoRA of other ranks everywhere and gates, or tied all through. Through a file, as a user would.
static inline rrt_model *build_packed(const layout *l, bool is_tied, bool shares_kv)
{
    rrt_error err = {0};
    rrt__plan plan;
    char folder[64], file[80];
    rrt_model *original = open_golden("llama"), *packed;
    assert_ok(
        rrt__plan_make(&plan, RRT__SHARING_CYCLE, l->loops, l->layers_per_block, l->prelude, l->coda, &err));
    plan.norms_loops = l->norms_loops;
    rrt_model *model = tie(original, &plan, is_tied ? RRT__NORMS_TIED : RRT__NORMS_PER_DEPTH);
    if (!is_tied) add_random_loras(model);
    assert_ok(rrt__model_add_gates(model, &err));
    for (int n = 0; n < l->loops - 1; n++)
        fill_gaussian(model->gates[n].weight, model->shape.hidden, (uint64_t)(500 + n), 0, 0.2);
    if (shares_kv) assert_ok(rrt__model_share_kv(model, &err));
    temp_folder(folder);
    snprintf(file, sizeof file, "%s/m.gguf", folder);
    assert_ok(rrt_model_quantize(model, file, &(rrt_quantize_options){.type = "q8_0", .threads = 1}, &err));
    packed = open_path(file);
    remove_folder(folder); // its map stays
    rrt_model_close(model);
    rrt_model_close(original);
    return packed;
}

enum { MAX_TOKENS = 256 };

typedef struct heard {
    int32_t ids[MAX_TOKENS]; // made
    int loops[MAX_TOKENS];
    float logprobs[MAX_TOKENS], prompt_logprobs[MAX_TOKENS];
    int count, prompt_count, endings;
    rrt_finish finish;
    const rrt_engine *engine;
    rrt_request_stats stats; // at the last call
    int leave_after;         // the callback ends the request after so many tokens; 0: never
} heard;

static int hear(void *user, uint64_t id, const rrt_token *token, rrt_finish finish)
{
    heard *h = user;
    assert_true(id > 0);
    assert_int_equal(h->endings, 0);
    rrt_engine_describe_request(h->engine, id, &h->stats);
    if (!token) {
        h->endings++;
        h->finish = finish;
        return 0;
    }
    if (token->is_prompt) {
        assert_int_equal(token->index, h->prompt_count);
        h->prompt_logprobs[h->prompt_count++] = token->logprob;
        return 0;
    }
    assert_true(h->count < MAX_TOKENS);
    h->ids[h->count] = token->id;
    h->loops[h->count] = token->loops;
    h->logprobs[h->count++] = token->logprob;
    return h->leave_after && h->count == h->leave_after;
}

static inline uint64_t submit(rrt_engine *engine, rrt_request request, heard *h)
{
    rrt_error err = {0};
    uint64_t id;
    request.callback = hear;
    request.user = h;
    h->engine = engine;
    assert_ok(rrt_engine_submit(engine, &request, &id, &err));
    return id;
}

static inline void run_engine(rrt_engine *engine)
{
    rrt_error err = {0};
    bool busy = true;
    for (int steps = 0; busy; steps++) {
        assert_true(steps < 100000);
        assert_ok(rrt_engine_step(engine, &busy, &err));
    }
}

static inline rrt_engine *open_engine(const rrt_model *model, rrt_engine_options options)
{
    rrt_error err = {0};
    rrt_engine *engine;
    assert_ok(rrt_engine_open(&engine, model, &options, &err));
    return engine;
}

static inline void assert_heard_equal(const heard *a, const heard *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, (size_t)a->count * sizeof *a->ids);
    assert_memory_equal(a->loops, b->loops, (size_t)a->count * sizeof *a->loops);
    assert_int_equal(a->finish, b->finish);
}

static inline void fill_prompt(int32_t *ids, size_t count, size_t seed, const rrt_model *model)
{
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)(rrt__random_bits(seed, 7, i) % model->shape.vocab);
}

#endif
