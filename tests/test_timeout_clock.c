/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_timeout_clock.c -- time limits on the real clock, where a limit is set when its task first suspends: never early,
 * whatever the task did before; moved by others, nested, over children run at once; and the stamps they count from. What is
 * exact is in test_timeout.c, on the virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <weft.h>

#include "executor/runtime.h"

static unsigned faults, first_fault;

#define CHECK(x)                                                                                                       \
    do {                                                                                                               \
        if (!(x) && faults++ == 0)                                                                                     \
            first_fault = __LINE__;                                                                                    \
    } while (0)

static void compute(weft_ns duration)
{
    for (weft_ns end = weft_now() + duration; weft_now() < end;)
        ;
}

struct body {
    WEFT_FRAME;
    int (*run)(void);
};
static int body(struct body *f)
{
    return f->run();
}
WEFT_CORO(body);

static void run(int (*what)(void), unsigned workers)
{
    faults = first_fault = 0;
    int rc = weft_run_with(WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER), body, .run = what);
    assert_int_equal(rc, 0);
    assert_int_equal(first_fault, 0);
}

/* A request that another thread makes while the task runs, before its limit begins, is met, also when the limit has run out by the time it is:
 * here the clean-up of what is waited for takes longer. */
static _Atomic(weft_task *) victim;
static _Atomic(bool) asked;
static void *cancels(void *unused)
{
    (void)unused;
    while (victim == NULL)
        sched_yield();
    CHECK(weft_cancel(victim));
    asked = true;
    return NULL;
}

struct cleans_up {
    WEFT_FRAME;
};
static int cleans_up(struct cleans_up *f)
{
    (void)f;
    int rc = weft_sleep(WEFT_SEC(3600));
    (void)weft_sleep(WEFT_MS(50)); /* the limit cancels it, too */
    return rc;
}
WEFT_CORO(cleans_up);

static int asked_before(void)
{
    for (int way = 0; way < 2; way++) {
        weft_task *t = weft_create_task(cleans_up);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
        victim = weft_current_task();
        while (!asked)
            sched_yield();
        int rc;
        if (way == 0) {
            rc = weft_wait_for(t, WEFT_MS(5));
        } else {
            weft_timeout limit;
            CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
            rc = weft_timeout_end(&limit, weft_await(t));
        }
        CHECK(rc == -ECANCELED && weft_cancelling(weft_current_task()) == 1);
        CHECK(weft_uncancel(weft_current_task()) == 0 && weft_sleep(WEFT_MS(1)) == 0);
        (void)weft_await_release(t);
        asked = false;
        victim = NULL;
        if (way == 0) {
            pthread_t again;
            CHECK(pthread_create(&again, NULL, cancels, NULL) == 0 && pthread_detach(again) == 0);
        }
    }
    return 0;
}

static void test_a_request_made_before(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancels, NULL), 0);
    run(asked_before, 2);
    pthread_join(thread, NULL);
}

/* A wait of an hour in a block of 20 ms that computed first: it ends by the limit, and not before. */
static void limited(weft_ns duration, weft_ns before)
{
    weft_timeout limit;
    weft_ns start = weft_now();
    CHECK(weft_timeout_begin(&limit, duration) == 0);
    compute(before);
    int rc = weft_sleep(WEFT_SEC(3600));
    CHECK(rc == -ECANCELED && weft_now() - start >= duration && weft_timeout_expired(&limit));
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
    CHECK(weft_cancelling(weft_current_task()) == 0);
}

static int never_early(void)
{
    limited(WEFT_MS(20), 0);
    limited(WEFT_MS(20), WEFT_MS(1));
    limited(WEFT_MS(20), WEFT_MS(45)); /* over before it is set; several ticks passed */
    limited(1, 0);
    limited(0, 0);
    limited(-5, WEFT_MS(1));
    return 0;
}
static void test_never_early(void **state)
{
    (void)state;
    run(never_early, 1);
    run(never_early, 2);
}

static int without_suspension(void)
{
    for (int i = 0; i < 100000; i++) {
        weft_timeout limit;
        CHECK(weft_timeout_begin(&limit, i % 3 == 0 ? 1 : WEFT_SEC(1)) == 0);
        CHECK(!weft_timeout_expired(&limit));
        CHECK(weft_timeout_end(&limit, i) == i);
        CHECK(!weft_timeout_expired(&limit));
    }
    return weft_yield(); /* no timer is left, and no request */
}
static void test_a_block_that_does_not_suspend(void **state)
{
    (void)state;
    run(without_suspension, 1);
}

/* The deadline, asked for before anything has needed it, lies where it has to, and stays there. */
static int when(void)
{
    weft_timeout limit;
    weft_ns before = weft_now();
    CHECK(weft_timeout_begin(&limit, WEFT_MS(10)) == 0);
    weft_ns after = weft_now(), deadline = weft_timeout_when(&limit);
    CHECK(deadline >= before + WEFT_MS(10) && (deadline >= after || after >= before + WEFT_MS(10)));
    compute(WEFT_MS(1));
    CHECK(weft_timeout_when(&limit) == deadline);
    int rc = weft_sleep(WEFT_SEC(3600));
    CHECK(rc == -ECANCELED && weft_now() >= deadline && weft_timeout_when(&limit) == deadline);
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
    CHECK(weft_timeout_begin(&limit, WEFT_FOREVER) == 0);
    CHECK(weft_timeout_when(&limit) == WEFT_FOREVER && weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_timeout_end(&limit, 0) == 0);
    return 0;
}
static void test_when(void **state)
{
    (void)state;
    run(when, 1);
}

/* Of two in each other the shorter one expires, whichever it is; the other is as good as new. */
static int nested(void)
{
    for (int inner_first = 0; inner_first < 2; inner_first++) {
        weft_timeout outer, inner;
        CHECK(weft_timeout_begin(&outer, inner_first ? WEFT_SEC(3600) : WEFT_MS(5)) == 0);
        CHECK(weft_timeout_begin(&inner, inner_first ? WEFT_MS(5) : WEFT_SEC(3600)) == 0);
        int rc = weft_sleep(WEFT_SEC(3600));
        CHECK(weft_timeout_expired(&inner) == (inner_first == 1) && weft_timeout_expired(&outer) == (inner_first == 0));
        rc = weft_timeout_end(&inner, rc);
        CHECK(rc == (inner_first ? -ETIMEDOUT : -ECANCELED));
        if (inner_first)
            rc = weft_sleep(WEFT_MS(1));
        CHECK(weft_timeout_end(&outer, rc) == (inner_first ? 0 : -ETIMEDOUT));
        /* One opened later, after a suspension under the first, is set at the next one. */
        CHECK(weft_timeout_begin(&outer, WEFT_SEC(3600)) == 0);
        CHECK(weft_yield() == 0);
        CHECK(weft_timeout_begin(&inner, WEFT_MS(5)) == 0);
        CHECK(weft_timeout_end(&inner, weft_sleep(WEFT_SEC(3600))) == -ETIMEDOUT);
        CHECK(weft_timeout_end(&outer, 0) == 0);
    }
    return 0;
}
static void test_nested(void **state)
{
    (void)state;
    run(nested, 1);
}

struct sleeper {
    WEFT_FRAME;
    weft_ns duration;
};
static int sleeper(struct sleeper *f)
{
    return weft_sleep(f->duration);
}
WEFT_CORO(sleeper);

struct nest {
    WEFT_FRAME;
    int depth;
};
static int nest(struct nest *f);
WEFT_CORO_DECLARE(nest);
static int nest(struct nest *f)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(3600)) == 0);
    weft_task *t = f->depth == 0 ? weft_create_task(sleeper, .duration = WEFT_SEC(3600))
                                 : weft_create_task(nest, .depth = f->depth - 1);
    int rc = weft_await_release(t);
    return weft_timeout_end(&limit, rc);
}
WEFT_CORO_DEFINE(nest);

/* Limits of tasks that run on one stack: the outermost expires, the innermost sleeps. */
static int on_one_stack(void)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    int rc = weft_await_release(weft_create_task(nest, .depth = 4));
    CHECK(rc == -ECANCELED);
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
    return 0;
}
static void test_on_one_stack(void **state)
{
    (void)state;
    run(on_one_stack, 1);
    run(on_one_stack, 2);
}

static int yielding(void)
{
    weft_timeout limit;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(2)) == 0);
    int rc;
    while ((rc = weft_yield()) == 0)
        ;
    CHECK(rc == -ECANCELED);
    CHECK(weft_timeout_end(&limit, rc) == -ETIMEDOUT);
    return 0;
}
static void test_a_loop_of_yields_ends(void **state)
{
    (void)state;
    run(yielding, 1);
    run(yielding, 2);
}

/* Others move a limit, at whatever moment: before its task first suspends, while it does, later. */
struct mover {
    WEFT_FRAME;
    weft_timeout *limit;
    _Atomic(int) *gate;
};
static int mover(struct mover *f)
{
    while (weft__load_acquire(f->gate) == 0) /* pairs: GATE */
        CHECK(weft_yield() == 0);
    weft__store_release(f->gate, 2); /* pairs: GATE */
    return weft_timeout_reschedule(f->limit, WEFT_MS(1));
}
WEFT_CORO(mover);

static int moved(void)
{
    for (int round = 0; round < 200; round++) {
        weft_timeout limit;
        _Atomic(int) gate = 0;
        CHECK(weft_timeout_begin(&limit, WEFT_SEC(3600)) == 0);
        weft_task *t = weft_create_task(mover, .limit = &limit, .gate = &gate);
        if (round % 3 == 0)
            CHECK(weft_yield() == 0);
        weft__store_release(&gate, 1); /* pairs: GATE */
        int rc = weft_sleep(WEFT_SEC(3600));
        CHECK(rc == -ECANCELED && weft__load_acquire(&gate) == 2); /* pairs: GATE */
        rc = weft_timeout_end(&limit, rc);
        CHECK(rc == -ETIMEDOUT);
        CHECK(weft_await_release(t) == 0);
    }
    return 0;
}
static void test_moved_by_another_task(void **state)
{
    (void)state;
    run(moved, 1);
    run(moved, 2);
    run(moved, 3);
}

/* In the clean-up of a cancelled task: a limit that expires when nothing in its block waits any more has asked for nothing. */
struct hasty {
    WEFT_FRAME;
    weft_timeout *limit;
    _Atomic(int) *gate;
};
static int hasty(struct hasty *f)
{
    CHECK(weft_timeout_reschedule(f->limit, 0) == 0);
    weft__store_release(f->gate, 1); /* pairs: GATE */
    return 0;
}
WEFT_CORO(hasty);

static int cleaning_up(void)
{
    weft_task *me = weft_current_task();
    CHECK(weft_cancel(me) && weft_sleep(WEFT_SEC(3600)) == -ECANCELED);
    weft_timeout limit;
    _Atomic(int) gate = 0;
    CHECK(weft_timeout_begin(&limit, WEFT_SEC(3600)) == 0);
    weft_task *t = weft_create_task(hasty, .limit = &limit, .gate = &gate);
    while (weft__load_acquire(&gate) == 0) /* pairs: GATE; another worker takes it */
        sched_yield();
    CHECK(weft_timeout_end(&limit, 4) == 4 && weft_timeout_expired(&limit));
    CHECK(weft_cancelling(me) == 1 && weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_uncancel(me) == 0 && weft_await_release(t) == 0);
    return 0;
}
static void test_too_late_for_its_block(void **state)
{
    (void)state;
    run(cleaning_up, 2);
}

/* A stamp's instant is not before the stamp, and not after the first tick that comes after it. */
static void test_stamps(void **state)
{
    (void)state;
    struct weft_runtime *rt = calloc(1, sizeof *rt);
    assert_non_null(rt);
    for (unsigned i = 0; i < 300; i++) {
        uint32_t stamp = weft__stamp(rt);
        weft_ns taken = weft__monotonic();
        weft_ns instant = weft__stamp_instant(rt, stamp);
        assert_true(instant >= taken && instant <= weft__monotonic());
        weft_ns first = weft__stamp_tick(rt);
        assert_true(weft__stamp_instant(rt, stamp) == first);
        for (unsigned more = 0; more < i % 90; more++)
            weft__stamp_tick(rt);
        instant = weft__stamp_instant(rt, stamp);
        assert_true(instant >= first && instant <= weft__monotonic());
        if (i % 90 < WEFT__TICKS / 2)
            assert_true(instant == first);
    }
    free(rt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_early),
        cmocka_unit_test(test_a_block_that_does_not_suspend),
        cmocka_unit_test(test_a_request_made_before),
        cmocka_unit_test(test_when),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_on_one_stack),
        cmocka_unit_test(test_a_loop_of_yields_ends),
        cmocka_unit_test(test_moved_by_another_task),
        cmocka_unit_test(test_too_late_for_its_block),
        cmocka_unit_test(test_stamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
