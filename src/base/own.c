#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

// '#' is any digit.
static const char *const file_names[] = {
    // a model
    "config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json",
    "model-#####-of-#####.safetensors", "modeling_rrt.py", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "exits.json",
    // an adapter
    "adapter_config.json", "adapter_model.safetensors",
    // a teacher logits cache, and text as ids
    "teacher.topk", "####.tokens",
    // a run and its checkpoints
    RRT__RUN_MARKER, "log.jsonl", "log.csv", "settings.json", "state.json", "moments.safetensors",
    "checksums.json"};

// The folders that each kind of folder may contain.
static const struct {
    const char *outer, *inner;
    bool only_temporary;
} folder_names[] = {{"a result", "base", false},
                    {"a run", "data", false},
                    {"a run", "checkpoints", false},
                    {"a run", "model", true}, // to become the run's own
                    {"checkpoints", "########", false}};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool matches(const char *name, size_t length, const char *pattern)
{
    if (strlen(pattern) != length) return false;
    for (size_t i = 0; i < length; i++)
        if (pattern[i] == '#' ? !is_digit(name[i]) : name[i] != pattern[i]) return false;
    return true;
}

// Length of a name without the suffix of a temporary.
static size_t length_of(const char *name)
{
    enum { SUFFIX = 13 }; // ".tmp-01234567"
    size_t length = strlen(name);
    const char *suffix = name + length - SUFFIX;
    if (length <= SUFFIX || memcmp(suffix, ".tmp-", 5) != 0) return length;
    return strspn(suffix + 5, "0123456789abcdef") == 8 ? length - SUFFIX : length;
}

static bool is_file_name(const char *name)
{
    for (size_t i = 0; i < sizeof file_names / sizeof *file_names; i++)
        if (matches(name, length_of(name), file_names[i])) return true;
    return false;
}

// The name that rrt gives to such a folder; NULL if there is none.
static const char *folder_name(const char *name, const char *outer)
{
    size_t length = length_of(name);
    for (size_t i = 0; i < sizeof folder_names / sizeof *folder_names; i++)
        if ((!outer || strcmp(folder_names[i].outer, outer) == 0) &&
            matches(name, length, folder_names[i].inner) &&
            !(folder_names[i].only_temporary && !name[length]))
            return folder_names[i].inner;
    return NULL;
}

bool rrt__own_is_temporary(const char *file, const char *name)
{
    size_t length = length_of(file);
    if (!file[length]) return false;
    return name ? strlen(name) == length && memcmp(file, name, length) == 0
                : is_file_name(file) || folder_name(file, NULL);
}

// --- folders and their content

static bool is_marked_at(int folder)
{
    static const char text[] = "rrt train";
    char found[sizeof text - 1];
    int fd = openat(folder, RRT__RUN_MARKER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    bool is_marked =
        read(fd, found, sizeof found) == (ssize_t)sizeof found && memcmp(found, text, sizeof found) == 0;
    close(fd);
    return is_marked;
}

// A check or removal of a folder's entries. foreign: the first that is not ours, or that could not be
// removed; "": none.
typedef struct walk {
    bool removes;
    int folder; // the folder, open
    const char *kind;
    char foreign[256];
} walk;

static void walk_folder(walk *w, int parent, const char *name, const char *kind);

static rrt_status walk_entry(void *user, const char *name, rrt_error *err)
{
    walk *w = user;
    struct stat info;
    if (fstatat(w->folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return RRT_STATUS_OK; // removed meanwhile
    const char *inner = S_ISDIR(info.st_mode) ? folder_name(name, w->kind) : NULL;
    bool is_ours = S_ISREG(info.st_mode) && is_file_name(name),
         stays = !w->removes || strcmp(name, RRT__RUN_MARKER) == 0;
    if (inner)
        walk_folder(w, w->folder, name, inner);
    else if (!is_ours || (!stays && unlinkat(w->folder, name, 0) != 0))
        snprintf(w->foreign, sizeof w->foreign, "%s", name);
    return w->foreign[0] ? rrt__fail(err, RRT_STATUS_EXISTS, "'%s' is not ours", name) : RRT_STATUS_OK;
}

// kind NULL: a result or a run. Removes the marker last, and only after all else is removed: a partly removed
// folder is still recognised.
static void walk_folder(walk *w, int parent, const char *name, const char *kind)
{
    const walk outer = *w;
    w->folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (w->folder < 0 && errno == ENOENT) {
        w->folder = outer.folder;
        return;
    }
    w->kind = kind ? kind : is_marked_at(w->folder) ? "a run" : "a result";
    bool is_walked = w->folder >= 0 && !rrt__folder_each_of(w->folder, walk_entry, w, NULL);
    if (!is_walked && !w->foreign[0]) snprintf(w->foreign, sizeof w->foreign, "%s", name);
    if (w->removes && is_walked) {
        unlinkat(w->folder, RRT__RUN_MARKER, 0);
        if (unlinkat(parent, name, AT_REMOVEDIR) != 0) // the folder around it keeps its marker
            snprintf(w->foreign, sizeof w->foreign, "%s", name);
    }
    if (w->folder >= 0) close(w->folder);
    w->folder = outer.folder;
    w->kind = outer.kind;
}

rrt_status rrt__own_check(const char *folder, rrt_error *err)
{
    walk w = {0};
    walk_folder(&w, AT_FDCWD, folder, NULL);
    if (!w.foreign[0]) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_EXISTS,
                  "the folder holds '%s', which rrt did not write, and is not replaced", w.foreign);
    return rrt__hint(err, status, "choose another name, or remove it yourself");
}

bool rrt__own_remove(const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0) return errno == ENOENT;
    if (S_ISREG(info.st_mode)) return unlink(path) == 0;
    if (!S_ISDIR(info.st_mode) || rrt__own_check(path, NULL)) return false;
    walk w = {.removes = true};
    walk_folder(&w, AT_FDCWD, path, NULL);
    return !rrt__path_exists(path);
}

// --- locks

// Whether the open file still has this name.
static bool is_still(int fd, const char *path)
{
    struct stat open, named;
    return fstat(fd, &open) == 0 && lstat(path, &named) == 0 && open.st_dev == named.st_dev &&
           open.st_ino == named.st_ino;
}

bool rrt__own_hold(int *fd, const char *path)
{
    enum { FLAGS = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC };
    *fd = open(path, O_RDWR | FLAGS);                // NFS locks only writable files
    if (*fd < 0) *fd = open(path, O_RDONLY | FLAGS); // a folder
    if (*fd < 0) return false;
    bool is_locked = flock(*fd, LOCK_EX | LOCK_NB) == 0, is_free = is_locked || errno != EWOULDBLOCK;
    // The previous holder may have removed it.
    if (is_free) is_free = is_still(*fd, path);
    if (is_locked && is_free) return true;
    close(*fd);
    *fd = -1;
    return is_free;
}

typedef struct sweep {
    const char *folder, *name;
} sweep;

static rrt_status sweep_entry(void *user, const char *name, rrt_error *err)
{
    (void)err;
    const sweep *s = user;
    char path[4096];
    int fd;
    if (!rrt__own_is_temporary(name, s->name)) return RRT_STATUS_OK;
    if (rrt__path_join(path, s->folder, name, NULL) || !rrt__own_hold(&fd, path) || fd < 0)
        return RRT_STATUS_OK;
    rrt__own_remove(path);
    close(fd);
    return RRT_STATUS_OK;
}

void rrt__own_sweep(const char *folder, const char *name)
{
    sweep s = {folder, name};
    rrt__folder_each(folder, sweep_entry, &s, NULL);
}

// --- runs

static const char mark[] = "rrt train made this folder, and locks this file while it is at work here.\n";

bool rrt__run_is_marked(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_marked = fd >= 0 && is_marked_at(fd);
    if (fd >= 0) close(fd);
    return is_marked;
}

rrt_status rrt__run_hold(int *fd, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, RRT__RUN_MARKER, err));
    if (rrt__own_hold(fd, path)) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "another run is at work in %.300s", folder);
    return rrt__hint(err, status, "wait until it is done, stop it, or choose another name");
}

rrt_status rrt__run_mark(int *fd, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, RRT__RUN_MARKER, err));
    RRT__TRY(rrt__file_write(path, mark, sizeof mark - 1, err));
    return rrt__run_hold(fd, folder, err);
}
