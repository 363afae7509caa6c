#include <stdio.h>

#include "format/safetensors_inside.h"

// The assignment of entries to files.
typedef struct shards {
    const rrt__safetensors_entry *entries;
    size_t count;
    const rrt__safetensors_options *options;
    size_t *first; // shard s has the entries from first[s] up to first[s + 1]
    size_t n_shards, total_bytes;
    rrt__safetensors_watch watch;
} shards;

// Fills one shard after the other, each up to max_bytes.
static rrt_status divide(shards *s, rrt_error *err)
{
    size_t shard_begin = 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t begin = s->total_bytes;
        rrt_status status = rrt__safetensors_measure(&s->entries[i], s->options->dtype, &s->total_bytes, err);
        if (status) return rrt__at(err, status, "tensor '%.80s'", s->entries[i].name);
        if (i == 0 || s->total_bytes - shard_begin > s->options->max_shard_bytes) {
            s->first[s->n_shards++] = i;
            shard_begin = begin;
        }
    }
    s->first[s->n_shards] = s->count;
    s->watch = (rrt__safetensors_watch){s->options->progress, 0, (double)s->total_bytes};
    return RRT_STATUS_OK;
}

// weight_map: {tensor: shard}
static rrt_status list(json_t *weight_map, const char *tensor, const char *shard, rrt_error *err)
{
    if (json_object_get(weight_map, tensor))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "this name is there twice");
    if (json_object_set_new(weight_map, tensor, json_string(shard)) != 0)
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: an index of shards");
    return RRT_STATUS_OK;
}

static rrt_status write_shard(shards *s, size_t shard, const char *folder, json_t *weight_map, rrt_error *err)
{
    char name[64], path[4096];
    snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, s->n_shards);
    RRT__TRY(rrt__path_join(path, folder, name, err));
    size_t first = s->first[shard], end = s->first[shard + 1];
    RRT__TRY(rrt__safetensors_write_watched(path, s->entries + first, end - first, s->options->dtype,
                                            &s->watch, err));
    for (size_t i = first; i < end; i++) {
        rrt_status status = list(weight_map, s->entries[i].name, name, err);
        if (status) return rrt__at(err, status, "%s: tensor '%.80s'", path, s->entries[i].name);
    }
    return RRT_STATUS_OK;
}

static rrt_status write_shards(shards *s, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, "model.safetensors.index.json", err));
    // NULL if out of memory: it has no members and takes none, which list() reports.
    json_t *index =
        json_pack("{s:{s:I}, s:{}}", "metadata", "total_size", (json_int_t)s->total_bytes, "weight_map");
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; !status && i < s->n_shards; i++)
        status = write_shard(s, i, folder, json_object_get(index, "weight_map"), err);
    if (!status) status = rrt__json_write(index, path, err);
    json_decref(index);
    return status;
}

static rrt_status write_single(shards *s, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, "model.safetensors", err));
    return rrt__safetensors_write_watched(path, s->entries, s->count, s->options->dtype, &s->watch, err);
}

rrt_status rrt__safetensors_write_folder(const char *folder, const rrt__safetensors_entry *entries,
                                         size_t count, const rrt__safetensors_options *options,
                                         rrt_error *err)
{
    shards s = {.entries = entries, .count = count, .options = options};
    RRT__TRY(rrt__alloc(&s.first, count + 1, sizeof *s.first, "a list of shards", err));
    rrt_status status = divide(&s, err);
    if (!status) status = s.n_shards > 1 ? write_shards(&s, folder, err) : write_single(&s, folder, err);
    rrt__free(s.first);
    return status;
}
