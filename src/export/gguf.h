// The state of writing a model into a GGUF file, private to the export room.
#ifndef RRT__EXPORT_GGUF_H
#define RRT__EXPORT_GGUF_H

#include "checkpoint/whole.h"
#include "export/export.h"
#include "format/gguf_write.h"

typedef struct rrt__gguf_export {
    const rrt__export *export;
    const rrt_model *model; // what is written: unrolled or looped
    rrt__gguf_writer writer;
    rrt__whole whole;   // gathers several parameters into one tensor
    double done, total; // bytes
} rrt__gguf_export;

// UNSUPPORTED, by name, for properties that the model's architecture cannot express in llama.cpp.
rrt_status rrt__gguf_check(const rrt_model *model, rrt_error *err);

// Declares the architecture's metadata except the loops.
rrt_status rrt__gguf_declare_keys(rrt__gguf_export *to, rrt_error *err);

// Declares the rotation's tensors of divisors, then writes them first.
rrt_status rrt__gguf_declare_divisors(rrt__gguf_export *to, rrt_error *err);
rrt_status rrt__gguf_write_divisors(rrt__gguf_export *to, rrt_error *err);

rrt_status rrt__gguf_set_size(rrt__gguf_export *to, const char *name, size_t value, rrt_error *err);
rrt_status rrt__gguf_set_flag(rrt__gguf_export *to, const char *name, bool value, rrt_error *err);
rrt_status rrt__gguf_set_real(rrt__gguf_export *to, const char *name, double value, rrt_error *err);

#endif
