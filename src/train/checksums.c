#include "train/checksums.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

static const char list_name[] = "checksums.json";

// A file's pages leave memory behind the sum: a checkpoint is larger than the model.
static rrt_status measure(char text[17], const char *folder, const char *name, rrt_error *err)
{
    enum { PIECE = 16 << 20 };
    char path[4096];
    rrt__map map;
    RRT__TRY(rrt__path_join(path, folder, name, err));
    RRT__TRY(rrt__map_open(&map, path, err));
    uint64_t hash = map.size_bytes;
    for (size_t at = 0; at < map.size_bytes; at += PIECE) {
        size_t bytes = map.size_bytes - at < PIECE ? map.size_bytes - at : PIECE;
        hash = rrt__hash(hash, map.data + at, bytes);
        rrt__map_forget(&map, map.data + at, bytes);
    }
    snprintf(text, 17, "%016llx", (unsigned long long)hash);
    rrt__map_close(&map);
    return RRT_STATUS_OK;
}

typedef struct listing {
    json_t *list;
    const char *folder;
} listing;

static rrt_status list_file(void *user, const char *name, rrt_error *err)
{
    const listing *l = user;
    char text[17];
    if (name[0] == '.') return RRT_STATUS_OK;
    RRT__TRY(measure(text, l->folder, name, err));
    if (json_object_set_new(l->list, name, json_string(text)) == 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: checksums");
}

rrt_status rrt__checksums_write(const char *folder, rrt_error *err)
{
    char path[4096];
    json_t *list = json_object(); // list_file reports NULL, which takes no members
    listing l = {list, folder};
    rrt_status status = rrt__path_join(path, folder, list_name, err);
    if (!status) status = rrt__folder_each(folder, list_file, &l, err);
    if (!status) status = rrt__json_write(list, path, err);
    json_decref(list);
    return status;
}

static rrt_status compare(json_t *list, const char *folder, rrt_error *err)
{
    const char *name, *before;
    json_t *value;
    if (!json_object_get(list, "state.json"))
        return rrt__fail(err, RRT_STATUS_FORMAT, "it lists no state.json");
    json_object_foreach(list, name, value)
    {
        char now[17];
        RRT__TRY(rrt__json_string(list, name, &before, err));
        RRT__TRY(measure(now, folder, name, err));
        if (strcmp(before, now) != 0)
            return rrt__fail(err, RRT_STATUS_FORMAT, "%.80s was changed: its checksum differs", name);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__checksums_verify(const char *folder, rrt_error *err)
{
    char path[4096];
    json_t *list;
    RRT__TRY(rrt__path_join(path, folder, list_name, err));
    rrt_status status = rrt__json_read(&list, path, err);
    if (!status) {
        status = compare(list, folder, err);
        json_decref(list);
        if (status) rrt__at(err, status, "%s", path);
    }
    if (!status) return RRT_STATUS_OK;
    return rrt__hint(err, status,
                     "the checkpoint is damaged, or of another version of rrt: start another run");
}
