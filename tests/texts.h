// What the tests of training text share: a temporary folder, plain and packed files in it, ids of texts, and
// the pieces that made-up texts are put together from.
#ifndef RRT__TEST_TEXTS_H
#define RRT__TEST_TEXTS_H

#include <sys/stat.h>

#include <zstd.h>

#include "models.h"

static char folder[64]; // a temporary folder, emptied between tests

static inline const char *in_folder(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next = (next + 1) % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline const char *write_bytes(const char *name, const char *bytes, size_t length)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "wb"); // rrt__file_write waits for the disk
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline const char *write_text(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

static inline rrt__string pack(const char *text, size_t length)
{
    rrt_error err = {0};
    rrt__string packed = {0};
    size_t room = ZSTD_compressBound(length);
    assert_ok(rrt__array_reserve(&packed.data, &packed.capacity, room + 1, 1, &err));
    packed.length = ZSTD_compress(packed.data, room, text, length, 3);
    assert_false(ZSTD_isError(packed.length));
    return packed;
}

static inline const char *write_packed(const char *name, const char *text)
{
    rrt__string packed = pack(text, strlen(text));
    const char *path = write_bytes(name, packed.data, packed.length);
    rrt__string_free(&packed);
    return path;
}

static inline void clear_folder(void)
{
    remove_folder(folder);
    assert_int_equal(mkdir(folder, 0777), 0);
}

// Line breaks and spaces in every company, combining marks, characters of all lengths.
static const char *const fragments[] = {
    "the",          "a",        "'s",         " ",    "  ",    "\n",      "\n\n",         "\n\n\n",
    "\r\n",         "\r\n\r\n", "\t",         ".",    "12",    "1",       "\xc3\xa9",     "e\xcc\x81",
    "\xcc\x81",     "\xc2\xa0", "\n\xc2\xa0", "#",    "\n\n#", " \n",     "\xe6\xbc\xa2", "\xf0\x9f\x98\x80",
    "\xe3\x80\x80", "e\nthe",   "\nthe",      ".\nA", "!\n\n", "\n    x", "\n\xcc\x81",   "\xe2\x80\xa8"};

static inline void append_fragments(rrt__string *text, uint64_t stream, size_t length)
{
    rrt_error err = {0};
    for (uint64_t i = 0; text->length < length; i++) {
        const char *fragment =
            fragments[rrt__random_bits(1, stream, i) % (sizeof fragments / sizeof *fragments)];
        assert_ok(rrt__string_append(text, fragment, strlen(fragment), &err));
    }
}

#endif
