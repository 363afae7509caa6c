// What rrt convert says of what it did.
#ifndef RRT__CLI_CONVERT_REPORT_H
#define RRT__CLI_CONVERT_REPORT_H

#include "cli/cli.h"

typedef struct rrt__converted {
    rrt_model *model;
    rrt_convert_report report;
    rrt_convert_frontier frontier;
} rrt__converted;

rrt_status rrt__converted_print_json(const rrt__converted *converted, const rrt_model *source,
                                     rrt_error *err);

// A summary, or with verbose a row for each matrix and depth as well. path: where the model was saved.
rrt_status rrt__converted_print(const rrt__converted *converted, const rrt_model *source, const char *path,
                                bool verbose, rrt_error *err);

// What a conversion would make and take.
rrt_status rrt__forecast_print(const rrt_convert_forecast *forecast, const rrt_model *source, bool json,
                               rrt_error *err);

#endif
