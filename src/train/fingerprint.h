// A number that tells models apart by what they compute: shape, plan and every value.
#ifndef RRT__FINGERPRINT_H
#define RRT__FINGERPRINT_H

#include "model/model.h"

enum { RRT__FINGERPRINT = 17 }; // characters of text

// The same however a model's values are stored, and on any number of threads. Reads all of them once.
rrt_status rrt__model_fingerprint(const rrt_model *model, int threads, char text[RRT__FINGERPRINT],
                                  rrt_error *err);

#endif
