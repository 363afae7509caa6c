#include "base/rng.h"

#include <math.h>

// The finaliser of splitmix64: a bijection of 64 bits in which every input bit affects every output bit.
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t rrt__random_bits(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t key = mix(seed + 0x9e3779b97f4a7c15u);
    key = mix(key ^ (stream + 0xd1b54a32d192ed03u));
    return mix(key + (index + 1) * 0x9e3779b97f4a7c15u);
}

double rrt__random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(rrt__random_bits(seed, stream, index) >> 11) * 0x1p-53;
}

double rrt__random_gaussian(uint64_t seed, uint64_t stream, uint64_t index)
{
    double u = 1.0 - rrt__random_uniform(seed, stream, 2 * index); // (0, 1]: finite logarithm
    double v = rrt__random_uniform(seed, stream, 2 * index + 1);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
