// The methods of strings, from text_methods.c and text_split.c.
#ifndef RRT__TEMPLATE_METHODS_H
#define RRT__TEMPLATE_METHODS_H

#include "template/run.h"

extern const rrt__method rrt__text_methods[];

rrt__builtin rrt__text_split, rrt__text_rsplit, rrt__text_splitlines, rrt__text_partition,
    rrt__text_rpartition;

// Fails if an argument is not a string; what: the method.
rrt_status rrt__need_text(rrt__run *run, const rrt__value *value, const char *what);

#endif
