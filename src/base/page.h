// Self-contained HTML pages: a page of web/ with data in place of its marker, /*DATA*/[].
#ifndef RRT__PAGE_H
#define RRT__PAGE_H

#include "base/error.h"
#include "base/json.h"

// Pages of web/, embedded by the build.
extern const unsigned char rrt__page_report[], rrt__page_bench[];
extern const size_t rrt__page_report_bytes, rrt__page_bench_bytes;

// Whether the file at path was written from this page, with whatever data: both are the same up to the end of
// the line that names the program.
bool rrt__page_is_ours(const char *path, const unsigned char *page, size_t page_bytes);

// Writes a page with the data to path; replaces an existing file only if `overwrite`.
rrt_status rrt__page_write(const char *path, const unsigned char *page, size_t page_bytes, const json_t *data,
                           int overwrite, rrt_error *err);

#endif
