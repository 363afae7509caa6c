// What the fuzz targets of the file formats do with a table of tensors.
#ifndef RRT__USE_TENSORS_H
#define RRT__USE_TENSORS_H

#include "format/tensors.h"

static inline void use_tensors(const rrt__tensor_table *table)
{
    enum { SMALL = 4096 };
    static float values[SMALL];
    for (size_t i = 0; i < table->count; i++) {
        const rrt__tensor *tensor = &table->tensors[i];
        rrt_error err;
        size_t count;
        if (rrt__tensor_table_find(table, tensor->name) != tensor) __builtin_trap();
        if (!rrt__tensor_count(tensor, &count)) __builtin_trap();
        if (count > SMALL) continue;
        rrt__tensor_read(tensor, tensor->shape[0], tensor->n_dims < 2 ? 0 : tensor->shape[1], values, &err);
    }
}

#endif
