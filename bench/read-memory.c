// How fast two threads read memory, fetched ahead as the kernels do it: the most that one stream can get.
//
//     gcc -O2 -mavx2 -fopenmp bench/read-memory.c -o read-memory && ./read-memory
#include <immintrin.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 2, RUNS = 9, VECTORS = 4, AHEAD = 12288 };
static const size_t bytes = (size_t)512 << 20;

static void read_part(const char *at, size_t size)
{
    __m256i sums[VECTORS] = {0};
    for (size_t i = 0; i < size; i += VECTORS * 32) {
        for (size_t line = 0; line < VECTORS * 32; line += 64)
            _mm_prefetch(at + i + line + AHEAD, _MM_HINT_T1);
        for (size_t v = 0; v < VECTORS; v++)
            sums[v] = _mm256_add_epi8(sums[v], _mm256_load_si256((const __m256i *)(at + i + v * 32)));
    }
    for (int v = 0; v < VECTORS; v++) __asm__ volatile("" : : "x"(sums[v]));
}

static int by_size(const void *a, const void *b)
{
    return *(const double *)a < *(const double *)b ? -1 : 1;
}

int main(void)
{
    char *data = aligned_alloc(64, bytes + AHEAD);
    if (!data) return 1;
    memset(data, 1, bytes);
    double speeds[RUNS];
    for (int r = 0; r < RUNS; r++) {
        double start = omp_get_wtime();
#pragma omp parallel for num_threads(THREADS)
        for (size_t t = 0; t < THREADS; t++) read_part(data + t * (bytes / THREADS), bytes / THREADS);
        speeds[r] = (double)bytes / (omp_get_wtime() - start) / 1e9;
    }
    qsort(speeds, RUNS, sizeof *speeds, by_size);
    printf("%.1f GB/s (median of %d; %.1f to %.1f)\n", speeds[RUNS / 2], RUNS, speeds[0], speeds[RUNS - 1]);
    free(data);
}
