#include "base/locale.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t plain; // never freed; 0 without memory: then nothing changes

static void create(void)
{
    plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
}

locale_t rrt__locale_enter(void)
{
    pthread_once(&once, create);
    return uselocale(plain);
}

void rrt__locale_leave(locale_t before)
{
    uselocale(before);
}

double rrt__read_real(const char *text, char **end)
{
    locale_t before = rrt__locale_enter();
    double value = strtod(text, end);
    rrt__locale_leave(before);
    return value;
}
