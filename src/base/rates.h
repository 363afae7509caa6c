// Speeds of repeated runs, for benchmarks.
#ifndef RRT__RATES_H
#define RRT__RATES_H

#include <math.h>
#include <stdint.h>
#include <sys/resource.h>

// Zero-initialised is empty.
typedef struct rrt__rates {
    double sum, squares;
    int count;
} rrt__rates;

static inline void rrt__rates_add(rrt__rates *rates, double rate)
{
    rates->sum += rate;
    rates->squares += rate * rate;
    rates->count++;
}

static inline double rrt__rates_mean(const rrt__rates *rates)
{
    return rates->sum / rates->count;
}

static inline double rrt__rates_deviation(const rrt__rates *rates)
{
    double mean = rrt__rates_mean(rates), variance = rates->squares / rates->count - mean * mean;
    return sqrt(variance > 0 ? variance : 0);
}

// The process's peak memory so far.
static inline uint64_t rrt__peak_rss_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

#endif
