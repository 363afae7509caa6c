#include "base/cores.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

const char *rrt__cores_folder = "/sys/devices/system/cpu";

// Whether `processor` is the first allowed hardware thread of its core. A list reads "0,32" or "0-1".
static int is_first_of_core(int processor, const cpu_set_t *allowed)
{
    char path[4096], list[256] = "";
    snprintf(path, sizeof path, "%s/cpu%d/topology/thread_siblings_list", rrt__cores_folder, processor);
    FILE *file = fopen(path, "r");
    if (!file) return 1;
    const char *at = fgets(list, sizeof list, file);
    fclose(file);
    while (at && *at >= '0' && *at <= '9') {
        char *end;
        long first = strtol(at, &end, 10), last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        for (long sibling = first; sibling <= last && sibling < processor; sibling++)
            if (CPU_ISSET((int)sibling, allowed)) return 0;
        at = *end == ',' ? end + 1 : end;
    }
    return 1;
}

int rrt__cores(void)
{
    cpu_set_t allowed;
    int count = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return 1;
    for (int i = 0; i < CPU_SETSIZE; i++) count += CPU_ISSET(i, &allowed) && is_first_of_core(i, &allowed);
    return count ? count : 1;
}
