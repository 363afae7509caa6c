// Finds places to cut a text so that the ids of both parts, joined, are those of the whole.
//
// A line break nearly always ends a pre-token, but whether it belongs to the text before it depends on the
// tokenizer: GPT-2's pattern separates the last of two line breaks, Llama 3's does not, and an added token or
// a look-behind can do anything. So each line break is only a candidate, which the tokenizer has to confirm.
#include <string.h>

#include "base/memory.h"
#include "train/documents.h"

enum {
    // Longer than any added token, and than the context of any pattern: a cut that holds within this much
    // text on either side holds.
    AROUND_BYTES = 4096,
    // Each takes three short encodes. If so many fail, the caller should supply more text.
    MAX_CANDIDATES = 64,
};

// Steps back from `at` to the beginning of a character.
static size_t character_start(const char *text, size_t at)
{
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    return at;
}

static rrt_status is_cut(const rrt_tokenizer *tokenizer, const char *text, size_t length, size_t at,
                         bool *holds, rrt_error *err)
{
    size_t begin = character_start(text, at > AROUND_BYTES ? at - AROUND_BYTES : 0);
    size_t end = length - at > AROUND_BYTES ? character_start(text, at + AROUND_BYTES) : length;
    int32_t *whole = NULL, *left = NULL, *right = NULL;
    size_t n_whole, n_left, n_right;
    rrt_status status;
    RRT__GOTO(rrt_encode(tokenizer, text + begin, end - begin, NULL, &whole, &n_whole, err));
    RRT__GOTO(rrt_encode(tokenizer, text + begin, at - begin, NULL, &left, &n_left, err));
    RRT__GOTO(rrt_encode(tokenizer, text + at, end - at, NULL, &right, &n_right, err));
    *holds = n_whole == n_left + n_right && (n_left == 0 || !memcmp(whole, left, n_left * sizeof *left)) &&
             (n_right == 0 || !memcmp(whole + n_left, right, n_right * sizeof *right));
done:
    rrt_ids_free(whole);
    rrt_ids_free(left);
    rrt_ids_free(right);
    return status;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

rrt_status rrt__cut_find(const rrt_tokenizer *tokenizer, const char *text, size_t length, size_t *cut,
                         rrt_error *err)
{
    size_t ahead = length < 2 * AROUND_BYTES ? (length + 1) / 2 : AROUND_BYTES; // text after the cut
    int tried = 0;
    for (size_t at = length - ahead; at > 0 && tried < MAX_CANDIDATES; at--) {
        if (text[at - 1] != '\n' || is_space(text[at])) continue;
        // After the line break, or before it if it is the last of several spaces.
        for (size_t back = 0; back < 2 && at > back; back++, tried++) {
            bool holds;
            *cut = at - back;
            RRT__TRY(is_cut(tokenizer, text, length, *cut, &holds, err));
            if (holds) return RRT_STATUS_OK;
        }
    }
    *cut = 0;
    return RRT_STATUS_OK;
}
