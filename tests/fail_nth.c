// For LD_PRELOAD: the N-th call of a kind fails with errno ERR, or ends the process where KILL is set. KIND
// is open, fsync, rename, unlink, mkdir or malloc. NO_EXCHANGE: renameat2 is not there, as on NFS. COUNT
// names a file that gets how many calls there were.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind = "";
static int wanted, error = EIO;
static atomic_int calls;

__attribute__((constructor)) static void begin(void)
{
    const char *n = getenv("N"), *number = getenv("ERR");
    wanted = n ? atoi(n) : 0;
    if (number) error = atoi(number);
    kind = getenv("KIND") ? getenv("KIND") : "";
}

static int fails(const char *name)
{
    if (strcmp(kind, name) != 0 || atomic_fetch_add(&calls, 1) + 1 != wanted) return 0;
    if (getenv("KILL")) kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return flags & O_CREAT && fails("open") ? -1 : REAL(open)(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return *mode != 'r' && fails("open") ? NULL : REAL(fopen)(path, mode);
}

int fsync(int fd)
{
    return fails("fsync") ? -1 : REAL(fsync)(fd);
}

int rename(const char *from, const char *to)
{
    return fails("rename") ? -1 : REAL(rename)(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    if (getenv("NO_EXCHANGE")) return errno = EINVAL, -1;
    return fails("rename") ? -1 : REAL(renameat2)(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path)
{
    return fails("unlink") ? -1 : REAL(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    return fails("unlink") ? -1 : REAL(unlinkat)(folder, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return fails("mkdir") ? -1 : REAL(mkdir)(path, mode);
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size)
{
    return fails("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails("malloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails("malloc") ? NULL : __libc_realloc(old, size);
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("COUNT");
    FILE *file = path ? REAL(fopen)(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%d\n", atomic_load(&calls));
    fclose(file);
}
