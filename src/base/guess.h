// "Did you mean …?"
#ifndef RRT__GUESS_H
#define RRT__GUESS_H

#include <stddef.h>

// Which of the words that are offered somebody may have meant who typed another: the nearest, by letters that
// are added, left out, replaced or swapped, if it is near enough; or one of which the other is the beginning.
typedef struct rrt__guess {
    const char *typed;
    size_t length;    // of typed
    const char *best; // NULL: none is near enough
    size_t distance;
} rrt__guess;

rrt__guess rrt__guess_begin(const char *typed, size_t length);
void rrt__guess_offer(rrt__guess *guess, const char *word);

#endif
