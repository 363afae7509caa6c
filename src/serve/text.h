// The text of a reply as it grows: where a stop string ends it, and how much of it may be shown by now.
#ifndef RRT__SERVE_TEXT_H
#define RRT__SERVE_TEXT_H

#include <stdbool.h>

#include "base/memory.h"

enum {
    RRT__MAX_STOPS = 4,
    RRT__MAX_STOP_BYTES = 1024, // of each: every token made is compared with them
};

typedef struct rrt__stops {
    char *texts[RRT__MAX_STOPS]; // not empty
    size_t lengths[RRT__MAX_STOPS];
    size_t count;
} rrt__stops;

// Zero-initialised is empty.
typedef struct rrt__reply_text {
    rrt__string text;
    size_t shown;    // bytes that are out
    bool is_stopped; // a stop string was found; it and what follows are not in text
} rrt__reply_text;

rrt_status rrt__reply_text_add(rrt__reply_text *text, const rrt__stops *stops, const char *bytes,
                               size_t length, rrt_error *err);

// Takes what may be shown beyond `shown`: not the beginning of a character, or of what may become a stop
// string, unless it is over. Returns its length; *bytes is within text.
size_t rrt__reply_text_take(rrt__reply_text *text, const rrt__stops *stops, bool is_over, const char **bytes);

void rrt__reply_text_free(rrt__reply_text *text);

#endif
