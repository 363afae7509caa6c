// Results that appear whole or not at all, and destroy nothing that they were not told to.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { LONGEST = 4064 }; // path: the temporary name has to fit too

// The folder that path lies in, as a path that ends in "." and so fails to open where it is no folder.
static void folder_of(char out[4096], const char *path)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') end--;
    while (end > 0 && path[end - 1] != '/') end--;
    snprintf(out, 4096, "%.*s.", (int)end, path);
}

bool rrt__path_is_at_or_in(const char *path, const char *place)
{
    struct stat wanted, found;
    char folder[4096];
    folder_of(folder, path);
    if (stat(place, &wanted) != 0) return false;
    for (int i = 0; i < 2; i++)
        if (stat(i == 0 ? path : folder, &found) == 0 && found.st_dev == wanted.st_dev &&
            found.st_ino == wanted.st_ino)
            return true;
    return false;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

bool rrt__path_remove(const char *path)
{
    if (unlink(path) == 0) return true;
    DIR *folder = opendir(path);
    if (!folder) return errno == ENOENT;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (!is_dots(entry->d_name)) unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    return rmdir(path) == 0;
}

// The same with an adapter's base.
static bool remove_result(const char *path)
{
    char inner[4096];
    if (!rrt__path_join(inner, path, RRT__INNER_FOLDER, NULL)) rrt__path_remove(inner);
    return rrt__path_remove(path);
}

static rrt_status fail_exists(rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "the destination exists already");
    return rrt__hint(err, status, "choose another name, or pass --force to replace it");
}

// Whether the file is in the folder.
static bool holds(const char *path, const char *name)
{
    char inner[4096];
    return !rrt__path_join(inner, path, name, NULL) && rrt__path_exists(inner);
}

// Only what looks like a result of ours is replaced: the folder of a model, an adapter or a teacher's
// answers, which has no folder in it but an adapter's base.
static rrt_status check_replaceable(const char *path, rrt_error *err)
{
    DIR *folder = opendir(path);
    if (!folder) return rrt__fail_errno(err, "cannot read the folder");
    bool is_empty = true, is_adapter = holds(path, "adapter_config.json");
    bool is_result = is_adapter || holds(path, "config.json") || holds(path, "teacher.topk");
    char inner[256] = "";
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat info;
        if (is_dots(entry->d_name)) continue;
        is_empty = false;
        if (is_adapter && strcmp(entry->d_name, RRT__INNER_FOLDER) == 0) continue;
        if (fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode))
            snprintf(inner, sizeof inner, "%s", entry->d_name);
    }
    closedir(folder);
    if (is_empty || (is_result && !inner[0])) return RRT_STATUS_OK;
    rrt_status status =
        is_result
            ? rrt__fail(err, RRT_STATUS_EXISTS, "the folder holds the folder '%s' and is not replaced", inner)
            : rrt__fail(err, RRT_STATUS_EXISTS, "the folder holds no result of rrt and is not replaced");
    return rrt__hint(err, status, "choose another name, or remove it yourself");
}

static rrt_status check_folder_of(const char *path, rrt_error *err)
{
    char folder[4096];
    folder_of(folder, path);
    if (access(folder, W_OK | X_OK) == 0) return RRT_STATUS_OK;
    int shown = folder[1] ? (int)strlen(folder) - 1 : 1; // "a/." as "a/", but "." as it is
    rrt_status status = rrt__fail_errno(err, "nothing can be written in the folder '%.*s'", shown, folder);
    return rrt__hint(err, status, "create it first, or choose another");
}

// Everything that can be known of a destination before there is a result.
static rrt_status check(const char *path, bool overwrite, rrt_error *err)
{
    RRT__TRY(check_folder_of(path, err));
    if (!rrt__path_exists(path)) return RRT_STATUS_OK;
    if (!overwrite) return fail_exists(err);
    return rrt__path_is_folder(path) ? check_replaceable(path, err) : RRT_STATUS_OK;
}

rrt_status rrt__destination_check(const char *path, bool overwrite, rrt_error *err)
{
    if (!*path || strlen(path) > LONGEST)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the destination's path is empty or too long");
    rrt_status status = check(path, overwrite, err);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

// Takes a name that nobody else has. mkdtemp and mkstemp would keep everyone but the owner out of the result.
static rrt_status create_temporary(rrt__destination *destination, rrt_error *err)
{
    enum { TRIES = 100 };
    for (int i = 0; i < TRIES; i++) {
        unsigned random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return rrt__fail_errno(err, "cannot get random bytes");
        snprintf(destination->temporary, sizeof destination->temporary, "%.*s.tmp-%08x", LONGEST,
                 destination->path, random);
        int file = destination->is_folder ? mkdir(destination->temporary, 0777)
                                          : open(destination->temporary, O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 && !destination->is_folder) close(file);
        if (file >= 0) return RRT_STATUS_OK;
        if (errno != EEXIST) break;
    }
    rrt_status status = rrt__fail_errno(err, "cannot create");
    return rrt__at(err, status, "%s", destination->temporary);
}

rrt_status rrt__destination_open(rrt__destination *destination, const char *path, bool is_folder,
                                 bool overwrite, rrt_error *err)
{
    *destination = (rrt__destination){.is_folder = is_folder, .overwrite = overwrite};
    RRT__TRY(rrt__destination_check(path, overwrite, err));
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    snprintf(destination->path, sizeof destination->path, "%.*s", (int)length, path);
    return create_temporary(destination, err);
}

// Moves to a name that nobody has; errno is EEXIST if somebody does.
static int move_to_free_name(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    // A file system that cannot do both in one step, such as NFS: look, then move.
    if (!rrt__path_exists(to)) return rename(from, to);
    errno = EEXIST;
    return -1;
}

static rrt_status fail_move(rrt_error *err)
{
    return rrt__fail_errno(err, "cannot move the finished result into place");
}

// A file replaces a file in one step. A folder that is not empty cannot be replaced so: it steps aside first
// and comes back on failure.
static rrt_status replace(const rrt__destination *destination, rrt_error *err)
{
    RRT__TRY(check(destination->path, true, err)); // it may not be what it was at the opening
    if (rename(destination->temporary, destination->path) == 0) return RRT_STATUS_OK;
    char aside[sizeof destination->path + 8];
    snprintf(aside, sizeof aside, "%s.old", destination->temporary);
    bool stepped_aside = rename(destination->path, aside) == 0;
    if (rename(destination->temporary, destination->path) != 0) {
        rrt_status status = fail_move(err);
        if (stepped_aside) rename(aside, destination->path);
        return status;
    }
    if (!stepped_aside || remove_result(aside)) return RRT_STATUS_OK;
    rrt_status status = rrt__fail_errno(err, "the result is in place, but what it replaced is left over");
    return rrt__hint(err, status, "remove %.200s", aside);
}

rrt_status rrt__destination_commit(rrt__destination *destination, rrt_error *err)
{
    rrt_status status = RRT_STATUS_OK;
    if (destination->overwrite)
        status = replace(destination, err);
    else if (move_to_free_name(destination->temporary, destination->path) != 0)
        status = errno == EEXIST ? fail_exists(err) : fail_move(err);
    return status ? rrt__at(err, status, "%s", destination->path) : RRT_STATUS_OK;
}

void rrt__destination_discard(rrt__destination *destination)
{
    if (destination->temporary[0]) remove_result(destination->temporary);
}
