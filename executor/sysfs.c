/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sysfs.c -- NUMA nodes without memory of their own.
 *
 * The kernel gives such a node a number and its CPUs, but hwloc leaves it out, as it leaves out nodes whose memory a cpuset forbids. CPUs
 * there still have neighbours and a nearest memory: cpuN/nodeK tells the one, nodeK/distance the other. That file has one figure
 * for each online node, in the order of their numbers.
 *
 * Any thread; allocates nothing that stays. */
#include "executor/sysfs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

int weft__sysfs_node_of_cpu(const char *root, int cpu)
{
    char path[512];
    int node = -1;
    (void)snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/cpu%d", root, cpu);
    DIR *folder = opendir(path);
    if (!folder)
        return -1;
    for (struct dirent *entry; node < 0 && (entry = readdir(folder));) {
        int length = 0;
        if (sscanf(entry->d_name, "node%d%n", &node, &length) != 1 || entry->d_name[length] != '\0')
            node = -1;
    }
    (void)closedir(folder);
    return node;
}

/* How many of the list ("0-2,5") are below `number`; -1: it is not in the list itself. */
static int rank_in_list(const char *list, int number)
{
    int rank = 0;
    for (;;) {
        char *end;
        long first = strtol(list, &end, 10), last = first;
        if (end == list)
            return -1;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        if (number >= first && number <= last)
            return rank + (int)(number - first);
        rank += (int)(last - first) + 1;
        if (*end != ',')
            return -1;
        list = end + 1;
    }
}

static int read_line(char *line, int size, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int got = fgets(line, size, file) != NULL;
    (void)fclose(file);
    return got;
}

unsigned weft__sysfs_distance(const char *root, int from, int to)
{
    char path[512], line[8192];
    (void)snprintf(path, sizeof(path), "%s/sys/devices/system/node/online", root);
    int rank = read_line(line, sizeof(line), path) ? rank_in_list(line, to) : -1;
    (void)snprintf(path, sizeof(path), "%s/sys/devices/system/node/node%d/distance", root, from);
    if (rank < 0 || !read_line(line, sizeof(line), path))
        return 0;
    char *at = line, *end = line;
    long distance = 0;
    for (int i = 0; i <= rank; i++, at = end) {
        distance = strtol(at, &end, 10);
        if (end == at)
            return 0;
    }
    return distance > 0 ? (unsigned)distance : 0;
}
