// Reports the progress of a long operation to its caller.
#ifndef RRT__PROGRESS_H
#define RRT__PROGRESS_H

#include "rrt/status.h"

// Reports to progress, which may be NULL. CANCELLED if the callback asks to stop.
rrt_status rrt__progress_report(const rrt_progress *progress, const char *stage, double done, double total,
                                rrt_error *err);

#endif
