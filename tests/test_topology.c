/* SPDX-License-Identifier: Apache-2.0 */
/* test_topology.c -- plans for described machines are what executor/topology.c promises, and pins really hold on this
 * one. Machines come from hwloc's synthetic descriptions and from tests/topologies (hwloc reads them from the
 * environment). */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/topology.h"

enum {
    SMT = WEFT_NEAR_SMT,
    CACHE = WEFT_NEAR_CACHE,
    NODE = WEFT_NEAR_NODE,
    PACKAGE = WEFT_NEAR_PACKAGE,
    FAR = WEFT_FAR
};

static const char two_nodes[] = "pack:2 [numa] l3:1 core:4 pu:2"; /* 16 CPUs; siblings are 2i and 2i+1 */

/* What holds of every plan: each worker's victims are all others, nearest first; what is pinned has CPUs. */
static void check_plan(const struct weft_plan *plan)
{
    static bool seen[WEFT_MAX_WORKERS];
    assert_in_range(plan->workers, 1, WEFT_MAX_WORKERS);
    assert_true(plan->allowed >= 1);
    assert_in_range(plan->pin, WEFT_PIN_NONE, WEFT_PIN_CORE);
    for (unsigned i = 0; i < plan->workers; i++) {
        const struct weft__plan_worker *w = &plan->worker[i];
        unsigned wrong = 0;
        memset(seen, 0, sizeof seen);
        seen[i] = true;
        for (unsigned k = 0; k + 1 < plan->workers; k++) {
            wrong += w->victims[k] >= plan->workers || seen[w->victims[k]];
            wrong += w->distance[k] >= WEFT_DISTANCES || (k > 0 && w->distance[k] < w->distance[k - 1]);
            seen[w->victims[k] % WEFT_MAX_WORKERS] = true;
        }
        assert_int_equal(wrong, 0);
        assert_in_range(w->cpus, 1, plan->allowed);
        assert_int_equal(w->cpuset == NULL, plan->pin == WEFT_PIN_NONE || (plan->pin == WEFT_PIN_NODE && w->node < 0));
        assert_int_equal(w->cpu >= 0, plan->pin == WEFT_PIN_CORE);
    }
}

static struct weft_plan *plan_here(unsigned workers, unsigned pin)
{
    struct weft_plan *plan = NULL;
    assert_int_equal(weft__topology_plan("", WEFT_OPTIONS(.workers = workers, .pin = pin), &plan), 0);
    check_plan(plan);
    return plan;
}

static struct weft_plan *plan_on(const char *machine, unsigned workers, unsigned pin)
{
    setenv("HWLOC_SYNTHETIC", machine, 1);
    struct weft_plan *plan = plan_here(workers, pin);
    unsetenv("HWLOC_SYNTHETIC");
    return plan;
}

static struct weft_plan *plan_on_file(const char *name, unsigned workers, unsigned pin)
{
    char path[4096];
#ifdef WEFT_TEST_DIR
    const char *folder = WEFT_TEST_DIR, *end = folder + strlen(folder);
#else
    const char *folder = __FILE__, *end = strrchr(folder, '/');
#endif
    int length = end ? (int)(end - folder) : 0;
    snprintf(path, sizeof path, "%.*s/topologies/%s", length, length ? folder : ".", name);
    assert_int_equal(access(path, R_OK), 0);
    setenv("HWLOC_XMLFILE", path, 1);
    struct weft_plan *plan = plan_here(workers, pin);
    unsetenv("HWLOC_XMLFILE");
    return plan;
}

static void expect_cpus(const struct weft_plan *plan, unsigned n, const int *cpus)
{
    assert_int_equal(plan->workers, n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(plan->worker[i].cpu, cpus[i]);
}

static void expect_nodes(const struct weft_plan *plan, unsigned n, const int *nodes)
{
    assert_int_equal(plan->workers, n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(plan->worker[i].node, nodes[i]);
}

static void expect_victims(const struct weft_plan *plan, unsigned worker, const int *victims, const int *distances)
{
    for (unsigned k = 0; k + 1 < plan->workers; k++) {
        assert_int_equal(plan->worker[worker].victims[k], victims[k]);
        assert_int_equal(plan->worker[worker].distance[k], distances[k]);
    }
}

#define EXPECT_CPUS(plan, ...) expect_cpus(plan, sizeof((int[]){__VA_ARGS__}) / sizeof(int), (const int[]){__VA_ARGS__})
#define EXPECT_NODES(plan, ...)                                                                                        \
    expect_nodes(plan, sizeof((int[]){__VA_ARGS__}) / sizeof(int), (const int[]){__VA_ARGS__})

/* ---- described machines ---- */

static void one_worker_for_each_cpu(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on(two_nodes, 0, WEFT_PIN_CORE);
    assert_int_equal(plan->allowed, 16);
    assert_int_equal(plan->pin, WEFT_PIN_CORE);
    assert_true(plan->quota <= 0);
    EXPECT_CPUS(plan, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15); /* siblings last */
    EXPECT_NODES(plan, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1);
    expect_victims(
        plan, 0, (const int[]){8, 1, 2, 3, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15},
        (const int[]){SMT, CACHE, CACHE, CACHE, CACHE, CACHE, CACHE, FAR, FAR, FAR, FAR, FAR, FAR, FAR, FAR});
    expect_victims(
        plan, 13, (const int[]){5, 14, 15, 4, 6, 7, 12, 0, 1, 2, 3, 8, 9, 10, 11},
        (const int[]){SMT, CACHE, CACHE, CACHE, CACHE, CACHE, CACHE, FAR, FAR, FAR, FAR, FAR, FAR, FAR, FAR});
    weft_plan_release(plan);
}

static void fewer_workers_get_distinct_cores(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on(two_nodes, 2, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 8);
    EXPECT_NODES(plan, 0, 1);
    weft_plan_release(plan);
    plan = plan_on(two_nodes, 3, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 4, 10);
    weft_plan_release(plan);
    plan = plan_on(two_nodes, 8, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 2, 4, 6, 8, 10, 12, 14);
    weft_plan_release(plan);
    plan = plan_on(two_nodes, 10, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 2, 4, 6, 8, 10, 12, 14, 1, 9);
    weft_plan_release(plan);
}

static void by_default_workers_keep_to_their_node(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on(two_nodes, 0, WEFT_PIN_DEFAULT);
    assert_int_equal(plan->pin, WEFT_PIN_NODE);
    EXPECT_NODES(plan, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1);
    for (unsigned i = 0; i < 16; i++)
        assert_true(plan->worker[i].cpu == -1 && plan->worker[i].cpus == 8);
    weft_plan_release(plan);
}

static void fewer_workers_are_left_to_the_kernel_by_default(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on(two_nodes, 4, WEFT_PIN_DEFAULT);
    assert_int_equal(plan->pin, WEFT_PIN_NONE);
    EXPECT_CPUS(plan, -1, -1, -1, -1);
    EXPECT_NODES(plan, -1, -1, -1, -1); /* they may run on both */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(plan->worker[i].cpus, 16);
    expect_victims(plan, 2, (const int[]){3, 0, 1}, (const int[]){FAR, FAR, FAR});
    weft_plan_release(plan);

    plan = plan_on("pack:1 [numa] l3:1 core:4 pu:1", 3, WEFT_PIN_NONE); /* wherever they run, they share the cache */
    EXPECT_NODES(plan, 0, 0, 0);
    expect_victims(plan, 0, (const int[]){1, 2}, (const int[]){CACHE, CACHE});
    weft_plan_release(plan);
}

static void more_workers_than_cpus(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on(two_nodes, 17, WEFT_PIN_DEFAULT);
    assert_int_equal(plan->pin, WEFT_PIN_NONE);
    weft_plan_release(plan);
    plan = plan_on("pack:2 [numa] core:2 pu:1", 6, WEFT_PIN_CORE); /* told to: from the first again */
    assert_int_equal(plan->pin, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 1, 2, 3, 0, 1);
    expect_victims(plan, 0, (const int[]){4, 1, 5, 2, 3}, (const int[]){SMT, NODE, NODE, FAR, FAR});
    weft_plan_release(plan);
}

static void node_pinning(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on(two_nodes, 4, WEFT_PIN_NODE);
    assert_int_equal(plan->pin, WEFT_PIN_NODE);
    EXPECT_CPUS(plan, -1, -1, -1, -1);
    EXPECT_NODES(plan, 0, 0, 1, 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(plan->worker[i].cpus, 8);
    expect_victims(plan, 0, (const int[]){1, 2, 3}, (const int[]){CACHE, FAR, FAR});
    expect_victims(plan, 3, (const int[]){2, 0, 1}, (const int[]){CACHE, FAR, FAR});
    weft_plan_release(plan);
}

static void every_tier(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on("pack:4 [numa] core:2 pu:1", 0, WEFT_PIN_CORE);
    EXPECT_NODES(plan, 0, 0, 1, 1, 2, 2, 3, 3);
    expect_victims(plan, 3, (const int[]){2, 4, 5, 6, 7, 0, 1}, (const int[]){NODE, FAR, FAR, FAR, FAR, FAR, FAR});
    weft_plan_release(plan);

    plan = plan_on("pack:2 numa:2 l2:2 core:1 pu:2", 0, WEFT_PIN_CORE); /* 8 cores, 16 CPUs, an L2 each */
    expect_victims(
        plan, 0, (const int[]){8, 1, 9, 2, 3, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15},
        (const int[]){SMT, NODE, NODE, PACKAGE, PACKAGE, PACKAGE, PACKAGE, FAR, FAR, FAR, FAR, FAR, FAR, FAR, FAR});
    weft_plan_release(plan);

    plan = plan_on("pack:1 [numa] l2:2 core:2 pu:1", 0, WEFT_PIN_CORE); /* two cores an L2 */
    expect_victims(plan, 1, (const int[]){0, 2, 3}, (const int[]){CACHE, NODE, NODE});
    weft_plan_release(plan);
}

static void one_cpu(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on("numa:1 pu:1", 0, WEFT_PIN_CORE);
    assert_int_equal(plan->pin, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0);
    weft_plan_release(plan);
    plan = plan_on("numa:1 pu:1", 3, WEFT_PIN_NODE);
    expect_victims(plan, 1, (const int[]){2, 0}, (const int[]){NODE, NODE});
    weft_plan_release(plan);
}

static void a_thousand_cpus_are_planned_quickly(void **state)
{
    (void)state;
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    struct weft_plan *plan = NULL;
    setenv("HWLOC_SYNTHETIC", "pack:8 numa:2 l3:4 core:8 pu:2", 1);
    assert_int_equal(weft__topology_plan("", WEFT_OPTIONS(.workers = 1024, .pin = WEFT_PIN_CORE), &plan), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    assert_int_equal(weft__topology_default_workers(), 1024);
    unsetenv("HWLOC_SYNTHETIC");
    long ms = (long)(to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    const char *preload = getenv("LD_PRELOAD");
    if (!preload || !strstr(preload, "vgpreload")) /* an emulated machine keeps another time */
        assert_in_range(ms, 0, 2999);              /* usually 100 */
    check_plan(plan);
    assert_int_equal(plan->pin, WEFT_PIN_CORE);
    assert_int_equal(plan->worker[0].victims[0], 512);
    assert_int_equal(plan->worker[1023].cpu, 1023);
    static const unsigned tiers[WEFT_DISTANCES] = {1, 14, 48, 64, 896};
    unsigned count[WEFT_DISTANCES] = {0};
    for (unsigned k = 0; k < 1023; k++)
        count[plan->worker[700].distance[k]]++;
    assert_memory_equal(count, tiers, sizeof tiers);
    weft_plan_release(plan);

    plan = plan_on("pack:4 [numa] core:512 pu:1", 0, WEFT_PIN_DEFAULT); /* more CPUs than workers are to be had */
    assert_int_equal(plan->workers, WEFT_MAX_WORKERS);
    assert_int_equal(plan->allowed, 2048);
    assert_int_equal(plan->pin, WEFT_PIN_NONE);
    weft_plan_release(plan);
}

static void holes_in_the_numbering(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on_file("sparse.xml", 0, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 2, 8, 10, 9, 11);
    expect_victims(plan, 2, (const int[]){4, 3, 5, 0, 1}, (const int[]){SMT, CACHE, CACHE, FAR, FAR});
    weft_plan_release(plan);
}

static void cpus_that_are_not_allowed(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on_file("disallowed.xml", 0, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 1, 2, 5, 6, 7);
    EXPECT_NODES(plan, 0, 0, 1, 1, 1);
    weft_plan_release(plan);
}

static void a_node_without_cpus(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on_file("node-without-cpus.xml", 0, WEFT_PIN_NODE);
    EXPECT_NODES(plan, 0, 0, 1, 1, 2, 2);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(plan->worker[i].cpus, 2);
    weft_plan_release(plan);
}

static void cpus_without_a_node(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on_file("cpus-without-node.xml", 0, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 1, 2, 3, 4, 5, 6, 7);
    EXPECT_NODES(plan, 0, 0, -1, -1, 2, 2, -1, -1);
    expect_victims(plan, 2, (const int[]){3, 4, 5, 6, 7, 0, 1}, (const int[]){PACKAGE, FAR, FAR, FAR, FAR, FAR, FAR});
    weft_plan_release(plan);

    plan = plan_on_file("cpus-without-node.xml", 0, WEFT_PIN_NODE);
    for (unsigned i = 0; i < 8; i++) {
        bool known = i < 2 || i == 4 || i == 5;
        assert_int_equal(plan->worker[i].node, known ? (int)i / 2 : -1);
        assert_int_equal(plan->worker[i].cpuset != NULL, known);
        assert_int_equal(plan->worker[i].cpus, known ? 2 : 8); /* not pinned: anywhere */
    }
    weft_plan_release(plan);
}

/* Nodes in a ring, of which 1 and 2 have no memory: their home is the neighbour that has. */
static void nodes_without_memory_and_distances(void **state)
{
    (void)state;
    struct weft_plan *plan = plan_on_file("ring.xml", 0, WEFT_PIN_CORE);
    EXPECT_CPUS(plan, 0, 1, 2, 3);
    EXPECT_NODES(plan, 0, 0, 3, 3);
    expect_victims(plan, 0, (const int[]){1, 3, 2}, (const int[]){FAR, FAR, FAR}); /* the opposite one last */
    expect_victims(plan, 1, (const int[]){2, 0, 3}, (const int[]){FAR, FAR, FAR});
    weft_plan_release(plan);
}

static void refuses_nonsense(void **state)
{
    (void)state;
    struct weft_plan *plan = NULL;
    assert_int_equal(weft__topology_plan("", WEFT_OPTIONS(.workers = WEFT_MAX_WORKERS + 1), &plan), -EINVAL);
    assert_int_equal(weft__topology_plan("", WEFT_OPTIONS(.workers = 1, .pin = WEFT_PIN_CORE + 1), &plan), -EINVAL);
    assert_null(plan);
    weft_plan_release(NULL);
}

/* ---- this machine ---- */

struct pinning {
    const struct weft_plan *plan;
    unsigned worker;
    struct weft_place place;
    int rc;
    cpu_set_t mask; /* of the thread afterwards */
    int cpu;
};

static void *pin_thread(void *argument)
{
    struct pinning *p = argument;
    p->rc = weft__topology_pin(p->plan, p->worker, &p->place);
    sched_getaffinity(0, sizeof p->mask, &p->mask);
    p->cpu = sched_getcpu();
    return NULL;
}

static struct pinning pin(const struct weft_plan *plan, unsigned worker)
{
    struct pinning p = {.plan = plan, .worker = worker};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, pin_thread, &p), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return p;
}

static cpu_set_t own_mask(void)
{
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
        skip(); /* more than 1,024 CPUs: not with this test's simple masks */
    return mask;
}

static void pins_each_worker_to_its_cpu(void **state)
{
    (void)state;
    cpu_set_t all = own_mask();
    struct weft_plan *plan = plan_here((unsigned)CPU_COUNT(&all), WEFT_PIN_CORE);
    cpu_set_t seen;
    CPU_ZERO(&seen);
    for (unsigned i = 0; i < plan->workers; i++) {
        struct pinning p = pin(plan, i);
        assert_int_equal(p.rc, 0);
        assert_true(p.place.pinned);
        assert_int_equal(p.place.cpu, plan->worker[i].cpu);
        assert_int_equal(p.place.node, plan->worker[i].node);
        assert_int_equal(p.place.cpus, 1);
        assert_int_equal(CPU_COUNT(&p.mask), 1);
        assert_true(CPU_ISSET((unsigned)p.place.cpu, &p.mask));
        assert_int_equal(p.cpu, p.place.cpu);
        CPU_SET((unsigned)p.place.cpu, &seen);
    }
    assert_true(CPU_EQUAL(&seen, &all));
    weft_plan_release(plan);
}

static void pins_to_nodes_or_not_at_all(void **state)
{
    (void)state;
    cpu_set_t all = own_mask();
    struct weft_plan *plan = plan_here(1, WEFT_PIN_NODE);
    struct pinning p = pin(plan, 0);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.place.pinned, plan->worker[0].cpuset != NULL);
    assert_int_equal(p.place.cpu, -1);
    assert_int_equal(p.place.cpus, plan->worker[0].cpus);
    assert_int_equal(CPU_COUNT(&p.mask), plan->worker[0].cpus);
    weft_plan_release(plan);

    plan = plan_here(1, WEFT_PIN_NONE);
    p = pin(plan, 0);
    assert_int_equal(p.rc, 0);
    assert_false(p.place.pinned);
    assert_int_equal(p.place.cpu, -1);
    assert_int_equal(p.place.cpus, CPU_COUNT(&all));
    assert_true(CPU_EQUAL(&p.mask, &all));
    weft_plan_release(plan);
}

static void a_restricted_mask_is_obeyed(void **state)
{
    (void)state;
    cpu_set_t all = own_mask(), one;
    unsigned last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &all))
        last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    unsigned before = weft__topology_default_workers();
    assert_in_range(before, 1, CPU_COUNT(&all));
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    unsigned workers = weft__topology_default_workers();
    struct weft_plan *plan = plan_here(0, WEFT_PIN_CORE);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(workers, 1);
    assert_int_equal(plan->allowed, 1);
    EXPECT_CPUS(plan, (int)last);
    weft_plan_release(plan);
    assert_int_equal(weft__topology_default_workers(), before);
}

static void a_pin_that_failed_is_told(void **state)
{
    (void)state;
    cpu_set_t all = own_mask();
    struct weft_plan *plan = plan_on(two_nodes, 16, WEFT_PIN_CORE); /* another machine's CPUs */
    struct pinning p = pin(plan, 0);
    assert_int_equal(p.rc, -ENODEV);
    assert_false(p.place.pinned);
    assert_int_equal(p.place.cpu, -1);
    assert_int_equal(p.place.node, -1);
    assert_int_equal(p.place.cpus, CPU_COUNT(&all));
    assert_true(CPU_EQUAL(&p.mask, &all));
    weft_plan_release(plan);

    plan = plan_here(1, WEFT_PIN_CORE);
    plan->worker[0].cpus++; /* the kernel will say otherwise */
    p = pin(plan, 0);
    assert_int_equal(p.rc, -EXDEV);
    assert_false(p.place.pinned);
    assert_int_equal(p.place.cpus, 1);
    memset(plan->worker[0].cpuset, 0, CPU_ALLOC_SIZE(1)); /* as if the CPU were gone */
    if (plan->worker[0].cpu < 64) {
        p = pin(plan, 0);
        assert_int_equal(p.rc, -EINVAL);
        assert_false(p.place.pinned);
        assert_int_equal(p.place.cpus, CPU_COUNT(&all));
    }
    weft_plan_release(plan);
}

/* hwloc is told of CPUs that are not in the mask, and that they are this machine's. */
static void a_machine_hwloc_does_not_know(void **state)
{
    (void)state;
    cpu_set_t all = own_mask(), one;
    unsigned last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &all))
        last--;
    if (last == 0)
        skip();
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    setenv("HWLOC_THISSYSTEM", "1", 1);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct weft_plan *plan = plan_on("pu:1", 2, WEFT_PIN_CORE);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    unsetenv("HWLOC_THISSYSTEM");
    assert_int_equal(plan->pin, WEFT_PIN_NONE);
    assert_int_equal(plan->allowed, 1);
    EXPECT_NODES(plan, -1, -1);
    expect_victims(plan, 0, (const int[]){1}, (const int[]){FAR});
    weft_plan_release(plan);
}

/* A cgroup without a namespace, of version 2, with this limit. */
static void limit_to(const char *folder, const char *limit)
{
    const char *files[][2] = {{"proc/self/cgroup", "0::/\n"},
                              {"proc/self/mountinfo", "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"},
                              {"sys/fs/cgroup/cpu.max", limit}};
    for (unsigned i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
            *slash = '\0';
            mkdir(path, 0700);
            *slash = '/';
        }
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(files[i][1], file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
}

static void a_quota_bounds_workers_and_pins(void **state)
{
    (void)state;
    cpu_set_t all = own_mask();
    unsigned cpus = (unsigned)CPU_COUNT(&all);
    char folder[] = "/tmp/weft-topology-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));

    limit_to(folder, "10000 100000\n");
    struct weft_plan *plan = NULL;
    assert_int_equal(weft__topology_plan(folder, WEFT_OPTIONS(.workers = 0, .pin = WEFT_PIN_DEFAULT), &plan), 0);
    check_plan(plan);
    assert_int_equal(plan->workers, 1); /* a tenth, rounded up */
    assert_true(plan->quota > 0.09 && plan->quota < 0.11);
    assert_int_equal(plan->allowed, cpus);
    assert_int_equal(plan->pin, WEFT_PIN_NONE);
    weft_plan_release(plan);

    assert_int_equal(weft__topology_plan(folder, WEFT_OPTIONS(.workers = cpus, .pin = WEFT_PIN_DEFAULT), &plan), 0);
    assert_int_equal(plan->workers, cpus); /* asked for */
    assert_int_equal(plan->pin, WEFT_PIN_NONE);
    weft_plan_release(plan);

    limit_to(folder, "100001 100000\n"); /* rounded up to 2 */
    assert_int_equal(weft__topology_plan(folder, WEFT_OPTIONS(.workers = 0, .pin = WEFT_PIN_CORE), &plan), 0);
    assert_int_equal(plan->workers, cpus < 2 ? cpus : 2);
    assert_int_equal(plan->pin, WEFT_PIN_CORE);
    weft_plan_release(plan);

    limit_to(folder, "999999999 1000\n");
    assert_int_equal(weft__topology_plan(folder, WEFT_OPTIONS(.workers = 0, .pin = WEFT_PIN_DEFAULT), &plan), 0);
    assert_int_equal(plan->workers, cpus);
    assert_int_equal(plan->pin, WEFT_PIN_NODE);
    weft_plan_release(plan);

    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    /* What the caller's environment says of machines is not for these tests. */
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_XMLFILE");
    unsetenv("HWLOC_FSROOT");
    unsetenv("HWLOC_THISSYSTEM");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_worker_for_each_cpu),
        cmocka_unit_test(fewer_workers_get_distinct_cores),
        cmocka_unit_test(by_default_workers_keep_to_their_node),
        cmocka_unit_test(fewer_workers_are_left_to_the_kernel_by_default),
        cmocka_unit_test(more_workers_than_cpus),
        cmocka_unit_test(node_pinning),
        cmocka_unit_test(every_tier),
        cmocka_unit_test(one_cpu),
        cmocka_unit_test(a_thousand_cpus_are_planned_quickly),
        cmocka_unit_test(holes_in_the_numbering),
        cmocka_unit_test(cpus_that_are_not_allowed),
        cmocka_unit_test(a_node_without_cpus),
        cmocka_unit_test(cpus_without_a_node),
        cmocka_unit_test(nodes_without_memory_and_distances),
        cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(pins_each_worker_to_its_cpu),
        cmocka_unit_test(pins_to_nodes_or_not_at_all),
        cmocka_unit_test(a_restricted_mask_is_obeyed),
        cmocka_unit_test(a_pin_that_failed_is_told),
        cmocka_unit_test(a_machine_hwloc_does_not_know),
        cmocka_unit_test(a_quota_bounds_workers_and_pins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
