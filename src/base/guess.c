#include "base/guess.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_LENGTH = 32, MIN_BEGINNING = 3 };

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

// The optimal string alignment distance: Levenshtein's, with two neighbours swapped as one change.
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][MAX_LENGTH + 1]; // row i: from the first i letters of a to each beginning of b
    for (size_t k = 0; k <= b_length; k++) rows[0][k] = k;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3], *before = rows[(i + 2) % 3], *two_before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t k = 1; k <= b_length; k++) {
            row[k] = min(min(before[k], row[k - 1]) + 1, before[k - 1] + (a[i - 1] != b[k - 1]));
            bool is_swap = i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1];
            if (is_swap) row[k] = min(row[k], two_before[k - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

rrt__guess rrt__guess_begin(const char *typed, size_t length)
{
    return (rrt__guess){.typed = typed, .length = length};
}

void rrt__guess_offer(rrt__guess *g, const char *word)
{
    size_t length = strlen(word), shorter = min(length, g->length);
    if (length > MAX_LENGTH || g->length > MAX_LENGTH) return;
    bool is_beginning = shorter >= MIN_BEGINNING && memcmp(word, g->typed, shorter) == 0;
    size_t far = is_beginning ? 1 : distance(g->typed, g->length, word, length);
    if (far > (shorter + 1) / 3 || (g->best && far >= g->distance)) return;
    g->best = word;
    g->distance = far;
}
