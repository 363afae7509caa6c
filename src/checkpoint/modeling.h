// The module that opens our folders in transformers: modeling_rrt.py, included in the library.
#ifndef RRT__MODELING_H
#define RRT__MODELING_H

#include <stddef.h>

#define RRT__MODELING "modeling_rrt"

extern const unsigned char rrt__modeling[];
extern const size_t rrt__modeling_bytes;

#endif
