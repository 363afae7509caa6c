#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_READ = 512 << 20 }; // in memory at once; a device may be endless

static rrt_status fail_open(const char *path, rrt_error *err)
{
    return rrt__at(err, rrt__fail_errno(err, "cannot open"), "%s", *path ? path : "''");
}

static rrt_status check_fetched(const rrt__map *map, rrt_error *err)
{
    static const char beginning[] = "version https://git-lfs";
    size_t length = sizeof beginning - 1;
    if (map->size_bytes < length || memcmp(map->data, beginning, length) != 0) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT, "this is a Git LFS pointer of %zu bytes, not the file itself",
                  map->size_bytes);
    return rrt__hint(err, status, "fetch the file: git lfs pull, or download it from where the pointer is");
}

rrt_status rrt__map_open(rrt__map *map, const char *path, rrt_error *err)
{
    *map = (rrt__map){0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); // a FIFO would block without a writer
    if (fd < 0) return fail_open(path, err);
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
    if (!status) status = check_fetched(map, err);
    if (!status) return RRT_STATUS_OK;
    rrt__map_close(map);
    return rrt__at(err, status, "%s", path);
}

void rrt__map_close(rrt__map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size_bytes);
    *map = (rrt__map){0};
}

void rrt__map_forget(const rrt__map *map, const unsigned char *data, size_t size_bytes)
{
    // A page fault also loads neighbouring pages, up to a huge page, though other threads have released them.
    enum { AROUND = 1 << 21 };
    if (!map->data) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), at = (size_t)(data - map->data), end = at + size_bytes;
    size_t begin = at > AROUND ? (at - AROUND) / page * page : 0;
    end = map->size_bytes - end > AROUND ? end + AROUND : map->size_bytes;
    madvise((void *)(uintptr_t)(map->data + begin), end - begin, MADV_DONTNEED);
}

rrt_status rrt__file_read(rrt__string *out, const char *path, rrt_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    if (!file) return fail_open(path, err);
    rrt_status status = RRT_STATUS_OK;
    char block[65536];
    size_t got;
    while (!status && (got = fread(block, 1, sizeof block, file)) > 0) {
        status = rrt__string_append(out, block, got, err);
        if (!status && out->length > MAX_READ)
            status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "it has more than %d MB", MAX_READ >> 20);
    }
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

rrt_status rrt__folder_each_of(int folder, rrt__folder_visit *visit, void *user, rrt_error *err)
{
    rrt_status status = RRT_STATUS_OK;
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); // closed with the entries
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        status = rrt__fail_errno(err, "cannot read the folder");
        if (fd >= 0) close(fd);
        return status;
    }
    for (const struct dirent *entry; !status && (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = visit(user, entry->d_name, err);
    closedir(entries);
    return status;
}

rrt_status rrt__folder_each(const char *folder, rrt__folder_visit *visit, void *user, rrt_error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return rrt__at(err, rrt__fail_errno(err, "cannot read the folder"), "%s", folder);
    rrt_status status = rrt__folder_each_of(fd, visit, user, err);
    close(fd);
    return status;
}

static rrt_status refuse_entry(void *user, const char *name, rrt_error *err)
{
    (void)user;
    return rrt__fail(err, RRT_STATUS_EXISTS, "'%s' is there", name);
}

bool rrt__path_is_empty_folder(const char *path)
{
    return !rrt__folder_each(path, refuse_entry, NULL, NULL);
}

bool rrt__path_ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

rrt_status rrt__path_join(char out[4096], const char *folder, const char *name, rrt_error *err)
{
    int length = snprintf(out, 4096, "%s/%s", folder, name);
    if (length < 0 || length >= 4096)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the path is too long: %.200s…", folder);
    return RRT_STATUS_OK;
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
    if (size_bytes) fwrite(data, 1, size_bytes, file); // an empty file's data may be NULL
    return rrt__file_finish(file, path, err);
}
