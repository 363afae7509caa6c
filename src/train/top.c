#include "train/top.h"

static int is_less(const float *x, uint32_t a, uint32_t b)
{
    return x[a] < x[b] || (x[a] == x[b] && a > b);
}

// ids[0..k) is a heap with the smallest on top, except that ids[at] may be too large for its place.
static void sift(uint32_t *ids, size_t k, size_t at, const float *x)
{
    uint32_t id = ids[at];
    for (size_t child; (child = 2 * at + 1) < k; at = child) {
        if (child + 1 < k && is_less(x, ids[child + 1], ids[child])) child++;
        if (!is_less(x, ids[child], id)) break;
        ids[at] = ids[child];
    }
    ids[at] = id;
}

void rrt__top(uint32_t *ids, size_t k, const float *x, size_t count)
{
    for (size_t i = 0; i < k; i++) ids[i] = (uint32_t)i;
    for (size_t i = k / 2; i-- > 0;) sift(ids, k, i, x);
    for (size_t i = k; i < count; i++) {
        if (x[i] <= x[ids[0]]) continue; // the usual case
        ids[0] = (uint32_t)i;
        sift(ids, k, 0, x);
    }
    // Moves the smallest to the end, repeatedly.
    for (size_t left = k; left-- > 1;) {
        uint32_t smallest = ids[0];
        ids[0] = ids[left];
        ids[left] = smallest;
        sift(ids, left, 0, x);
    }
}
