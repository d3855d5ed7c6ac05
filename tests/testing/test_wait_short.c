/* SPDX-License-Identifier: Apache-2.0 */
/* tests/testing/test_wait_short.c -- who waits for all of several tasks needs no memory: with none to be had weft_gather_settled and weft_wait go the
 * long way (executor/wait_each.c), and end as ever, also when cancelled at each moment. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft.h>
#include <weft/testing.h>

#include "support/dump.h"
#include "support/threads.h"

#define MANY 20 /* more than find room in a block that a worker may have */
#define NONE "malloc,calloc,aligned_alloc=ENOMEM@1-"

static const struct {
    unsigned workers, order;
} settings[] = {{1, WEFT_ORDER_DEFAULT}, {1, WEFT_ORDER_FIFO}, {2, WEFT_ORDER_DEFAULT}, {8, WEFT_ORDER_DEFAULT}};
#define SETTINGS (sizeof settings / sizeof settings[0])
#define RUN(i, ...)                                                                                                    \
    weft_run_with(                                                                                                     \
        WEFT_OPTIONS(.workers = settings[i].workers, .order = settings[i].order, .clock = WEFT_CLOCK_VIRTUAL),         \
        __VA_ARGS__)

static atomic_int wrong; /* the line of the first thing that must hold and does not */
static void must(int line, bool holds)
{
    int none = 0;
    if (!holds)
        atomic_compare_exchange_strong(&wrong, &none, line);
}
#define MUST(condition) must(__LINE__, (condition))

/* Sleeps, yields and ends with its result; cancelled it cleans up first, and may go on to its result. */
struct works {
    WEFT_FRAME;
    int ms, yields, result;
    bool swallows;
};
static int works(struct works *f)
{
    int rc = f->ms > 0 ? weft_sleep(WEFT_MS(f->ms)) : 0;
    for (int i = 0; i < f->yields && rc == 0; i++)
        rc = weft_yield();
    if (rc == -ECANCELED)
        (void)weft_sleep(WEFT_MS(1));
    return rc == 0 || f->swallows ? f->result : rc;
}
WEFT_CORO(works);

static bool all_done(weft_task *const tasks[])
{
    bool all = true;
    for (int i = 0; i < MANY; i++)
        all = all && weft_done(tasks[i]);
    return all;
}
static void release_all(weft_task *tasks[])
{
    for (int i = 0; i < MANY; i++)
        weft_release(tasks[i]);
}

/* ---- undisturbed --------------------------------------------------------------------------------------------------- */

struct settles {
    WEFT_FRAME;
    bool begun; /* they have begun before it waits */
};
static int settles(struct settles *f)
{
    weft_task *t[MANY + 1];
    for (int i = 0; i < MANY; i++) /* so that there are stacks for those that begin without memory */
        t[i] = weft_create_task(works, .ms = 1);
    MUST(weft_gather_settled_n(t, MANY) == 0);
    release_all(t);
    for (int i = 0; i < MANY;
         i++) { /* they end in another order than they are given, the failures last, and some at once */
        bool fails = i % 4 == 1;
        t[i] = weft_create_task(works,
                                .ms = fails        ? 8
                                      : i % 3 == 0 ? 0
                                                   : 1 + i * 7 % 5,
                                .yields = i % 2, .result = fails ? -EIO : i);
    }
    t[MANY] = NULL;
    if (f->begun)
        MUST(weft_sleep(WEFT_MS(2)) == 0);
    MUST(weft_faults_begin(NONE, 1) == 0);
    int rc = weft_gather_settled_n(t, MANY + !f->begun);
    uint64_t refused = weft_faults_made();
    weft_faults_end();
    MUST(rc == MANY / 4 + !f->begun && all_done(t) && refused > 0);
    for (int i = 0; i < MANY; i++)
        MUST(i % 4 == 1 || weft_status(t[i]) == i);
    release_all(t);
    return 0;
}
WEFT_CORO(settles);

static int failures;
static void on_exception(void *user, const weft_exception *e)
{
    (void)user, (void)e;
    failures++;
}

static void test_waits_for_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * SETTINGS; i++) {
        if (i % 2 == 0 && settings[i / 2].workers != 1)
            continue; /* a worker that takes part may have no stack to begin one on */
        failures = 0;
        assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = settings[i / 2].workers, .order = settings[i / 2].order,
                                                    .clock = WEFT_CLOCK_VIRTUAL, .exception_handler = on_exception),
                                       settles, .begun = i % 2),
                         0);
        assert_int_equal(atomic_load(&wrong), 0);
        assert_int_equal(failures, 0); /* their errors have been looked at */
    }
}

/* ---- cancelled ----------------------------------------------------------------------------------------------------- */

/* At each wait of the gatherer, and of those it waits for. */
struct settles_and_tells {
    WEFT_FRAME;
};
static int settles_and_tells(struct settles_and_tells *f)
{
    (void)f;
    weft_task *t[MANY];
    for (int i = 0; i < MANY; i++)
        t[i] = weft_create_task(works, .ms = 1 + i % 3, .result = i, .swallows = i % 2);
    int begun = weft_sleep(WEFT_MS(1));
    MUST(weft_faults_begin(NONE, 1) == 0);
    int rc = weft_gather_settled_n(t, MANY);
    MUST(weft_faults_made() > 0);
    weft_faults_end();
    weft_expect(all_done(t));
    for (int i = 0; i < MANY; i++) {
        weft_expect(weft_cancelling(t[i]) <= 1); /* no request came twice */
        weft_expect(rc != -ECANCELED || weft_status(t[i]) == i || (weft_cancelled(t[i]) && i % 2 == 0));
    }
    release_all(t);
    return rc < 0 ? rc : begun;
}
WEFT_CORO(settles_and_tells);

static void test_passes_a_cancellation_on_at_each_moment(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        assert_true(
            weft_sweep_cancel(WEFT_SWEEP(.workers = workers, .least = workers == 1 ? MANY : 1), settles_and_tells) > 0);
        assert_int_equal(atomic_load(&wrong), 0);
    }
}

/* By other workers, while they end by themselves. What was taken is told: by the gather, or else at the next wait. */
struct races {
    WEFT_FRAME;
    bool over;
    int rc, next, cancelling[MANY];
};
static int races(struct races *f)
{
    weft_task *t[MANY];
    for (int i = 0; i < MANY; i++)
        t[i] = weft_create_task(works, .yields = i * 7 % 11, .result = i, .swallows = i % 2);
    f->next = weft_yield();
    MUST(weft_faults_begin(NONE, 1) == 0);
    f->rc = weft_gather_settled_n(t, MANY);
    weft_faults_end();
    f->over = all_done(t);
    for (int i = 0; i < MANY; i++)
        f->cancelling[i] = (int)weft_cancelling(t[i]);
    if (f->next == 0)
        f->next = weft_yield();
    release_all(t);
    return 0;
}
WEFT_CORO(races);

static int rounds, told_by_gather;
struct canceller {
    WEFT_FRAME;
};
static int canceller(struct canceller *f)
{
    (void)f;
    for (int i = 0; i < rounds; i++) {
        weft_task *t = weft_create_task(races);
        MUST(t != NULL);
        for (int k = 0; k < i % 23; k++)
            MUST(weft_yield() == 0);
        bool taken = weft_cancel(t);
        int rc = weft_await(t);
        if (rc == 0) {
            struct races r = *weft_result(races, t);
            MUST(r.over);
            MUST(taken == (r.rc == -ECANCELED || r.next == -ECANCELED));
            told_by_gather += r.rc == -ECANCELED;
            for (int k = 0; k < MANY; k++)
                MUST(r.cancelling[k] <= 1 && (taken || r.cancelling[k] == 0));
        } else {
            MUST(rc == -ECANCELED); /* it had not begun, or had all behind it */
        }
        weft_release(t);
    }
    return 0;
}
WEFT_CORO(canceller);

static void test_races_with_the_ends(void **state)
{
    (void)state;
    rounds = (int)threads_scale(2000);
    for (size_t i = 0; i < SETTINGS; i++) {
        assert_int_equal(RUN(i, canceller), 0);
        assert_int_equal(atomic_load(&wrong), 0);
    }
    assert_true(told_by_gather > 0);
}

/* ---- weft_wait, and what a dump says ------------------------------------------------------------------------------- */

struct waits {
    WEFT_FRAME;
    weft_task **tasks;
    weft_ns timeout;
    enum weft_return_when when;
};
static int waits(struct waits *f)
{
    MUST(weft_sleep(WEFT_MS(2)) == 0); /* by then there is no memory */
    return weft_wait(f->tasks, MANY, f->when, f->timeout);
}
WEFT_CORO(waits);

struct settles_these {
    WEFT_FRAME;
    weft_task **tasks;
};
static int settles_these(struct settles_these *f)
{
    MUST(weft_sleep(WEFT_MS(2)) == 0);
    return weft_gather_settled_n(f->tasks, MANY);
}
WEFT_CORO(settles_these);

struct looks {
    WEFT_FRAME;
};
static int looks(struct looks *f)
{
    (void)f;
    weft_task *t[MANY];
    for (int i = 0; i < MANY; i++)
        t[i] = weft_create_task(works, .ms = i < 5 ? 6 : 20, .result = i);
    MUST(weft_sleep(WEFT_MS(1)) == 0);
    weft_task *first = weft_create_task(waits, .tasks = t, .timeout = WEFT_FOREVER, .when = WEFT_FIRST_COMPLETED);
    weft_task *some = weft_create_task(waits, .tasks = t, .timeout = WEFT_MS(9), .when = WEFT_ALL_COMPLETED);
    weft_task *all = weft_create_task(waits, .tasks = t, .timeout = WEFT_FOREVER, .when = WEFT_ALL_COMPLETED);
    weft_task *cancelled = weft_create_task(waits, .tasks = t, .timeout = WEFT_MS(15), .when = WEFT_ALL_COMPLETED);
    weft_task *gather = weft_create_task(settles_these, .tasks = t);
    MUST(weft_sleep(WEFT_MS(1)) == 0); /* all have begun */
    MUST(weft_faults_begin(NONE, 1) == 0);
    MUST(weft_sleep(WEFT_MS(5)) == 0);
    weft_faults_end();
    MUST(weft_done(first) && weft_status(first) == -ENOMEM);
    char *text = dump_text(weft_runtime_current());
    MUST(text != NULL && dump_has_line(text, "waits for gather: 15 of 20 tasks"));
    MUST(text != NULL && dump_has_line(text, "waits for wait: 15 of 20 tasks"));
    free(text);
    MUST(weft_cancel(cancelled) && weft_await(cancelled) == -ECANCELED);
    MUST(weft_await(some) == 5);
    MUST(weft_await(all) == MANY && weft_await(gather) == 0);
    /* All have ended. */
    MUST(weft_faults_begin(NONE, 1) == 0);
    MUST(weft_wait(t, MANY, WEFT_ALL_COMPLETED, WEFT_FOREVER) == MANY);
    MUST(weft_cancel(weft_current_task()) && weft_wait(t, MANY, WEFT_ALL_COMPLETED, WEFT_FOREVER) == -ECANCELED);
    MUST(weft_uncancel(weft_current_task()) == 0);
    weft_faults_end();
    for (int i = 0; i < MANY; i++)
        MUST(weft_cancelling(t[i]) == 0 && weft_status(t[i]) == i);
    release_all(t);
    weft_release(first);
    weft_release(some);
    weft_release(all);
    weft_release(cancelled);
    weft_release(gather);
    return 0;
}
WEFT_CORO(looks);

static void test_wait_and_dump(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS; i++) {
        assert_int_equal(RUN(i, looks), 0);
        assert_int_equal(atomic_load(&wrong), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_all),
        cmocka_unit_test(test_passes_a_cancellation_on_at_each_moment),
        cmocka_unit_test(test_races_with_the_ends),
        cmocka_unit_test(test_wait_and_dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
