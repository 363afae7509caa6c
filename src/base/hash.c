#include "base/hash.h"

#include <string.h>

// Each step is a bijection of the word and of the hash before it: one changed word always changes the result.
static uint64_t step(uint64_t hash, uint64_t word)
{
    hash = ((hash + 0xd1b54a32d192ed03u) ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

uint64_t rrt__hash(uint64_t hash, const void *data, size_t size_bytes)
{
    const unsigned char *at = data;
    uint64_t word;
    for (; size_bytes >= sizeof word; at += sizeof word, size_bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = step(hash, word);
    }
    if (size_bytes == 0) return hash;
    word = 0;
    memcpy(&word, at, size_bytes);
    return step(hash, word);
}
