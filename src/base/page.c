#include "base/page.h"

#include <stdlib.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "base/memory.h"

// A "<" in the data could end the surrounding script.
static rrt_status compose(rrt__string *page, const char *text, size_t bytes, const char *data, rrt_error *err)
{
    static const char marker[] = "/*DATA*/[]";
    const char *end = text + bytes, *place = memmem(text, bytes, marker, strlen(marker));
    RRT__TRY(rrt__string_append(page, text, (size_t)(place - text), err));
    for (const char *next; (next = strchr(data, '<')); data = next + 1) {
        RRT__TRY(rrt__string_append(page, data, (size_t)(next - data), err));
        RRT__TRY(rrt__string_append(page, "\\u003c", 6, err));
    }
    RRT__TRY(rrt__string_append(page, data, strlen(data), err));
    place += strlen(marker);
    return rrt__string_append(page, place, (size_t)(end - place), err);
}

bool rrt__page_is_ours(const char *path, const unsigned char *page, size_t page_bytes)
{
    static const char mark[] = "<meta name=\"generator\" content=\"rrt ";
    char begin[512];
    const unsigned char *name = memmem(page, page_bytes, mark, strlen(mark)),
                        *end = memchr(name, '\n', page_bytes - (size_t)(name - page));
    size_t length = (size_t)(end - page);
    FILE *file = length <= sizeof begin ? fopen(path, "rb") : NULL;
    bool is_ours = file && fread(begin, 1, length, file) == length && memcmp(begin, page, length) == 0;
    if (file) fclose(file);
    return is_ours;
}

rrt_status rrt__page_write(const char *path, const unsigned char *page, size_t page_bytes, const json_t *data,
                           int overwrite, rrt_error *err)
{
    rrt__string whole = {0};
    rrt__destination destination;
    char *text = json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(7));
    if (!text) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the page");
    rrt_status status = compose(&whole, (const char *)page, page_bytes, text, err);
    free(text);
    if (!status) status = rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, overwrite, err);
    if (!status) {
        status = rrt__file_write(destination.temporary, whole.data, whole.length, err);
        if (!status) status = rrt__destination_commit(&destination, err);
        if (status) rrt__destination_discard(&destination);
    }
    rrt__string_free(&whole);
    return status;
}
