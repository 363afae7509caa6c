#include "base/progress.h"

#include "base/error.h"

rrt_status rrt__progress_report(const rrt_progress *progress, const char *stage, double done, double total,
                                rrt_error *err)
{
    if (!progress || !progress->report || !progress->report(progress->user, stage, done, total))
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_CANCELLED, "cancelled (%s)", stage);
}
