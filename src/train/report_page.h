// web/report.html, which the build puts into the library.
#ifndef RRT__REPORT_PAGE_H
#define RRT__REPORT_PAGE_H

#include <stddef.h>

extern const unsigned char rrt__report_page[];
extern const size_t rrt__report_page_bytes;

#endif
