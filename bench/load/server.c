/* SPDX-License-Identifier: Apache-2.0 */
/* load/server.c -- what the server's processes (--pid) have used: memory, and CPU time at the edges of the measured time. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "load.h"

enum { MOST = 64 };
static long pids[MOST];
static unsigned pid_count;
static uint64_t cpu_from, cpu_to;

/* 0: it has ended since the start. */
static uint64_t cpu_time(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < pid_count; i++) {
        clockid_t clock;
        struct timespec t;
        if (clock_getcpuclockid((pid_t)pids[i], &clock) != 0 || clock_gettime(clock, &t) != 0) {
            return 0;
        }
        sum += (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    return sum;
}

void server_prepare(void)
{
    const char *text = options.pids;
    while (text != NULL && *text != '\0') {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || (*end != ',' && *end != '\0') || pid_count == MOST) {
            die("--pid: %s is no list of at most %d processes", options.pids, MOST);
        }
        pids[pid_count++] = pid;
        text = *end == ',' ? end + 1 : end;
    }
    if (pid_count != 0 && cpu_time() == 0) {
        die("--pid: of the processes %s there is one whose CPU time cannot be read", options.pids);
    }
}

bool server_known(void)
{
    return pid_count != 0;
}

void server_edge(uint64_t now)
{
    if (cpu_from == 0 && now >= account.measure_from) {
        cpu_from = cpu_time();
    } else if (cpu_from != 0 && cpu_to == 0 && now >= account.measure_to) {
        cpu_to = cpu_time();
    }
}

uint64_t server_cpu(void)
{
    return cpu_to > cpu_from ? cpu_to - cpu_from : 0; /* 0: it is not known */
}

long server_memory(void)
{
    long sum = 0;
    for (unsigned i = 0; i < pid_count; i++) {
        char path[64], line[256];
        long kb;
        snprintf(path, sizeof path, "/proc/%ld/status", pids[i]);
        FILE *f = fopen(path, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            if (sscanf(line, "VmRSS: %ld", &kb) == 1 || sscanf(line, "VmPTE: %ld", &kb) == 1) {
                sum += kb;
            }
        }
        if (f != NULL) {
            fclose(f);
        }
    }
    return sum;
}
