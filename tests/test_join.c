/* SPDX-License-Identifier: Apache-2.0 */
/* Structured fork and join: right answers, children that suspend, depth beyond one stack, cancellation at the root. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};

static long fib_of(int n)
{
    long a = 0, b = 1;
    while (n-- > 0) {
        long c = a + b;
        a = b;
        b = c;
    }
    return a;
}

/* `pause` of `every` leaves suspend. */
struct fib {
    WEFT_FRAME;
    int n;
    unsigned every;
    weft_ns pause;
    long result;
};
static int fib(struct fib *f);
WEFT_CORO(fib);
static int fib(struct fib *f)
{
    if (f->n < 2) {
        static _Atomic unsigned leaves;
        f->result = f->n;
        if (f->every != 0 && atomic_fetch_add(&leaves, 1) % f->every == 0)
            return f->pause > 0 ? weft_sleep(f->pause) : weft_yield();
        return 0;
    }
    struct fib a = {.n = f->n - 1, .every = f->every, .pause = f->pause};
    struct fib b = {.n = f->n - 2, .every = f->every, .pause = f->pause};
    weft_child child;
    weft_fork(&child, fib, &a);
    int rb = fib(&b);
    int ra = weft_join(&child);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

static void run_fib(int n, unsigned every, weft_ns pause)
{
    for (size_t i = 0; i < 4; i++) {
        for (int order = 0; order < 2; order++) {
            struct fib f = {.frame_ = {&fib_coro_}, .n = n, .every = every, .pause = pause};
            assert_int_equal(weft_run_(WEFT_OPTIONS(.workers = worker_counts[i],
                                                    .order = order ? WEFT_ORDER_FIFO : WEFT_ORDER_DEFAULT),
                                       &f.frame_, sizeof f),
                             0);
            assert_int_equal(f.result, fib_of(n));
        }
    }
}

static void test_fib(void **state)
{
    (void)state;
    run_fib(18, 0, 0);
}
static void test_fib_with_yields(void **state)
{
    (void)state;
    run_fib(16, 10, 0);
    run_fib(13, 1, 0);
}
static void test_fib_with_sleeps(void **state)
{
    (void)state;
    run_fib(14, 20, WEFT_US(20));
}

/* Many children at once, joined latest first; each takes its own time. */
struct leaf {
    WEFT_FRAME;
    int value;
};
static int leaf(struct leaf *f)
{
    int rc = f->value % 3 == 0 ? weft_yield() : f->value % 5 == 0 ? weft_sleep(WEFT_US(f->value)) : 0;
    return rc < 0 ? rc : f->value;
}
WEFT_CORO(leaf);
struct fan {
    WEFT_FRAME;
};
static int fan(struct fan *f)
{
    (void)f;
    enum { N = 60 };
    struct leaf leaves[N];
    weft_child child[N];
    long sum = 0;
    for (int i = 0; i < N; i++) {
        leaves[i] = (struct leaf){.value = i};
        weft_fork(&child[i], leaf, &leaves[i]);
    }
    for (int i = N; i-- > 0;)
        sum += weft_join(&child[i]);
    return sum == N * (N - 1) / 2 ? 0 : -EIO;
}
WEFT_CORO(fan);
static void test_fan_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (int k = 0; k < 20; k++)
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i]), fan), 0);
    }
}

/* A linear recursion of forks, deeper than any one stack. */
struct deep {
    WEFT_FRAME;
    int n;
};
static int deep(struct deep *f);
WEFT_CORO(deep);
static int deep(struct deep *f)
{
    if (f->n == 0)
        return 0;
    struct deep below = {.n = f->n - 1};
    weft_child child;
    weft_fork(&child, deep, &below);
    return weft_join(&child) + 1;
}
static void test_depth(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i]), deep, .n = 30000), 30000);
}

/* With nothing else ready a yield lets the newest child run, and comes back when that suspends or has ended: each turn of the yielder one more. */
struct turn {
    WEFT_FRAME;
    int *turns, first, second;
};
static int turn(struct turn *f)
{
    f->first = ++*f->turns;
    int rc = weft_yield();
    f->second = ++*f->turns;
    return rc;
}
WEFT_CORO(turn);
struct turns {
    WEFT_FRAME;
};
static int turns(struct turns *f)
{
    (void)f;
    int turns = 0;
    struct turn a = {.turns = &turns}, b = {.turns = &turns};
    weft_child ca, cb;
    weft_fork(&ca, turn, &a);
    weft_fork(&cb, turn, &b);
    TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(turns == 1 && b.first == 1); /* b has given way */
    TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(turns == 2 && b.second == 2); /* and has ended: the oldest ready one went first */
    TASK_CHECK(weft_yield() == 0);
    TASK_CHECK(turns == 3 && a.first == 3);
    TASK_CHECK(weft_join(&cb) == 0 && weft_join(&ca) == 0);
    TASK_CHECK(turns == 4 && a.second == 4);
    return 0;
}
WEFT_CORO(turns);
static void test_turns_of_a_yield(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), turns), 0);
    assert_tasks_ok();
}

/* A child that its parent waits for lies unstarted in the worker's stack, below another task's: whose yield takes it out, or finds it cancelled. */
struct below {
    WEFT_FRAME;
    bool cancelled;
    weft_task *parent;
    int ran, yielded;
};
struct lower {
    WEFT_FRAME;
    struct below *all;
};
static int lower(struct lower *f)
{
    f->all->ran = 1;
    return 7;
}
WEFT_CORO(lower);
struct upper {
    WEFT_FRAME;
    struct below *all;
};
static int upper(struct upper *f)
{
    TASK_CHECK(weft_yield() == 0);
    f->all->yielded = f->all->ran + 1; /* what had to be done with the other child has been */
    return 0;
}
WEFT_CORO(upper);
struct neighbour {
    WEFT_FRAME;
    struct below *all;
};
static int neighbour(struct neighbour *f)
{
    struct upper u = {.all = f->all};
    weft_child child;
    weft_fork(&child, upper, &u);
    TASK_CHECK(weft_yield() == 0); /* now the parent waits */
    TASK_CHECK(f->all->ran == 0);
    if (f->all->cancelled)
        TASK_CHECK(weft_cancel(f->all->parent));
    TASK_CHECK(weft_sleep(WEFT_MS(1)) == 0);
    TASK_CHECK(weft_join(&child) == 0);
    return 0;
}
WEFT_CORO(neighbour);
struct below_parent {
    WEFT_FRAME;
    struct below *all;
};
static int below_parent(struct below_parent *f)
{
    f->all->parent = weft_current_task();
    struct below before = {.ran = 0};
    struct lower l = {.all = &before}, m = l;
    weft_child child, second;
    weft_fork(&child, lower, &l);
    weft_fork(
        &second, lower,
        &m); /* the worker has slept, and takes what it then asked for for another's question: now it is answered */
    TASK_CHECK(weft_join(&second) == 7 && weft_join(&child) == 7);
    l.all = f->all;
    weft_task *other = weft_create_task(neighbour, .all = f->all);
    weft_fork(&child, lower, &l);
    TASK_CHECK(weft_yield() == 0); /* the neighbour forks */
    int rc = weft_join(&child);
    if (f->all->cancelled)
        weft_uncancel(weft_current_task());
    TASK_CHECK(weft_await_release(other) == 0);
    return rc;
}
WEFT_CORO(below_parent);
static void test_yield_to_awaited_child(void **state)
{
    (void)state;
    struct below runs = {.cancelled = false}, dies = {.cancelled = true};
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), below_parent, .all = &runs),
                     7);
    assert_int_equal(runs.yielded, 2);
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1, .clock = WEFT_CLOCK_VIRTUAL), below_parent, .all = &dies),
                     -ECANCELED);
    assert_int_equal(dies.yielded, 1);
    assert_int_equal(dies.ran, 0);
    assert_tasks_ok();
}

/* Inside a child the current task is the counted one; errors and values come through. */
struct who {
    WEFT_FRAME;
    weft_task *seen;
};
static int who(struct who *f)
{
    int rc = weft_yield();
    f->seen = weft_current_task();
    return rc < 0 ? rc : -EPROTO;
}
WEFT_CORO(who);
struct identity {
    WEFT_FRAME;
};
static int identity(struct identity *f)
{
    (void)f;
    struct who a = {.seen = NULL}, b = {.seen = NULL};
    weft_child ca, cb;
    weft_fork(&ca, who, &a);
    weft_fork(&cb, who, &b);
    TASK_CHECK(weft_sleep(WEFT_US(300)) == 0); /* time to be stolen */
    TASK_CHECK(weft_join(&cb) == -EPROTO);
    TASK_CHECK(weft_join(&ca) == -EPROTO);
    TASK_CHECK(a.seen == weft_current_task() && b.seen == weft_current_task());
    return 0;
}
WEFT_CORO(identity);
static void test_identity(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i]), identity), 0);
    assert_tasks_ok();
}

/* A cancel of the root reaches the child that is waited for, wherever it runs; every join still happens. */
struct tree {
    WEFT_FRAME;
    int depth;
    atomic_int *entered, *left;
};
static int tree(struct tree *f);
WEFT_CORO(tree);
static int tree(struct tree *f)
{
    atomic_fetch_add(f->entered, 1);
    int rc;
    if (f->depth == 0) {
        rc = weft_sleep(WEFT_MS(3));
    } else {
        struct tree a = {.depth = f->depth - 1, .entered = f->entered, .left = f->left};
        struct tree b = a;
        weft_child child;
        weft_fork(&child, tree, &a);
        rc = tree(&b);
        int ra = weft_join(&child);
        rc = ra < 0 ? ra : rc;
    }
    atomic_fetch_add(f->left, 1);
    return rc;
}
struct cancel_tree {
    WEFT_FRAME;
    int after;
};
static int cancel_tree(struct cancel_tree *f)
{
    static atomic_int entered, left;
    entered = left = 0;
    weft_task *t = weft_create_task(tree, .depth = 5, .entered = &entered, .left = &left);
    for (int i = 0; i < f->after; i++)
        (void)weft_yield();
    TASK_CHECK(weft_cancel(t));
    int rc = weft_await(t);
    TASK_CHECK(rc == -ECANCELED);
    TASK_CHECK(entered == left);
    weft_release(t);
    return 0;
}
WEFT_CORO(cancel_tree);
static void test_cancel_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (int after = 0; after < 20; after++)
            assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i], .clock = WEFT_CLOCK_VIRTUAL),
                                           cancel_tree, .after = after),
                             0); /* the sleeps do not end before it is cancelled */
    }
    assert_tasks_ok();
}

/* Cancelling the root of a recursion over hundreds of stacks needs no deep stack of the canceller. */
struct deep_sleep {
    WEFT_FRAME;
    int n;
};
static int deep_sleep(struct deep_sleep *f);
WEFT_CORO(deep_sleep);
static int deep_sleep(struct deep_sleep *f)
{
    if (f->n == 0)
        return weft_sleep(WEFT_SEC(3600));
    volatile char fill[4000];
    fill[0] = 0;
    struct deep_sleep below = {.n = f->n - 1};
    weft_child child;
    weft_fork(&child, deep_sleep, &below);
    return weft_join(&child) + fill[0];
}
struct cancel_deep {
    WEFT_FRAME;
};
static int cancel_deep(struct cancel_deep *f)
{
    (void)f;
    weft_task *t = weft_create_task(deep_sleep, .n = 20000);
    TASK_CHECK(weft_sleep(WEFT_MS(300)) == 0);
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(weft_await(t) == -ECANCELED);
    weft_release(t);
    return 0;
}
WEFT_CORO(cancel_deep);
static void test_cancel_deep(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(
            weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i], .slow_task = WEFT_FOREVER), cancel_deep), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fib),
        cmocka_unit_test(test_fib_with_yields),
        cmocka_unit_test(test_fib_with_sleeps),
        cmocka_unit_test(test_fan_out),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_turns_of_a_yield),
        cmocka_unit_test(test_yield_to_awaited_child),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_cancel_tree),
        cmocka_unit_test(test_cancel_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
