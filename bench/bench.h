/* SPDX-License-Identifier: Apache-2.0 */
/* bench/bench.h -- what a workload is, and what measures it.
 *
 * Each workload runs inside a runtime of its own, checks its own answer, times itself after a warm-up in the same process
 * (unless it says that it measures a cold start), and gives the number of operations and the nanoseconds they took:
 *
 *     bench_start(out);
 *     ... what is timed ...
 *     bench_stop(out);
 *     out->operations = n;
 *     out->wrong = sum != expected;
 *
 * The functions below are called by the task, or the thread, that runs the workload. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <weft.h>

/* What the process and the runtime had done at some moment. */
struct account {
    struct weft_metrics metrics;
    double cpu;    /* seconds of all threads */
    long switches; /* contexts given up, by threads that slept */
};

enum { MAX_EXTRA = 8 };

struct outcome {
    const char *name; /* of the line, where it is not the workload's */
    weft_ns elapsed;
    double operations;
    /* Further lines; their value stands in the column ns_per_op. */
    struct {
        const char *name;
        double value;
    } extra[MAX_EXTRA];
    int extras;
    bool wrong;   /* the answer was not right */
    bool late;    /* the machine was too slow for what is measured: no line */
    bool skipped; /* there is no such measurement with these settings: no line */
    /* Between bench_start and bench_stop, the last pair of calls. */
    bool why; /* take accounts */
    weft_ns start;
    struct account before, after;
};

struct workload {
    const char *name;
    const char *what;                                                   /* one operation */
    long n;                                                             /* default size */
    void (*run)(long n, struct outcome *out);                           /* inside a task */
    void (*run_outside)(long n, unsigned workers, struct outcome *out); /* or outside any runtime */
};

/* Tables of the files of this folder; each ends with a name of NULL. */
extern const struct workload fork_join_workloads[], waiting_tree_workloads[], real_work_workloads[], task_workloads[],
    cancel_workloads[], timer_workloads[], hand_over_workloads[], sync_workloads[], latency_workloads[],
    mixed_workloads[], memory_workloads[], idle_workloads[], connection_workloads[], locality_workloads[];

void bench_start(struct outcome *out);
void bench_stop(struct outcome *out);
void bench_extra(struct outcome *out, const char *name, double value);
/* What happened between the two, to stderr. */
void bench_print_why(const char *name, const struct outcome *out);

/* Fewer workers than a workload is about: nothing to measure. Inside a task. */
bool bench_needs_workers(struct outcome *out, unsigned workers);

/* The value below which the share p of the n values lies; sorts them. */
double percentile(weft_ns values[], long n, double p);

/* Resident bytes of the process, with page tables; its number of mappings. */
double process_bytes(void);
long process_mappings(void);
double process_cpu(void);    /* seconds of user and system time */
long process_switches(void); /* voluntary context switches */

/* The thread that runs the caller: never kept by the compiler across a suspension. */
const void *this_thread(void);

#endif
