/* SPDX-License-Identifier: Apache-2.0 */
/* weft/topology.h -- the plan: what a runtime found of the machine, and where it puts its workers.
 *
 * A plan is made from the CPUs that this process may use (affinity mask, cpuset; a cgroup's CPU quota limits the default number of
 * workers), from what they share (cores, caches, NUMA nodes, packages, kinds of cores), and from four options of weft_options: workers,
 * pin, spread, cpus. It says for each worker which CPUs it keeps to, on which node its memory lies, and whom it asks first for work.
 * It is made once, when a runtime starts, and never changes; it can be made without starting anything, too.
 *
 * asyncio has no counterpart. */
#ifndef WEFT_TOPOLOGY_H
#define WEFT_TOPOLOGY_H

#include <weft/metrics.h>

WEFT_BEGIN_DECLS

typedef struct weft_plan weft_plan;

/* Make the plan that a runtime with these options would have (NULL: default options; only workers, pin, spread, cpus and cpu_count are
 * looked at). 0 and *out, to be released; -EINVAL: options that are not valid, a CPU in `cpus` that this process may not use; -ENOMEM. The
 * calling thread's affinity mask counts. Any thread; reads files, so not in a task that others wait for. */
WEFT_API WEFT_NODISCARD int weft_plan_create(weft_plan **out, const weft_options *options);
/* Free a plan of weft_plan_create. NULL is allowed. */
WEFT_API void weft_plan_release(weft_plan *plan);
/* The plan of a runtime. Borrowed: it lives as long as the runtime. Any thread. */
WEFT_API const weft_plan *weft_runtime_plan(const weft_runtime *rt);

/* The functions below may be called by any thread and never suspend. A struct's `size` is set by the caller to its sizeof. */

typedef struct weft_plan_info {
    size_t size;
    unsigned workers, pin, spread; /* as decided; pin is never WEFT_PIN_DEFAULT */
    unsigned allowed;              /* CPUs that this process may use */
    unsigned cores, caches, packages,
        kinds;      /* different ones among these (caches: shared, of the last level); 0: not known */
    unsigned nodes; /* NUMA nodes that are known, with CPUs of this process or without */
    double quota;   /* CPUs' worth of time that the cgroups leave; 0: no limit */
    bool here;      /* it is the machine that runs us, not one that was described */
} weft_plan_info;
/* 0 or -EINVAL (size). */
WEFT_API int weft_plan_read(const weft_plan *plan, weft_plan_info *out);

typedef struct weft_plan_worker {
    size_t size;
    int cpu;       /* the one CPU it is pinned to; -1: none */
    unsigned cpus; /* CPUs it may run on */
    int node;      /* the NUMA node of its memory, as the kernel numbers it; -1: unknown */
    int core,
        package; /* what all its CPUs have in common: numbers that are good for comparing only; -1: several, or unknown */
    int cache;   /* the same of the last shared cache */
    int kind;    /* of core: the higher, the faster; 0 where all are alike, or where it may run on several kinds */
    unsigned smt; /* pinned to one CPU: so many allowed CPUs of the same core come before it */
} weft_plan_worker;
/* 0 or -EINVAL (size, no such worker). */
WEFT_API int weft_plan_read_worker(const weft_plan *plan, unsigned worker, weft_plan_worker *out);
/* The CPUs a worker may run on, in ascending order: at most n go to cpus. Returns their number, or -EINVAL. */
WEFT_API long weft_plan_cpus(const weft_plan *plan, unsigned worker, int cpus[], size_t n);

typedef struct weft_plan_victim {
    size_t size;
    unsigned worker, tier;       /* within a tier a thief's order is drawn anew each time */
    enum weft_distance distance; /* tiers of WEFT_NEAR_PACKAGE and WEFT_FAR are told apart by the nodes' distances */
} weft_plan_victim;
/* The k-th of the other workers in the order in which this one asks them for work, nearest first. 0, or -EINVAL: size, or there is none. */
WEFT_API int weft_plan_read_victim(const weft_plan *plan, unsigned worker, unsigned k, weft_plan_victim *out);

typedef struct weft_plan_node {
    size_t size;
    int node;         /* the kernel's number */
    unsigned cpus;    /* of this process */
    unsigned workers; /* whose memory lies there */
    uint64_t memory;  /* bytes; 0: none, or not told */
} weft_plan_node;
/* The index-th node. 0 or -EINVAL (size, no such index). */
WEFT_API int weft_plan_read_node(const weft_plan *plan, unsigned index, weft_plan_node *out);
/* The latency from one node (an index) to another, as firmware or a measurement tells it (10: to itself, mostly); 0: not known. */
WEFT_API unsigned weft_plan_latency(const weft_plan *plan, unsigned from, unsigned to);

/* Write the plan to a file descriptor, as text for people or as one JSON object (its fields: docs/topology.md). 0 or -errno. Blocks on the
 * descriptor. */
WEFT_API int weft_plan_print(const weft_plan *plan, int fd);
WEFT_API int weft_plan_print_json(const weft_plan *plan, int fd);

/* ---- what the kernel says --------------------------------------------------------------------------------------- */

typedef struct weft_memory {
    size_t size;
    const char *
        what; /* "worker", "queues", "stacks" of a worker; "tasks", "larger tasks", "largest tasks", "blocks", "large blocks" of a node */
    unsigned worker;                            /* UINT32_MAX: of a node, not of a worker */
    int node;                                   /* where it is to lie; -1: anywhere */
    uint64_t pages, home, elsewhere, untouched; /* its pages; of these on that node, on another one, on none yet */
} weft_memory;
/* Ask the kernel where the runtime's memory is, and call `visit` for each kind and worker. 0, or the negative errno of a kernel that does not
 * tell (-ENOSYS, -EPERM). Only in at_end, or while all workers sleep. */
WEFT_API int weft_memory_check(weft_runtime *rt, void (*visit)(void *user, const weft_memory *m), void *user);

WEFT_END_DECLS

#endif
