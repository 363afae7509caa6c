// A model in several GGUF files, as llama-gguf-split writes them: NAME-00001-of-00003.gguf and so on. The
// first has the metadata, each has its own tensors, and its number and the total.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format/gguf_inside.h"

enum { MAX_PARTS = 65535, SUFFIX_BYTES = 20 }; // "-00001-of-00003.gguf"

typedef struct split {
    int64_t no, count; // from 0
} split;

static rrt_status read_split(const rrt__gguf *gguf, split *s, rrt_error *err)
{
    RRT__TRY(rrt__gguf_int_or(gguf, "split.count", 0, MAX_PARTS, 1, &s->count, err));
    if (s->count <= 1) return RRT_STATUS_OK;
    return rrt__gguf_int(gguf, "split.no", 0, s->count - 1, &s->no, err);
}

// The path of a part, counted from 0, given the path of another.
static rrt_status part_path(char out[4096], const char *path, const split *s, int64_t no, rrt_error *err)
{
    char own[64];
    size_t length = strlen(path);
    snprintf(own, sizeof own, "-%05lld-of-%05lld.gguf", (long long)s->no + 1, (long long)s->count);
    if (length < SUFFIX_BYTES || length >= 4096 || strcmp(path + length - SUFFIX_BYTES, own) != 0) {
        rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT,
                                      "it is part %lld of %lld of a model, and its name does not end in '%s',"
                                      " by which the others are found",
                                      (long long)s->no + 1, (long long)s->count, own);
        return rrt__hint(err, status, "give all parts the names that they were published under");
    }
    snprintf(out, 4096, "%.*s-%05lld-of-%05lld.gguf", (int)(length - SUFFIX_BYTES), path, (long long)no + 1,
             (long long)s->count);
    return RRT_STATUS_OK;
}

static rrt_status open_part(rrt__gguf **out, const char *path, const split *s, int64_t no, rrt_error *err)
{
    split found = {0, 1};
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        rrt_status status = rrt__fail(err, RRT_STATUS_IO, "part %lld of %lld is missing: %s",
                                      (long long)no + 1, (long long)s->count, path);
        return rrt__hint(err, status, "put all parts of the model into one folder");
    }
    RRT__TRY(rrt__gguf_open_one(out, path, err));
    rrt_status status = read_split(*out, &found, err);
    if (!status && (found.no != no || found.count != s->count))
        status = rrt__fail(err, RRT_STATUS_FORMAT,
                           "it says that it is part %lld of %lld, and its name that it is part %lld of %lld",
                           (long long)found.no + 1, (long long)found.count, (long long)no + 1,
                           (long long)s->count);
    if (!status) return RRT_STATUS_OK;
    rrt__gguf_close(*out);
    *out = NULL;
    return rrt__at(err, status, "%s", path);
}

static rrt_status add_parts(rrt__gguf *first, const char *path, const split *s, rrt_error *err)
{
    int64_t claimed;
    rrt__gguf *last = first;
    for (int64_t no = 1; no < s->count; no++) {
        char other[4096];
        RRT__TRY(part_path(other, path, s, no, err));
        RRT__TRY(open_part(&last->next, other, s, no, err));
        last = last->next;
        for (size_t i = 0; i < last->table.count; i++)
            RRT__TRY(rrt__tensor_table_add(&first->table, &last->table.tensors[i], err));
    }
    RRT__TRY(rrt__gguf_int_or(first, "split.tensors.count", 0, INT64_MAX, (int64_t)first->table.count,
                              &claimed, err));
    if ((size_t)claimed != first->table.count)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "%s: the parts have %zu tensors together, %lld are expected (split.tensors.count)",
                         first->path, first->table.count, (long long)claimed);
    return rrt__tensor_table_seal(&first->table, err);
}

rrt_status rrt__gguf_open(rrt__gguf **out, const char *path, rrt_error *err)
{
    split s = {0, 1};
    char first[4096];
    RRT__TRY(rrt__gguf_open_one(out, path, err));
    rrt_status status = read_split(*out, &s, err);
    if (!status && s.count > 1) status = part_path(first, path, &s, 0, err);
    if (!status && s.count > 1 && s.no > 0) {
        rrt__gguf_close(*out);
        *out = NULL;
        RRT__TRY(open_part(out, first, &s, 0, err));
    }
    if (status) rrt__at(err, status, "%s", path);
    s.no = 0;
    if (!status && s.count > 1) status = add_parts(*out, first, &s, err);
    if (!status) return RRT_STATUS_OK;
    rrt__gguf_close(*out);
    *out = NULL;
    return status;
}
