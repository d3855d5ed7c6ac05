/* SPDX-License-Identifier: Apache-2.0 */
/* executor/topology.h -- which CPUs this process may use, and where W workers go. */
#ifndef WEFT_EXECUTOR_TOPOLOGY_H
#define WEFT_EXECUTOR_TOPOLOGY_H

#include <weft/topology.h>

#include "executor/base.h"
#include "executor/machine.h"

struct weft__plan_worker {
    struct weft__cpu
        place;         /* what its CPUs have in common; .number: the CPU it is to be pinned to, -1: not to one CPU */
    int cpu;           /* the same */
    int node;          /* home NUMA node of its memory, -1: unknown */
    int home;          /* the place of that node among the plan's homes, -1: unknown */
    void *cpuset;      /* the CPUs it may run on, for weft__topology_pin (opaque); NULL: not pinned */
    unsigned cpus;     /* their number */
    uint16_t *victims; /* the other workers, nearest first; the order within a tier is the thief's to shuffle */
    uint8_t *distance; /* of each victim: enum weft_distance */
    uint8_t *tier;     /* of each victim: 0 for the nearest ones, one more where the next ones are farther */
    unsigned near;     /* so many victims, the first ones, are no farther than the node */
};

struct weft_plan {
    unsigned workers;
    unsigned pin;     /* WEFT_PIN_NONE, _NODE or _CORE as decided */
    unsigned spread;  /* enum weft_spread */
    unsigned allowed; /* CPUs in the affinity mask and cpuset */
    double quota;     /* CPUs' worth of cgroup quota over all visible ancestors; 0: none */
    unsigned homes;   /* different nodes that are a worker's home */
    int *home;        /* the kernel's numbers of these */
    struct weft__machine machine;
    size_t mask_size;
    struct weft__plan_worker worker[]; /* and after these the masks, victims, distances, tiers, homes */
};

/* CPUs this process may use at once: affinity mask and cpuset, and the cgroup quota rounded up; at least 1. */
unsigned weft__topology_default_workers(void);
/* Make a plan from the options workers, pin, spread, cpus and cpu_count. 0 and *out, -EINVAL, -ENOMEM. Never fails for want of hwloc's
 * knowledge: then nothing is pinned and every victim is WEFT_FAR. Files of cgroups and of the kernel are read below the directory
 * `root` ("": the machine's; for tests). */
int weft__topology_plan(const char *root, const weft_options *options, struct weft_plan **out);
/* In the worker's own thread: bind it as planned, and ask the kernel where it now may run. Fills *place; returns 0, or
 * the negative errno of a pin that was refused (the worker runs on unpinned; the caller reports it): -ENODEV: the plan
 * is of another machine; -EXDEV: the kernel put the thread elsewhere; the kernel's own errors. */
int weft__topology_pin(const struct weft_plan *plan, unsigned worker, struct weft_place *place);
/* In a thread that a worker's task started and that is no worker: it may run on all CPUs of the plan, and has no node. */
void weft__topology_leave(const struct weft_plan *plan);

#endif
