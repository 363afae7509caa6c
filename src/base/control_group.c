#include "base/control_group.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *rrt__control_group_mount = "/sys/fs/cgroup", *rrt__control_group_of_process = "/proc/self/cgroup";

enum { LONGEST_PATH = 4096 };

// The group's path below the mount point, "" for the root.
static void find_own(char path[LONGEST_PATH])
{
    char line[LONGEST_PATH];
    FILE *file = fopen(rrt__control_group_of_process, "r");
    path[0] = '\0';
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::/", 4) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, LONGEST_PATH, "%s", strcmp(line, "0::/") == 0 ? "" : line + 3);
    }
    if (file) fclose(file);
}

// Reads the numbers at the beginning of a group's file, UINT64_MAX for "max". False if there is no such file.
static int read_numbers(const char *group, const char *name, uint64_t *numbers, int count)
{
    char path[2 * LONGEST_PATH], line[64] = "";
    snprintf(path, sizeof path, "%s%s/%s", rrt__control_group_mount, group, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const char *at = fgets(line, sizeof line, file) ? line : "";
    fclose(file);
    int n = 0;
    for (; n < count && *at; n++) {
        numbers[n] = strncmp(at, "max", 3) == 0 ? UINT64_MAX : strtoull(at, NULL, 10);
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    return n == count;
}

// The limits of all groups above apply, too.
static int go_up(char *group)
{
    char *slash = strrchr(group, '/');
    if (!slash) return 0;
    *slash = '\0';
    return 1;
}

size_t rrt__control_group_memory(void)
{
    char group[LONGEST_PATH];
    uint64_t max, used, left = UINT64_MAX;
    find_own(group);
    do {
        if (!read_numbers(group, "memory.max", &max, 1) || max == UINT64_MAX ||
            !read_numbers(group, "memory.current", &used, 1))
            continue;
        uint64_t here = max > used ? max - used : 0;
        left = here < left ? here : left;
    } while (go_up(group));
    return left < SIZE_MAX ? (size_t)left : SIZE_MAX;
}

int rrt__control_group_processors(void)
{
    char group[LONGEST_PATH];
    uint64_t quota[2], min = 0;
    find_own(group);
    do {
        if (!read_numbers(group, "cpu.max", quota, 2) || quota[0] == UINT64_MAX || !quota[0] || !quota[1])
            continue;
        uint64_t here = (quota[0] - 1) / quota[1] + 1;
        min = !min || here < min ? here : min;
    } while (go_up(group));
    return min > 1 << 20 ? 0 : (int)min;
}
