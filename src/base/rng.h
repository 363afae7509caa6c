// Counter-based random numbers: the value depends only on (seed, stream, index), not on earlier draws, so
// sampling and initialisation do not depend on batch, chunks or threads.
#ifndef RRT__RNG_H
#define RRT__RNG_H

#include <stdint.h>

uint64_t rrt__random_bits(uint64_t seed, uint64_t stream, uint64_t index);
double rrt__random_uniform(uint64_t seed, uint64_t stream, uint64_t index);  // [0, 1), 53 bits
double rrt__random_gaussian(uint64_t seed, uint64_t stream, uint64_t index); // mean 0, variance 1

#endif
