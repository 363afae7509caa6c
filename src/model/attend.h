// Attention of a block's rows, from the output of its norm to the input of the matrix o: queries, keys and
// values are made, rotated and stored, and every query sees what it may.
#ifndef RRT__ATTEND_H
#define RRT__ATTEND_H

#include "model/project.h"

// normed → attended. After a barrier; ends with one.
void rrt__attend(const rrt__block *block);

// Only stores the keys and values. After a barrier; ends with one.
void rrt__attend_store(const rrt__block *block);

#endif
