// The merges equivalent to a SentencePiece vocabulary. SentencePiece joins the two neighbours whose union is
// the piece with the highest score; as merges, that is every way to split a piece in two, best pieces first.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_inside.h"

typedef struct piece {
    const char *text;
    size_t length;
    int64_t id;
    float score;
} piece;

// Best first, ties by lower id.
static int compare_pieces(const void *a_pointer, const void *b_pointer)
{
    const piece *a = a_pointer, *b = b_pointer;
    if (a->score != b->score) return a->score < b->score ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

typedef struct cut {
    int64_t left, right; // ids
    size_t at;
} cut;

static int compare_cuts(const void *a_pointer, const void *b_pointer)
{
    const cut *a = a_pointer, *b = b_pointer;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return (a->right > b->right) - (a->right < b->right);
}

// The id of a piece that takes part in merges; -1 if it does not.
static int64_t find(const json_t *vocab, const float *scores, const char *text, size_t length)
{
    const json_t *id = json_object_getn(vocab, text, length);
    return id && !isnan(scores[json_integer_value(id)]) ? json_integer_value(id) : -1;
}

enum { MAX_PIECE_BYTES = 1024 }; // bounds the work per byte of a file

// Appends "left right" for every split of the piece, in the order of their ids.
static rrt_status add_merges(json_t *merges, const json_t *vocab, const float *scores, const piece *p,
                             cut *cuts, rrt__string *line, rrt_error *err)
{
    size_t count = 0;
    for (size_t at = 1; at < p->length; at++) {
        if (((unsigned char)p->text[at] & 0xc0) == 0x80) continue; // inside a character
        int64_t left = find(vocab, scores, p->text, at);
        int64_t right = left < 0 ? -1 : find(vocab, scores, p->text + at, p->length - at);
        if (right >= 0) cuts[count++] = (cut){left, right, at};
    }
    if (count > 1) qsort(cuts, count, sizeof *cuts, compare_cuts);
    for (size_t i = 0; i < count; i++) {
        line->length = 0;
        RRT__TRY(rrt__string_append(line, p->text, cuts[i].at, err));
        RRT__TRY(rrt__string_append(line, " ", 1, err));
        RRT__TRY(rrt__string_append(line, p->text + cuts[i].at, p->length - cuts[i].at, err));
        if (json_array_append_new(merges, json_stringn_nocheck(line->data, line->length)) != 0)
            return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokenizer's merges");
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__merges_from_scores(json_t *merges, json_t *vocab, const float *scores, rrt_error *err)
{
    piece *pieces;
    cut *cuts = NULL;
    rrt__string line = {0};
    size_t count = 0, longest = 1, length;
    const char *text;
    json_t *id;
    rrt_status status = RRT_STATUS_OK;
    RRT__TRY(rrt__alloc(&pieces, json_object_size(vocab), sizeof *pieces, "the pieces", err));
    json_object_keylen_foreach(vocab, text, length, id)
    {
        float score = scores[json_integer_value(id)];
        if (isnan(score)) continue;
        if (length > MAX_PIECE_BYTES)
            RRT__GOTO(rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                "piece %lld has %zu bytes: at most %d are possible",
                                (long long)json_integer_value(id), length, MAX_PIECE_BYTES));
        pieces[count++] = (piece){text, length, json_integer_value(id), score};
        if (length > longest) longest = length;
    }
    qsort(pieces, count, sizeof *pieces, compare_pieces);
    RRT__GOTO(rrt__alloc(&cuts, longest, sizeof *cuts, "a piece's cuts", err));
    for (size_t i = 0; i < count; i++)
        RRT__GOTO(add_merges(merges, vocab, scores, &pieces[i], cuts, &line, err));
done:
    rrt__free(pieces);
    rrt__free(cuts);
    rrt__string_free(&line);
    return status;
}
