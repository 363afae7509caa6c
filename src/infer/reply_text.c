#include "infer/reply_text.h"

#include <string.h>

#include "base/utf8.h"

// The first stop string at or after `from`; the text's length if there is none.
static size_t find_stop(const rrt__string *text, size_t from, const rrt__stops *stops)
{
    size_t first = text->length;
    for (size_t i = 0; i < stops->count; i++) {
        const char *found =
            memmem(text->data + from, text->length - from, stops->texts[i], stops->lengths[i]);
        if (found && (size_t)(found - text->data) < first) first = (size_t)(found - text->data);
    }
    return first;
}

static size_t longest_stop(const rrt__stops *stops)
{
    size_t longest = 0;
    for (size_t i = 0; i < stops->count; i++)
        if (stops->lengths[i] > longest) longest = stops->lengths[i];
    return longest;
}

rrt_status rrt__reply_text_add(rrt__reply_text *t, const rrt__stops *stops, const char *bytes, size_t length,
                               rrt_error *err)
{
    size_t before = t->text.length, longest = longest_stop(stops);
    RRT__TRY(rrt__string_append(&t->text, bytes, length, err));
    size_t end = find_stop(&t->text, before > longest ? before - longest : 0, stops);
    t->is_stopped = end < t->text.length;
    t->text.length = end;
    return RRT_STATUS_OK;
}

// Length of the text's longest end that a stop string may begin with.
static size_t stop_prefix(const char *text, size_t length, const rrt__stops *stops)
{
    size_t held = 0;
    for (size_t i = 0; i < stops->count; i++) {
        size_t max = stops->lengths[i] - 1 < length ? stops->lengths[i] - 1 : length;
        while (max > held && memcmp(text + length - max, stops->texts[i], max) != 0) max--;
        if (max > held) held = max;
    }
    return held;
}

size_t rrt__reply_text_take(rrt__reply_text *t, const rrt__stops *stops, bool is_over, const char **bytes)
{
    *bytes = t->text.length ? t->text.data + t->shown : "";
    size_t length = t->text.length - t->shown;
    if (!is_over) {
        length -= stop_prefix(*bytes, length, stops);
        length -= rrt__utf8_incomplete_tail(*bytes, length);
    }
    t->shown += length;
    return length;
}

void rrt__reply_text_free(rrt__reply_text *t)
{
    rrt__string_free(&t->text);
}
