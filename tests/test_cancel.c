/* SPDX-License-Identifier: Apache-2.0 */
/* Cancellation (rules C16, D3 to D8, N of the semantics), on one worker in asyncio's order and on many. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

static const unsigned worker_counts[] = {1, 2, 3, 8};

/* Run a test coroutine on the virtual clock with every number of workers, inlining on and off, and in asyncio's order. */
#define RUN_EVERYWHERE(fn)                                                                                             \
    do {                                                                                                               \
        assert_int_equal(                                                                                              \
            weft_run_with(WEFT_OPTIONS(.workers = 1, .order = WEFT_ORDER_FIFO, .clock = WEFT_CLOCK_VIRTUAL), fn), 0);  \
        for (size_t i_ = 0; i_ < 4; i_++) {                                                                            \
            for (unsigned inline_ = 0; inline_ < 2; inline_++)                                                         \
                assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = worker_counts[i_], .inlining = inline_,         \
                                                            .clock = WEFT_CLOCK_VIRTUAL),                              \
                                               fn),                                                                    \
                                 0);                                                                                   \
        }                                                                                                              \
        assert_tasks_ok();                                                                                             \
    } while (0)

/* Sleeps long; on cancellation cleans up for a while; then ends with `answer` (0: -ECANCELED). */
struct sleeper {
    WEFT_FRAME;
    weft_ns cleanup;
    int answer;
    bool began, cleaned;
};
static int sleeper(struct sleeper *f)
{
    f->began = true;
    int rc = weft_sleep(WEFT_SEC(3600));
    if (rc != -ECANCELED)
        return rc;
    if (f->cleanup > 0 && weft_sleep(f->cleanup) == 0)
        f->cleaned = true;
    return f->answer != 0 ? f->answer : rc;
}
WEFT_CORO(sleeper);

struct parent {
    WEFT_FRAME;
    weft_task *child;
    int swallow;
    bool began;
};
static int parent(struct parent *f)
{
    f->began = true;
    int rc = weft_await(f->child);
    return rc == -ECANCELED && f->swallow ? 5 : rc;
}
WEFT_CORO(parent);

static int settle(void)
{
    return weft_sleep(WEFT_MS(10));
}

#define TEST_CORO(name)                                                                                                \
    struct name {                                                                                                      \
        WEFT_FRAME;                                                                                                    \
    };                                                                                                                 \
    static int name(struct name *f);                                                                                   \
    WEFT_CORO(name);                                                                                                   \
    static int name(struct name *f)

/* N1, N2, N3: a request is delivered at the suspension; clean-up may wait; a second cancel of an ended task is refused. */
TEST_CORO(basic)
{
    (void)f;
    weft_task *t = weft_create_task(sleeper, .cleanup = WEFT_MS(7));
    TASK_CHECK(settle() == 0);
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(!weft_done(t) || weft_cancelled(t));
    weft_ns before = weft_now();
    TASK_CHECK(weft_await(t) == -ECANCELED);
    TASK_CHECK(weft_now() - before == WEFT_MS(7));
    TASK_CHECK(weft_cancelled(t) && weft_result(sleeper, t)->cleaned);
    TASK_CHECK(!weft_cancel(t) && weft_cancelling(t) == 1);
    TASK_CHECK(weft_cancelling(weft_current_task()) == 0); /* D3 */
    weft_release(t);
    return 0;
}
static void test_basic(void **state)
{
    (void)state;
    RUN_EVERYWHERE(basic);
}

/* C16: cancelled before its first step, it never runs. (With many workers it may have begun already.) */
TEST_CORO(before_start)
{
    (void)f;
    weft_task *t = weft_create_task(sleeper);
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(weft_await(t) == -ECANCELED);
    TASK_CHECK(weft_cancelled(t));
    if (weft_runtime_workers(weft_runtime_current()) == 1)
        TASK_CHECK(!weft_result(sleeper, t)->began);
    weft_release(t);
    return 0;
}
static void test_before_start(void **state)
{
    (void)state;
    RUN_EVERYWHERE(before_start);
}

/* N4: swallowed. N12: answered with an error. D5, D6: the awaiter gets the child's outcome, D4: not before it has ended. */
TEST_CORO(answers)
{
    (void)f;
    for (int i = 0; i < 3; i++) {
        int answer = i == 0 ? 7 : i == 1 ? -EIO : 0;
        weft_task *child = weft_create_task(sleeper, .cleanup = WEFT_MS(5), .answer = answer);
        weft_task *p = weft_create_task(parent, .child = child);
        TASK_CHECK(settle() == 0);
        weft_ns before = weft_now();
        TASK_CHECK(weft_cancel(p));
        TASK_CHECK(weft_cancelling(child) == 1 && weft_cancelling(p) == 1);
        int rc = weft_await(p);
        TASK_CHECK(rc == (i == 2 ? -ECANCELED : answer));
        TASK_CHECK(weft_now() - before == WEFT_MS(5));
        TASK_CHECK(weft_cancelled(p) == (i == 2));
        weft_release(p);
        weft_release(child);
    }
    return 0;
}
static void test_answers(void **state)
{
    (void)state;
    RUN_EVERYWHERE(answers);
}

/* N5: a second request interrupts the clean-up too. */
TEST_CORO(second)
{
    (void)f;
    weft_task *t = weft_create_task(sleeper, .cleanup = WEFT_SEC(100));
    TASK_CHECK(settle() == 0);
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(settle() == 0);
    TASK_CHECK(weft_cancel(t));
    TASK_CHECK(weft_await(t) == -ECANCELED);
    TASK_CHECK(!weft_result(sleeper, t)->cleaned && weft_cancelling(t) == 2);
    weft_release(t);
    return 0;
}
static void test_second(void **state)
{
    (void)state;
    RUN_EVERYWHERE(second);
}

/* N8: a task that cancels itself goes on to its next suspension; if it ends without one its value is lost. N10, N11. */
struct self_cancel {
    WEFT_FRAME;
    int mode;
};
static int self_cancel(struct self_cancel *f)
{
    weft_task *me = weft_current_task();
    TASK_CHECK(weft_cancel(me));
    switch (f->mode) {
    case 0:
        return 3; /* lost */
    case 1:
        return -EIO; /* an error is not */
    case 2:
        TASK_CHECK(weft_sleep(WEFT_MS(5)) == -ECANCELED);
        TASK_CHECK(weft_sleep(WEFT_MS(5)) == 0);
        return 4;
    case 3:
        TASK_CHECK(weft_yield() == -ECANCELED);
        return 5;
    case 4:
        TASK_CHECK(weft_uncancel(me) == 0);
        return 7; /* not lost: it was taken back */
    default:
        TASK_CHECK(weft_cancelling(me) == 1 && weft_uncancel(me) == 0 && weft_uncancel(me) == 0);
        TASK_CHECK(weft_sleep(WEFT_MS(5)) == 0);
        return 6;
    }
}
WEFT_CORO(self_cancel);
TEST_CORO(selves)
{
    (void)f;
    TASK_CHECK(weft_await_release(weft_create_task(self_cancel, .mode = 0)) == -ECANCELED);
    TASK_CHECK(weft_await_release(weft_create_task(self_cancel, .mode = 1)) == -EIO);
    TASK_CHECK(weft_await_release(weft_create_task(self_cancel, .mode = 2)) == 4);
    TASK_CHECK(weft_await_release(weft_create_task(self_cancel, .mode = 3)) == 5);
    TASK_CHECK(weft_await_release(weft_create_task(self_cancel, .mode = 4)) == 7);
    TASK_CHECK(weft_await_release(weft_create_task(self_cancel, .mode = 5)) == 6);
    weft_task *t = weft_create_task(self_cancel, .mode = 1);
    if (weft_runtime_workers(weft_runtime_current()) == 1) /* taken back before it begins */
        TASK_CHECK(weft_cancel(t) && weft_uncancel(t) == 0 && weft_cancelling(t) == 0);
    TASK_CHECK(weft_await_release(t) == -EIO);
    return 0;
}
static void test_selves(void **state)
{
    (void)state;
    RUN_EVERYWHERE(selves);
}

/* N8 with an await: the pending request goes to the child before it begins, also when it would have been run at once. */
struct pending_await {
    WEFT_FRAME;
    bool *began;
};
static int pending_await(struct pending_await *f)
{
    weft_task *t = weft_create_task(sleeper);
    weft_cancel(weft_current_task());
    int rc = weft_await(t);
    *f->began = weft_result(sleeper, t)->began;
    weft_release(t);
    return rc;
}
WEFT_CORO(pending_await);
TEST_CORO(pending)
{
    (void)f;
    bool began = true;
    TASK_CHECK(weft_await_release(weft_create_task(pending_await, .began = &began)) == -ECANCELED);
    if (weft_runtime_workers(weft_runtime_current()) == 1)
        TASK_CHECK(!began);
    return 0;
}
static void test_pending(void **state)
{
    (void)state;
    RUN_EVERYWHERE(pending);
}

/* D7: a long chain of awaits, partly on one stack, cancelled at the head and in the middle. */
struct chain {
    WEFT_FRAME;
    int n;
    weft_task **middle;
};
static int chain(struct chain *f);
WEFT_CORO(chain);
static int chain(struct chain *f)
{
    if (f->n == 0)
        return weft_sleep(WEFT_SEC(3600));
    if (f->n == 100)
        *f->middle = weft_ref(weft_current_task());
    weft_task *t = weft_create_task(chain, .n = f->n - 1, .middle = f->middle);
    int rc = weft_await(t);
    TASK_CHECK(rc == -ECANCELED && weft_cancelled(t));
    weft_release(t);
    return rc;
}
TEST_CORO(chains)
{
    (void)f;
    for (int from = 0; from < 2; from++) {
        weft_task *middle = NULL, *t = weft_create_task(chain, .n = 200, .middle = &middle);
        TASK_CHECK(settle() == 0);
        TASK_CHECK(weft_cancel(from == 0 ? t : middle));
        TASK_CHECK(weft_await(t) == -ECANCELED);
        TASK_CHECK(weft_cancelling(t) == (from == 0) && weft_cancelling(middle) == 1);
        weft_release(t);
        weft_release(middle);
    }
    return 0;
}
static void test_chains(void **state)
{
    (void)state;
    RUN_EVERYWHERE(chains);
}

/* Tasks that await each other in a circle: cancelling one ends both; nothing hangs. */
struct circle {
    WEFT_FRAME;
    weft_task **other;
};
static int circle(struct circle *f)
{
    (void)weft_sleep(WEFT_MS(1));
    return weft_await(*f->other);
}
WEFT_CORO(circle);
TEST_CORO(circles)
{
    (void)f;
    weft_task *a = NULL, *b = NULL;
    a = weft_create_task(circle, .other = &b);
    b = weft_create_task(circle, .other = &a);
    TASK_CHECK(settle() == 0);
    TASK_CHECK(weft_cancel(a));
    TASK_CHECK(weft_await(a) == -ECANCELED && weft_await(b) == -ECANCELED);
    weft_release(a);
    weft_release(b);
    return 0;
}
static void test_circles(void **state)
{
    (void)state;
    RUN_EVERYWHERE(circles);
}

/* N15, Z9: cancel against completion, from another task, at every moment: one of two outcomes, never a hang or a loss. */
struct racer {
    WEFT_FRAME;
    int yields;
};
static int racer(struct racer *f)
{
    for (int i = 0; i < f->yields; i++) {
        int rc = weft_yield();
        if (rc < 0)
            return rc;
    }
    return 1;
}
WEFT_CORO(racer);
struct canceller {
    WEFT_FRAME;
    weft_task *of;
    int yields;
    bool taken;
};
static int canceller(struct canceller *f)
{
    for (int i = 0; i < f->yields; i++)
        (void)weft_yield();
    f->taken = weft_cancel(f->of);
    return 0;
}
WEFT_CORO(canceller);
TEST_CORO(races)
{
    (void)f;
    for (int i = 0; i < 400; i++) {
        weft_task *t = weft_create_task(racer, .yields = i % 7);
        weft_task *p = weft_create_task(parent, .child = t);
        weft_task *c = weft_create_task(canceller, .of = i & 1 ? t : p, .yields = i % 5);
        int rc = weft_await(p);
        TASK_CHECK(rc == 1 || rc == -ECANCELED);
        TASK_CHECK(weft_await(c) == 0);
        TASK_CHECK(rc == 1 || weft_result(canceller, c)->taken);
        TASK_CHECK(weft_done(t) ||
                   !weft_result(parent, p)->began); /* one cancelled before its first step awaited nothing */
        int ended = weft_await_release(t);
        TASK_CHECK(ended == 1 || ended == -ECANCELED);
        weft_release(p);
        weft_release(c);
    }
    return 0;
}
static void test_races(void **state)
{
    (void)state;
    RUN_EVERYWHERE(races);
}

/* N6: many requests from many tasks at once; each is counted. */
TEST_CORO(storm)
{
    (void)f;
    weft_task *t = weft_create_task(sleeper, .cleanup = WEFT_SEC(1)), *c[64];
    TASK_CHECK(settle() == 0);
    for (int i = 0; i < 64; i++)
        c[i] = weft_create_task(canceller, .of = t, .yields = i % 4);
    unsigned taken = 0;
    for (int i = 0; i < 64; i++) {
        TASK_CHECK(weft_await(c[i]) == 0);
        taken += weft_result(canceller, c[i])->taken;
        weft_release(c[i]);
    }
    int rc = weft_await(t);
    TASK_CHECK(rc == -ECANCELED);
    TASK_CHECK(weft_cancelling(t) == taken && taken >= 1);
    weft_release(t);
    return 0;
}
static void test_storm(void **state)
{
    (void)state;
    RUN_EVERYWHERE(storm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),  cmocka_unit_test(test_before_start), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_second), cmocka_unit_test(test_selves),       cmocka_unit_test(test_pending),
        cmocka_unit_test(test_chains), cmocka_unit_test(test_circles),      cmocka_unit_test(test_races),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
