// A request as the engine keeps it.
#ifndef RRT__TASK_H
#define RRT__TASK_H

#include "infer/engine_inside.h"

// Copies what the request names, and checks that the model can do it.
rrt_status rrt__task_create(rrt__task **out, const rrt_model *model, rrt__kv_type kv_type,
                            const rrt_request *request, rrt_error *err);
void rrt__task_free(rrt__task *task);

#endif
