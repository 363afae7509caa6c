// Numbers with a decimal point ("0.5"), as in JSON, logs and options, whatever locale the calling
// program uses.
#ifndef RRT__LOCALE_H
#define RRT__LOCALE_H

#include <locale.h>

// Until rrt__locale_leave(before), this thread formats and reads numbers with a decimal point. Can be nested.
locale_t rrt__locale_enter(void);
void rrt__locale_leave(locale_t before);

// strtod with a decimal point.
double rrt__read_real(const char *text, char **end);

#endif
