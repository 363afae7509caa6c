// The types of quantised models, and the quantisation of their matrices into a file or into memory.
#ifndef RRT__QUANTIZE_H
#define RRT__QUANTIZE_H

#include "model/parameters.h"

// "q8_0", "q6_0", "q4_1" or "q4_0".
rrt_status rrt__quantized_parse(rrt__storage *storage, const char *name, rrt_error *err);

// New storage of a matrix if the layers' matrices become `storage`.
rrt__storage rrt__quantized_storage(const rrt_model *model, const rrt__parameter *parameter,
                                    rrt__storage storage);

// quants = quantised rows [begin, end), begin a multiple of RRT__GROUP. threads 0: one per core.
rrt_status rrt__quantize_rows(const rrt__linear *linear, size_t begin, size_t end, rrt__storage storage,
                              int threads, unsigned char *quants, rrt_error *err);

#endif
