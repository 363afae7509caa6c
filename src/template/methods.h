// The methods of strings: text_methods.c.
#ifndef RRT__TEMPLATE_METHODS_H
#define RRT__TEMPLATE_METHODS_H

#include "template/evaluate.h"

extern const rrt__method rrt__text_methods[];

#endif
