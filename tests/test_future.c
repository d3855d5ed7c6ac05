/* SPDX-License-Identifier: Apache-2.0 */
/* Futures (weft/future.h): every return code, who waits, and what becomes of those that nobody sets. Who wins when several set or cancel:
 * test_future_races.c. */
#include <pthread.h>
#include <stdlib.h>

#include "support/actors.h"
#include "support/deaths.h"
#include "support/threads.h"
#include "support/waiting.h"

#include <weft/callback.h>
#include <weft/future.h>

struct answer {
    WEFT_FRAME;
    int code;
    char text[80];
};
WEFT_VALUE(answer);

struct small {
    WEFT_FRAME;
    int64_t number;
};
WEFT_VALUE(small);

struct twin { /* as long as small, but another type */
    WEFT_FRAME;
    int64_t number;
};
WEFT_VALUE(twin);

/* ---- one at a time ---------------------------------------------------------------------------------------------- */

TEST(set_once)
{
    weft_future *f = weft_future_create();
    CHECK(!weft_done(f) && !weft_cancelled(f) && weft_status(f) == -EINPROGRESS);
    CHECK(weft_future_set_result(f, -1) == -EINVAL);
    CHECK(weft_future_set_result(f, -ECANCELED) == -EINVAL);
    CHECK(weft_future_set_error(f, 0) == -EINVAL);
    CHECK(weft_future_set_error(f, EIO) == -EINVAL);
    CHECK(!weft_done(f));
    CHECK(weft_future_set_result(f, 7) == 0);
    CHECK(weft_done(f) && weft_status(f) == 7 && !weft_cancelled(f));
    CHECK(weft_await(f) == 7 && weft_await(f) == 7);
    CHECK(weft_future_set_result(f, 8) == -EALREADY);
    CHECK(weft_future_set_error(f, -EIO) == -EALREADY);
    CHECK(!weft_cancel(f) && weft_status(f) == 7);
    weft_release(f);

    f = weft_future_create();
    CHECK(weft_future_set_error(f, -EIO) == 0);
    CHECK(weft_await(f) == -EIO && weft_status(f) == -EIO && !weft_cancelled(f));
    CHECK(weft_future_set_result(f, 0) == -EALREADY);
    weft_release(f);

    f = weft_future_create();
    CHECK(weft_future_set_error(f, -ECANCELED) == 0);
    CHECK(weft_cancelled(f) && weft_await(f) == -ECANCELED && weft_cancelling(weft_current_task()) == 0);
    CHECK(!weft_cancel(f));
    weft_release(f);

    f = weft_future_create();
    CHECK(weft_cancel(f) && weft_done(f) && weft_cancelled(f) && weft_status(f) == -ECANCELED);
    CHECK(!weft_cancel(f) && weft_cancelling(f) == 0);
    CHECK(weft_future_set_result(f, 1) == -EALREADY && weft_future_set_error(f, -EIO) == -EALREADY);
    weft_release(f);
    return 0;
}

TEST(values)
{
    weft_future *f = weft_future_create_of(answer);
    CHECK(weft_future_set_value(f, small, .number = 1) == -EINVAL);
    CHECK(weft_future_set_value(f, answer, .code = 42, .text = "the answer") == 0);
    CHECK(weft_await(f) == 0 && weft_result(answer, f)->code == 42);
    CHECK(strcmp(weft_result(answer, f)->text, "the answer") == 0);
    CHECK(weft_future_set_value(f, answer, .code = 43) == -EALREADY && weft_result(answer, f)->code == 42);
    CHECK(weft_future_set_result(f, 1) == -EALREADY);
    weft_release(f);

    /* Without a value it is zero; an error may come instead. */
    f = weft_future_create_of(answer);
    CHECK(weft_future_set_result(f, 3) == 0 && weft_await(f) == 3);
    CHECK(weft_result(answer, f)->code == 0 && weft_result(answer, f)->text[79] == '\0');
    weft_release(f);
    f = weft_future_create_of(small);
    CHECK(weft_future_set_error(f, -EIO) == 0 && weft_await(f) == -EIO && weft_result(small, f)->number == 0);
    weft_release(f);

    /* Types of one size are still two types; a future without a value takes none. */
    f = weft_future_create_of(small);
    CHECK(weft_future_set_value(f, twin, .number = 1) == -EINVAL && !weft_done(f));
    CHECK(weft_future_set_value(f, small, .number = 2) == 0 && weft_result(small, f)->number == 2);
    weft_release(f);
    f = weft_future_create();
    CHECK(weft_future_set_value(f, small, .number = 1) == -EINVAL && weft_future_set_result(f, 0) == 0);
    weft_release(f);

    /* A coroutine's frame can be a value as well. */
    f = weft_future_create_of(actor);
    CHECK(weft_future_set_value(f, actor, .id = 5) == 0 && weft_result(actor, f)->id == 5);
    weft_release(f);
    return 0;
}

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

TEST(only_futures_are_set)
{
    CHECK(weft_future_set_result(NULL, 0) == -ENOMEM && weft_future_set_error(NULL, -EIO) == -ENOMEM);
    CHECK(weft_future_set_value(NULL, small, .number = 1) == -ENOMEM);
    CHECK(weft_future_set_result(weft_current_task(), 0) == -EPERM);
    CHECK(weft_future_set_error(weft_current_task(), -EIO) == -EPERM);
    CHECK(weft_future_set_value(weft_current_task(), small, .number = 1) == -EPERM);
    weft_task *t = weft_create_task(actor, .work = 1), *h = weft_call_soon(call, .fn = nothing);
    weft_future *g = weft_gather_future(&t, 1, false);
    CHECK(weft_future_set_result(t, 0) == -EPERM && weft_future_set_result(h, 0) == -EPERM);
    CHECK(weft_future_set_result(g, 0) == -EPERM && weft_future_set_error(g, -EIO) == -EPERM);
    CHECK(weft_future_set_value(g, small, .number = 1) < 0 && !weft_done(g));
    CHECK(weft_await(g) == 0);
    CHECK(weft_future_set_result(t, 0) == -EPERM && weft_future_set_result(g, 0) == -EPERM);
    weft_release(t);
    weft_release(g);
    weft_release(h);
    return 0;
}

/* ---- who waits -------------------------------------------------------------------------------------------------- */

static int shield_it(void *argument)
{
    struct waiting *w = argument;
    w->rc = weft_shield(w->f);
    w->back = true;
    return w->rc;
}

TEST_BOTH_CLOCKS(many_awaiters)
{
    struct waiting w[20];
    weft_task *t[20];
    weft_future *f = weft_future_create_of(small);
    for (int i = 0; i < 20; i++) {
        w[i] = (struct waiting){.f = f};
        t[i] = start(i % 2 ? await_it : shield_it, &w[i]);
    }
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_future_set_value(f, small, .number = 4) == 0);
    for (int i = 0; i < 20; i++)
        CHECK(setting.workers != 1 || !w[i].back); /* never inside the call that sets */
    CHECK(weft_gather_n(t, 20) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(w[i].rc == 0 && w[i].back);
        weft_release(t[i]);
    }
    weft_release(f);
    return 0;
}

/* Cancelling a task that awaits a future cancels that, for everybody who awaits it; a shield keeps it. */
TEST(cancelled_through_an_awaiter)
{
    struct waiting w[4];
    weft_task *t[4];
    weft_future *f = weft_future_create();
    for (int i = 0; i < 4; i++) {
        w[i] = (struct waiting){.f = f};
        t[i] = start(i < 2 ? await_it : shield_it, &w[i]);
    }
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t[3]) && weft_await(t[3]) == -ECANCELED && !weft_done(f));
    CHECK(weft_cancel(t[0]) && weft_cancelled(f));
    CHECK(weft_gather_settled_n(t, 4) == 4);
    for (int i = 0; i < 3; i++)
        CHECK(weft_status(t[i]) == -ECANCELED && weft_cancelling(t[i]) == (i == 0));
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    weft_release(f);
    return 0;
}

TEST(limits_and_sets_of_futures)
{
    weft_future *f = weft_future_create(), *g = weft_future_create();
    CHECK(weft_wait_for(f, WEFT_MS(5)) == -ETIMEDOUT && weft_cancelled(f) && now_ms() == 5);
    CHECK(weft_wait_for(g, 0) == -ETIMEDOUT && weft_cancelled(g));
    weft_release(f);
    weft_release(g);

    weft_timeout limit;
    f = weft_future_create();
    CHECK(weft_timeout_begin(&limit, WEFT_MS(1)) == 0);
    CHECK(weft_timeout_end(&limit, weft_await(f)) == -ETIMEDOUT && weft_cancelled(f));
    weft_release(f);

    f = weft_future_create();
    g = weft_future_create();
    CHECK(weft_wait((weft_task *const[]){f, g}, 2, WEFT_ALL_COMPLETED, WEFT_MS(1)) == 0);
    CHECK(weft_future_set_result(f, 1) == 0);
    CHECK(weft_wait((weft_task *const[]){f, g}, 2, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == 1);
    CHECK(weft_future_set_error(g, -EIO) == 0);
    CHECK(weft_wait((weft_task *const[]){f, g}, 2, WEFT_ALL_COMPLETED, WEFT_FOREVER) == 2);
    CHECK(weft_gather(f, g) == -EIO && weft_gather_settled(f, g) == 1);
    weft_release(f);
    weft_release(g);
    return 0;
}

/* ---- nobody sets it --------------------------------------------------------------------------------------------- */

static _Atomic(int) called;
static int count_call(void *unused)
{
    (void)unused;
    called++;
    return 0;
}

static weft_future *kept, *kept_gather, *kept_shield;
static weft_handle *kept_callback;

TEST(released_unset)
{
    called = 0;
    for (int i = 0; i < 100; i++)
        weft_release(i % 2 ? weft_future_create() : weft_future_create_of(answer));

    /* The last handle goes: its callbacks are told, and do not run. */
    weft_future *f = weft_future_create();
    weft_handle *h = weft_add_done_callback(f, call, .fn = count_call),
                *other = weft_add_done_callback(f, call, .fn = count_call);
    weft_release(other);
    weft_release(f);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(called == 0 && weft_done(h) && weft_cancelled(h));
    CHECK(!weft_cancel(h));
    weft_release(h);

    /* A gather and a shield keep it; cancelling them ends what they wait for, or not. */
    f = weft_future_create();
    weft_future *g = weft_gather_future(&f, 1, false);
    weft_release(f);
    CHECK(weft_cancel(g) && weft_await(g) == -ECANCELED);
    weft_release(g);
    f = weft_future_create();
    g = weft_shield_future(f);
    CHECK(weft_cancel(g) && weft_await(g) == -ECANCELED && weft_cancelled(g) && !weft_done(f));
    weft_release(g);
    weft_release(f);
    return 0;
}

static int left_unset_main(void *unused)
{
    (void)unused;
    called = 0;
    kept = weft_future_create();
    kept_gather = weft_gather_future((weft_task *const[]){kept, kept, NULL}, 2, true);
    kept_shield = weft_shield_future(kept_gather);
    kept_callback = weft_add_done_callback(kept_shield, call, .fn = count_call);
    weft_future *lost = weft_future_create();
    weft_release(weft_gather_future(&lost, 1, false));
    weft_release(weft_shield_future(lost));
    weft_release(weft_add_done_callback(lost, call, .fn = count_call));
    weft_release(lost); /* the gather and the shield still hold it */
    return 0;
}

/* At the end of the run nobody will set it any more: what waits lets go, and handles that are left say so. */
static void left_unset_at_the_end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * SETTINGS; i++) {
        run_options.clock = i < SETTINGS ? WEFT_CLOCK_VIRTUAL : WEFT_CLOCK_REAL;
        assert_int_equal(run_with(settings[i % SETTINGS], left_unset_main, NULL), 0);
        assert_true(weft_done(kept) && weft_status(kept) == -ECANCELED);
        assert_true(weft_done(kept_gather) && weft_done(kept_shield));
        assert_true(weft_done(kept_callback) && weft_cancelled(kept_callback));
        assert_int_equal(called, 0);
        assert_int_equal(weft_future_set_result(kept, 1), -EALREADY);
        assert_int_equal(weft_future_set_error(kept, -EIO), -EALREADY);
        assert_false(weft_cancel(kept));
        assert_int_equal(weft_status(kept), -ECANCELED);
        weft_release(kept_callback);
        weft_release(kept_shield);
        weft_release(kept_gather);
        weft_release(kept);
    }
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

static void *block_on_it(void *f)
{
    int rc = weft_block_on(f, WEFT_FOREVER);
    weft_release(f);
    return (void *)(intptr_t)rc;
}
static pthread_t blocked;
static int blocked_main(void *unused)
{
    (void)unused;
    kept = weft_future_create();
    CHECK(pthread_create(&blocked, NULL, block_on_it, weft_ref(kept)) == 0);
    return weft_sleep(WEFT_MS(1));
}
static void a_thread_blocked_on_it_is_told(void **state)
{
    (void)state;
    run_options.clock = WEFT_CLOCK_REAL;
    for (unsigned i = 0; i < SETTINGS; i++) {
        void *rc;
        assert_int_equal(run_with(settings[i], blocked_main, NULL), 0);
        pthread_join(blocked, &rc);
        assert_int_equal((intptr_t)rc, -ECANCELED);
        weft_release(kept);
    }
    run_options.clock = WEFT_CLOCK_VIRTUAL;
}

static int wait_for_ever(void *unused)
{
    (void)unused;
    kept = weft_future_create();
    return weft_await(kept);
}
static void never_set_is_a_deadlock(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SETTINGS; i++) {
        assert_int_equal(run_with(settings[i], wait_for_ever, NULL), -EDEADLK);
        assert_int_equal(weft_status(kept), -EDEADLK);
        weft_release(kept);
    }
}

/* ---- made and set elsewhere ------------------------------------------------------------------------------------- */

static int make_and_set(void *argument)
{
    weft_future **f = argument;
    weft_future *mine = weft_future_create_of(answer);
    CHECK(mine != NULL && weft_future_set_value(mine, answer, .code = 9) == 0);
    weft_release(mine);
    *f = weft_future_create();
    return 0;
}
static int set_it(void *f)
{
    CHECK(weft_future_set_result(f, 6) == 0);
    weft_release(f);
    return 0;
}

TEST_BOTH_CLOCKS(in_callbacks_and_helpers)
{
    weft_future *f = NULL;
    weft_task *t = weft_to_thread(call, .fn = make_and_set, .argument = &f);
    CHECK(weft_await_release(t) == 0 && f != NULL && !weft_done(f));
    weft_release(weft_call_soon(call, .fn = set_it, .argument = weft_ref(f)));
    CHECK(weft_await_release(f) == 6);
    f = weft_future_create();
    t = weft_to_thread(call, .fn = set_it, .argument = weft_ref(f));
    CHECK(weft_await_release(f) == 6 && weft_await_release(t) == 0);
    return 0;
}

/* ---- misuse ----------------------------------------------------------------------------------------------------- */

static void create_outside(void)
{
    weft_release(weft_future_create());
}
static int read_too_early(void *unused)
{
    (void)unused;
    return (int)weft_result(small, weft_future_create_of(small))->number;
}
static int read_as_another(void *unused)
{
    (void)unused;
    weft_future *f = weft_future_create_of(small);
    (void)weft_future_set_value(f, small, .number = 1);
    return (int)weft_result(twin, f)->number;
}
static void die_too_early(void)
{
    run_with(settings[0], read_too_early, NULL);
}
static void die_as_another(void)
{
    run_with(settings[0], read_as_another, NULL);
}
static void misuse(void **state)
{
    (void)state;
    expect_abort(create_outside, "weft_future_create");
    expect_abort(die_too_early, "weft_result");
    expect_abort(die_as_another, "weft_result: the future gives small, not twin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_once),
        cmocka_unit_test(values),
        cmocka_unit_test(only_futures_are_set),
        cmocka_unit_test(many_awaiters),
        cmocka_unit_test(cancelled_through_an_awaiter),
        cmocka_unit_test(limits_and_sets_of_futures),
        cmocka_unit_test(released_unset),
        cmocka_unit_test(left_unset_at_the_end),
        cmocka_unit_test(a_thread_blocked_on_it_is_told),
        cmocka_unit_test(never_set_is_a_deadlock),
        cmocka_unit_test(in_callbacks_and_helpers),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
