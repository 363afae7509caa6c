// Monotonic time.
#ifndef RRT__CLOCK_H
#define RRT__CLOCK_H

double rrt__now_seconds(void);

#endif
