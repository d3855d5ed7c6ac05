/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks and the world around them: those that are left at the end of a run, those that come from other threads, and those that wait
 * although they must not. */
#include <pthread.h>
#include <stdlib.h>

#include "support/actors.h"
#include "support/deaths.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/future.h>

static _Atomic(int) calls;
static int count_call(void *unused)
{
    (void)unused;
    CHECK(weft_current_task() == NULL);
    calls++;
    return 0;
}

/* Run it everywhere, on both clocks, several times. */
static void repeat(unsigned times, int (*fn)(void *))
{
    for (unsigned i = 0; i < threads_scale(times); i++)
        run_on_both_clocks(fn);
}

/* ---- the end of the run ----------------------------------------------------------------------------------------- */

#define LEFT 6
static weft_handle *left[LEFT];
static _Atomic(int) runs_of[LEFT];
static int count_own(void *which)
{
    runs_of[(intptr_t)which]++;
    return 0;
}
static weft_future *unset;

/* O1: what a task's end makes ready is called, also if the run ends with it, whatever comes first. */
static int ends_with_it(void *unused)
{
    (void)unused;
    weft_task *t = weft_create_task(actor, .work = 1);
    for (int i = 0; i < 3; i++)
        weft_release(weft_add_done_callback(t, call, .fn = count_call));
    return weft_await_release(t);
}

static void called_at_the_very_end(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 300; seed++) {
        calls = 0;
        assert_true(weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = seed), call, .fn = ends_with_it) >=
                    0);
        assert_int_equal(calls, 3);
    }
}

static int leave_callbacks(void *unused)
{
    (void)unused;
    memset(runs_of, 0, sizeof runs_of);
    weft_task *t = weft_create_task(actor, .work = 50);
    unset = weft_future_create();
    left[0] = weft_call_soon(call, .fn = count_own, .argument = (void *)0);
    left[1] = weft_call_later(WEFT_SEC(3600), call, .fn = count_own, .argument = (void *)1);
    left[2] = weft_add_done_callback(unset, call, .fn = count_own, .argument = (void *)2);
    left[3] = weft_add_done_callback(t, call, .fn = count_own, .argument = (void *)3);
    left[4] = weft_add_done_callback(left[1], call, .fn = count_own, .argument = (void *)4);
    left[5] = weft_call_later(0, call, .fn = count_own, .argument = (void *)5);
    weft_release(t);
    return 0;
}

/* Each has run, or says that it never will. */
static void left_at_the_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < threads_scale(20) * 2 * SETTINGS; i++) {
        run_options.clock = i % 2 ? WEFT_CLOCK_VIRTUAL : WEFT_CLOCK_REAL;
        assert_int_equal(run_with(settings[i % SETTINGS], leave_callbacks, NULL), 0);
        for (int j = 0; j < LEFT; j++) {
            assert_true(weft_done(left[j]));
            assert_int_equal(runs_of[j], !weft_cancelled(left[j]));
            assert_false(weft_cancel(left[j]));
            assert_true(weft_handle_when(left[j]) >= 0);
        }
        assert_int_equal(runs_of[1] + runs_of[2], 0);
        assert_false(weft_remove_done_callback(unset, left[2]));
        for (int j = 0; j < LEFT; j++)
            weft_release(left[j]);
        weft_release(unset);
    }
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

/* Released at once: nothing is left behind, whatever of it has run. */
static int leave_many(void *unused)
{
    (void)unused;
    weft_future *f = weft_future_create();
    for (int i = 0; i < 100; i++) {
        weft_release(weft_call_soon(call, .fn = count_call));
        weft_release(weft_call_later(WEFT_MS(i), call, .fn = count_call));
        weft_release(weft_add_done_callback(f, call, .fn = count_call));
        weft_release(weft_add_done_callback(weft_current_task(), call, .fn = count_call));
    }
    weft_release(f);
    return 0;
}
static void many_left(void **state)
{
    (void)state;
    repeat(10, leave_many);
}

static void *block_on_it(void *h)
{
    int rc = weft_block_on(h, WEFT_FOREVER);
    weft_release(h);
    return (void *)(intptr_t)rc;
}
static pthread_t blocked[2];
static int block_threads(void *unused)
{
    (void)unused;
    weft_handle *h[2] = {weft_call_later(WEFT_SEC(3600), call, .fn = count_call),
                         weft_call_soon(call, .fn = count_call)};
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&blocked[i], NULL, block_on_it, h[i]) == 0);
    return 0;
}
static void threads_blocked_on_them_are_told(void **state)
{
    (void)state;
    run_options.clock = WEFT_CLOCK_REAL;
    for (unsigned i = 0; i < 4 * SETTINGS; i++) {
        assert_int_equal(run_with(settings[i % SETTINGS], block_threads, NULL), 0);
        void *rc;
        pthread_join(blocked[0], &rc);
        assert_int_equal((intptr_t)rc, -ECANCELED);
        pthread_join(blocked[1], &rc);
        assert_true((intptr_t)rc == 0 || (intptr_t)rc == -ECANCELED);
    }
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

struct chain {
    WEFT_FRAME;
    int length; /* below 0: for ever */
    weft_ns work;
};
static int chain(struct chain *c);
WEFT_CORO(chain);
static int chain(struct chain *c)
{
    weft_release(weft_create_task(actor, .id = 0, .work = c->work));
    if (c->length != 0)
        weft_release(weft_call_soon(chain, .length = c->length - 1, .work = c->work));
    return 0;
}

/* Callbacks that create tasks while the run ends: those are cancelled and waited for as all others, or not begun. */
static int leave_creators(void *unused)
{
    (void)unused;
    for (int i = 0; i < 10; i++)
        weft_release(weft_call_soon(chain, .length = i, .work = i % 2 ? 1000 : -1));
    weft_task *t = weft_create_task(actor, .id = 1, .work = 50);
    weft_release(weft_add_done_callback(t, chain, .length = 3, .work = 1000));
    weft_release(t);
    return 0;
}
static int leave_endless(void *unused)
{
    (void)unused;
    weft_release(weft_call_soon(chain, .length = -1, .work = 1000));
    return weft_yield();
}
static void creators_left(void **state)
{
    (void)state;
    repeat(50, leave_creators);
    repeat(5, leave_endless);
}

/* ---- other threads ---------------------------------------------------------------------------------------------- */

#define THREADS 4
static struct {
    weft_runtime *rt;
    int each;
    _Atomic(int) given, refused;
    pthread_t thread[THREADS];
} foreign;

static void *call_much(void *unused)
{
    (void)unused;
    for (int i = 0; i < foreign.each; i++) {
        weft_handle *h = weft_call_soon_threadsafe(foreign.rt, call, .fn = count_call);
        if (h == NULL) {
            foreign.refused++;
        } else {
            foreign.given++;
            if (i % 4 == 0)
                (void)weft_block_on(h, WEFT_FOREVER);
            weft_release(h);
        }
    }
    return NULL;
}

static void begin_foreign(int each)
{
    calls = 0;
    foreign.given = foreign.refused = 0;
    foreign.each = each;
    foreign.rt = weft_runtime_hold(weft_runtime_current());
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&foreign.thread[i], NULL, call_much, NULL) == 0);
}

static int call_from_threads(void *unused)
{
    (void)unused;
    begin_foreign((int)threads_scale(500));
    while (calls < THREADS * foreign.each)
        CHECK(weft_sleep(WEFT_US(100)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(foreign.thread[i], NULL);
    CHECK(foreign.refused == 0 && calls == foreign.given);
    weft_runtime_drop(foreign.rt);
    return 0;
}
static int end_under_their_calls(void *unused)
{
    (void)unused;
    begin_foreign((int)threads_scale(500));
    return weft_sleep(WEFT_US(50));
}

static void from_foreign_threads(void **state)
{
    (void)state;
    run_options.clock = WEFT_CLOCK_REAL;
    run_everywhere(call_from_threads);
    for (unsigned i = 0; i < 4 * SETTINGS; i++) {
        assert_int_equal(run_with(settings[i % SETTINGS], end_under_their_calls, NULL), 0);
        for (int j = 0; j < THREADS; j++)
            pthread_join(foreign.thread[j], NULL);
        assert_int_equal(foreign.given + foreign.refused, THREADS * foreign.each);
        assert_true(calls <= foreign.given);
        assert_null(weft_call_soon_threadsafe(foreign.rt, call, .fn = count_call));
        weft_runtime_drop(foreign.rt);
    }
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

static int call_from_helper(void *unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++)
        weft_release(weft_call_soon_threadsafe(weft_runtime_current(), call, .fn = count_call));
    return 0;
}
static int call_from_a_helper(void *unused)
{
    (void)unused;
    calls = 0;
    weft_task *t = weft_to_thread(call, .fn = call_from_helper);
    CHECK(weft_await_release(t) == 0);
    while (calls < 50)
        CHECK(weft_yield() == 0);
    weft_release(weft_call_soon_threadsafe(weft_runtime_current(), call, .fn = count_call)); /* and from a task */
    while (calls < 51)
        CHECK(weft_yield() == 0);
    return 0;
}
static void from_helpers(void **state)
{
    (void)state;
    run_on_both_clocks(call_from_a_helper);
}

/* A step that takes long, with timers that fall due meanwhile: nobody but its worker runs them where the order is promised. */
static int long_step(void *unused)
{
    (void)unused;
    calls = 0;
    for (int i = 0; i < 20; i++)
        weft_release(weft_call_later(WEFT_MS(1), call, .fn = count_call));
    weft_ns until = weft_now() + WEFT_MS(60);
    while (weft_now() < until)
        ;
    while (calls < 20)
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_now() < until + WEFT_SEC(20));
    return 0;
}
static void due_during_a_long_step(void **state)
{
    (void)state;
    run_options.clock = WEFT_CLOCK_REAL;
    run_options.slow_task = WEFT_FOREVER;
    run_everywhere(long_step);
    run_options.clock = WEFT_CLOCK_VIRTUAL;
    run_options.slow_task = 0;
}

/* ---- a callback that waits -------------------------------------------------------------------------------------- */

struct sleeper {
    WEFT_FRAME;
};
static int sleeper(struct sleeper *s)
{
    (void)s;
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(sleeper);

static int how_it_waits;
struct waits_in_vain {
    WEFT_FRAME;
};
static int waits_in_vain(struct waits_in_vain *w)
{
    (void)w;
    weft_task *t = weft_create_task(actor, .work = -1);
    weft_child child;
    struct sleeper frame = {.frame_ = {&sleeper_coro_}};
    weft_group g;
    switch (how_it_waits) {
    case 0:
        return weft_sleep(WEFT_MS(1));
    case 1:
        return weft_yield();
    case 2:
        return weft_await(t);
    case 3:
        return weft_gather(t);
    case 4:
        return weft_wait(&t, 1, WEFT_ALL_COMPLETED, WEFT_FOREVER);
    case 5:
        return weft_shield(t);
    case 6:
        return weft_await(weft_future_create());
    case 7:
        weft_fork(&child, sleeper, &frame);
        return weft_join(&child);
    case 8:
        return weft_sleep(0);
    case 9:
        return sleeper(&frame);
    default:
        (void)weft_group_begin(&g);
        return weft_group_join(&g, weft_group_start(&g, sleeper));
    }
}
WEFT_CORO(waits_in_vain);

static struct setting where;
static int start_one_that_waits(void *unused)
{
    (void)unused;
    weft_release(weft_call_soon(waits_in_vain));
    return weft_sleep(WEFT_SEC(1));
}
static void wait_in_a_callback(void)
{
    run_with(where, start_one_that_waits, NULL);
}
static void waiting_aborts(void **state)
{
    (void)state;
    for (how_it_waits = 0; how_it_waits <= 10; how_it_waits++) {
        for (int i = 0; i < 3; i++) {
            where = settings[i];
            expect_abort(wait_in_a_callback, "waits_in_vain: it runs as a callback and must not wait");
        }
    }
}

static void soon_outside(void)
{
    weft_release(weft_call_soon(sleeper));
}
static void later_outside(void)
{
    weft_release(weft_call_later(1, sleeper));
}
static void at_outside(void)
{
    weft_release(weft_call_at(1, sleeper));
}
static void done_outside(void)
{
    weft_release(weft_add_done_callback(NULL, sleeper));
}
static void outside_aborts(void **state)
{
    (void)state;
    expect_abort(soon_outside, "weft_call_soon");
    expect_abort(later_outside, "weft_call_later");
    expect_abort(at_outside, "weft_call_at");
    expect_abort(done_outside, "weft_add_done_callback");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(called_at_the_very_end),
        cmocka_unit_test(left_at_the_end),
        cmocka_unit_test(many_left),
        cmocka_unit_test(threads_blocked_on_them_are_told),
        cmocka_unit_test(creators_left),
        cmocka_unit_test(from_foreign_threads),
        cmocka_unit_test(from_helpers),
        cmocka_unit_test(due_during_a_long_step),
        cmocka_unit_test(waiting_aborts),
        cmocka_unit_test(outside_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
