#include "base/destination.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"

enum { LONGEST = 4064 }; // of a path: the temporary name must fit, too

// Length without trailing slashes.
static int length_of(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    return (int)length;
}

// The folder of path, as a path that ends in "." and so cannot be opened if it is not a folder.
static void folder_of(char out[4096], const char *path)
{
    int end = length_of(path);
    while (end > 0 && path[end - 1] != '/') end--;
    snprintf(out, 4096, "%.*s.", end, path);
}

bool rrt__path_is_at_or_in(const char *path, const char *place)
{
    struct stat wanted, found;
    char folder[4096];
    folder_of(folder, path);
    char *real = realpath(path, NULL);
    if (!real) real = realpath(folder, NULL); // the path does not exist yet
    bool is_in = false;
    if (real && stat(place, &wanted) == 0)
        for (int end = length_of(real); end > 0 && !is_in; end--) {
            if (real[end] && real[end] != '/' && end > 1) continue; // within a name
            real[end] = '\0';
            is_in = stat(real, &found) == 0 && found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino;
        }
    free(real);
    return is_in;
}

static rrt_status fail_exists(rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "the destination exists already");
    return rrt__hint(err, status, "choose another name, or pass --force to replace it");
}

static rrt_status fail_foreign(const char *what, rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "%s and is not replaced", what);
    return rrt__hint(err, status, "choose another name, or remove it yourself");
}

// Whether the folder contains the file.
static bool holds(const char *path, const char *name)
{
    char inner[4096];
    return !rrt__path_join(inner, path, name, NULL) && rrt__path_exists(inner);
}

// Replaces only results of ours: the folder of a model, an adapter or a teacher logits cache; a run's folder
// only by a run.
static rrt_status check_replaceable(const char *path, rrt__destination_kind kind, rrt_error *err)
{
    bool is_run = rrt__run_is_marked(path);
    if (is_run && kind != RRT__DESTINATION_RUN) return fail_foreign("the folder is a run of rrt train", err);
    if (!is_run && !rrt__path_is_empty_folder(path) && !holds(path, "config.json") &&
        !holds(path, "adapter_config.json") && !holds(path, "teacher.topk"))
        return fail_foreign("the folder holds no result of rrt", err);
    return rrt__own_check(path, err);
}

static rrt_status check_folder_of(const char *path, rrt_error *err)
{
    char folder[4096];
    folder_of(folder, path);
    if (access(folder, W_OK | X_OK) == 0) return RRT_STATUS_OK;
    int shown = folder[1] ? (int)strlen(folder) - 1 : 1; // "a/." is shown as "a/", but "." unchanged
    rrt_status status = rrt__fail_errno(err, "nothing can be written in the folder '%.*s'", shown, folder);
    return rrt__hint(err, status, "create it first, or choose another");
}

// All checks of a destination that are possible before there is a result.
static rrt_status check(const char *path, rrt__destination_kind kind, bool overwrite, rrt_error *err)
{
    struct stat info;
    RRT__TRY(check_folder_of(path, err));
    if (lstat(path, &info) != 0) return RRT_STATUS_OK;
    if (!overwrite) return fail_exists(err);
    if (S_ISREG(info.st_mode)) return RRT_STATUS_OK;
    if (S_ISDIR(info.st_mode)) return check_replaceable(path, kind, err);
    rrt_status status = fail_foreign("the destination is no plain file or folder", err);
    return S_ISLNK(info.st_mode) ? rrt__hint(err, status, "it is a link: pass what it leads to") : status;
}

static rrt_status set_path(rrt__destination *d, const char *path, rrt_error *err)
{
    if (!*path || length_of(path) > LONGEST)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the destination's path is empty or too long");
    snprintf(d->path, sizeof d->path, "%.*s", length_of(path), path);
    return RRT_STATUS_OK;
}

rrt_status rrt__destination_check(const char *path, bool overwrite, rrt_error *err)
{
    rrt__destination d;
    rrt_status status = set_path(&d, path, err);
    if (!status) status = check(d.path, RRT__DESTINATION_FOLDER, overwrite, err);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

// path + suffix + eight random digits
static rrt_status make_name(char out[4096], const char *path, const char *suffix, rrt_error *err)
{
    unsigned random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return rrt__fail_errno(err, "cannot get random bytes");
    snprintf(out, 4096, "%.*s%s%08x", LONGEST, path, suffix, random);
    return RRT_STATUS_OK;
}

// --- leftovers of dead processes

// A folder that stepped aside, but was not replaced, gets its name back.
typedef struct return_of {
    const char *folder, *name, *path;
} return_of;

static rrt_status bring_back(void *user, const char *entry, rrt_error *err)
{
    (void)err;
    const return_of *r = user;
    size_t length = strlen(r->name);
    const char *suffix = entry + length;
    char aside[4096];
    int fd;
    if (strncmp(entry, r->name, length) != 0 || strncmp(suffix, ".old-", 5) != 0 ||
        strspn(suffix + 5, "0123456789abcdef") != 8 || suffix[13])
        return RRT_STATUS_OK;
    if (rrt__path_join(aside, r->folder, entry, NULL) || !rrt__own_hold(&fd, aside)) return RRT_STATUS_OK;
    if (rrt__path_exists(r->path) || rename(aside, r->path) != 0) rrt__own_remove(aside);
    if (fd >= 0) close(fd);
    return RRT_STATUS_OK;
}

void rrt__destination_sweep(const char *path)
{
    rrt__destination d;
    char folder[4096];
    if (set_path(&d, path, NULL)) return;
    const char *slash = strrchr(d.path, '/'), *name = slash ? slash + 1 : d.path;
    folder_of(folder, d.path);
    return_of r = {folder, name, d.path};
    rrt__folder_each(folder, bring_back, &r, NULL);
    rrt__own_sweep(folder, name);
}

// --- opening

static int create(const rrt__destination *d)
{
    if (d->kind != RRT__DESTINATION_FILE) return mkdir(d->temporary, 0777);
    int file = open(d->temporary, O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return file < 0 ? -1 : close(file);
}

// Takes an unused name. mkdtemp and mkstemp would make the result private to the owner.
static rrt_status create_temporary(rrt__destination *d, rrt_error *err)
{
    enum { TRIES = 100 };
    for (int i = 0; i < TRIES; i++) {
        RRT__TRY(make_name(d->temporary, d->path, ".tmp-", err));
        if (create(d) == 0) {
            // Another process may have swept it in the meantime.
            if (rrt__own_hold(&d->lock, d->temporary)) return RRT_STATUS_OK;
        } else if (errno != EEXIST) {
            break;
        }
    }
    rrt_status status = rrt__fail_errno(err, "cannot create");
    return rrt__at(err, status, "%s", d->temporary);
}

// Prevents a run from being continued while it is replaced.
static rrt_status hold_replaced(rrt__destination *d, rrt_error *err)
{
    if (d->kind != RRT__DESTINATION_RUN || !d->overwrite || !rrt__run_is_marked(d->path))
        return RRT_STATUS_OK;
    return rrt__run_hold(&d->replaced, d->path, err);
}

static void let_go(rrt__destination *d)
{
    d->temporary[0] = '\0';
    if (d->lock >= 0) close(d->lock);
    if (d->replaced >= 0) close(d->replaced);
    d->lock = d->replaced = -1;
}

static rrt_status open_checked(rrt__destination *d, rrt_error *err)
{
    rrt__destination_sweep(d->path);
    RRT__TRY(check(d->path, d->kind, d->overwrite, err));
    RRT__TRY(hold_replaced(d, err));
    return create_temporary(d, err);
}

rrt_status rrt__destination_open(rrt__destination *d, const char *path, rrt__destination_kind kind,
                                 bool overwrite, rrt_error *err)
{
    *d = (rrt__destination){.kind = kind, .overwrite = overwrite, .lock = -1, .replaced = -1};
    rrt_status status = set_path(d, path, err);
    if (!status) status = open_checked(d, err);
    if (!status) return RRT_STATUS_OK;
    let_go(d);
    return rrt__at(err, status, "%s", path);
}

// --- committing

static bool cannot_in_one_step(void)
{
    return errno == EINVAL || errno == ENOSYS;
}

// Moves to an unused name; errno is EEXIST if it is taken.
static int move_to_free_name(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (!cannot_in_one_step()) return -1;
    // A file system that cannot do both atomically, such as NFS: check, then move.
    if (!rrt__path_exists(to)) return rename(from, to);
    errno = EEXIST;
    return -1;
}

static rrt_status fail_move(rrt_error *err)
{
    return rrt__fail_errno(err, "cannot move the finished result into place");
}

static rrt_status remove_replaced(const char *path, rrt_error *err)
{
    if (rrt__own_remove(path)) return RRT_STATUS_OK;
    rrt_status status = rrt__fail_errno(err, "the result is in place, but what it replaced is left over");
    return rrt__hint(err, status, "remove %.200s", path);
}

// Exchanges old and new in two steps: for a moment the name is unused.
static rrt_status step_aside(const rrt__destination *d, rrt_error *err)
{
    char aside[4096];
    int lock;
    RRT__TRY(make_name(aside, d->path, ".old-", err));
    if (!rrt__own_hold(&lock, d->path)) lock = -1;
    rrt_status status = rename(d->path, aside) == 0 ? RRT_STATUS_OK : fail_move(err);
    if (!status && rename(d->temporary, d->path) != 0) {
        status = fail_move(err);
        rename(aside, d->path);
    } else if (!status) {
        status = remove_replaced(aside, err);
    }
    if (lock >= 0) close(lock);
    return status;
}

// Replaces a file by a file, or an empty folder by a folder, in one step; exchanges anything else.
static rrt_status replace(rrt__destination *d, rrt_error *err)
{
    RRT__TRY(check(d->path, d->kind, true, err)); // it may have changed since the opening
    if (d->replaced < 0) RRT__TRY(hold_replaced(d, err));
    if (rename(d->temporary, d->path) == 0) return RRT_STATUS_OK;
    if (renameat2(AT_FDCWD, d->temporary, AT_FDCWD, d->path, RENAME_EXCHANGE) == 0)
        return remove_replaced(d->temporary, err);
    return cannot_in_one_step() ? step_aside(d, err) : fail_move(err);
}

// After a power cut, the new name must refer to content that was flushed before.
static void flush_folder_of(const char *path)
{
    char folder[4096];
    folder_of(folder, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static rrt_status commit(rrt__destination *d, rrt_error *err)
{
    if (d->kind != RRT__DESTINATION_FILE && d->lock >= 0 && fsync(d->lock) != 0)
        return rrt__fail_errno(err, "cannot write");
    if (d->overwrite) return replace(d, err);
    if (move_to_free_name(d->temporary, d->path) == 0) return RRT_STATUS_OK;
    return errno == EEXIST ? fail_exists(err) : fail_move(err);
}

rrt_status rrt__destination_commit(rrt__destination *d, rrt_error *err)
{
    rrt_status status = commit(d, err);
    if (status) return rrt__at(err, status, "%s", d->path);
    flush_folder_of(d->path);
    let_go(d);
    return RRT_STATUS_OK;
}

void rrt__destination_discard(rrt__destination *d)
{
    if (!d->temporary[0]) return;
    rrt__own_remove(d->temporary);
    let_go(d);
}
