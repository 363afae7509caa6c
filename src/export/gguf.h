// An unrolled model on its way into a GGUF file, inside the convert room.
#ifndef RRT__EXPORT_GGUF_H
#define RRT__EXPORT_GGUF_H

#include "checkpoint/whole.h"
#include "export/export.h"
#include "format/gguf_write.h"

typedef struct rrt__gguf_export {
    const rrt__export *export;
    const rrt_model *plain;
    const char *architecture;
    rrt__gguf_writer writer;
    rrt__whole whole;   // the tensor that several parameters are gathered in
    double done, total; // bytes
} rrt__gguf_export;

// UNSUPPORTED, by name, for what the model's architecture has no way to say in llama.cpp.
rrt_status rrt__gguf_check(const rrt_model *model, rrt_error *err);

// All metadata of the architecture but the loops.
rrt_status rrt__gguf_declare_keys(rrt__gguf_export *to, rrt_error *err);

// The tensors of divisors that the rotation has: declared, then written as the first of the file.
rrt_status rrt__gguf_declare_divisors(rrt__gguf_export *to, rrt_error *err);
rrt_status rrt__gguf_write_divisors(rrt__gguf_export *to, rrt_error *err);

rrt_status rrt__gguf_set_size(rrt__gguf_export *to, const char *name, size_t value, rrt_error *err);

#endif
