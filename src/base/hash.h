// A 64-bit checksum that is fast and finds damage. It is no defence against malice.
#ifndef RRT__HASH_H
#define RRT__HASH_H

#include <stddef.h>
#include <stdint.h>

// Goes on from `hash` (0 to begin with) over 8-byte words; a last shorter word is filled up with zeros, so
// the size is to be kept, or hashed, as well. Pieces give the same as the whole where all but the last are
// multiples of 8 bytes.
uint64_t rrt__hash(uint64_t hash, const void *data, size_t size_bytes);

#endif
