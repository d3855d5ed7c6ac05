/* SPDX-License-Identifier: Apache-2.0 */
/* executor/machine.h -- the CPUs this process may use and what they share; for executor/topology.c. */
#ifndef WEFT_EXECUTOR_MACHINE_H
#define WEFT_EXECUTOR_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A CPU, or what several CPUs have in common. -1: unknown, or several. */
struct weft__cpu {
    int number;                     /* the kernel's */
    int core, cache, node, package; /* hwloc's logical numbers: good for comparing only */
    int home;                       /* the kernel's number of the node where its memory should lie */
    int kind;                       /* of core: the higher, the faster; 0 where all are alike */
    unsigned smt;                   /* how many allowed CPUs of the same core come before it */
};

/* A NUMA node of the machine, whether this process has CPUs there or not. */
struct weft__node {
    int number;      /* the kernel's */
    unsigned cpus;   /* of this process around it */
    uint64_t memory; /* bytes; 0: none, or not told */
};

struct weft__machine {
    struct weft__cpu
        *cpu; /* those allowed: the first ones of all cores first, then the second ones; of these those of fast cores
                      first; each in hwloc's order */
    unsigned cpus;    /* their number; 0: nothing is known of them */
    unsigned allowed; /* their number in any case, at least 1 */
    unsigned highest; /* CPU number */
    unsigned nodes;
    struct weft__node *node;                 /* in hwloc's order, which weft__cpu.node counts in */
    uint64_t *remoteness;                    /* of node [i * nodes + j] from i, less than 2^41; good for sorting only */
    uint32_t *latency;                       /* of the same, as firmware or a measurement tells it; 0: not known */
    unsigned cores, caches, packages, kinds; /* different ones among the CPUs (caches: shared ones); 0: not known */
    double quota;                            /* CPUs' worth of time, 0: no limit */
    bool here;                               /* it is the machine that runs us */
};

/* Describe the machine; cgroup files are read below the directory `root`. 0 or -ENOMEM. */
int weft__machine_read(struct weft__machine *m, const char *root);
void weft__machine_free(struct weft__machine *m);

/* The calling thread's affinity mask, of whatever size the kernel wants: a cpu_set_t of *size bytes, to be freed with
 * CPU_FREE. NULL: -errno in *rc. */
void *weft__machine_own_mask(size_t *size, int *rc);

#endif
