/* SPDX-License-Identifier: Apache-2.0 */
/* bench/report/place.h -- the CPUs of this process, and running on some of them. All that the benchmark has to know of where weft puts
 * workers, and of hwloc, is behind this header. */
#ifndef BENCH_REPORT_PLACE_H
#define BENCH_REPORT_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/metrics.h>
#include <weft/run.h>
#include <weft/task.h>

struct wb__cpu {
    int cpu;                        /* the kernel's number */
    int core, cache, node, package; /* good for comparing; -1: unknown. node: the kernel's number */
    unsigned smt;                   /* so many allowed CPUs of the same core come before it */
};

struct wb__node {
    int node;
    unsigned cpus; /* allowed ones */
    uint64_t memory;
};

struct wb__machine {
    struct wb__cpu *cpu; /* those this process may use, neighbours side by side */
    size_t cpus;
    struct wb__node *node;
    size_t nodes;
    uint64_t *distance;               /* of node i to j: [i * nodes + j], as the firmware tells it; NULL: it does not */
    unsigned cores, caches, packages; /* different ones */
    uint64_t cache_size[5];           /* bytes of one instance: [1] to [4], L1 data and up; 0: none */
    uint64_t last_cache;              /* bytes of one cache of the last level; 0: unknown */
    uint64_t memory;
};

/* 0, -ENOMEM, or -EIO when the kernel tells nothing. */
int wb__machine_read(struct wb__machine *m);
void wb__machine_free(struct wb__machine *m);
enum weft_distance wb__distance(const struct wb__cpu *a, const struct wb__cpu *b);
const char *wb__distance_name(enum weft_distance d);

/* How `n` of the CPUs are chosen. */
enum wb__spread {
    WB_CORES,   /* one of each core, evenly over caches and nodes; then the second ones */
    WB_COMPACT, /* one of each core, neighbours first; then the second ones */
    WB_SIBLINGS /* all of a core before the next core */
};
/* Indices of machine->cpu. out: room for n, n <= m->cpus. */
void wb__choose(const struct wb__machine *m, enum wb__spread spread, size_t n, size_t out[]);

/* Bind the calling thread to these CPUs (the kernel's numbers), and everything it starts: a runtime with one worker for each, pinned.
 * *before: to give to wb__unbind. 0 or -errno. */
struct wb__mask {
    size_t size;
    void *set;
};
int wb__bind(const int cpus[], size_t n, struct wb__mask *before);
void wb__unbind(struct wb__mask *before);

/* Options for workers on these CPUs, one each. */
weft_options wb__options(size_t workers);
/* Random choice of victims instead of near ones first. False: this weft has no such option. */
bool wb__steal_randomly(weft_options *o);
/* Where a task is to run. False: this weft cannot keep a task on a worker. */
bool wb__can_place(void);
weft_task_options wb__on_worker(unsigned worker);

#endif
