// The page at "/": web/ as one HTML file (`make` builds it if npm is installed), or a note if it was not
// built. CMake writes it.
#ifndef RRT__SERVE_PAGE_H
#define RRT__SERVE_PAGE_H

#include <stddef.h>

extern const unsigned char rrt__serve_page[];
extern const size_t rrt__serve_page_bytes;

#endif
