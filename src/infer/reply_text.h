// The growing text of a reply: finds stop strings, and how much may be shown so far.
#ifndef RRT__REPLY_TEXT_H
#define RRT__REPLY_TEXT_H

#include <stdbool.h>

#include "base/memory.h"

enum {
    RRT__MAX_STOPS = 4,
    RRT__MAX_STOP_BYTES = 1024, // of each: every generated token is compared with them
};

typedef struct rrt__stops {
    char *texts[RRT__MAX_STOPS]; // not empty
    size_t lengths[RRT__MAX_STOPS];
    size_t count;
} rrt__stops;

// Zero-initialised is empty.
typedef struct rrt__reply_text {
    rrt__string text;
    size_t shown;    // bytes already shown
    bool is_stopped; // a stop string was found; it and the rest are not in text
} rrt__reply_text;

rrt_status rrt__reply_text_add(rrt__reply_text *text, const rrt__stops *stops, const char *bytes,
                               size_t length, rrt_error *err);

// Takes the text that may be shown beyond `shown`: without an incomplete character, or a possible beginning
// of a stop string, unless is_over. Returns its length; *bytes points into text.
size_t rrt__reply_text_take(rrt__reply_text *text, const rrt__stops *stops, bool is_over, const char **bytes);

void rrt__reply_text_free(rrt__reply_text *text);

#endif
