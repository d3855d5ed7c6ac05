/* SPDX-License-Identifier: Apache-2.0 */
/* bench/bench.h -- what a workload is. Each one runs inside a runtime of its own, checks its own answer, times itself after
 * a warm-up in the same process, and gives the number of operations and the nanoseconds they took. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <weft.h>

struct outcome {
    weft_ns elapsed;
    double operations;
    /* A second figure under another name: NULL when there is none. */
    const char *extra_name[3];
    double extra[3]; /* goes into the ns_per_op column of a line of its own */
    bool wrong;      /* the answer was not right */
};

struct workload {
    const char *name;
    const char *what;                                                   /* one operation */
    long n;                                                             /* default size */
    void (*run)(long n, struct outcome *out);                           /* inside a task */
    void (*run_outside)(long n, unsigned workers, struct outcome *out); /* or outside any runtime */
};

extern const struct workload fork_join_workloads[], task_workloads[], sync_workloads[], memory_workloads[],
    idle_workloads[];

/* Resident bytes of the process, with page tables; its number of mappings. */
double process_bytes(void);
long process_mappings(void);
double process_cpu(void);    /* seconds of user and system time */
long process_switches(void); /* voluntary context switches */

#endif
