// Shared by the export formats.
#ifndef RRT__EXPORT_H
#define RRT__EXPORT_H

#include "format/dtype.h"
#include "model/model.h"
#include "rrt/export.h"

typedef struct rrt__export {
    const rrt_model *model;
    const rrt_export_options *options;
    rrt__dtype dtype;
    const char *path;      // final path of the result
    const char *temporary; // path until then: a file, or an existing folder
} rrt__export;

rrt_status rrt__export_hf(const rrt__export *export, rrt_error *err);
rrt_status rrt__export_peft(const rrt__export *export, rrt_error *err);
rrt_status rrt__export_gguf(const rrt__export *export, rrt_error *err);

// The whole model, unrolled and merged.
rrt_status rrt__export_unroll(const rrt__export *export, rrt_model **plain, rrt_error *err);

// The model as other programs' files hold it: looped, if its family is or if the options say so, else
// unrolled.
rrt_status rrt__export_form(const rrt__export *export, rrt_model **out, rrt_error *err);

// Writes the model's folder in Hugging Face's format.
rrt_status rrt__export_folder(const rrt__export *export, const rrt_model *plain, const char *folder,
                              rrt_error *err);

#endif
