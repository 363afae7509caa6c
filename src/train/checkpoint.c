#include "train/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/destination.h"
#include "base/file.h"
#include "base/own.h"
#include "checkpoint/checkpoint.h"
#include "format/safetensors.h"
#include "model/read.h"
#include "train/checksums.h"

// Visits one of the two moments of all parameters.
typedef struct moments {
    const rrt__optimizer *optimizer;
    const char *prefix;
    rrt__safetensors_entry *entries; // for saving
    size_t count, capacity;
    rrt__arena arena;
    const rrt__tensor_table *table; // for loading
} moments;

static rrt_status name_of(moments *m, const rrt__parameter *p, char **name, rrt_error *err)
{
    char text[160];
    int length = snprintf(text, sizeof text, "%s.%s", m->prefix, p->name);
    return rrt__arena_copy(&m->arena, name, text, (size_t)length, err);
}

static rrt_status list_moment(void *user, const rrt__parameter *p, rrt_error *err)
{
    moments *m = user;
    char *name;
    if (m->optimizer->options.scale[p->kind] == 0) return RRT_STATUS_OK;
    RRT__TRY(name_of(m, p, &name, err));
    RRT__TRY(rrt__array_reserve(&m->entries, &m->capacity, m->count + 1, sizeof *m->entries, err));
    m->entries[m->count++] = (rrt__safetensors_entry){
        .name = name, .n_dims = p->columns ? 2 : 1, .shape = {p->rows, p->columns}, .values = p->values};
    return RRT_STATUS_OK;
}

static rrt_status read_moment(void *user, const rrt__parameter *p, rrt_error *err)
{
    moments *m = user;
    char *name;
    if (m->optimizer->options.scale[p->kind] == 0) return RRT_STATUS_OK;
    RRT__TRY(name_of(m, p, &name, err));
    const rrt__tensor *tensor = rrt__tensor_table_find(m->table, name);
    if (!tensor) return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor '%s' is missing", name);
    return rrt__tensor_read(tensor, p->rows, p->columns, p->values, err);
}

static rrt_status each_moment(moments *m, rrt__parameter_visit visit, rrt_error *err)
{
    const rrt__names *names = &m->optimizer->mean->family->hf;
    m->prefix = "mean";
    RRT__TRY(rrt__model_each_parameter(m->optimizer->mean, names, visit, m, err));
    m->prefix = "variance";
    return rrt__model_each_parameter(m->optimizer->variance, names, visit, m, err);
}

static rrt_status save_moments(const char *folder, const rrt__optimizer *optimizer, rrt_error *err)
{
    moments m = {.optimizer = optimizer};
    char path[4096];
    rrt_status status = rrt__path_join(path, folder, "moments.safetensors", err);
    if (!status) status = each_moment(&m, list_moment, err);
    if (!status) status = rrt__safetensors_write(path, m.entries, m.count, RRT__DTYPE_F32, err);
    rrt__free(m.entries);
    rrt__arena_free(&m.arena);
    return status;
}

static rrt_status load_moments(const char *folder, rrt__optimizer *optimizer, rrt_error *err)
{
    moments m = {.optimizer = optimizer};
    char path[4096];
    rrt__safetensors *file = NULL;
    rrt_status status = rrt__path_join(path, folder, "moments.safetensors", err);
    if (!status) status = rrt__safetensors_open(&file, path, err);
    if (!status) {
        m.table = rrt__safetensors_tensors(file);
        status = each_moment(&m, read_moment, err);
        if (status) rrt__at(err, status, "%s", path);
    }
    rrt__safetensors_close(file);
    rrt__arena_free(&m.arena);
    return status;
}

static rrt_status write_all(const char *folder, const rrt_model *model, const rrt__optimizer *optimizer,
                            const json_t *state, rrt_error *err)
{
    char path[4096];
    const rrt__safetensors_options whole = {RRT__DTYPE_F32, UINT64_MAX, NULL};
    RRT__TRY(rrt__model_write(model, folder, &whole, err));
    if (optimizer->step > 0) RRT__TRY(save_moments(folder, optimizer, err)); // zero before step 1
    RRT__TRY(rrt__path_join(path, folder, "state.json", err));
    RRT__TRY(rrt__json_write(state, path, err));
    return rrt__checksums_write(folder, err);
}

// The step in a checkpoint's name; -1 for any other name (a checkpoint that was incomplete when a run died
// has a suffix).
static long long step_of(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return digits == 8 && name[8] == '\0' ? atoll(name) : -1;
}

typedef struct sweep {
    const char *folder;
    long long keep;
} sweep;

static rrt_status remove_other(void *user, const char *name, rrt_error *err)
{
    (void)err;
    const sweep *s = user;
    char path[4096];
    long long step = step_of(name);
    if (step >= 0 && step != s->keep && !rrt__path_join(path, s->folder, name, NULL)) rrt__own_remove(path);
    return RRT_STATUS_OK;
}

void rrt__checkpoint_keep_only(const char *folder, uint64_t step)
{
    sweep s = {folder, (long long)step};
    rrt__folder_each(folder, remove_other, &s, NULL);
}

rrt_status rrt__checkpoint_save(const char *folder, const rrt_model *model, const rrt__optimizer *optimizer,
                                json_t *state, rrt_error *err)
{
    char name[32], path[4096];
    rrt__destination destination;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return rrt__at(err, rrt__fail_errno(err, "cannot create the folder"), "%s", folder);
    snprintf(name, sizeof name, "%08llu", (unsigned long long)optimizer->step);
    RRT__TRY(rrt__path_join(path, folder, name, err));
    if (rrt__path_exists(path)) return RRT_STATUS_OK; // of this step
    RRT__TRY(rrt__destination_open(&destination, path, RRT__DESTINATION_FOLDER, false, err));
    rrt_status status = write_all(destination.temporary, model, optimizer, state, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    if (status)
        rrt__destination_discard(&destination);
    else
        rrt__checkpoint_keep_only(folder, optimizer->step);
    return status;
}

static rrt_status find_newest(void *user, const char *name, rrt_error *err)
{
    (void)err;
    long long *newest = user;
    if (step_of(name) > *newest) *newest = step_of(name);
    return RRT_STATUS_OK;
}

rrt_status rrt__checkpoint_latest(char path[4096], const char *folder, bool *found, rrt_error *err)
{
    long long newest = -1;
    char name[32];
    *found = false;
    if (!rrt__path_exists(folder)) return RRT_STATUS_OK;
    RRT__TRY(rrt__folder_each(folder, find_newest, &newest, err));
    if (newest < 0) return RRT_STATUS_OK;
    *found = true;
    snprintf(name, sizeof name, "%08lld", newest);
    return rrt__path_join(path, folder, name, err);
}

// Two models visited in parallel.
typedef struct copying {
    rrt__parameter *to;
    size_t count, capacity, next;
} copying;

static rrt_status list_target(void *user, const rrt__parameter *p, rrt_error *err)
{
    copying *c = user;
    RRT__TRY(rrt__array_reserve(&c->to, &c->capacity, c->count + 1, sizeof *c->to, err));
    c->to[c->count++] = *p;
    return RRT_STATUS_OK;
}

static rrt_status copy_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    copying *c = user;
    const rrt__parameter *to = c->next < c->count ? &c->to[c->next++] : NULL;
    if (!to || strcmp(to->name, p->name) != 0 || to->rows != p->rows || to->columns != p->columns)
        return rrt__fail(err, RRT_STATUS_MISMATCH, "the checkpoint holds '%s', which the student has not",
                         p->name);
    const rrt__linear linear = rrt__parameter_linear(p);
    const rrt__rows rows = rrt__linear_rows(&linear);
    return rrt__rows_read(&rows, 0, linear.out, linear.in, 0, to->values, err);
}

static rrt_status copy_weights(rrt_model *to, const rrt_model *from, rrt_error *err)
{
    copying c = {0};
    const rrt__names *names = &to->family->hf;
    rrt_status status = rrt__model_each_parameter(to, names, list_target, &c, err);
    if (!status) status = rrt__model_each_parameter(from, names, copy_one, &c, err);
    if (!status && c.next < c.count)
        status = rrt__fail(err, RRT_STATUS_MISMATCH, "the student's '%s' is not in the checkpoint",
                           c.to[c.next].name);
    rrt__free(c.to);
    return status;
}

static rrt_status load_optimizer(const char *path, const json_t *state, rrt__optimizer *optimizer,
                                 rrt_error *err)
{
    int64_t step;
    RRT__TRY(rrt__json_int(state, "step", 0, INT64_MAX, &step, err));
    optimizer->step = (uint64_t)step;
    if (step > 0) return load_moments(path, optimizer, err);
    for (size_t i = 0; i < optimizer->n_parameters; i++) {
        memset(optimizer->parameters[i].mean, 0, optimizer->parameters[i].count * sizeof(float));
        memset(optimizer->parameters[i].variance, 0, optimizer->parameters[i].count * sizeof(float));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__checkpoint_load(const char *path, rrt_model *model, rrt__optimizer *optimizer, json_t **state,
                                rrt_error *err)
{
    char file[4096];
    rrt_model *saved;
    *state = NULL;
    RRT__TRY(rrt__checksums_verify(path, err));
    RRT__TRY(rrt__path_join(file, path, "state.json", err));
    RRT__TRY(rrt_model_open_deferred(&saved, path, NULL, err));
    rrt_status status = copy_weights(model, saved, err);
    rrt_model_close(saved);
    if (status) return rrt__at(err, status, "%s", path);
    RRT__TRY(rrt__json_read(state, file, err));
    status = load_optimizer(path, *state, optimizer, err);
    if (status) json_decref(*state);
    return status;
}
