// A fingerprint of what a model computes: shape, plan and every value.
#ifndef RRT__FINGERPRINT_H
#define RRT__FINGERPRINT_H

#include "model/model.h"

enum { RRT__FINGERPRINT = 17 }; // characters, with the NUL

// Independent of how the values are stored and of the number of threads. Reads every value once.
rrt_status rrt__model_fingerprint(const rrt_model *model, int threads, char text[RRT__FINGERPRINT],
                                  rrt_error *err);

#endif
