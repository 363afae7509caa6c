#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

rrt_status rrt__map_open(rrt__map *map, const char *path, rrt_error *err)
{
    *map = (rrt__map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return rrt__at(err, rrt__fail_errno(err, "cannot open"), "%s", path);
    rrt_status status = RRT_STATUS_OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = rrt__fail_errno(err, "cannot stat");
    } else if (!S_ISREG(info.st_mode)) {
        status = rrt__fail(err, RRT_STATUS_IO, "not a regular file");
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = rrt__fail_errno(err, "cannot map %lld bytes", (long long)info.st_size);
        else
            *map = (rrt__map){data, (size_t)info.st_size};
    }
    close(fd);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

void rrt__map_close(rrt__map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size_bytes);
    *map = (rrt__map){0};
}

rrt_status rrt__file_read(rrt__string *out, const char *path, rrt_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    if (!file) return rrt__at(err, rrt__fail_errno(err, "cannot open"), "%s", path);
    rrt_status status = RRT_STATUS_OK;
    char block[65536];
    size_t got;
    while (!status && (got = fread(block, 1, sizeof block, file)) > 0)
        status = rrt__string_append(out, block, got, err);
    if (!status && ferror(file)) status = rrt__fail_errno(err, "cannot read");
    if (!status) status = rrt__string_append(out, "", 0, err);
    if (!is_stdin) fclose(file);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

bool rrt__path_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

bool rrt__path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

rrt_status rrt__path_join(char out[4096], const char *folder, const char *name, rrt_error *err)
{
    int length = snprintf(out, 4096, "%s/%s", folder, name);
    if (length < 0 || length >= 4096)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the path is too long: %.200s…", folder);
    return RRT_STATUS_OK;
}

// Removes a file, or a folder and the plain files in it. Folders within are not ours and make it fail.
static bool remove_path(const char *path)
{
    if (unlink(path) == 0) return true;
    DIR *folder = opendir(path);
    if (!folder) return errno == ENOENT;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    return rmdir(path) == 0;
}

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    bool empty = folder != NULL;
    for (struct dirent *entry; empty && (entry = readdir(folder));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (folder) closedir(folder);
    return empty;
}

rrt_status rrt__destination_check(const char *path, bool overwrite, rrt_error *err)
{
    if (!rrt__path_exists(path)) return RRT_STATUS_OK;
    char config[4096];
    rrt_status status = RRT_STATUS_OK;
    if (!overwrite) {
        status = rrt__fail(err, RRT_STATUS_EXISTS, "the destination exists already");
        rrt__hint(err, status, "choose another name, or pass --force to replace it");
    } else if (rrt__path_is_folder(path)) {
        RRT__TRY(rrt__path_join(config, path, "config.json", err));
        if (!rrt__path_exists(config) && !is_empty(path)) {
            status = rrt__fail(err, RRT_STATUS_EXISTS, "the folder holds no model and is not replaced");
            rrt__hint(err, status, "choose another name, or remove it yourself");
        }
    }
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

rrt_status rrt__destination_open(rrt__destination *destination, const char *path, bool is_folder,
                                 bool overwrite, rrt_error *err)
{
    *destination = (rrt__destination){.is_folder = is_folder};
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (length == 0 || length > sizeof destination->path - 32)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the destination's path is empty or too long");
    RRT__TRY(rrt__destination_check(path, overwrite, err));
    snprintf(destination->path, sizeof destination->path, "%.*s", (int)length, path);
    snprintf(destination->temporary, sizeof destination->temporary, "%.*s.tmp-%ld", (int)length, path,
             (long)getpid());
    remove_path(destination->temporary);
    if (is_folder && mkdir(destination->temporary, 0777) != 0) {
        rrt_status status = rrt__fail_errno(err, "cannot create the folder");
        return rrt__at(err, status, "%s", destination->temporary);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__destination_commit(rrt__destination *destination, rrt_error *err)
{
    // A file replaces a file in one step. A folder that is not empty cannot be replaced so: it steps aside
    // first and comes back on failure.
    if (rename(destination->temporary, destination->path) == 0) return RRT_STATUS_OK;
    char aside[sizeof destination->path + 8];
    snprintf(aside, sizeof aside, "%s.old", destination->temporary);
    bool stepped_aside = rename(destination->path, aside) == 0;
    if (rename(destination->temporary, destination->path) != 0) {
        rrt_status status = rrt__fail_errno(err, "cannot move the finished result into place");
        if (stepped_aside) rename(aside, destination->path);
        return rrt__at(err, status, "%s", destination->path);
    }
    if (stepped_aside) remove_path(aside);
    return RRT_STATUS_OK;
}

void rrt__destination_discard(rrt__destination *destination)
{
    if (destination->temporary[0]) remove_path(destination->temporary);
}

rrt_status rrt__file_finish(FILE *file, const char *path, rrt_error *err)
{
    bool bad = ferror(file) || fflush(file) != 0 || fsync(fileno(file)) != 0;
    rrt_status status = bad ? rrt__fail_errno(err, "cannot write") : RRT_STATUS_OK;
    if (fclose(file) != 0 && !status) status = rrt__fail_errno(err, "cannot write");
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

rrt_status rrt__file_write(const char *path, const void *data, size_t size_bytes, rrt_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file) return rrt__at(err, rrt__fail_errno(err, "cannot create"), "%s", path);
    fwrite(data, 1, size_bytes, file);
    return rrt__file_finish(file, path, err);
}
