// How a long job tells its caller where it is.
#ifndef RRT__PROGRESS_H
#define RRT__PROGRESS_H

#include "rrt/status.h"

// Reports to progress, which may be NULL. Fails with CANCELLED if the callback asks to stop.
rrt_status rrt__progress_report(const rrt_progress *progress, const char *stage, double done, double total,
                                rrt_error *err);

#endif
