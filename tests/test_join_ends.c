/* SPDX-License-Identifier: Apache-2.0 */
/* How forks and joins end when something comes between: a thief and a cancellation at once, a cancellation while nobody suspends, a stack that
 * is nearly used up. The right answers of undisturbed trees are in test_join.c. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"
#include "support/threads.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};

static void compute(long us)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000 + (now.tv_nsec - begin.tv_nsec) / 1000 < us);
}

/* ---- cancelled in the middle ---- */

struct told {
    _Atomic unsigned begun, ended, cancelled;
};
/* A tree of forks: most nodes only compute, some leaves suspend for a turn or for ever. Each node joins all it has forked. */
struct node {
    WEFT_FRAME;
    int n;
    unsigned endless; /* one leaf in so many waits for ever; 0: none */
    unsigned path;
    struct told *told;
    long result;
};
static int node(struct node *f);
WEFT_CORO(node);
static int node(struct node *f)
{
    atomic_fetch_add(&f->told->begun, 1);
    int rc = 0;
    if (f->n < 2) {
        f->result = f->n;
        if (f->endless != 0 && f->path % f->endless == 0)
            rc = weft_sleep(WEFT_FOREVER);
        else if (f->path % 7 == 0)
            rc = weft_yield();
        else if (f->path % 64 == 1)
            compute(60); /* for a raid on what lies below */
    } else {
        struct node a = {.n = f->n - 1, .endless = f->endless, .path = f->path * 2 + 1, .told = f->told};
        struct node b = {.n = f->n - 2, .endless = f->endless, .path = f->path * 5 + 2, .told = f->told};
        weft_child child;
        weft_fork(&child, node, &a);
        int rb = node(&b);
        int ra = weft_join(&child);
        f->result = a.result + b.result;
        rc = ra < 0 ? ra : rb;
    }
    if (rc == -ECANCELED)
        atomic_fetch_add(&f->told->cancelled, 1);
    atomic_fetch_add(&f->told->ended, 1);
    return rc;
}
struct cancel_node {
    WEFT_FRAME;
    unsigned round, endless;
};
static int cancel_node(struct cancel_node *f)
{
    struct told told = {0};
    weft_task *t = weft_create_task(node, .n = 14, .endless = f->endless, .path = f->round, .told = &told);
    switch (f->round % 5) {
    case 0:
        break; /* before it has begun, mostly */
    case 1:
        TASK_CHECK(weft_yield() == 0);
        break;
    case 2:
        TASK_CHECK(weft_sleep(WEFT_US(20 * (f->round % 16))) == 0);
        break;
    default:
        for (unsigned i = 0; i < f->round % 13; i++) {
            TASK_CHECK(weft_yield() == 0);
            compute(f->round % 3 * 10);
        }
    }
    bool asked = weft_cancel(t);
    if (f->round % 2)
        (void)weft_cancel(t);
    while (f->endless != 0 && !weft_done(t)) { /* each request ends one of those waits */
        TASK_CHECK(weft_sleep(WEFT_US(50)) == 0);
        asked |= weft_cancel(t);
    }
    int rc = weft_await(t);
    TASK_CHECK(told.begun == told.ended); /* no join has left a child behind */
    if (rc == 0)
        TASK_CHECK(weft_result(node, t)->result == 377);
    else
        TASK_CHECK(rc == -ECANCELED && asked);
    weft_release(t);
    return 0;
}
WEFT_CORO(cancel_node);
static void test_cancelled_in_the_middle(void **state)
{
    (void)state;
    unsigned rounds = threads_scale(60);
    for (unsigned w = 0; w < 4; w++) {
        for (unsigned i = 0; i < rounds; i++)
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w], .slow_task = WEFT_FOREVER),
                                           cancel_node, .round = i,
                                           .endless = i % 4 == 0   ? 0
                                                      : i % 4 == 1 ? 11
                                                                   : 50),
                             0);
    }
    assert_tasks_ok();
}

/* A node that has met the cancellation goes on forking and joining: what it forks from then on is not cancelled. */
struct goes_on {
    WEFT_FRAME;
    struct told *told;
};
static int goes_on(struct goes_on *f)
{
    int rc = weft_sleep(WEFT_FOREVER);
    TASK_CHECK(rc == -ECANCELED);
    struct node a = {.n = 12, .path = 3, .told = f->told}, b = {.n = 11, .path = 4, .told = f->told};
    weft_child ca, cb;
    weft_fork(&ca, node, &a);
    weft_fork(&cb, node, &b);
    TASK_CHECK(weft_join(&cb) == 0);
    TASK_CHECK(weft_join(&ca) == 0);
    TASK_CHECK(a.result == 144 && b.result == 89);
    return rc;
}
WEFT_CORO(goes_on);
struct outer {
    WEFT_FRAME;
    struct told *told;
};
static int outer(struct outer *f)
{
    struct goes_on inner = {.told = f->told};
    weft_child child;
    weft_fork(&child, goes_on, &inner);
    int rc = weft_join(&child); /* the request goes on to the child */
    struct node n = {.n = 10, .path = 5, .told = f->told};
    weft_child other;
    weft_fork(&other, node, &n);
    TASK_CHECK(weft_join(&other) == 0 && n.result == 55);
    return rc;
}
WEFT_CORO(outer);
struct cancel_outer {
    WEFT_FRAME;
};
static int cancel_outer(struct cancel_outer *f)
{
    (void)f;
    struct told told = {0};
    weft_task *t = weft_create_task(outer, .told = &told);
    TASK_CHECK(weft_sleep(WEFT_US(300)) == 0);
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(weft_await(t) == -ECANCELED);
    TASK_CHECK(told.begun == told.ended && told.cancelled == 0);
    weft_release(t);
    return 0;
}
WEFT_CORO(cancel_outer);
static void test_after_a_cancellation_forks_are_new(void **state)
{
    (void)state;
    for (unsigned w = 0; w < 4; w++) {
        for (int i = 0; i < 20; i++)
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w]), cancel_outer), 0);
    }
    assert_tasks_ok();
}

/* ---- a stack that is nearly used up ---- */

/* Each level takes a frame of its own size; at the bottom a call needs the whole room that every child is promised. */
#define PROMISED (14 * 1024) /* half of the smallest stack, less what the library and the frames around it need */

static __attribute__((noinline)) long use(size_t bytes)
{
    char fill[PROMISED];
    memset(fill, 1, sizeof fill);
    __asm__ volatile("" ::"r"(fill) : "memory");
    return fill[bytes % sizeof fill];
}
struct level {
    WEFT_FRAME;
    int n;
    unsigned large; /* one level in so many has a large frame */
    long sum;
};
static int level(struct level *f);
WEFT_CORO(level);
static __attribute__((noinline)) int large_level(struct level *f)
{
    volatile char fill[6000];
    fill[0] = 1;
    fill[sizeof fill - 1] = 1;
    struct level below = {.n = f->n - 1, .large = f->large};
    weft_child child;
    weft_fork(&child, level, &below);
    int rc = weft_join(&child);
    f->sum = below.sum + fill[0] + fill[sizeof fill - 1] - 1;
    return rc;
}
static int level(struct level *f)
{
    if (f->n == 0) {
        f->sum = use((size_t)f->n);
        return 0;
    }
    if (f->large != 0 && (unsigned)f->n % f->large == 0)
        return large_level(f);
    struct level below = {.n = f->n - 1, .large = f->large};
    weft_child child;
    weft_fork(&child, level, &below);
    int rc = weft_join(&child);
    f->sum = below.sum + use((size_t)f->n);
    return rc;
}
struct levels {
    WEFT_FRAME;
    int n;
    unsigned large;
};
static int levels(struct levels *f)
{
    struct level top = {.n = f->n, .large = f->large};
    int rc = level(&top);
    TASK_CHECK(rc != 0 || top.sum == f->n + 1);
    return rc;
}
WEFT_CORO(levels);
static void test_each_child_has_the_room_it_is_promised(void **state)
{
    (void)state;
    static const unsigned large[] = {0, 1, 2, 3, 7};
    for (unsigned w = 0; w < 4; w++) {
        for (unsigned i = 0; i < 5; i++) {
            for (int n = 1; n < 40; n++)
                assert_int_equal(
                    weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w]), levels, .n = n, .large = large[i]), 0);
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[w]), levels,
                                           .n = (int)threads_scale(2000), .large = large[i]),
                             0);
        }
    }
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelled_in_the_middle),
        cmocka_unit_test(test_after_a_cancellation_forks_are_new),
        cmocka_unit_test(test_each_child_has_the_room_it_is_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
