/* SPDX-License-Identifier: Apache-2.0 */
/* test_homes.c -- memory that has a home: what is freed on another node goes back in batches, and is used again there. hwloc is told that the first
 * two CPUs of this machine are on two nodes; the kernel may know only one, so where the pages are is for tests/numa to ask. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <weft.h>

#include "executor/numa.h"
#include "executor/runtime.h"
#include "support/check.h"

/* ---- the slab ---------------------------------------------------------------------------------------------------- */

enum { OBJECTS = 3000 };

static void *objects[OBJECTS];

static void free_all(struct weft__slab *s, struct weft__slab_cache *cache)
{
    for (int i = 0; i < OBJECTS; i++)
        weft__slab_put(s, cache, objects[i]);
}

static void count_object(void *user, void *object)
{
    (void)object;
    ++*(unsigned *)user;
}

static void objects_go_home(void **state)
{
    (void)state;
    struct weft__slab s;
    struct weft__slab_cache here, there;
    const int nodes[] = {0, 0}; /* two homes, one node: mapped as on two */
    assert_int_equal(weft__slab_init_nodes(&s, 144, 2, nodes), 0);
    assert_int_equal(weft__slab_cache_init(&here, &s, 0), 0);
    assert_int_equal(weft__slab_cache_init(&there, &s, 1), 0);
    uint64_t mapped = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < OBJECTS; i++)
            assert_non_null(objects[i] = weft__slab_get(&s, &here));
        if (round % 4 == 3) { /* unseen, as task_hot.h does: the spill sorts them */
            for (int i = 0; i < OBJECTS; i++)
                weft__slab_give(&there, objects[i]);
        } else if (round % 4 == 2) {
            free_all(&s, NULL);
        } else {
            free_all(&s, &there);
        }
        if (round == 3)
            mapped = weft__load_relaxed(&s.mapped_bytes);
        assert_true(round <= 3 || weft__load_relaxed(&s.mapped_bytes) == mapped); /* used again, every time */
    }
    assert_null(s.part[1].chunks); /* nothing was ever made there */
    assert_in_range(weft__load_relaxed(&there.away[0].freed), 10 * OBJECTS, 20 * OBJECTS);
    unsigned all = 0;
    weft__slab_each(&s, count_object, &all);
    assert_in_range(all, OBJECTS, OBJECTS + 2000);
    weft__slab_cache_flush(&there);
    weft__slab_cache_flush(&here);
    assert_int_equal(there.count, 0);
    assert_null(s.part[1].shared);
    free(here.away);
    free(there.away);
    weft__slab_destroy(&s);
}

/* ---- runs --------------------------------------------------------------------------------------------------------- */

static bool two_cpus(void)
{
    cpu_set_t mask;
    return sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_ISSET(0, &mask) && CPU_ISSET(1, &mask);
}

static void pretend(void)
{
    setenv("HWLOC_SYNTHETIC", "pack:2 [numa] core:1 pu:1", 1);
    setenv("HWLOC_THISSYSTEM", "1", 1);
}

static void be_honest(void)
{
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_THISSYSTEM");
}

static atomic_int ended;

struct leaf {
    WEFT_FRAME;
    int worker;
};
static int leaf(struct leaf *f)
{
    TASK_CHECK(weft_current_worker() % 2 == f->worker % 2 || f->worker < 0);
    int rc = weft_yield();
    weft_timeout limit; /* a small block */
    TASK_CHECK(weft_timeout_begin(&limit, WEFT_SEC(100)) == 0);
    rc = weft_yield();
    rc = weft_timeout_end(&limit, rc);
    atomic_fetch_add(&ended, 1);
    return rc < 0 ? -EIO : 1;
}
WEFT_CORO(leaf);

struct producer {
    WEFT_FRAME;
    int rounds;
    uint64_t early, late; /* bytes of descriptors mapped */
};
/* Runs on worker 0. */
static int producer(struct producer *f)
{
    enum { TASKS = 1500 };
    weft_runtime *rt = weft_runtime_current();
    weft_task **t = calloc(TASKS, sizeof(weft_task *));
    TASK_CHECK(t != NULL && rt->homes == 2);
    for (int round = 0; round < f->rounds; round++) {
        int sum = 0;
        atomic_store(&ended, 0);
        for (int i = 0; i < TASKS; i++)
            t[i] = i % 2 == 0 ? weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(1)), leaf, .worker = 1)
                              : weft_create_task(leaf, .worker = -1);
        for (int i = 0; i < TASKS; i += 2) { /* nobody waits for these: their descriptors are freed where they end */
            weft_release(t[i]);
            sum++;
        }
        for (int i = 1; i < TASKS; i += 2)
            sum += weft_await_release(t[i]);
        while (atomic_load(&ended) < TASKS)
            TASK_CHECK(weft_yield() == 0);
        TASK_CHECK(sum == TASKS);
        if (round == f->rounds / 2)
            f->early = weft__load_relaxed(&rt->tasks[0].mapped_bytes);
    }
    f->late = weft__load_relaxed(&rt->tasks[0].mapped_bytes);
    free(t);
    return 0;
}
WEFT_CORO(producer);

struct starts_producer {
    WEFT_FRAME;
    struct producer *f;
};
static int starts_producer(struct starts_producer *s)
{
    weft_task *t =
        weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(0)), producer, .rounds = s->f->rounds);
    int rc = weft_await(t);
    if (rc == 0)
        *s->f = *weft_result(producer, t);
    weft_release(t);
    return rc;
}
WEFT_CORO(starts_producer);

static uint64_t freed_away;

static void account(void *user, weft_runtime *rt)
{
    (void)user;
    weft_metrics m = {.size = sizeof m};
    assert_int_equal(weft_metrics_read(rt, -1, &m), 0);
    freed_away = 0;
    for (int i = 0; i < WEFT_DISTANCES; i++)
        freed_away += m.remote_frees[i];
    assert_int_equal(m.remote_frees[WEFT_FAR], freed_away); /* the nodes are in two packages */
    assert_int_equal(m.tasks_created, m.tasks_finished);
    assert_true(m.stacks_cached <= m.stacks_mapped);
}

static void runs_on_two_nodes(void **state)
{
    (void)state;
    if (!two_cpus())
        skip();
    pretend();
    for (unsigned workers = 2; workers <= 4; workers += 2) {
        for (unsigned pin = WEFT_PIN_NODE; pin <= WEFT_PIN_CORE; pin++) {
            struct producer f = {.rounds = 8};
            int rc = weft_run_with(WEFT_OPTIONS(.workers = workers, .pin = pin, .at_end = account), starts_producer,
                                   .f = &f);
            assert_int_equal(rc, 0);
            assert_tasks_ok();
            assert_true(f.late <= f.early + 4 * 1024 * 1024); /* two chunks: it does not grow with the rounds */
            assert_true(freed_away > 1000);
        }
    }
    be_honest();
}

/* ---- helper threads, numa.h --------------------------------------------------------------------------------------- */

struct blocking {
    WEFT_FRAME;
    int cpus;
};
static int blocking(struct blocking *f)
{
    cpu_set_t mask;
    f->cpus = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : -1;
    return 0;
}
WEFT_CORO(blocking);

struct asks_helper {
    WEFT_FRAME;
    int cpus;
};
static int asks_helper(struct asks_helper *f)
{
    weft_task *t = weft_to_thread(blocking);
    int rc = weft_await(t);
    f->cpus = rc == 0 ? weft_result(blocking, t)->cpus : -1;
    weft_release(t);
    return rc;
}
WEFT_CORO(asks_helper);

/* A helper is created by a worker that is pinned to one CPU, and would share that with it. */
static void helpers_are_not_pinned(void **state)
{
    (void)state;
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
        skip();
    struct asks_helper f = {.cpus = 0};
    assert_int_equal(weft_run_frame(WEFT_OPTIONS(.workers = 2, .pin = WEFT_PIN_CORE), asks_helper, &f), 0);
    assert_int_equal(f.cpus, CPU_COUNT(&mask));
}

static void memory_on_a_node(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int node = -1; node <= 1025;
         node += node < 2 ? 1 : 1023) { /* that there is, that there is not, that can't be */
        char *memory = weft__numa_alloc(3 * page + 5, node);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % WEFT__CACHELINE, 0);
        memory[0] = memory[3 * page + 4] = 1;
        weft__numa_free(memory, 3 * page + 5, node);
    }
    weft__numa_free(NULL, page, 0);
    weft__numa_free(NULL, page, -1);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memory[0] = 1;
    void *pages[] = {memory, memory + page};
    int nodes[2];
    int rc = weft__numa_where(pages, nodes, 2);
    if (rc == 0) {
        assert_true(nodes[0] >= 0);
        assert_int_equal(nodes[1], -ENOENT);
    } else {
        assert_true(rc == -ENOSYS || rc == -EPERM || rc == -ENODEV);
    }
    munmap(memory, 2 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_go_home),
        cmocka_unit_test(runs_on_two_nodes),
        cmocka_unit_test(helpers_are_not_pinned),
        cmocka_unit_test(memory_on_a_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
