/* SPDX-License-Identifier: Apache-2.0 */
/* executor/topology.h -- which CPUs this process may use, and where W workers go. */
#ifndef WEFT_EXECUTOR_TOPOLOGY_H
#define WEFT_EXECUTOR_TOPOLOGY_H

#include <weft/metrics.h>
#include <weft/run.h>

#include "executor/base.h"

struct weft__plan_worker {
    int cpu;           /* the CPU it is to be pinned to, -1: not to one CPU */
    int node;          /* home NUMA node of its memory, -1: unknown */
    void *cpuset;      /* the CPUs it may run on, for weft__topology_pin (opaque); NULL: not pinned */
    unsigned cpus;     /* their number */
    uint16_t *victims; /* the other workers, nearest first; the order within a distance is the thief's to shuffle */
    uint8_t *distance; /* of each victim: enum weft_distance */
    uint8_t *tier;     /* of each victim: 0 for the nearest ones, one more where the next ones are farther */
    unsigned near;     /* so many victims, the first ones, are no farther than the node */
};

struct weft__plan {
    unsigned workers;
    unsigned pin;     /* WEFT_PIN_NONE, _NODE or _CORE as decided */
    unsigned allowed; /* CPUs in the affinity mask and cpuset */
    double quota;     /* CPUs' worth of cgroup quota over all visible ancestors; 0: none */
    struct weft__plan_worker *worker;
};

/* CPUs this process may use at once: affinity mask and cpuset, and the cgroup quota rounded up; at least 1. */
unsigned weft__topology_default_workers(void);
/* Make a plan for `workers` (0: default) and `pin` (enum weft_pin). 0 and *out, -EINVAL, -ENOMEM. Never fails for want
 * of hwloc's knowledge: then nothing is pinned and every victim is WEFT_FAR. */
int weft__topology_plan(unsigned workers, unsigned pin, struct weft__plan **out);
/* The same, with the files of cgroups read below the directory `root` (for tests; "": the machine's). */
int weft__topology_plan_below(const char *root, unsigned workers, unsigned pin, struct weft__plan **out);
void weft__topology_plan_free(struct weft__plan *plan);
/* In the worker's own thread: bind it as planned, and ask the kernel where it now may run. Fills *place; returns 0, or
 * the negative errno of a pin that was refused (the worker runs on unpinned; the caller reports it): -ENODEV: the plan
 * is of another machine; -EXDEV: the kernel put the thread elsewhere; the kernel's own errors. */
int weft__topology_pin(const struct weft__plan *plan, unsigned worker, struct weft_place *place);

#endif
