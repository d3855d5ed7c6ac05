/* SPDX-License-Identifier: Apache-2.0 */
/* The CPUs of this process as hwloc tells them, and runtimes on some of them.
 *
 * A runtime is confined by the affinity mask of the thread that starts it, which weft obeys; WEFT_PIN_CORE then puts one worker on each CPU.
 * Options that a weft may not have yet are asked for here only: WB_HAS_STEALING (weft_options.stealing), WB_HAS_WHERE
 * (weft_task_options.where); bench/CMakeLists.txt looks for them in the headers. */
#define _GNU_SOURCE
#include "place.h"

#include <errno.h>
#include <hwloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <weft/task.h>

#ifndef WB_HAS_STEALING
#define WB_HAS_STEALING 0
#endif
#ifndef WB_HAS_WHERE
#define WB_HAS_WHERE 0
#endif

enum { MOST_CPUS = 1 << 16, STRIDE = 1 << 20 };

/* ---- the machine ---- */

static int ancestor(hwloc_topology_t topology, hwloc_obj_t pu, hwloc_obj_type_t type)
{
    hwloc_obj_t o = hwloc_get_ancestor_obj_by_type(topology, type, pu);
    return o != NULL ? (int)o->logical_index : -1;
}

/* The outermost cache above a PU. */
static hwloc_obj_t last_cache(hwloc_obj_t pu)
{
    hwloc_obj_t found = NULL;
    for (hwloc_obj_t o = pu->parent; o != NULL; o = o->parent) {
        if (hwloc_obj_type_is_dcache(o->type))
            found = o;
    }
    return found;
}

static int node_of(hwloc_topology_t topology, hwloc_obj_t pu)
{
    hwloc_obj_t found = NULL, o = NULL;
    while ((o = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, o)) != NULL) {
        if (hwloc_bitmap_isset(o->cpuset, pu->os_index) &&
            (found == NULL || hwloc_bitmap_weight(o->cpuset) < hwloc_bitmap_weight(found->cpuset)))
            found = o;
    }
    return found != NULL ? (int)found->os_index : -1;
}

static unsigned different(const struct wb__machine *m, size_t field)
{
    unsigned n = 0;
    for (size_t i = 0; i < m->cpus; i++) {
        int value = *(const int *)((const char *)&m->cpu[i] + field);
        size_t j = 0;
        while (j < i && *(const int *)((const char *)&m->cpu[j] + field) != value)
            j++;
        n += j == i && value >= 0;
    }
    return n;
}

static int read_cpus(struct wb__machine *m, hwloc_topology_t topology, const struct wb__mask *mask)
{
    int found = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
    m->cpu = calloc((size_t)(found > 0 ? found : 1), sizeof *m->cpu);
    if (m->cpu == NULL)
        return -ENOMEM;
    hwloc_obj_t pu = NULL;
    while ((pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) != NULL) {
        if (!CPU_ISSET_S(pu->os_index, mask->size, (cpu_set_t *)mask->set))
            continue;
        struct wb__cpu *c = &m->cpu[m->cpus++];
        hwloc_obj_t cache = last_cache(pu);
        *c = (struct wb__cpu){.cpu = (int)pu->os_index,
                              .core = ancestor(topology, pu, HWLOC_OBJ_CORE),
                              .cache = cache != NULL ? (int)cache->logical_index + STRIDE * (int)cache->depth : -1,
                              .node = node_of(topology, pu),
                              .package = ancestor(topology, pu, HWLOC_OBJ_PACKAGE)};
        for (struct wb__cpu *o = m->cpu; o < c; o++)
            c->smt += c->core >= 0 && o->core == c->core;
        if (cache != NULL && cache->attr->cache.size > m->last_cache)
            m->last_cache = cache->attr->cache.size;
    }
    m->cores = different(m, offsetof(struct wb__cpu, core));
    m->caches = different(m, offsetof(struct wb__cpu, cache));
    m->packages = different(m, offsetof(struct wb__cpu, package));
    return m->cpus > 0 ? 0 : -EIO;
}

static int read_nodes(struct wb__machine *m, hwloc_topology_t topology)
{
    int found = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    m->node = calloc((size_t)(found > 0 ? found : 1), sizeof *m->node);
    if (m->node == NULL)
        return -ENOMEM;
    hwloc_obj_t o = NULL;
    while ((o = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, o)) != NULL) {
        struct wb__node *n = &m->node[m->nodes++];
        n->node = (int)o->os_index;
        n->memory = o->attr->numanode.local_memory;
        for (size_t i = 0; i < m->cpus; i++)
            n->cpus += m->cpu[i].node == n->node;
    }
    m->memory = hwloc_get_root_obj(topology)->total_memory;
    unsigned sets = 1;
    struct hwloc_distances_s *d = NULL;
    if (m->nodes > 1 &&
        hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &sets, &d, HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) ==
            0 &&
        sets > 0 && d != NULL) {
        m->distance = calloc(m->nodes * m->nodes, sizeof *m->distance);
        for (size_t i = 0; m->distance != NULL && d->nbobjs == m->nodes && i < m->nodes * m->nodes; i++)
            m->distance[i] = d->values[i];
        hwloc_distances_release(topology, d);
    }
    return 0;
}

static int own_mask(struct wb__mask *mask)
{
    for (size_t cpus = 1024; cpus <= MOST_CPUS; cpus *= 2) {
        mask->size = CPU_ALLOC_SIZE(cpus);
        mask->set = CPU_ALLOC(cpus);
        if (mask->set == NULL)
            return -ENOMEM;
        CPU_ZERO_S(mask->size, (cpu_set_t *)mask->set);
        if (sched_getaffinity(0, mask->size, mask->set) == 0)
            return 0;
        int error = errno;
        CPU_FREE(mask->set);
        mask->set = NULL;
        if (error != EINVAL) /* EINVAL: the kernel's mask is longer */
            return -error;
    }
    return -EIO;
}

int wb__machine_read(struct wb__machine *m)
{
    memset(m, 0, sizeof *m);
    struct wb__mask mask;
    int rc = own_mask(&mask);
    if (rc != 0)
        return rc;
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) {
        CPU_FREE(mask.set);
        return -ENOMEM;
    }
    (void)hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    rc = hwloc_topology_load(topology) == 0 ? 0 : -EIO;
    if (rc == 0)
        rc = read_cpus(m, topology, &mask);
    if (rc == 0)
        rc = read_nodes(m, topology);
    for (int level = 1; rc == 0 && level <= 4; level++) {
        int depth = hwloc_get_cache_type_depth(topology, (unsigned)level, HWLOC_OBJ_CACHE_DATA);
        hwloc_obj_t o = depth >= 0 ? hwloc_get_obj_by_depth(topology, depth, 0) : NULL;
        m->cache_size[level] = o != NULL ? o->attr->cache.size : 0;
    }
    hwloc_topology_destroy(topology);
    CPU_FREE(mask.set);
    if (rc != 0)
        wb__machine_free(m);
    return rc;
}

void wb__machine_free(struct wb__machine *m)
{
    free(m->cpu);
    free(m->node);
    free(m->distance);
    memset(m, 0, sizeof *m);
}

enum weft_distance wb__distance(const struct wb__cpu *a, const struct wb__cpu *b)
{
    if (a->core >= 0 && a->core == b->core)
        return WEFT_NEAR_SMT;
    if (a->cache >= 0 && a->cache == b->cache)
        return WEFT_NEAR_CACHE;
    if (a->node >= 0 && a->node == b->node)
        return WEFT_NEAR_NODE;
    return a->package >= 0 && a->package == b->package ? WEFT_NEAR_PACKAGE : WEFT_FAR;
}

const char *wb__distance_name(enum weft_distance d)
{
    static const char *const names[] = {"same core", "shared cache", "same node", "same package", "other package"};
    return names[d];
}

/* ---- choosing ---- */

enum { LEVELS = 3 }; /* package, node, cache */

static bool same(const struct wb__cpu *a, const struct wb__cpu *b, int level)
{
    return level == 0 ? a->package == b->package : level == 1 ? a->node == b->node : a->cache == b->cache;
}

void wb__choose(const struct wb__machine *m, enum wb__spread spread, size_t n, size_t out[])
{
    struct candidate {
        bool taken;
        unsigned crowd[LEVELS]; /* how many of those chosen are in the same package, node, cache */
    } *candidate = calloc(m->cpus, sizeof *candidate);
    for (size_t k = 0; k < n; k++) {
        size_t best = m->cpus;
        for (size_t i = 0; candidate != NULL && i < m->cpus; i++) {
            if (candidate[i].taken)
                continue;
            bool better = best == m->cpus;
            if (!better && spread != WB_SIBLINGS && m->cpu[i].smt != m->cpu[best].smt)
                better = m->cpu[i].smt < m->cpu[best].smt;
            else if (!better && spread == WB_CORES) {
                int level = 0;
                while (level < LEVELS && candidate[i].crowd[level] == candidate[best].crowd[level])
                    level++;
                better = level < LEVELS && candidate[i].crowd[level] < candidate[best].crowd[level];
            } /* else the first, which is the neighbour */
            best = better ? i : best;
        }
        out[k] = best < m->cpus ? best : k;
        for (size_t i = 0; candidate != NULL && i < m->cpus; i++) {
            candidate[i].taken = candidate[i].taken || i == out[k];
            for (int level = 0; level < LEVELS; level++)
                candidate[i].crowd[level] += same(&m->cpu[i], &m->cpu[out[k]], level);
        }
    }
    free(candidate);
}

/* ---- running there ---- */

int wb__bind(const int cpus[], size_t n, struct wb__mask *before)
{
    int rc = own_mask(before);
    if (rc != 0)
        return rc;
    cpu_set_t *set = malloc(before->size);
    if (set == NULL)
        rc = -ENOMEM;
    else {
        CPU_ZERO_S(before->size, set);
        for (size_t i = 0; i < n; i++)
            CPU_SET_S((size_t)cpus[i], before->size, set);
        rc = sched_setaffinity(0, before->size, set) == 0 ? 0 : -errno;
    }
    free(set);
    if (rc != 0)
        CPU_FREE(before->set);
    return rc;
}

void wb__unbind(struct wb__mask *before)
{
    (void)sched_setaffinity(0, before->size, before->set);
    CPU_FREE(before->set);
}

weft_options wb__options(size_t workers)
{
    return (weft_options){
        .size = sizeof(weft_options), .workers = (unsigned)workers, .pin = WEFT_PIN_CORE, .slow_task = WEFT_FOREVER};
}

bool wb__steal_randomly(weft_options *o)
{
#if WB_HAS_STEALING
    o->stealing = WEFT_STEAL_RANDOM;
    return true;
#else
    (void)o;
    return false;
#endif
}

bool wb__can_place(void)
{
    return WB_HAS_WHERE;
}

weft_task_options wb__on_worker(unsigned worker)
{
#if WB_HAS_WHERE
    return (weft_task_options){.size = sizeof(weft_task_options), .where = WEFT_ON_WORKER(worker)};
#else
    (void)worker;
    return (weft_task_options){.size = sizeof(weft_task_options)};
#endif
}
