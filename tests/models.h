// What the tests of models share: the tiny goldens of tools/make-model-golden.py, temporary folders, models
// put together by hand, and logits at every position.
#ifndef RRT__TEST_MODELS_H
#define RRT__TEST_MODELS_H

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "model/model.h"
#include "rrt/rrt.h"
#include "test.h"
#include "tokenizer/tokenizer.h"

// Logits are of order 10, so f32 carries them to about 1e-6; four layers of sums leave a few times that.
#define LOGIT_TOLERANCE 2e-5

typedef struct golden {
    json_t *json;
    int32_t *ids;
    size_t count, vocab;
    float *logits; // [count, vocab]
} golden;

static inline void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static inline golden golden_open(const char *name)
{
    rrt_error err = {0};
    golden g;
    char path[4096];
    snprintf(path, sizeof path, "%s/models/%s/golden.json", RRT_TEST_DATA, name);
    assert_ok(rrt__json_read(&g.json, path, &err));
    const json_t *ids = json_object_get(g.json, "ids"), *rows = json_object_get(g.json, "logits");
    g.count = json_array_size(ids);
    g.vocab = json_array_size(json_array_get(rows, 0));
    g.ids = must_alloc(g.count, sizeof *g.ids);
    g.logits = must_alloc(g.count * g.vocab, sizeof *g.logits);
    for (size_t r = 0; r < g.count; r++) {
        g.ids[r] = (int32_t)json_integer_value(json_array_get(ids, r));
        for (size_t i = 0; i < g.vocab; i++)
            g.logits[r * g.vocab + i] = (float)json_number_value(json_array_get(json_array_get(rows, r), i));
    }
    return g;
}

static inline void golden_close(golden *g)
{
    json_decref(g->json);
    free(g->ids);
    free(g->logits);
}

// With f32 weights, which may be changed.
static inline rrt_model *open_path(const char *path)
{
    rrt_error err = {0};
    rrt_model *model;
    assert_ok(rrt_model_open_deferred(&model, path, NULL, &err));
    assert_ok(rrt_model_unpack(model, &err));
    return model;
}

// As what runs it has it.
static inline rrt_model *open_stored(const char *path)
{
    rrt_error err = {0};
    rrt_model *model;
    assert_ok(rrt_model_open(&model, path, NULL, &err));
    return model;
}

static inline rrt_model *open_golden(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/models/%s", RRT_TEST_DATA, name);
    return open_path(path);
}

// logits[count, vocab] after each of the ids; every row from a session of its own that got the prefix in
// pieces of `chunk` tokens.
// A tiny model of tools/make-gradient-golden.py.
static inline rrt_model *open_in_gradients(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/gradients/%s", RRT_TEST_DATA, name);
    return open_path(path);
}

// Keys and values in f32: these logits are compared with what keeps none, or keeps other ones.
static inline rrt_session_options exact_options(const rrt_session_options *options)
{
    rrt_session_options exact = *options;
    exact.kv_type = "f32";
    return exact;
}

static inline void prefix_logits(float *logits, const rrt_model *model, const int32_t *ids, size_t count,
                                 size_t chunk, const rrt_session_options *options)
{
    rrt_error err = {0};
    size_t vocab = model->shape.vocab;
    const rrt_session_options exact = exact_options(options);
    for (size_t n = 1; n <= count; n++) {
        rrt_session *session;
        assert_ok(rrt_session_open(&session, model, &exact, &err));
        for (size_t at = 0; at < n; at += chunk)
            assert_ok(rrt_session_append(session, ids + at, n - at < chunk ? n - at : chunk, &err));
        assert_int_equal(rrt_session_tokens(session), n);
        memcpy(logits + (n - 1) * vocab, rrt_session_logits(session), vocab * sizeof *logits);
        rrt_session_close(session);
    }
}

// The same, token by token in one session.
static inline void step_logits(float *logits, const rrt_model *model, const int32_t *ids, size_t count,
                               const rrt_session_options *options)
{
    rrt_error err = {0};
    size_t vocab = model->shape.vocab;
    const rrt_session_options exact = exact_options(options);
    rrt_session *session;
    assert_ok(rrt_session_open(&session, model, &exact, &err));
    for (size_t i = 0; i < count; i++) {
        assert_ok(rrt_session_append(session, ids + i, 1, &err));
        memcpy(logits + i * vocab, rrt_session_logits(session), vocab * sizeof *logits);
    }
    rrt_session_close(session);
}

static inline double max_difference(const float *a, const float *b, size_t count)
{
    double greatest = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - b[i]);
        if (!(difference <= greatest)) greatest = difference; // NaN too
    }
    return greatest;
}

// How far two models are apart on some ids, each with so many loops (0: all).
static inline double model_difference(const rrt_model *a, int a_loops, const rrt_model *b, int b_loops)
{
    enum { COUNT = 20 };
    int32_t ids[COUNT];
    for (int i = 0; i < COUNT; i++) ids[i] = (i * 31 + 7) % (int)a->shape.vocab;
    size_t values = COUNT * a->shape.vocab;
    float *logits = must_alloc(2 * values, sizeof *logits);
    step_logits(logits, a, ids, COUNT, &(rrt_session_options){1, a_loops});
    step_logits(logits + values, b, ids, COUNT, &(rrt_session_options){1, b_loops});
    double difference = max_difference(logits, logits + values, values);
    free(logits);
    return difference;
}

// A tolerance of 0 asks for the same bits.
static inline void assert_same_logits(const rrt_model *a, int a_loops, const rrt_model *b, int b_loops,
                                      double tolerance)
{
    double difference = model_difference(a, a_loops, b, b_loops);
    if (!(difference <= tolerance)) fail_msg("logits differ by %g, %g is allowed", difference, tolerance);
}

static inline void assert_other_logits(const rrt_model *a, const rrt_model *b, double least)
{
    double difference = model_difference(a, 0, b, 0);
    if (!(difference >= least)) fail_msg("logits differ by no more than %g", difference);
}

// --- folders
// -------------------------------------------------------------------------------------------------

static inline void temp_folder(char path[64])
{
    strcpy(path, "/tmp/rrt-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char inner[4096];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (rrt__path_join(inner, path, entry->d_name, NULL)) continue;
        if (unlink(inner) != 0) remove_folder(inner);
    }
    closedir(folder);
    rmdir(path);
}

static inline void copy_file(const char *from_folder, const char *to_folder, const char *name)
{
    rrt_error err = {0};
    rrt__string text = {0};
    char from[4096], to[4096];
    assert_ok(rrt__path_join(from, from_folder, name, &err));
    assert_ok(rrt__path_join(to, to_folder, name, &err));
    assert_ok(rrt__file_read(&text, from, &err));
    assert_ok(rrt__file_write(to, text.data, text.length, &err));
    rrt__string_free(&text);
}

// A golden model's files in a fresh temporary folder.
static inline void copy_golden(char path[64], const char *name)
{
    char from[4096];
    snprintf(from, sizeof from, "%s/models/%s", RRT_TEST_DATA, name);
    temp_folder(path);
    DIR *folder = opendir(from);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.') copy_file(from, path, entry->d_name);
    closedir(folder);
}

// Sets keys of a JSON file in a folder.
static inline void update_json(const char *folder, const char *name, json_t *changes)
{
    rrt_error err = {0};
    char path[4096];
    json_t *json;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(rrt__json_read(&json, path, &err));
    assert_non_null(changes);
    json_object_update(json, changes);
    assert_ok(rrt__json_write(json, path, &err));
    json_decref(changes);
    json_decref(json);
}

// Saves, closes and opens again.
static inline rrt_model *round_trip(const rrt_model *model, const char *dtype)
{
    rrt_error err = {0};
    char path[64];
    temp_folder(path);
    assert_ok(rrt_model_save(model, path, &(rrt_save_options){.dtype = dtype, .overwrite = 1}, &err));
    rrt_model *again = open_path(path);
    remove_folder(path);
    return again;
}

// --- models by hand
// ------------------------------------------------------------------------------------------

static inline void fill_gaussian(float *values, size_t count, uint64_t stream, double mean, double deviation)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(mean + deviation * rrt__random_gaussian(1, stream, i));
}

static inline void copy_vectors(rrt_model *to, int to_depth, const rrt_model *from, int from_depth)
{
    rrt__depth *target = &to->depths[to_depth];
    const rrt__depth *source = &from->depths[from_depth];
    target->attention = source->attention;
    for (int i = 0; i < RRT__NORM_COUNT; i++) {
        size_t bytes = source->norm[i].width * sizeof(float);
        if (source->norm[i].gain) memcpy(target->norm[i].gain, source->norm[i].gain, bytes);
        if (source->norm[i].bias) memcpy(target->norm[i].bias, source->norm[i].bias, bytes);
    }
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        if (source->bias[m])
            memcpy(target->bias[m], source->bias[m],
                   to->slots[to->plan.slot[to_depth]].matrix[m].out * sizeof(float));
}

static inline rrt_model *create_like(const rrt_model *like, const rrt__plan *plan, rrt__norms_mode norms)
{
    rrt_error err = {0};
    rrt_model *model;
    assert_ok(rrt__model_allocate(&model, like->family, &like->shape, plan, norms, &err));
    size_t hidden = like->shape.hidden, embedding = like->shape.vocab * hidden;
    memcpy(model->embedding->weight, like->embedding->weight, embedding * sizeof(float));
    memcpy(model->head->weight, like->head->weight, embedding * sizeof(float));
    memcpy(model->final_norm.gain, like->final_norm.gain, hidden * sizeof(float));
    if (like->final_norm.bias) memcpy(model->final_norm.bias, like->final_norm.bias, hidden * sizeof(float));
    return model;
}

static inline void copy_weights(rrt__slot *to, const rrt__slot *from);

// The same model with rows to spare in its embedding, which no token uses, and which are no zeros. The
// tokenizer is shared.
static inline rrt_model *with_padding(const rrt_model *model, size_t extra)
{
    rrt_error err = {0};
    rrt_model *padded;
    rrt__shape shape = model->shape;
    shape.vocab += extra;
    assert_ok(rrt__model_allocate(&padded, model->family, &shape, &model->plan, model->norms, &err));
    size_t hidden = shape.hidden, embedding = model->shape.vocab * hidden;
    memcpy(padded->embedding->weight, model->embedding->weight, embedding * sizeof(float));
    fill_gaussian(padded->embedding->weight + embedding, extra * hidden, 7, 0, 1);
    if (padded->head != padded->embedding) {
        memcpy(padded->head->weight, model->head->weight, embedding * sizeof(float));
        fill_gaussian(padded->head->weight + embedding, extra * hidden, 8, 0, 1);
    }
    memcpy(padded->final_norm.gain, model->final_norm.gain, hidden * sizeof(float));
    if (model->final_norm.bias)
        memcpy(padded->final_norm.bias, model->final_norm.bias, hidden * sizeof(float));
    for (int s = 0; s < model->plan.n_slots; s++) copy_weights(&padded->slots[s], &model->slots[s]);
    for (int d = 0; d < model->plan.n_depths; d++) copy_vectors(padded, d, model, d);
    padded->tokenizer = rrt__tokenizer_share(model->tokenizer);
    return padded;
}

static inline void copy_weights(rrt__slot *to, const rrt__slot *from)
{
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        if (from->matrix[m].weight)
            memcpy(to->matrix[m].weight, from->matrix[m].weight,
                   from->matrix[m].out * from->matrix[m].in * sizeof(float));
}

// A recursive model whose slot s is layer s of the original (modulo its layers); vectors that depths own come
// from layer d.
static inline rrt_model *tie(const rrt_model *original, const rrt__plan *plan, rrt__norms_mode norms)
{
    rrt_model *model = create_like(original, plan, norms);
    int layers = original->plan.n_depths;
    for (int s = 0; s < plan->n_slots; s++) copy_weights(&model->slots[s], &original->slots[s % layers]);
    for (int d = 0; d < plan->n_depths; d++)
        copy_vectors(model, d, original, (norms == RRT__NORMS_TIED ? plan->slot[d] : d) % layers);
    return model;
}

// LoRA of another rank at every depth and matrix; none at some.
static inline void add_random_loras(rrt_model *model)
{
    rrt_error err = {0};
    for (int d = 0; d < model->plan.n_depths; d++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            const rrt__linear *linear = &model->slots[model->plan.slot[d]].matrix[m];
            size_t rank = (size_t)(d * 3 + m * 2) % 7;
            if (!linear->weight || rank == 0) continue;
            assert_ok(rrt__model_add_lora(model, d, (rrt__matrix)m, rank, &err));
            uint64_t stream = (uint64_t)(d * 100 + m * 2);
            fill_gaussian(model->depths[d].lora[m].a.weight, rank * linear->in, stream, 0, 0.15);
            fill_gaussian(model->depths[d].lora[m].b.weight, linear->out * rank, stream + 1, 0, 0.15);
        }
    }
}

// A plain model that has depth depths[i] of the recursive one as layer i, with weights W + B·A.
static inline rrt_model *unroll(const rrt_model *model, const short *depths, int count)
{
    rrt_error err = {0};
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, count, 0, 0, &err));
    rrt_model *plain = create_like(model, &plan, RRT__NORMS_TIED);
    for (int i = 0; i < count; i++) {
        copy_weights(&plain->slots[i], &model->slots[model->plan.slot[depths[i]]]);
        copy_vectors(plain, i, model, depths[i]);
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            const rrt__lora *lora = &model->depths[depths[i]].lora[m];
            rrt__linear *linear = &plain->slots[i].matrix[m];
            for (size_t at = 0; lora->rank && at < linear->out * linear->in; at++) {
                double sum = 0;
                for (size_t r = 0; r < lora->rank; r++)
                    sum += (double)lora->b.weight[at / linear->in * lora->rank + r] *
                           lora->a.weight[r * linear->in + at % linear->in];
                linear->weight[at] += (float)sum;
            }
        }
    }
    return plain;
}

static inline rrt_model *unroll_all(const rrt_model *model)
{
    short depths[RRT__MAX_DEPTHS];
    for (int d = 0; d < model->plan.n_depths; d++) depths[d] = (short)d;
    return unroll(model, depths, model->plan.n_depths);
}

#endif
