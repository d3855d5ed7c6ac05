/* SPDX-License-Identifier: Apache-2.0 */
/* executor/topology.c -- which CPUs this process may use, and a plan that puts W workers on them.
 *
 * The CPUs are what executor/machine.h finds: affinity mask and cpuset. The cgroup's CPU quota, rounded up, limits
 * only the default number of workers.
 *
 * Pinning, when the program says nothing (WEFT_PIN_DEFAULT): each worker to its NUMA node if there are as many workers
 * as allowed CPUs and no quota below that number; otherwise not at all. To one CPU each would be worse wherever anything
 * else runs: a worker that shares its CPU with a busy client or neighbour cannot move to an idle one, and as leader of
 * the collecting it holds up the others (measured with a load generator on the same two CPUs: two thirds of the
 * requests). With fewer workers than CPUs nothing is chosen: two containers of one host, which see the same mask, would
 * choose the same. A quota below the mask means the same: others are expected here. A program that has its CPUs to
 * itself says WEFT_PIN_CORE.
 *
 * Places. A second CPU of a core (SMT) is taken only when every core has a worker, fast cores come before slow ones. If not all of such a
 * class are needed they are spread evenly over the machine: 2 workers of 8 cores get the 1st and the 5th; or taken from the first on
 * (WEFT_SPREAD_COMPACT). Workers beyond the allowed CPUs start again from the first. WEFT_PIN_NODE goes to the same places and widens
 * each to the allowed CPUs of its node. With a list of CPUs (option `cpus`) that list is the machine, and its order the workers'.
 *
 * Distances. A worker knows its core, shared cache, node and package as far as all CPUs it may run on share them; two
 * workers are as near as the smallest thing that both know and share. A worker that may run anywhere on a machine of
 * two nodes is far from everybody, since the kernel may put it anywhere. Within a distance, victims on near nodes
 * come first, and then those that follow in worker order, so that not all thieves begin with worker 0.
 *
 * Invariants. 1. plan->workers >= 1, and each worker's victims are exactly all others. 2. A mask is never empty and
 * holds allowed CPUs only. 3. A plan is never changed once made: any thread may read it. 4. Where nothing is known of
 * the CPUs (or of a worker's node, with WEFT_PIN_NODE) nothing is pinned and all are far.
 *
 * A plan for a machine described in the environment (HWLOC_SYNTHETIC, HWLOC_XMLFILE: tests) cannot be carried out
 * here: weft__topology_pin then refuses with -ENODEV, where hwloc itself would do nothing and call it a success.
 *
 * Threads: planning in the thread that starts a runtime (its mask counts), weft__topology_pin in each worker. */
#define _GNU_SOURCE
#include "executor/topology.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "executor/numa.h"

static const struct weft__cpu unknown = {-1, -1, -1, -1, -1, -1, 0, 0};

static unsigned machine_workers(const struct weft__machine *m)
{
    unsigned workers = m->allowed < WEFT_MAX_WORKERS ? m->allowed : WEFT_MAX_WORKERS;
    if (m->quota > 0 && m->quota < (double)workers) {
        unsigned whole = (unsigned)m->quota;
        workers = whole < m->quota ? whole + 1 : whole;
    }
    return workers > 0 ? workers : 1;
}

static unsigned decide_pin(const struct weft__machine *m, unsigned workers, unsigned pin)
{
    if (m->cpus == 0)
        return WEFT_PIN_NONE;
    if (pin != WEFT_PIN_DEFAULT)
        return pin;
    bool own_all = workers == m->allowed && (m->quota <= 0 || m->quota >= (double)m->allowed);
    return own_all ? WEFT_PIN_NODE : WEFT_PIN_NONE;
}

/* The CPU for worker i of n: whole classes (first CPUs of the fastest cores, of slower ones, second CPUs of the fastest ...) as long as they are
 * needed wholly, the last class spread. */
static const struct weft__cpu *choose(const struct weft__machine *m, unsigned i, unsigned n, unsigned spread)
{
    i %= m->cpus;
    if (n > m->cpus)
        n = m->cpus;
    if (spread == WEFT_SPREAD_COMPACT)
        return &m->cpu[i];
    unsigned first = 0, size = 0;
    for (;;) {
        while (first + size < m->cpus && m->cpu[first + size].smt == m->cpu[first].smt &&
               m->cpu[first + size].kind == m->cpu[first].kind)
            size++;
        if (i < first + size || n <= first + size)
            break;
        first += size;
        size = 0;
    }
    if (i < first || n >= first + size)
        return &m->cpu[i];
    return &m->cpu[first + (uint64_t)(i - first) * size / (n - first)];
}

static int common(int a, int b)
{
    return a == b ? a : -1;
}

/* Widen a place by one more CPU. */
static void widen(struct weft__cpu *p, const struct weft__cpu *more)
{
    *p = (struct weft__cpu){
        .number = -1,
        .core = common(p->core, more->core),
        .cache = common(p->cache, more->cache),
        .node = common(p->node, more->node),
        .package = common(p->package, more->package),
        .home = common(p->home, more->home),
        .kind = p->kind == more->kind ? p->kind : 0,
    };
}

/* Decide where worker i may run: its mask if it is to be pinned, and what is common to its CPUs. */
static void place_worker(struct weft_plan *plan, const int *listed, size_t count, unsigned i, cpu_set_t *mask)
{
    const struct weft__machine *m = &plan->machine;
    struct weft__plan_worker *w = &plan->worker[i];
    w->place = unknown;
    w->cpus = m->allowed;
    if (m->cpus > 0) {
        const struct weft__cpu *chosen = NULL;
        for (unsigned k = 0; listed && k < m->cpus; k++)
            if (m->cpu[k].number == listed[i % count])
                chosen = &m->cpu[k];
        if (!chosen)
            chosen = choose(m, i, plan->workers, plan->spread);
        bool one = plan->pin == WEFT_PIN_CORE, node = plan->pin == WEFT_PIN_NODE && chosen->node >= 0;
        w->place = *chosen;
        w->cpus = 0;
        for (unsigned k = 0; k < m->cpus; k++) {
            const struct weft__cpu *other = &m->cpu[k];
            if (one ? other != chosen : node && other->node != chosen->node)
                continue;
            if (!one)
                widen(&w->place, other);
            CPU_SET_S((unsigned)other->number, plan->mask_size, mask);
            w->cpus++;
        }
        w->cpuset = one || node ? mask : NULL;
    }
    w->cpu = w->place.number;
    w->node = w->place.home;
    w->home = -1;
    for (unsigned k = 0; k < plan->homes; k++)
        if (plan->home[k] == w->node)
            w->home = (int)k;
    if (w->home < 0 && w->node >= 0) {
        w->home = (int)plan->homes;
        plan->home[plan->homes++] = w->node;
    }
}

static enum weft_distance distance(const struct weft__cpu *a, const struct weft__cpu *b)
{
    if ((a->core >= 0 && a->core == b->core) || (a->number >= 0 && a->number == b->number))
        return WEFT_NEAR_SMT;
    if (a->cache >= 0 && a->cache == b->cache)
        return WEFT_NEAR_CACHE;
    bool apart = a->package >= 0 && b->package >= 0 && a->package != b->package;
    if (a->node >= 0 && a->node == b->node &&
        !apart) /* firmware that interleaves memory makes one node of several packages */
        return WEFT_NEAR_NODE;
    if (a->package >= 0 && a->package == b->package)
        return WEFT_NEAR_PACKAGE;
    return WEFT_FAR;
}

/* How far each node is from each other one, as seen from the first: 0, 1, 2 ... with equal ones equal. */
static uint16_t *rank_nodes(const struct weft__machine *m)
{
    uint16_t *rank = calloc((size_t)m->nodes * m->nodes + 1, sizeof(*rank));
    for (unsigned i = 0; rank && i < m->nodes; i++) {
        const uint64_t *row = m->remoteness + (size_t)i * m->nodes;
        uint64_t below = 0; /* those nearer than this one, or as near, have their rank */
        unsigned done = 0;
        for (unsigned next = 0; done < m->nodes; next++) {
            uint64_t least = UINT64_MAX;
            for (unsigned j = 0; j < m->nodes; j++)
                if ((next == 0 || row[j] > below) && row[j] < least)
                    least = row[j];
            for (unsigned j = 0; j < m->nodes; j++)
                if (row[j] == least) {
                    rank[(size_t)i * m->nodes + j] = (uint16_t)next;
                    done++;
                }
            below = least;
        }
    }
    return rank;
}

struct sorter {
    uint16_t *rank, *class; /* of nodes; of the victims of one worker */
    uint32_t *count;        /* of victims of each class */
    unsigned classes;
};

/* All other workers, nearest first: by distance, then by the remoteness of the node, then by steps around the ring of workers. There are few
 * distances and nodes, so they are counted, not compared: a thousand workers have a million pairs. */
static void sort_victims(struct weft_plan *plan, struct sorter *s, unsigned i)
{
    struct weft__plan_worker *w = &plan->worker[i];
    const struct weft__cpu *own = &w->place;
    unsigned n = plan->workers, nodes = plan->machine.nodes;
    memset(s->count, 0, (s->classes + 1) * sizeof(*s->count));
    for (unsigned step = 1, j = i; step < n; step++) {
        j = j + 1 < n ? j + 1 : 0;
        unsigned remote = nodes + 1; /* an unknown node is farther than any */
        const struct weft__cpu *other = &plan->worker[j].place;
        if (own->node >= 0 && other->node >= 0)
            remote = s->rank[(size_t)own->node * nodes + (unsigned)other->node];
        s->class[step] = (uint16_t)((unsigned)distance(own, other) * (nodes + 2) + remote);
        s->count[s->class[step] + 1]++;
    }
    for (unsigned c = 0, tier = 0, at = 0; c < s->classes; c++) {
        unsigned size = s->count[c + 1];
        memset(w->tier + at, (int)tier, size);
        memset(w->distance + at, (int)(c / (nodes + 2)), size);
        s->count[c] = at;
        at += size;
        if (c / (nodes + 2) <= WEFT_NEAR_NODE && (c % (nodes + 2) == 0 || c % (nodes + 2) == nodes + 1))
            w->near = at; /* a cache may be shared by two nodes */
        tier += size != 0 && tier < UINT8_MAX;
    }
    for (unsigned step = 1, j = i; step < n; step++) {
        j = j + 1 < n ? j + 1 : 0;
        w->victims[s->count[s->class[step]]++] = (uint16_t)j;
    }
}

static int sort_all(struct weft_plan *plan)
{
    struct sorter s = {.classes = WEFT_DISTANCES * (plan->machine.nodes + 2)};
    s.rank = rank_nodes(&plan->machine);
    s.class = calloc(plan->workers, sizeof(*s.class));
    s.count = calloc(s.classes + 1, sizeof(*s.count));
    int rc = s.rank && s.class && s.count ? 0 : -ENOMEM;
    for (unsigned i = 0; rc == 0 && i < plan->workers; i++)
        sort_victims(plan, &s, i);
    free(s.rank);
    free(s.class);
    free(s.count);
    return rc;
}

/* Leave only the CPUs that are listed. -EINVAL: one is not there. */
static int keep_listed(struct weft__machine *m, const int *listed, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (unsigned k = 0; k < m->cpus && !found; k++)
            found = m->cpu[k].number == listed[i];
        if (!found)
            return -EINVAL;
    }
    unsigned kept = 0;
    for (unsigned k = 0; k < m->cpus; k++) {
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = m->cpu[k].number == listed[i];
        if (found)
            m->cpu[kept++] = m->cpu[k];
    }
    m->cpus = kept;
    return 0;
}

/* Takes over what *m points to, unless it fails. */
static int plan_make(struct weft__machine *m, const weft_options *o, struct weft_plan **out)
{
    unsigned workers = o->workers, pin = o->pin;
    if (o->cpus) {
        int rc = keep_listed(m, o->cpus, o->cpu_count);
        if (rc < 0)
            return rc;
        if (workers == 0)
            workers = o->cpu_count < WEFT_MAX_WORKERS ? (unsigned)o->cpu_count : WEFT_MAX_WORKERS;
        pin = pin == WEFT_PIN_DEFAULT ? WEFT_PIN_CORE : pin;
    }
    if (workers == 0)
        workers = machine_workers(m);
    size_t mask_size = CPU_ALLOC_SIZE(m->highest + 1), others = workers - 1;
    size_t each = sizeof(struct weft__plan_worker) + mask_size + others * 4 + sizeof(int);
    struct weft_plan *plan = calloc(1, sizeof(*plan) + workers * each);
    if (!plan)
        return -ENOMEM;
    plan->workers = workers;
    plan->pin = decide_pin(m, workers, pin);
    plan->spread = o->spread;
    plan->allowed = m->allowed;
    plan->quota = m->quota;
    plan->mask_size = mask_size;
    plan->machine = *m;
    char *masks = (char *)(plan->worker + workers);
    plan->home = (int *)(void *)(masks + workers * mask_size);
    uint16_t *victims = (uint16_t *)(void *)(plan->home + workers);
    uint8_t *distances = (uint8_t *)(victims + workers * others), *tiers = distances + workers * others;
    for (unsigned i = 0; i < workers; i++) {
        plan->worker[i].victims = victims + i * others;
        plan->worker[i].distance = distances + i * others;
        plan->worker[i].tier = tiers + i * others;
        place_worker(plan, o->cpus, o->cpu_count, i, (cpu_set_t *)(void *)(masks + i * mask_size));
    }
    int rc = sort_all(plan);
    if (rc < 0)
        free(plan);
    else
        *out = plan;
    return rc;
}

int weft__topology_plan(const char *root, const weft_options *options, struct weft_plan **out)
{
    const weft_options *o = options;
    if (o->workers > WEFT_MAX_WORKERS || o->pin > WEFT_PIN_CORE || o->spread > WEFT_SPREAD_COMPACT ||
        (o->cpus != NULL) != (o->cpu_count != 0) || (o->cpus && o->pin == WEFT_PIN_NONE))
        return -EINVAL;
    struct weft__machine m;
    int rc = weft__machine_read(&m, root);
    if (rc < 0)
        return rc;
    rc = plan_make(&m, o, out);
    if (rc < 0)
        weft__machine_free(&m);
    return rc;
}

int weft_plan_create(weft_plan **out, const weft_options *options)
{
    weft_options copy = {.size = sizeof(copy)};
    if (options) {
        if (options->size < sizeof(options->size) || options->size > sizeof(copy))
            return -EINVAL;
        memcpy(&copy, options, options->size);
    }
    return weft__topology_plan("", &copy, out);
}

void weft_plan_release(weft_plan *plan)
{
    if (!plan)
        return;
    weft__machine_free(&plan->machine);
    free(plan);
}

unsigned weft__topology_default_workers(void)
{
    struct weft__machine m;
    if (weft__machine_read(&m, "") < 0)
        return 1;
    unsigned workers = machine_workers(&m);
    weft__machine_free(&m);
    return workers;
}

/* ---- pinning ---- */

/* Does `mask` hold exactly the CPUs that worker w was given? Is it on one of them now? */
static int check_pin(const struct weft_plan *plan, const struct weft__plan_worker *w, const cpu_set_t *mask,
                     size_t size)
{
    if ((unsigned)CPU_COUNT_S(size, mask) != w->cpus)
        return -EXDEV;
    for (unsigned cpu = 0; cpu < plan->mask_size * 8; cpu++)
        if (CPU_ISSET_S(cpu, plan->mask_size, (const cpu_set_t *)w->cpuset) && !CPU_ISSET_S(cpu, size, mask))
            return -EXDEV;
    int now = sched_getcpu();
    return now < 0 ? -errno : CPU_ISSET_S((unsigned)now, plan->mask_size, (const cpu_set_t *)w->cpuset) ? 0 : -EXDEV;
}

int weft__topology_pin(const struct weft_plan *plan, unsigned worker, struct weft_place *place)
{
    const struct weft__plan_worker *w = &plan->worker[worker];
    int rc = 0, read = 0;
    if (w->cpuset)
        rc = !plan->machine.here ? -ENODEV : sched_setaffinity(0, plan->mask_size, w->cpuset) == 0 ? 0 : -errno;
    *place = (struct weft_place){.cpu = -1, .node = w->cpuset && rc < 0 ? -1 : w->node};
    size_t size = 0;
    cpu_set_t *mask = weft__machine_own_mask(&size, &read);
    if (!mask)
        return rc < 0 ? rc : w->cpuset ? read : 0;
    place->cpus = (unsigned)CPU_COUNT_S(size, mask);
    if (w->cpuset && rc == 0) {
        rc = check_pin(plan, w, mask, size);
        place->pinned = rc == 0;
        if (rc == 0)
            place->cpu = w->cpu;
        else
            place->node = -1;
    }
    CPU_FREE(mask);
    return rc;
}

void weft__topology_leave(const struct weft_plan *plan)
{
    if (!plan->machine.here || plan->pin == WEFT_PIN_NONE)
        return;
    cpu_set_t *all = CPU_ALLOC(plan->machine.highest + 1);
    if (!all)
        return;
    CPU_ZERO_S(plan->mask_size, all);
    for (unsigned k = 0; k < plan->machine.cpus; k++)
        CPU_SET_S((unsigned)plan->machine.cpu[k].number, plan->mask_size, all);
    (void)sched_setaffinity(0, plan->mask_size, all); /* else it stays where its creator was */
    CPU_FREE(all);
    weft__numa_prefer(-1);
}
