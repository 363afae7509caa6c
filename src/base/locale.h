// Numbers as JSON, logs and options have them ("0.5"), whatever locale the program that uses the library has
// chosen for itself.
#ifndef RRT__LOCALE_H
#define RRT__LOCALE_H

#include <locale.h>

// From here to rrt__locale_leave(before) this thread formats and reads numbers with a decimal point. Nests.
locale_t rrt__locale_enter(void);
void rrt__locale_leave(locale_t before);

// strtod with a decimal point.
double rrt__read_real(const char *text, char **end);

#endif
