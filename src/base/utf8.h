// UTF-8: validation and stepping. Overlong forms, surrogates and values past U+10FFFF are invalid.
#ifndef RRT__UTF8_H
#define RRT__UTF8_H

#include <stddef.h>
#include <stdint.h>

// Length in bytes (1–4) of the valid sequence at text[0..length), 0 if it is invalid or truncated. Sets
// *codepoint if the result is not 0.
size_t rrt__utf8_decode(const char *text, size_t length, uint32_t *codepoint);

// Writes the sequence of a valid codepoint to out[0..4) and returns its length.
size_t rrt__utf8_encode(uint32_t codepoint, char out[4]);

// Offset of the first invalid byte, or length if all is valid.
size_t rrt__utf8_first_invalid(const char *text, size_t length);

// Number of bytes at the end of text[0..length) that begin an incomplete sequence: a stream must hold
// them back.
size_t rrt__utf8_incomplete_tail(const char *text, size_t length);

// Number of bytes at the start of text[0..length), which begins with an invalid byte, that one U+FFFD
// replaces: the longest beginning of a sequence, or one byte, as Unicode recommends.
size_t rrt__utf8_broken(const char *text, size_t length);

// Replaces control characters and invalid bytes of a string by '?', so that it is safe for a terminal.
void rrt__utf8_make_printable(char *text);

// Length of the byte order mark at the beginning of the text: 3 or 0.
size_t rrt__utf8_mark(const char *text, size_t length);

#endif
