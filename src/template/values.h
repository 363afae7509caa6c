// Values of a template, with Python's semantics. All are in the pool of a rendering (or of the template, for
// constants) and are freed with it.
#ifndef RRT__TEMPLATE_VALUES_H
#define RRT__TEMPLATE_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "template/pool.h"

typedef enum rrt__kind {
    RRT__VALUE_MISSING, // no value: a missing argument, a variable that is not set
    RRT__VALUE_UNDEFINED,
    RRT__VALUE_NONE,
    RRT__VALUE_BOOL,
    RRT__VALUE_INT,
    RRT__VALUE_FLOAT,
    RRT__VALUE_TEXT,
    RRT__VALUE_LIST,
    RRT__VALUE_TUPLE,
    RRT__VALUE_RANGE,
    RRT__VALUE_VIEW,     // a dict's keys, values or items
    RRT__VALUE_ITERATOR, // of a filter: can be iterated once
    RRT__VALUE_DICT,
    RRT__VALUE_NAMESPACE,
    RRT__VALUE_LOOP,
    RRT__VALUE_MACRO,
    RRT__VALUE_FUNCTION, // a global function
    RRT__VALUE_METHOD,
    RRT__VALUE_CYCLER,
    RRT__VALUE_JOINER,
} rrt__kind;

// Bytes that strings share. The string with the last of them appends in place.
typedef struct rrt__buffer {
    char *data;
    unsigned char *marks; // of each byte (RRT__MARK_...); NULL: `mark` is for all
    unsigned char mark;
    uint32_t used, capacity;
} rrt__buffer;

typedef struct rrt__text { // valid UTF-8
    rrt__buffer *buffer;
    uint32_t at, length;
} rrt__text;

typedef struct rrt__value {
    unsigned char kind;
    bool is_markup; // Python's Markup, from `safe`: escapes what is added to it
    union {
        bool truth;
        int64_t integer;
        double real;
        rrt__text text;
        const char *why; // UNDEFINED: error message when it is used
        struct rrt__value_list *sequence;
        struct rrt__dict *dict; // also of a namespace
        struct rrt__loop *loop;
        const struct rrt__macro *macro;
        const struct rrt__global *function;
        const struct rrt__bound *bound; // METHOD
        struct rrt__cycler *cycler;     // also of a joiner
    };
} rrt__value;

typedef struct rrt__value_list {
    rrt__value *items; // RANGE: NULL until all are needed
    size_t count, capacity;
    size_t next;               // ITERATOR: number of items taken
    const char *name;          // Python's name of its type ("dict_items"), if any
    int64_t start, stop, step; // RANGE
} rrt__value_list;

typedef struct rrt__entry {
    rrt__value key, value;
} rrt__entry;

typedef struct rrt__dict { // in the order of insertion
    rrt__entry *entries;
    size_t count, capacity;
    uint32_t *slots; // entry + 1, 0: free; NULL for a small dict
    size_t n_slots;  // a power of two
} rrt__dict;

typedef struct rrt__loop { // the variable `loop`
    const rrt__value_list *items;
    size_t begin, index, depth;
    rrt__value changed; // the last argument of loop.changed
} rrt__loop;

typedef struct rrt__bound {
    rrt__value self;
    const struct rrt__method *method;
} rrt__bound;

typedef struct rrt__cycler {
    const rrt__value_list *items;
    rrt__value separator;
    size_t at;
} rrt__cycler;

// Shared by all evaluation: see run.h.
struct rrt__run;

static inline rrt__value rrt__none(void)
{
    return (rrt__value){.kind = RRT__VALUE_NONE};
}
static inline rrt__value rrt__bool(bool truth)
{
    return (rrt__value){.kind = RRT__VALUE_BOOL, .truth = truth};
}
static inline rrt__value rrt__int(int64_t integer)
{
    return (rrt__value){.kind = RRT__VALUE_INT, .integer = integer};
}
static inline rrt__value rrt__float(double real)
{
    return (rrt__value){.kind = RRT__VALUE_FLOAT, .real = real};
}
static inline rrt__value rrt__undefined(const char *why) // why must live as long as the run
{
    return (rrt__value){.kind = RRT__VALUE_UNDEFINED, .why = why};
}
static inline bool rrt__is_text(const rrt__value *value)
{
    return value->kind == RRT__VALUE_TEXT;
}
static inline bool rrt__is_sequence(const rrt__value *value)
{
    return value->kind >= RRT__VALUE_LIST && value->kind <= RRT__VALUE_ITERATOR;
}
static inline bool rrt__is_number(const rrt__value *value)
{
    return value->kind >= RRT__VALUE_BOOL && value->kind <= RRT__VALUE_FLOAT;
}
static inline bool rrt__is_whole(const rrt__value *value) // Python's bool is an int
{
    return value->kind == RRT__VALUE_BOOL || value->kind == RRT__VALUE_INT;
}
static inline int64_t rrt__whole(const rrt__value *value)
{
    return value->kind == RRT__VALUE_BOOL ? value->truth : value->integer;
}
static inline double rrt__real(const rrt__value *value)
{
    return value->kind == RRT__VALUE_FLOAT ? value->real : (double)rrt__whole(value);
}
static inline rrt__value rrt__value_list_at(const rrt__value_list *sequence, size_t i)
{
    return sequence->items ? sequence->items[i] : rrt__int(sequence->start + (int64_t)i * sequence->step);
}
static inline const char *rrt__text_data(const rrt__value *value)
{
    return value->text.buffer->data + value->text.at;
}
static inline size_t rrt__text_length(const rrt__value *value)
{
    return value->text.length;
}

// --- value.c --------------------------------------------------------------------------------------------
const char *rrt__type_name(const rrt__value *value); // Python's
bool rrt__is_true(const rrt__value *value);
// Python's ==, and < (fails for TypeErrors).
rrt_status rrt__equal(struct rrt__run *run, const rrt__value *a, const rrt__value *b, bool *out);
rrt_status rrt__less(struct rrt__run *run, const rrt__value *a, const rrt__value *b, bool *out);
bool rrt__text_is(const rrt__value *value, const char *text);

rrt_status rrt__value_list_new(struct rrt__run *run, rrt__kind kind, size_t capacity, rrt__value *out);
rrt_status rrt__value_list_add(struct rrt__run *run, rrt__value *sequence, rrt__value item);
// The items of an iteration over a value: read-only. Uses up an iterator.
rrt_status rrt__items_of(struct rrt__run *run, const rrt__value *value, rrt__value_list *out);

// --- dict.c ---------------------------------------------------------------------------------------------
rrt_status rrt__dict_new(struct rrt__run *run, rrt__value *out);
rrt_status rrt__dict_find(struct rrt__run *run, const rrt__dict *dict, const rrt__value *key,
                          rrt__value **out); // *out NULL: no such key
rrt_status rrt__dict_get(struct rrt__run *run, const rrt__dict *dict, const char *key, rrt__value **out);
rrt_status rrt__dict_set(struct rrt__run *run, rrt__dict *dict, rrt__value key, rrt__value value);
// Its pairs, as tuples in a sequence of that kind.
rrt_status rrt__dict_items(struct rrt__run *run, const rrt__dict *dict, rrt__kind kind, rrt__value *out);
// Converts JSON to values. mark: for all strings; word_key: see template.h.
rrt_status rrt__value_of_json(struct rrt__run *run, const json_t *json, unsigned char mark,
                              const char *word_key, rrt__value *out);

// --- text.c ---------------------------------------------------------------------------------------------
// A string of bytes that outlive the run, without copying.
rrt_status rrt__text_borrow(struct rrt__run *run, const char *data, size_t length, unsigned char mark,
                            rrt__value *out);
rrt_status rrt__text_copy(struct rrt__run *run, const char *data, size_t length, unsigned char mark,
                          rrt__value *out);
// Extends *text; other strings that share its bytes do not change. A text of kind MISSING is empty.
rrt_status rrt__text_append(struct rrt__run *run, rrt__value *text, const rrt__value *piece);
rrt_status rrt__text_append_bytes(struct rrt__run *run, rrt__value *text, const char *data, size_t length,
                                  unsigned char mark);
// Adds a mark to all bytes from `from` on, of a text that shares its bytes with no other.
rrt_status rrt__text_add_mark(struct rrt__run *run, rrt__value *text, size_t from, unsigned char mark);
rrt__value rrt__text_slice(const rrt__value *text, size_t begin, size_t end); // in bytes
unsigned char rrt__text_mark(const rrt__value *text, size_t at);              // of a byte
size_t rrt__text_characters(const rrt__value *text);
// Offset of the n-th character; the length if there is none.
size_t rrt__text_offset(const rrt__value *text, size_t n);
// Length of the white space character (Python's definition) at the beginning or end of data; 0: none.
size_t rrt__space_at(const char *data, size_t length);
size_t rrt__space_before(const char *data, size_t length);
// The text stripped on one side (-1: left, 1: right) or both (0) of the characters, or of white space (NULL).
rrt__value rrt__text_strip(const rrt__value *text, const rrt__value *characters, int side);
// Offset of needle in text[from..), or SIZE_MAX.
size_t rrt__text_find(const rrt__value *text, const rrt__value *needle, size_t from);
size_t rrt__text_find_last(const rrt__value *text, const rrt__value *what, size_t end); // in text[..end)
rrt_status rrt__text_replace(struct rrt__run *run, const rrt__value *text, const rrt__value *old,
                             const rrt__value *fresh, int64_t max_count, rrt__value *out);

// The lines, split as by Python's splitlines, with their breaks or without; whether the text ends with
// a break.
rrt_status rrt__split_lines(struct rrt__run *run, const rrt__value *text, bool keeps, rrt__value *out);
bool rrt__ends_line(const rrt__value *text);

// --- letters.c ------------------------------------------------------------------------------------------
typedef enum rrt__case { RRT__CASE_UPPER, RRT__CASE_LOWER, RRT__CASE_TITLE, RRT__CASE_CAPITALIZE } rrt__case;
rrt_status rrt__text_case(struct rrt__run *run, const rrt__value *text, rrt__case to, rrt__value *out);
bool rrt__is_printable(uint32_t codepoint); // in Python's repr

// --- print.c --------------------------------------------------------------------------------------------
// Python's str() and repr(); a float's digits.
rrt_status rrt__str(struct rrt__run *run, const rrt__value *value, rrt__value *out);
rrt_status rrt__append_str(struct rrt__run *run, rrt__value *text, const rrt__value *value);
rrt_status rrt__append_repr(struct rrt__run *run, rrt__value *text, const rrt__value *value);
void rrt__float_text(double real, char out[64]);

#endif
