/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_fiber_cache.c -- fibers between their tasks: in a worker's cache, in the pool, trimmed, back again; none is ever lost, twice
 * somewhere, or given out while its memory goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft.h>

#include "executor/guard.h"
#include "executor/runtime.h"
#include "tests/support/check.h"

enum { CROWD = 1000, DEEP = 12 * 1024 };

struct waiting {
    WEFT_FRAME;
    weft_event *go;
    size_t deep; /* bytes of stack that must come through the wait */
    unsigned i;
};
static int waiting(struct waiting *f)
{
    unsigned char filled[DEEP];
    memset(filled, (int)f->i, f->deep);
    int rc = weft_event_wait(f->go);
    for (size_t i = 0; i < f->deep; i++) {
        if (filled[i] != (unsigned char)f->i)
            return -EIO;
    }
    return rc;
}
WEFT_CORO(waiting);

/* CROWD tasks on stacks at the same time. */
static bool crowd(size_t deep)
{
    static weft_task *t[CROWD];
    weft_event go = WEFT_EVENT_INIT;
    for (unsigned i = 0; i < CROWD; i++)
        t[i] = weft_create_task(waiting, .go = &go, .deep = deep, .i = i);
    bool good = weft_sleep(WEFT_MS(1)) == 0;
    weft_event_set(&go);
    for (unsigned i = 0; i < CROWD; i++)
        good &= weft_await_release(t[i]) == 0;
    return good;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (struct weft__fiber *const *)a, y = (uintptr_t) * (struct weft__fiber *const *)b;
    return x < y ? -1 : x > y;
}

/* Of the usual class: all that are in caches and the pool are different, and with those that run they are all that were made. Only where
 * one task runs, and others stand still. */
static bool complete(struct weft_runtime *rt, unsigned running)
{
    static struct weft__fiber *all[4 * CROWD];
    uint32_t n = 0, class = rt->stack_class;
    struct weft__fiber_pool *pool = &rt->pools[0][class];
    memcpy(all, pool->fibers, weft__load_relaxed(&pool->count) * sizeof all[0]);
    n = weft__load_relaxed(&pool->count);
    for (unsigned w = 0; w < rt->worker_count; w++) {
        struct weft__fiber_cache *cache = &rt->workers[w].stacks[class];
        uint32_t count = weft__load_relaxed(&cache->count);
        if (count > WEFT__STACK_CACHE)
            return false;
        memcpy(all + n, cache->fibers, count * sizeof all[0]);
        n += count;
    }
    qsort(all, n, sizeof all[0], by_address);
    for (uint32_t i = 1; i < n; i++) {
        if (all[i] == all[i - 1])
            return false;
    }
    if (n + running != pool->made || pool->made > pool->capacity || pool->trimmed > weft__load_relaxed(&pool->count)) {
        fprintf(stderr, "%u idle, %u made, %u trimmed\n", n, pool->made, pool->trimmed);
        return false;
    }
    return true;
}

struct rounds {
    WEFT_FRAME;
};
static int rounds(struct rounds *f)
{
    (void)f;
    struct weft__worker *w = weft__worker_self();
    struct weft__fiber_pool *pool = &w->rt->pools[0][w->rt->stack_class];
    TASK_CHECK(crowd(64));
    uint32_t made = pool->made;
    TASK_CHECK(made >= CROWD && complete(w->rt, 2)); /* the root and this */
    for (int i = 0; i < 3; i++)
        TASK_CHECK(crowd(64) && complete(w->rt, 2));
    TASK_CHECK(pool->made == made);
    return 0;
}
WEFT_CORO(rounds);

static void test_rounds(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), rounds), 0);
    assert_int_equal(atomic_load(&task_check_failures), 0);
}

static void give_back(struct weft__worker *w, weft_ns now)
{
    weft__fiber_cache_trim(w, now);
    weft__fiber_pools_trim(w->rt, now);
}

struct trimming {
    WEFT_FRAME;
};
static int trimming(struct trimming *f)
{
    (void)f;
    struct weft__worker *w = weft__worker_self();
    struct weft__fiber_pool *pool = &w->rt->pools[0][w->rt->stack_class];
    weft_ns now = weft__monotonic() + WEFT_SEC(1000);
    for (int i = 0; i < 2;
         i++) { /* the reactor thread is to leave the pools alone; it may just have been at it, and note its own time */
        weft__store_relaxed(&w->rt->last_trim, now); /* relaxed: a number */
        TASK_CHECK(weft_sleep(WEFT_MS(30)) == 0);
    }
    TASK_CHECK(crowd(DEEP));
    uint32_t count = weft__load_relaxed(&pool->count), before = 0;
    TASK_CHECK(pool->trimmed == 0 && pool->low == 0);
    for (int i = 0; i < 20; i++) { /* the first sees that they were needed a moment ago */
        now += WEFT_SEC(1);
        give_back(w, now);
        TASK_CHECK(pool->trimmed >= before && (i == 0 || pool->trimmed > before || before == count));
        TASK_CHECK(weft__load_relaxed(&pool->count) == count && complete(w->rt, 2));
        before = pool->trimmed;
        now += WEFT_MS(1);
        give_back(w, now); /* not again so soon */
        TASK_CHECK(pool->trimmed == before);
    }
    TASK_CHECK(before == count);
    TASK_CHECK(crowd(DEEP) && complete(w->rt, 2)); /* they are used again, */
    TASK_CHECK(pool->trimmed < count);             /* and count as warm */
    give_back(w, now + WEFT_SEC(1));
    give_back(w, now + WEFT_SEC(2));
    TASK_CHECK(crowd(DEEP) && complete(w->rt, 2));
    return 0;
}
WEFT_CORO(trimming);

static void test_trimming(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), trimming), 0);
    assert_int_equal(atomic_load(&task_check_failures), 0);
}

/* After a burst everybody sleeps, and gives back all the same. */
struct looking {
    WEFT_FRAME;
    struct weft_runtime *rt;
    bool some;
};
static int looking(struct looking *f) /* a helper thread: nobody in the runtime runs */
{
    struct weft__fiber_pool *pool = &f->rt->pools[0][f->rt->stack_class];
    for (int i = 0; i < 6000 && !f->some; i++) {
        usleep(10000);
        weft__guard_lock(&f->rt->fiber_guard);
        f->some = pool->trimmed != 0;
        weft__guard_unlock(&f->rt->fiber_guard);
    }
    return 0;
}
WEFT_CORO(looking);
struct burst {
    WEFT_FRAME;
};
static int burst(struct burst *f)
{
    (void)f;
    TASK_CHECK(crowd(DEEP));
    weft_task *t = weft_to_thread(looking, .rt = weft_runtime_current());
    TASK_CHECK(weft_await(t) == 0 && weft_result(looking, t)->some);
    weft_release(t);
    return 0;
}
WEFT_CORO(burst);

static void test_idle(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = workers), burst), 0);
    assert_int_equal(atomic_load(&task_check_failures), 0);
}

/* Several workers trim, spill and refill at once, while fibers come and go. */
struct churn {
    WEFT_FRAME;
    atomic_int *left;
    unsigned i;
};
static int churn(struct churn *f)
{
    unsigned char filled[DEEP];
    for (unsigned round = 0; round < 50; round++) {
        memset(filled, (int)(f->i + round), sizeof filled);
        int rc = weft_sleep(WEFT_US(f->i % 7 * 20));
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < sizeof filled; i += 64) {
            if (filled[i] != (unsigned char)(f->i + round))
                return -EIO;
        }
    }
    atomic_fetch_sub(f->left, 1);
    return 0;
}
WEFT_CORO(churn);
struct trimmer {
    WEFT_FRAME;
    atomic_int *left;
};
static int trimmer(struct trimmer *f)
{
    for (weft_ns i = 1; atomic_load(f->left) > 0; i++) {
        struct weft__worker *w = weft__worker_self();
        give_back(w, w->last_trim + WEFT_SEC(1));
        int rc = weft_sleep(WEFT_US(50));
        if (rc < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(trimmer);
struct crossed {
    WEFT_FRAME;
};
static int crossed(struct crossed *f)
{
    (void)f;
    static weft_task *t[300], *trimming[3];
    for (int round = 0; round < 3; round++) {
        atomic_int left = 300;
        for (unsigned i = 0; i < 3; i++)
            trimming[i] = weft_create_task(trimmer, .left = &left);
        for (unsigned i = 0; i < 300; i++)
            t[i] = weft_create_task(churn, .left = &left, .i = i);
        for (unsigned i = 0; i < 300; i++)
            TASK_CHECK(weft_await_release(t[i]) == 0);
        for (unsigned i = 0; i < 3; i++)
            TASK_CHECK(weft_await_release(trimming[i]) == 0);
    }
    return 0;
}
WEFT_CORO(crossed);

static void test_crossed(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 4), crossed), 0);
    assert_int_equal(atomic_load(&task_check_failures), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_trimming),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_crossed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
