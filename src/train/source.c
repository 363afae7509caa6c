#include "train/source.h"

#include <string.h>
#include <strings.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { WINDOW_LOG = 27 }; // 128 MB: zstd's own default limit, and the window of --long

static bool ends_in(const char *name, size_t length, const char *suffix)
{
    size_t n = strlen(suffix);
    return length >= n && strncasecmp(name + length - n, suffix, n) == 0;
}

bool rrt__source_is_packed(const char *path)
{
    return ends_in(path, strlen(path), ".zst");
}

rrt__source_kind rrt__source_kind_of(const char *path)
{
    size_t length = strlen(path) - (rrt__source_is_packed(path) ? strlen(".zst") : 0);
    if (ends_in(path, length, ".jsonl") || ends_in(path, length, ".ndjson")) return RRT__SOURCE_LINES;
    return ends_in(path, length, ".json") ? RRT__SOURCE_JSON : RRT__SOURCE_TEXT;
}

rrt_status rrt__source_open(rrt__source *source, const char *path, rrt_error *err)
{
    *source = (rrt__source){0};
    RRT__TRY(rrt__map_open(&source->map, path, err));
    if (!rrt__source_is_packed(path)) return RRT_STATUS_OK;
    source->in_frame = true; // an empty file is not valid zstd
    source->unpacker = ZSTD_createDCtx();
    if (source->unpacker &&
        !ZSTD_isError(ZSTD_DCtx_setParameter(source->unpacker, ZSTD_d_windowLogMax, WINDOW_LOG)))
        return RRT_STATUS_OK;
    rrt__source_close(source);
    return rrt__at(err, rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: unpacking zstd"), "%s", path);
}

void rrt__source_close(rrt__source *source)
{
    ZSTD_freeDCtx(source->unpacker);
    rrt__map_close(&source->map);
    *source = (rrt__source){0};
}

static rrt_status fail_cut_off(const rrt__source *source, rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT,
                                  "the compressed file is cut off: it ends at byte %zu, within a zstd frame",
                                  source->map.size_bytes);
    return rrt__hint(err, status, "fetch it or compress it again");
}

static rrt_status fail_unpacking(size_t code, size_t at, rrt_error *err)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: unpacking zstd");
    if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "the compressed file asks for a window of more than %d MB of memory",
                                      1 << (WINDOW_LOG - 20));
        return rrt__hint(err, status, "compress it again with a shorter --long, or unpack it first");
    }
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT, "damaged zstd data at byte %zu: %s", at, ZSTD_getErrorName(code));
    return rrt__hint(err, status, "fetch it or compress it again; `zstd -t` checks a file");
}

static rrt_status unpack(rrt__source *source, char *out, size_t room, size_t *got, rrt_error *err)
{
    ZSTD_outBuffer to = {out, room, 0};
    ZSTD_inBuffer from = {source->map.data, source->map.size_bytes, source->at};
    while (to.pos < room) {
        size_t before = from.pos, made = to.pos;
        if (from.pos == from.size && !source->in_frame) break;
        size_t left = ZSTD_decompressStream(source->unpacker, &to, &from);
        source->at = from.pos;
        if (ZSTD_isError(left)) return fail_unpacking(left, before, err);
        source->in_frame = left > 0;
        if (from.pos == before && to.pos == made) break; // zstd needs bytes beyond the end
    }
    *got = to.pos;
    bool starved = to.pos < room && source->in_frame;
    return starved ? fail_cut_off(source, err) : RRT_STATUS_OK;
}

rrt_status rrt__source_read(rrt__source *source, char *out, size_t room, size_t *got, rrt_error *err)
{
    if (source->unpacker) return unpack(source, out, room, got, err);
    size_t left = source->map.size_bytes - source->at;
    *got = left < room ? left : room;
    if (*got) memcpy(out, source->map.data + source->at, *got);
    source->at += *got;
    return RRT_STATUS_OK;
}
