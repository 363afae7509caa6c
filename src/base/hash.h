// A fast 64-bit checksum that detects damage, not manipulation.
#ifndef RRT__HASH_H
#define RRT__HASH_H

#include <stddef.h>
#include <stdint.h>

// Continues from `hash` (initially 0) over 8-byte words; pads a shorter last word with zeros, so keep or hash
// the size, too. Pieces give the same as the whole if all but the last are multiples of 8 bytes.
uint64_t rrt__hash(uint64_t hash, const void *data, size_t size_bytes);

#endif
