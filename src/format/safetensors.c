#include <stdio.h>
#include <string.h>

#include "format/safetensors_inside.h"

typedef struct shard {
    rrt__map map;     // empty after rrt__safetensors_parse
    const char *path; // a folder's shard: "folder/name"
    json_t *header;
} shard;

struct rrt__safetensors {
    rrt__arena arena; // paths and names
    shard *shards;    // one, or all of a sharded folder
    size_t n_shards, shards_capacity;
    rrt__tensor_table table;
    size_t file_bytes;
};

// Takes ownership of the map, also on failure.
static rrt_status add_shard(rrt__safetensors *file, const void *data, size_t size_bytes, const char *path,
                            rrt__map map, rrt_error *err)
{
    char *path_copy;
    rrt_status status =
        rrt__array_reserve(&file->shards, &file->shards_capacity, file->n_shards + 1, sizeof(shard), err);
    if (status) {
        rrt__map_close(&map);
        return status;
    }
    shard *fresh = &file->shards[file->n_shards++];
    *fresh = (shard){.map = map};
    file->file_bytes += size_bytes;
    RRT__TRY(rrt__arena_copy(&file->arena, &path_copy, path, strlen(path), err));
    fresh->path = path_copy;
    size_t before = file->table.count;
    RRT__TRY(rrt__safetensors_read_header(&file->table, &file->arena, data, size_bytes, path_copy,
                                          &fresh->header, err));
    for (size_t i = before; i < file->table.count; i++) file->table.tensors[i].map = map;
    return RRT_STATUS_OK;
}

static rrt_status open_shard(rrt__safetensors *file, const char *path, rrt_error *err)
{
    rrt__map map;
    RRT__TRY(rrt__map_open(&map, path, err));
    return add_shard(file, map.data, map.size_bytes, path, map, err);
}

// A shard's name must stay within the folder.
static rrt_status check_shard_name(const json_t *name, rrt_error *err)
{
    const char *text = json_string_value(name);
    if (text && text[0] && strlen(text) == json_string_length(name) && !strchr(text, '/') &&
        !strstr(text, ".."))
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "the shard '%.80s' is not a plain file name", text ? text : "");
}

// The shard at path; opens it at its first use.
static rrt_status find_shard(rrt__safetensors *file, const char *path, const shard **out, rrt_error *err)
{
    size_t i = 0;
    while (i < file->n_shards && strcmp(file->shards[i].path, path) != 0) i++;
    if (i == file->n_shards) RRT__TRY(open_shard(file, path, err));
    *out = &file->shards[i];
    return RRT_STATUS_OK;
}

// index: {"weight_map": {tensor: shard}}
static rrt_status open_shards(rrt__safetensors *file, const char *folder, const json_t *index, rrt_error *err)
{
    json_t *weight_map, *name;
    const char *tensor;
    RRT__TRY(rrt__json_object(index, "weight_map", &weight_map, err));
    json_object_foreach(weight_map, tensor, name)
    {
        char path[4096];
        const shard *found;
        RRT__TRY(check_shard_name(name, err));
        RRT__TRY(rrt__path_join(path, folder, json_string_value(name), err));
        RRT__TRY(find_shard(file, path, &found, err));
        if (!json_object_get(found->header, tensor))
            return rrt__fail(err, RRT_STATUS_FORMAT, "tensor '%.80s' is not in the shard '%.80s'", tensor,
                             json_string_value(name));
    }
    return RRT_STATUS_OK;
}

// For the error message: weights in another format, the first in alphabetical order.
static rrt_status find_other(void *user, const char *name, rrt_error *err)
{
    (void)err;
    char *found = user; // [256]
    bool is_other = rrt__path_ends_with(name, ".gguf") || rrt__path_ends_with(name, ".pth") ||
                    rrt__path_ends_with(name, ".bin");
    if (is_other && (!found[0] || strcmp(name, found) < 0)) snprintf(found, 256, "%s", name);
    return RRT_STATUS_OK;
}

static rrt_status fail_without_weights(const char *folder, rrt_error *err)
{
    char found[256] = {0};
    rrt__folder_each(folder, find_other, found, NULL);
    rrt_status status = rrt__fail(
        err, RRT_STATUS_IO, "neither model.safetensors nor model.safetensors.index.json is here%s%.200s%s",
        found[0] ? ", but '" : "", found, found[0] ? "' is" : "");
    if (rrt__path_ends_with(found, ".gguf"))
        rrt__hint(err, status, "pass the .gguf file and not its folder");
    else if (found[0])
        rrt__hint(
            err, status,
            "PyTorch's pickles are not read: save the model as safetensors (transformers: save_pretrained)");
    else
        rrt__hint(err, status, "save the model as safetensors");
    return rrt__at(err, status, "%s", folder);
}

static rrt_status open_folder(rrt__safetensors *file, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, "model.safetensors", err));
    if (rrt__path_exists(path)) return open_shard(file, path, err);
    RRT__TRY(rrt__path_join(path, folder, "model.safetensors.index.json", err));
    if (!rrt__path_exists(path)) return fail_without_weights(folder, err);
    json_t *index;
    RRT__TRY(rrt__json_read(&index, path, err));
    rrt_status status = open_shards(file, folder, index, err);
    json_decref(index);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

// Seals the table and returns the file, or frees it.
static rrt_status finish(rrt__safetensors **out, rrt__safetensors *file, rrt_status status, const char *path,
                         rrt_error *err)
{
    if (!status) {
        status = rrt__tensor_table_seal(&file->table, err);
        if (status) rrt__at(err, status, "%s", path);
    }
    if (status) rrt__safetensors_close(file);
    *out = status ? NULL : file;
    return status;
}

rrt_status rrt__safetensors_open(rrt__safetensors **out, const char *path, rrt_error *err)
{
    rrt__safetensors *file;
    *out = NULL;
    RRT__TRY(rrt__alloc(&file, 1, sizeof *file, "a safetensors file", err));
    bool is_folder = rrt__path_is_folder(path);
    return finish(out, file, is_folder ? open_folder(file, path, err) : open_shard(file, path, err), path,
                  err);
}

rrt_status rrt__safetensors_parse(rrt__safetensors **out, const void *data, size_t size_bytes,
                                  const char *path, rrt_error *err)
{
    rrt__safetensors *file;
    *out = NULL;
    RRT__TRY(rrt__alloc(&file, 1, sizeof *file, "a safetensors file", err));
    return finish(out, file, add_shard(file, data, size_bytes, path, (rrt__map){0}, err), path, err);
}

void rrt__safetensors_close(rrt__safetensors *file)
{
    if (!file) return;
    for (size_t i = 0; i < file->n_shards; i++) {
        json_decref(file->shards[i].header);
        rrt__map_close(&file->shards[i].map);
    }
    rrt__free(file->shards);
    rrt__tensor_table_free(&file->table);
    rrt__arena_free(&file->arena);
    rrt__free(file);
}

const rrt__tensor_table *rrt__safetensors_tensors(const rrt__safetensors *file)
{
    return &file->table;
}

size_t rrt__safetensors_file_bytes(const rrt__safetensors *file)
{
    return file->file_bytes;
}
