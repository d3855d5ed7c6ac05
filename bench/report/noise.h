/* SPDX-License-Identifier: Apache-2.0 */
/* bench/report/noise.h -- what disturbs a measurement, and what can be seen of the machine's settings. One thread at a time. */
#ifndef BENCH_REPORT_NOISE_H
#define BENCH_REPORT_NOISE_H

#include <stddef.h>
#include <stdint.h>

struct weft_bench;

struct wb__counts {
    double total, idle, steal; /* seconds of all CPUs together, /proc/stat */
    double own;                /* seconds of this process */
    double throttled, periods; /* seconds, and times, that the control group was stopped; -1: not told */
    double pressure;           /* seconds in which something waited for a CPU; -1: not told */
};

struct wb__speed {
    double best, worst; /* ns of a fixed piece of work, over the times it was looked at */
};

struct wb__noise {
    struct wb__counts before;
    struct wb__speed *speed; /* of each CPU */
    double quota;            /* CPUs' worth of time; 0: none seen */
};

void wb__noise_begin(struct weft_bench *b);
/* Time the fixed piece of work on each CPU: some milliseconds each. Between parts. */
void wb__noise_look(struct weft_bench *b);
/* Notes of what disturbed. */
void wb__noise_tell(struct weft_bench *b);
void wb__noise_free(struct weft_bench *b);

/* The first line of a file, without its end; "" when it cannot be read. Returns buf. */
char *wb__read_line(const char *path, char *buf, size_t size);
/* What stands behind a key in /proc/cpuinfo, of the first CPU; "" when it is not there. Returns buf. */
char *wb__cpuinfo(const char *key, char *buf, size_t size);

#endif
