/* SPDX-License-Identifier: Apache-2.0 */
/* test_burst.c -- forked children and sleepers: after how many brief bursts nobody is woken for the next, what an error costs, who finds the
 * children all the same; and a thief that is woken on its waker's CPU gives it back. How long a burst has taken is set by the test, and so is
 * the CPU that a thread is on. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <weft.h>

#include <cmocka.h>

#include "executor/fiber_tools.h"
#include "executor/runtime.h"
#include "support/check.h"
#include "support/thread_sleeps.h"

/* In the place of libc's. */
static _Atomic int cpu = -1; /* that everybody is on; -1: nobody knows */
static _Atomic unsigned yields;
static _Atomic(pthread_t) owner; /* whose yields do not count */
int sched_getcpu(void)
{
    return atomic_load(&cpu);
}
int sched_yield(void)
{
    if (!pthread_equal(pthread_self(), atomic_load(&owner)))
        atomic_fetch_add(&yields, 1);
    return (int)syscall(SYS_sched_yield);
}

/* ---- what is believed ---- */

#define LEAST 16
#define MOST 4096
#define LONG_AGO ((weft_ns)1)

static weft_ns later(void)
{
    return weft__monotonic() + WEFT_SEC(1000);
}

static struct weft_runtime *fake_runtime(void)
{
    static struct weft_runtime rt;
    rt = (struct weft_runtime){.worker_count = 2};
    return &rt;
}
static struct weft__worker *fake_worker(struct weft_runtime *rt)
{
    static struct weft__worker w;
    memset(&w, 0, sizeof w);
    w.rt = rt;
    assert_int_equal(weft__joins_init(&w.joins, 256, -1), 0);
    weft__burst_init(&w.burst);
    weft__store_relaxed(&w.beside, -1); /* relaxed: one thread */
    return &w;
}
static void push(struct weft__worker *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_true(weft__joins_push_slow(&w->joins, 8));
}
static void pop_all(struct weft__worker *w)
{
    while (weft__joins_pop(&w->joins, 0) != 0)
        ;
}
static bool is_alone(const struct weft__worker *w)
{
    return weft__load_relaxed(&w->burst.alone) != 0; /* relaxed: one thread */
}

/* One burst; was a sleeper to be woken at its beginning? */
static bool burst(struct weft__worker *w, bool brief)
{
    push(w, 2);
    bool alone = weft__burst_alone(w);
    assert_int_equal(alone, is_alone(w));
    if (!alone)
        weft__burst_shared(&w->burst);
    assert_true(w->burst.since != 0);
    w->burst.since = brief ? later() : LONG_AGO;
    pop_all(w);
    weft__burst_end(w);
    assert_true(w->burst.since == 0 && !is_alone(w));
    return !alone;
}

static void test_brief_ones_in_a_row_are_believed(void **state)
{
    (void)state;
    struct weft__worker *w = fake_worker(fake_runtime());
    for (unsigned i = 0; i < LEAST; i++)
        assert_true(burst(w, true));
    assert_false(burst(w, true));
    assert_false(burst(w, true));
    weft__joins_destroy(&w->joins);
}
static void test_a_long_one_between_them_is_remembered(void **state)
{
    (void)state;
    struct weft__worker *w = fake_worker(fake_runtime());
    for (unsigned i = 0; i < 100; i++) { /* never so many in a row */
        for (unsigned k = 0; k + 1 < LEAST; k++)
            assert_true(burst(w, true));
        assert_true(burst(w, false));
    }
    weft__joins_destroy(&w->joins);
}
static void test_each_error_doubles_what_is_needed(void **state)
{
    (void)state;
    struct weft__worker *w = fake_worker(fake_runtime());
    for (unsigned needed = LEAST; needed <= 4 * MOST; needed *= 2) {
        unsigned now = needed < MOST ? needed : MOST;
        for (unsigned i = 0; i < now; i++)
            assert_true(burst(w, true));
        assert_false(burst(w, false));
    }
    /* And is forgiven after many. */
    unsigned woken = 0;
    for (unsigned i = 0; i < 20 * 2 * MOST; i++)
        woken += burst(w, true);
    assert_int_equal(woken, MOST);
    assert_false(burst(w, false));
    woken = 0;
    for (unsigned i = 0; i < MOST; i++)
        woken += burst(w, true);
    assert_true(woken < MOST / 4);
    weft__joins_destroy(&w->joins);
}
static void test_it_is_asked_again_when_the_stack_has_grown(void **state)
{
    (void)state;
    struct weft_runtime *rt = fake_runtime();
    struct weft__worker *w = fake_worker(rt);
    for (unsigned i = 0; i < LEAST; i++)
        (void)burst(w, true);
    weft__store_relaxed(&rt->idle.parked, 1); /* relaxed: one thread */
    push(w, 2);
    assert_true(weft__burst_alone(w));
    assert_int_equal(weft__load_relaxed(&w->joins.limit), 3); /* relaxed: one thread; the fourth comes the slow way */
    weft__store_relaxed(&w->burst.alone, later());            /* relaxed: one thread; young, however long this takes */
    assert_true(weft__burst_fresh(&w->burst));
    push(w, 2);
    assert_true(weft__burst_alone(w));
    weft__store_relaxed(&w->burst.alone, LONG_AGO); /* relaxed: one thread */
    assert_false(weft__burst_fresh(&w->burst));
    push(w, 3);
    assert_true(weft__burst_alone(w)); /* no look at the clock before there are eight */
    push(w, 1);
    assert_false(weft__burst_alone(w));
    assert_false(weft__burst_alone(w));
    assert_int_equal(w->burst.needed, 2 * LEAST); /* once */
    pop_all(w);
    w->burst.since = LONG_AGO;
    weft__burst_end(w);
    assert_int_equal(w->burst.needed, 2 * LEAST);
    /* Who sleeps does not ask again: the end of one that was left alone does. */
    w->burst.brief = w->burst.needed;
    push(w, 2);
    assert_true(weft__burst_alone(w));
    pop_all(w);
    weft__burst_end(w);
    assert_int_equal(weft__load_relaxed(&w->joins.limit), weft__load_relaxed(&w->joins.floor) + 1); /* relaxed: both */
    weft__joins_destroy(&w->joins);
}
static void test_never_with_the_virtual_clock(void **state)
{
    (void)state;
    struct weft_runtime *rt = fake_runtime();
    rt->is_virtual = true;
    struct weft__worker *w = fake_worker(rt);
    for (unsigned i = 0; i < 2 * LEAST; i++)
        assert_true(burst(w, true));
    weft__joins_destroy(&w->joins);
}
static void test_beside_is_the_waker_s_cpu(void **state)
{
    (void)state;
    struct weft__worker *w = fake_worker(fake_runtime());
    atomic_store(&cpu, 3);
    assert_false(weft__idle_beside(w));
    weft__store_relaxed(&w->beside, 4); /* relaxed: one thread */
    assert_false(weft__idle_beside(w));
    weft__store_relaxed(&w->beside, 3); /* relaxed: one thread */
    assert_true(weft__idle_beside(w));
    atomic_store(&cpu, -1);
    weft__store_relaxed(&w->beside, -1); /* relaxed: one thread */
    assert_false(weft__idle_beside(w));
    weft__joins_destroy(&w->joins);
}

/* ---- in a runtime of two workers, the other of which sleeps ---- */

/* Until the counter has reached n: the task computes, as far as weft can see. */
static bool reached(_Atomic unsigned *counter, unsigned n)
{
    for (weft_ns limit = weft__monotonic() + WEFT_SEC(60); atomic_load(counter) < n; (void)sched_yield()) {
        if (weft__monotonic() > limit)
            return false;
    }
    return true;
}

struct done {
    WEFT_FRAME;
    _Atomic unsigned *ran;
};
static int done(struct done *f)
{
    atomic_fetch_add(f->ran, 1);
    return 0;
}
WEFT_CORO(done);

struct two {
    WEFT_FRAME;
    bool believed; /* its worker takes bursts for brief */
    unsigned children;
    int cpu;
    unsigned yields; /* that the other must come to before the joins */
};
static struct weft__worker *other_of(struct weft__worker *w)
{
    return &w->rt->workers[1 - w->index];
}
static bool other_sleeps(struct weft__worker *w)
{
    struct weft__worker *other = other_of(w);
    return (weft__load_seq_cst(&w->rt->idle.bits[0]) >> other->index & 1) &&
           thread_sleeps(weft__load_relaxed(&other->tid)); /* relaxed: a hint */
}
static int two(struct two *f)
{
    struct weft__worker *w = weft__worker_self();
    for (weft_ns limit = weft__monotonic() + WEFT_SEC(60); !other_sleeps(w) && weft__monotonic() < limit;)
        (void)usleep(100);
    atomic_store(&owner, pthread_self());
    atomic_store(&yields, 0);
    atomic_store(&cpu, f->cpu);
    w->burst.brief = f->believed ? w->burst.needed : 0;
    uint64_t before = weft__load_relaxed(&other_of(w)->wakes); /* relaxed: a statistic */
    _Atomic unsigned ran = 0;
    struct done frames[8];
    weft_child child[8];
    weft_ns began = weft__monotonic();
    for (unsigned i = 0; i < f->children; i++) {
        frames[i] = (struct done){.ran = &ran};
        weft_fork(&child[i], done, &frames[i]);
    }
    if (f->believed) /* unless the machine has taken so long for it that it does not count as brief */
        TASK_CHECK(is_alone(w) || weft__monotonic() - began > WEFT_US(10));
    else
        TASK_CHECK(!is_alone(w) && weft__load_relaxed(&other_of(w)->wakes) > before); /* relaxed: own */
    /* Left alone or not: a step that lasts, and others come for what is more than one. */
    TASK_CHECK(reached(f->yields != 0 ? &yields : &ran, f->yields != 0 ? f->yields : f->children - 1));
    atomic_store(&cpu, -1);
    for (unsigned i = f->children; i-- > 0;)
        TASK_CHECK(weft_join(&child[i]) == 0);
    TASK_CHECK(atomic_load(&ran) == f->children);
    return 0;
}
WEFT_CORO(two);

static void run_two(bool believed, unsigned children, int at, unsigned wanted)
{
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), two, .believed = believed,
                                   .children = children, .cpu = at, .yields = wanted),
                     0);
    assert_tasks_ok();
}
static void test_the_other_is_woken(void **state)
{
    (void)state;
    run_two(false, 2, -1, 0);
    run_two(false, 8, -1, 0);
}
static void test_an_error_is_found_by_the_tick(void **state)
{
    (void)state;
    run_two(true, 2, -1, 0);
    run_two(true, 3, -1, 0);
}
static void test_the_thief_gives_the_cpu_back(void **state)
{
    (void)state;
    run_two(false, 2, 0, 1);
    run_two(false, 2, 0, 0); /* and takes its part all the same */
    run_two(false, 8, 0, 0);
}

/* ---- woken on the waker's CPU for something else than forked children ---- */

struct tasks {
    WEFT_FRAME;
};
static int tasks(struct tasks *f)
{
    (void)f;
    struct weft__worker *w = weft__worker_self();
    for (weft_ns limit = weft__monotonic() + WEFT_SEC(60); !other_sleeps(w) && weft__monotonic() < limit;)
        (void)usleep(100);
    atomic_store(&owner, pthread_self());
    atomic_store(&yields, 0);
    atomic_store(&cpu, 0);
    _Atomic unsigned ran = 0;
    weft_task *t[2];
    for (unsigned i = 0; i < 2; i++)
        t[i] = weft_create_task(done, .ran = &ran);
    TASK_CHECK(reached(&ran, 1)); /* does not wait for this task to leave the CPU */
    TASK_CHECK(atomic_load(&yields) == 0);
    atomic_store(&cpu, -1);
    for (unsigned i = 0; i < 2; i++)
        TASK_CHECK(weft_await_release(t[i]) == 0);
    return 0;
}
WEFT_CORO(tasks);
static void test_a_task_is_taken_at_once(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), tasks), 0);
    assert_tasks_ok();
}

/* Does a worker that has found nothing look around? Its own task asks in its place. */
struct looks {
    WEFT_FRAME;
};
static bool looks_around(struct weft__worker *w, int beside, bool forks)
{
    w->vain = 0;
    weft__store_relaxed(&w->beside, beside);      /* relaxed: one thread */
    weft__store_relaxed(&w->beside_forks, forks); /* relaxed: one thread */
    TASK_CHECK(weft__worker_search(w) == 0);
    return w->vain != 0; /* it has, in vain */
}
static int looks(struct looks *f)
{
    (void)f;
    struct weft__worker *w = weft__worker_self();
    for (weft_ns limit = weft__monotonic() + WEFT_SEC(60); !other_sleeps(w) && weft__monotonic() < limit;)
        (void)usleep(100);
    atomic_store(&cpu, 5);
    TASK_CHECK(looks_around(w, -1, false));
    TASK_CHECK(looks_around(w, 4, false));
    TASK_CHECK(!looks_around(w, 5, false));
    TASK_CHECK(looks_around(w, 5, true));
    atomic_store(&cpu, -1);
    weft__store_relaxed(&w->beside, -1); /* relaxed: one thread */
    return 0;
}
WEFT_CORO(looks);
static void test_nobody_looks_around_in_the_waker_s_place(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 2, .slow_task = WEFT_FOREVER), looks), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brief_ones_in_a_row_are_believed),
        cmocka_unit_test(test_a_long_one_between_them_is_remembered),
        cmocka_unit_test(test_each_error_doubles_what_is_needed),
        cmocka_unit_test(test_it_is_asked_again_when_the_stack_has_grown),
        cmocka_unit_test(test_never_with_the_virtual_clock),
        cmocka_unit_test(test_beside_is_the_waker_s_cpu),
        cmocka_unit_test(test_the_other_is_woken),
        cmocka_unit_test(test_an_error_is_found_by_the_tick),
        cmocka_unit_test(test_the_thief_gives_the_cpu_back),
        cmocka_unit_test(test_a_task_is_taken_at_once),
        cmocka_unit_test(test_nobody_looks_around_in_the_waker_s_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
