// The page at "/": web/ as one file of HTML (`make` builds it where npm is), or, where that was not made, a note. CMake writes
// it.
#ifndef RRT__SERVE_PAGE_H
#define RRT__SERVE_PAGE_H

#include <stddef.h>

extern const unsigned char rrt__serve_page[];
extern const size_t rrt__serve_page_bytes;

#endif
