// Which types a model is quantised to, and its matrices on the way there: into a file, or into memory.
#ifndef RRT__QUANTIZE_H
#define RRT__QUANTIZE_H

#include "model/parameters.h"

// "q8_0", "q6_0", "q4_1" or "q4_0".
rrt_status rrt__quantized_parse(rrt__storage *storage, const char *name, rrt_error *err);

// What a matrix of the model becomes where the layers' matrices become `storage`.
rrt__storage rrt__quantized_storage(const rrt_model *model, const rrt__parameter *parameter,
                                    rrt__storage storage);

// quants = rows [begin, end), begin a multiple of RRT__GROUP, quantised. threads 0: one per core.
rrt_status rrt__quantize_rows(const rrt__linear *linear, size_t begin, size_t end, rrt__storage storage,
                              int threads, unsigned char *quants, rrt_error *err);

#endif
