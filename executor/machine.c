/* SPDX-License-Identifier: Apache-2.0 */
/* executor/machine.c -- reads the machine: the only file that knows hwloc.
 *
 * The CPUs are the calling thread's affinity mask (the kernel has already cut the cpuset and what is offline from
 * it), and of these the ones that hwloc knows and finds allowed. hwloc is loaded once; what is kept of it is plain
 * numbers.
 *
 * Kinds. Where cores are not all alike (P and E cores, big and little) hwloc ranks them; where it can't tell, they are alike.
 *
 * Nodes. A CPU's node is the smallest NUMA node around it. Its home, where its memory should lie, is that node if it
 * has memory, else the nearest that has. CPUs around which hwloc sees no node (it has no memory, or their cpuset forbids that) have the
 * kernel's (sysfs.c), behind those of hwloc; where even that is not told they have an unknown home. Numbering may have holes, nodes may
 * have no CPU. Nearness is hwloc's latency matrix, else the depth of the common ancestor.
 *
 * Invariants. 1. allowed >= 1. 2. cpus is 0 (hwloc failed, or knows none of the CPUs in the mask) or equal to
 * allowed. 3. With HWLOC_SYNTHETIC or HWLOC_XMLFILE in the environment (tests) it is that machine which is described,
 * all of it, without this one's mask and quota, and `here` is false.
 *
 * Any thread: its own mask counts. Allocates and reads files. */
#define _GNU_SOURCE
#include "executor/machine.h"

#include <errno.h>
#include <hwloc.h>
#include <sched.h>
#include <stdlib.h>

#include "executor/cgroup.h"
#include "executor/fork.h"
#include "executor/sysfs.h"

#define MOST_CPUS 65536u /* CPU numbers from here on are left alone */

static const struct weft__cpu unknown = {-1, -1, -1, -1, -1, -1, 0, 0};

void *weft__machine_own_mask(size_t *size, int *rc)
{
    for (unsigned cpus = CPU_SETSIZE; cpus <= MOST_CPUS; cpus *= 2) {
        cpu_set_t *mask = CPU_ALLOC(cpus);
        if (!mask) {
            *rc = -ENOMEM;
            return NULL;
        }
        *size = CPU_ALLOC_SIZE(cpus);
        CPU_ZERO_S(*size, mask);
        if (sched_getaffinity(0, *size, mask) == 0)
            return mask;
        *rc = -errno;
        CPU_FREE(mask);
        if (*rc != -EINVAL) /* EINVAL: the kernel's own mask is longer */
            return NULL;
    }
    return NULL;
}

static int ancestor(hwloc_obj_t cpu, hwloc_obj_type_t type)
{
    for (hwloc_obj_t o = cpu; o; o = o->parent)
        if (o->type == type)
            return (int)o->logical_index;
    return -1;
}

/* Between nodes that hwloc knows: its latency matrix, and before that the depth of the common ancestor. */
static void compare_nodes(struct weft__machine *m, hwloc_topology_t topology, unsigned known)
{
    for (unsigned i = 0; i < known; i++)
        for (unsigned j = 0; j < known; j++) {
            hwloc_obj_t a = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);
            hwloc_obj_t b = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, j);
            while (hwloc_obj_type_is_memory(a->type))
                a = a->parent;
            while (hwloc_obj_type_is_memory(b->type))
                b = b->parent;
            hwloc_obj_t common = hwloc_get_common_ancestor_obj(topology, a, b);
            m->remoteness[i * m->nodes + j] = 255 - (uint64_t)(common->depth & 127);
        }
    struct hwloc_distances_s *d;
    unsigned matrices = 1;
    if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &matrices, &d, HWLOC_DISTANCES_KIND_MEANS_LATENCY,
                                    0) != 0 ||
        matrices == 0)
        return;
    for (unsigned i = 0; i < d->nbobjs; i++)
        for (unsigned j = 0; j < d->nbobjs; j++)
            if (d->objs[i] && d->objs[j])
                m->latency[d->objs[i]->logical_index * m->nodes + d->objs[j]->logical_index] =
                    (uint32_t)d->values[i * d->nbobjs + j];
    hwloc_distances_release(topology, d);
}

/* How far all nodes are from each other. */
static void fill_remoteness(struct weft__machine *m, hwloc_topology_t topology, const char *root, unsigned known)
{
    compare_nodes(m, topology, known);
    for (unsigned i = 0; i < m->nodes; i++)
        for (unsigned j = 0; j < m->nodes; j++) {
            size_t at = (size_t)i * m->nodes + j;
            if (i >= known || j >= known) {
                m->latency[at] = weft__sysfs_distance(root, m->node[i].number, m->node[j].number);
                m->remoteness[at] = m->latency[at] != 0 ? 255 : UINT64_C(1) << 40;
            }
            m->remoteness[at] = i == j ? 0 : m->remoteness[at] + ((uint64_t)m->latency[at] << 8); /* less than 2^41 */
        }
}

/* The smallest node around a CPU (logical number), -1: none. */
static int node_around(hwloc_topology_t topology, unsigned known, unsigned cpu)
{
    int best = -1, best_weight = 0;
    for (unsigned i = 0; i < known; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);
        if (!hwloc_bitmap_isset(node->cpuset, cpu))
            continue;
        int weight = hwloc_bitmap_weight(node->cpuset);
        if (best < 0 || weight < best_weight) {
            best = (int)i;
            best_weight = weight;
        }
    }
    return best;
}

/* A node that only the kernel knows: its index, added if need be; -1: unknown, -ENOMEM. */
static int node_of_kernel(struct weft__machine *m, const char *root, int cpu)
{
    int number = m->here ? weft__sysfs_node_of_cpu(root, cpu) : -1;
    if (number < 0)
        return -1;
    for (unsigned i = 0; i < m->nodes; i++)
        if (m->node[i].number == number)
            return (int)i;
    struct weft__node *grown = realloc(m->node, (m->nodes + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    m->node = grown;
    m->node[m->nodes] = (struct weft__node){.number = number};
    return (int)m->nodes++;
}

/* The kernel's number of the node where memory for CPUs of `node` should lie. */
static int node_with_memory(const struct weft__machine *m, unsigned node, unsigned known)
{
    const uint64_t *row = m->remoteness + (size_t)node * m->nodes;
    uint64_t nearest = UINT64_MAX;
    int home = node < known ? m->node[node].number : -1; /* itself when no node tells of memory */
    for (unsigned i = 0; i < known; i++)
        if (m->node[i].memory > 0 && row[i] < nearest) {
            nearest = row[i];
            home = m->node[i].number;
        }
    return home;
}

/* Its home is found when all nodes are known. 0 or -ENOMEM. */
static int add_cpu(struct weft__machine *m, hwloc_topology_t topology, const char *root, unsigned known,
                   hwloc_obj_t cpu)
{
    struct weft__cpu *p = &m->cpu[m->cpus];
    *p = unknown;
    p->number = (int)cpu->os_index;
    p->core = ancestor(cpu, HWLOC_OBJ_CORE);
    p->package = ancestor(cpu, HWLOC_OBJ_PACKAGE);
    int l3 = ancestor(cpu, HWLOC_OBJ_L3CACHE), l2 = ancestor(cpu, HWLOC_OBJ_L2CACHE);
    p->cache = l3 >= 0 ? l3 * 2 : l2 >= 0 ? l2 * 2 + 1 : -1; /* a machine may have both kinds: numbers must not meet */
    p->node = node_around(topology, known, cpu->os_index);
    if (p->node < 0)
        p->node = node_of_kernel(m, root, p->number);
    if (p->node < -1)
        return p->node;
    if (p->node >= 0)
        m->node[p->node].cpus++;
    if (m->cpus > 0 && p->core >= 0 && p[-1].core == p->core)
        p->smt = p[-1].smt + 1;
    int kind = hwloc_cpukinds_get_by_cpuset(topology, cpu->cpuset, 0), efficiency = -1;
    if (kind >= 0 && hwloc_cpukinds_get_info(topology, (unsigned)kind, NULL, &efficiency, NULL, NULL, 0) == 0 &&
        efficiency > 0)
        p->kind = efficiency;
    if (m->highest < cpu->os_index)
        m->highest = cpu->os_index;
    m->cpus++;
    return 0;
}

/* The first ones of all cores, then the second ones, and so on; of each, those of the fastest cores first. */
static int order_cpus(struct weft__machine *m)
{
    struct weft__cpu *ordered = calloc(m->cpus + 1, sizeof(*ordered));
    if (!ordered)
        return -ENOMEM;
    int fastest = 0;
    for (unsigned i = 0; i < m->cpus; i++)
        fastest = m->cpu[i].kind > fastest ? m->cpu[i].kind : fastest;
    unsigned done = 0;
    for (unsigned smt = 0; done < m->cpus; smt++)
        for (int kind = fastest; kind >= 0; kind--)
            for (unsigned i = 0; i < m->cpus; i++)
                if (m->cpu[i].smt == smt && m->cpu[i].kind == kind)
                    ordered[done++] = m->cpu[i];
    free(m->cpu);
    m->cpu = ordered;
    return 0;
}

/* How many different values a field has. The CPUs are in hwloc's order, where equal ones are neighbours: but not those of kinds. */
static unsigned different(const struct weft__machine *m, size_t field, bool sorted)
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->cpus; i++) {
        int value = *(const int *)(const void *)((const char *)&m->cpu[i] + field);
        bool seen = value < 0;
        for (unsigned j = sorted && i > 0 ? i - 1 : 0; j < i && !seen; j++)
            seen = *(const int *)(const void *)((const char *)&m->cpu[j] + field) == value;
        n += !seen;
    }
    return n;
}

static int read_nodes(struct weft__machine *m, hwloc_topology_t topology)
{
    int nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    m->nodes = nodes > 0 ? (unsigned)nodes : 0;
    m->node = calloc((size_t)m->nodes + 1, sizeof(*m->node));
    if (!m->node)
        return -ENOMEM;
    for (unsigned i = 0; i < m->nodes; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);
        m->node[i] = (struct weft__node){.number = (int)node->os_index, .memory = node->attr->numanode.local_memory};
    }
    return 0;
}

/* What hwloc sees of the CPUs in `mask` (NULL: of all). */
static int read_cpus(struct weft__machine *m, hwloc_topology_t topology, const char *root, const cpu_set_t *mask,
                     size_t size)
{
    int cpus = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU), rc = read_nodes(m, topology);
    m->cpu = calloc((size_t)cpus + 1, sizeof(*m->cpu));
    if (rc < 0 || !m->cpu)
        return -ENOMEM;
    unsigned known = m->nodes;
    hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(topology);
    for (int i = 0; rc == 0 && i < cpus; i++) {
        hwloc_obj_t cpu = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, (unsigned)i);
        if (cpu->os_index < MOST_CPUS && hwloc_bitmap_isset(allowed, cpu->os_index) &&
            (!mask || CPU_ISSET_S(cpu->os_index, size, mask)))
            rc = add_cpu(m, topology, root, known, cpu);
    }
    m->remoteness = calloc((size_t)m->nodes * m->nodes + 1, sizeof(*m->remoteness));
    m->latency = calloc((size_t)m->nodes * m->nodes + 1, sizeof(*m->latency));
    int *home = calloc(m->nodes + 1, sizeof(*home));
    if (rc == 0 && m->remoteness && m->latency && home) {
        fill_remoteness(m, topology, root, known);
        for (unsigned i = 0; i < m->nodes; i++)
            home[i] = node_with_memory(m, i, known);
        for (unsigned i = 0; i < m->cpus; i++)
            m->cpu[i].home = m->cpu[i].node >= 0 ? home[m->cpu[i].node] : -1;
        m->cores = different(m, offsetof(struct weft__cpu, core), true);
        m->caches = different(m, offsetof(struct weft__cpu, cache), true);
        if (m->caches >= m->cores)
            m->caches = 0; /* nobody shares one */
        m->packages = different(m, offsetof(struct weft__cpu, package), true);
        m->kinds = different(m, offsetof(struct weft__cpu, kind), false);
        rc = order_cpus(m);
    } else {
        rc = -ENOMEM;
    }
    free(home);
    return rc;
}

void weft__machine_free(struct weft__machine *m)
{
    free(m->cpu);
    free(m->node);
    free(m->remoteness);
    free(m->latency);
}

int weft__machine_read(struct weft__machine *m, const char *root)
{
    *m = (struct weft__machine){.here = true};
    hwloc_topology_t topology;
    bool loaded = false;
    weft__fork_hold(); /* it has locks of its own, which a forked child would find taken */
    if (hwloc_topology_init(&topology) == 0) {
        /* Never by moving this thread from CPU to CPU: an affinity set from outside meanwhile would be lost. */
        (void)hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING);
        loaded = hwloc_topology_load(topology) == 0;
        if (!loaded)
            hwloc_topology_destroy(topology);
    }
    if (loaded)
        m->here = hwloc_topology_is_thissystem(topology) != 0;
    int rc = 0;
    size_t size = 0;
    cpu_set_t *mask = m->here ? weft__machine_own_mask(&size, &rc) : NULL;
    if (m->here)
        m->quota = weft__cgroup_quota(root);
    if (rc != -ENOMEM) /* a mask that may not be read (a sandbox) leaves what hwloc finds allowed */
        rc = loaded ? read_cpus(m, topology, root, mask, size) : 0;
    m->allowed = m->cpus > 0 ? m->cpus : mask ? (unsigned)CPU_COUNT_S(size, mask) : 1;
    if (mask)
        CPU_FREE(mask);
    if (loaded)
        hwloc_topology_destroy(topology);
    weft__fork_let_go();
    if (rc < 0)
        weft__machine_free(m);
    return rc;
}
