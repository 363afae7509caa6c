// Pre-tokenizing: each step splits or rewrites the pieces of the step before; its patterns see one piece at
// a time.
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

const char *const rrt__gpt2_pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char rrt__space_mark[] = "\xe2\x96\x81";

rrt_status rrt__steps_add(rrt__steps *steps, rrt__step_kind kind, rrt__step **out, rrt_error *err)
{
    if (steps->count == RRT__MAX_STEPS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "more than %d pre-tokenizer steps", RRT__MAX_STEPS);
    *out = &steps->list[steps->count++];
    **out = (rrt__step){.kind = kind};
    return RRT_STATUS_OK;
}

rrt_status rrt__steps_add_split(rrt__steps *steps, const char *pattern, bool literal, rrt__behavior behavior,
                                bool inverts, rrt_error *err)
{
    rrt__step *step = NULL;
    RRT__TRY(rrt__steps_add(steps, RRT__STEP_SPLIT, &step, err));
    step->behavior = behavior;
    step->inverts = inverts;
    return rrt__pattern_open(&step->pattern, pattern, literal, err);
}

void rrt__steps_close(rrt__steps *steps)
{
    for (size_t i = 0; i < steps->count; i++) rrt__pattern_close(&steps->list[i].pattern);
}

bool rrt__steps_end_in_alphabet(const rrt__steps *steps)
{
    for (size_t i = 0; i < steps->count; i++)
        if (steps->list[i].kind == RRT__STEP_ALPHABET) return true;
    return false;
}

void rrt__stepper_close(rrt__encoding_step *stepper)
{
    for (size_t i = 0; i < RRT__MAX_STEPS; i++) rrt__string_free(&stepper->rewritten[i]);
}

static rrt_status put_marks(rrt__string *out, const char *text, size_t length, rrt_error *err)
{
    size_t begin = 0;
    for (const char *space; (space = memchr(text + begin, ' ', length - begin));) {
        size_t at = (size_t)(space - text);
        RRT__TRY(rrt__string_append(out, text + begin, at - begin, err));
        RRT__TRY(rrt__string_append(out, rrt__space_mark, strlen(rrt__space_mark), err));
        begin = at + 1;
    }
    return rrt__string_append(out, text + begin, length - begin, err);
}

static rrt_status put_alphabet(rrt__string *out, const char *text, size_t length, rrt_error *err)
{
    for (size_t i = 0; i < length; i++) {
        char character[8];
        size_t n = rrt__alphabet_write((unsigned char)text[i], character);
        RRT__TRY(rrt__string_append(out, character, n, err));
    }
    return RRT_STATUS_OK;
}

// Applies a step that does not split to text[0..length), which is not empty.
static rrt_status rewrite(const rrt__step *step, rrt__string *out, const char *text, size_t length,
                          bool is_first, rrt_error *err)
{
    size_t mark = strlen(rrt__space_mark);
    bool writes_marks = step->kind == RRT__STEP_MARKS;
    bool is_there =
        text[0] == ' ' || (writes_marks && length >= mark && memcmp(text, rrt__space_mark, mark) == 0);
    bool prepends = !is_there && (step->prepend == RRT__PREPEND_UNLESS_THERE ||
                                  (step->prepend == RRT__PREPEND_FIRST && is_first));
    out->length = 0;
    if (step->kind == RRT__STEP_ALPHABET) return put_alphabet(out, text, length, err);
    if (prepends)
        RRT__TRY(rrt__string_append(out, writes_marks ? rrt__space_mark : " ", writes_marks ? mark : 1, err));
    return writes_marks ? put_marks(out, text, length, err) : rrt__string_append(out, text, length, err);
}

typedef struct run {
    const rrt__steps *steps;
    rrt__encoding_step *stepper;
} run;

static rrt_status take(const run *r, size_t index, const char *text, size_t length, bool is_first,
                       rrt_error *err);

// State of a split: the piece that may still grow.
typedef struct cutting {
    const run *run;
    size_t index;
    const char *text;
    bool is_first;
    size_t begin, end;
    bool ends_in_match;
} cutting;

static rrt_status finish_piece(const cutting *c, rrt_error *err)
{
    return take(c->run, c->index + 1, c->text + c->begin, c->end - c->begin, c->is_first && c->begin == 0,
                err);
}

static bool joins(rrt__behavior behavior, bool last_matches, bool matches)
{
    switch (behavior) {
    case RRT__BEHAVIOR_PREVIOUS:
        return matches && !last_matches;
    case RRT__BEHAVIOR_NEXT:
        return last_matches && !matches;
    case RRT__BEHAVIOR_CONTIGUOUS:
        return last_matches == matches;
    default:
        return false;
    }
}

// Adds the next part of the text, a match or the text between two.
static rrt_status add_part(cutting *c, size_t begin, size_t end, bool is_match, rrt_error *err)
{
    const rrt__step *step = &c->run->steps->list[c->index];
    bool matches = is_match != step->inverts, is_open = c->end > c->begin;
    if (step->behavior == RRT__BEHAVIOR_REMOVED && matches) return RRT_STATUS_OK;
    if (is_open && c->end == begin && joins(step->behavior, c->ends_in_match, matches)) {
        c->end = end;
        c->ends_in_match = matches;
        return RRT_STATUS_OK;
    }
    if (is_open) RRT__TRY(finish_piece(c, err));
    c->begin = begin;
    c->end = end;
    c->ends_in_match = matches;
    return RRT_STATUS_OK;
}

static size_t next_character(const char *text, size_t length, size_t at)
{
    do {
        at++;
    } while (at < length && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

// An empty match splits, too, unless it directly follows another match: the search continues one
// character later.
static rrt_status cut(cutting *c, size_t length, rrt_error *err)
{
    const rrt__step *step = &c->run->steps->list[c->index];
    size_t done = 0, last_match = SIZE_MAX, begin, end;
    for (size_t from = 0; from <= length;) {
        RRT__TRY(rrt__pattern_find(&step->pattern, c->run->stepper->matcher, c->text, length, from, &begin,
                                   &end, err));
        if (begin == SIZE_MAX) break;
        if (begin == end && end == last_match) {
            from = next_character(c->text, length, from);
            continue;
        }
        if (begin > done) RRT__TRY(add_part(c, done, begin, false, err));
        RRT__TRY(add_part(c, begin, end, true, err));
        done = from = last_match = end;
    }
    if (length > done) RRT__TRY(add_part(c, done, length, false, err));
    return c->end > c->begin ? finish_piece(c, err) : RRT_STATUS_OK;
}

static rrt_status take(const run *r, size_t index, const char *text, size_t length, bool is_first,
                       rrt_error *err)
{
    if (length == 0) return RRT_STATUS_OK;
    if (index == r->steps->count) return r->stepper->each(r->stepper->user, text, length, err);
    const rrt__step *step = &r->steps->list[index];
    if (step->kind == RRT__STEP_SPLIT) {
        cutting c = {.run = r, .index = index, .text = text, .is_first = is_first};
        return cut(&c, length, err);
    }
    rrt__string *out = &r->stepper->rewritten[index];
    RRT__TRY(rewrite(step, out, text, length, is_first, err));
    return take(r, index + 1, out->data, out->length, is_first, err);
}

rrt_status rrt__steps_run(const rrt__steps *steps, rrt__encoding_step *stepper, const char *text,
                          size_t length, bool is_first, rrt_error *err)
{
    run r = {steps, stepper};
    return take(&r, 0, text, length, is_first, err);
}
