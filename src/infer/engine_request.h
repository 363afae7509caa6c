// A request in the engine's representation.
#ifndef RRT__ENGINE_REQUEST_H
#define RRT__ENGINE_REQUEST_H

#include "infer/engine_inside.h"

// Copies the arrays of the request, and checks that the model supports it.
rrt_status rrt__engine_request_create(rrt__engine_request **out, const rrt_engine *engine,
                                      const rrt_request *request, rrt_error *err);
void rrt__engine_request_free(rrt__engine_request *request);

#endif
