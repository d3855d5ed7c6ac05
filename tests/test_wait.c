/* SPDX-License-Identifier: Apache-2.0 */
/* wait, wait_for and shield: sections H, I, K and N18 of the semantics. */
#include "support/actors.h"

#define ACTOR(id_, ...) weft_create_task(actor, .id = (id_), __VA_ARGS__)

/* ---- wait ------------------------------------------------------------------------------------------------------- */

/* H1, H2: all have ended, errors or not, and no error is raised. */
TEST(wait_all)
{
    weft_task *t[3] = {ACTOR(0, .work = 3), ACTOR(1, .work = 1, .result = -EIO), ACTOR(2, .work = 2)};
    CHECK(weft_wait(t, 3, WEFT_ALL_COMPLETED, WEFT_FOREVER) == 3);
    CHECK(now_ms() == 3);
    for (int i = 0; i < 3; i++)
        weft_release(t[i]);
    return 0;
}

/* H3: the first to end, by whatever way. H4: errors only, a cancelled task is none. H5: a time limit cancels nothing.
 * */
TEST(wait_first)
{
    weft_task *t[3] = {ACTOR(0, .work = 30), ACTOR(1, .work = 9, .result = -EIO), ACTOR(2, .work = 50)};
    CHECK(weft_yield() == 0);
    CHECK(weft_cancel(t[2]));
    CHECK(weft_wait(t, 3, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == 1);
    CHECK(now_ms() == 0 && weft_cancelled(t[2]));
    CHECK(weft_wait(t, 3, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == 1);
    CHECK(weft_wait(t, 3, WEFT_FIRST_EXCEPTION, WEFT_MS(5)) == 1);
    CHECK(now_ms() == 5);
    CHECK(weft_wait(t, 3, WEFT_FIRST_EXCEPTION, WEFT_FOREVER) == 2);
    CHECK(now_ms() == 9);
    CHECK(weft_wait(t, 3, WEFT_ALL_COMPLETED, WEFT_MS(1)) == 2);
    CHECK(now_ms() == 10);
    CHECK(weft_wait(t, 3, WEFT_ALL_COMPLETED, WEFT_MS(1000)) == 3);
    CHECK(now_ms() == 30);
    CHECK(actors[0].cancels == 0 && actors[1].cancels == 0);
    for (int i = 0; i < 3; i++)
        weft_release(t[i]);
    return 0;
}

/* H4: without errors FIRST_EXCEPTION waits for all. */
TEST(wait_no_exception)
{
    weft_task *t[2] = {ACTOR(0, .work = 3), ACTOR(1, .work = 60)};
    CHECK(weft_yield() == 0);
    CHECK(weft_cancel(t[1]));
    CHECK(weft_wait(t, 2, WEFT_FIRST_EXCEPTION, WEFT_FOREVER) == 2);
    CHECK(now_ms() == 3);
    weft_release(t[0]);
    weft_release(t[1]);
    return 0;
}

/* H7: with everything done no timer is waited for, but one round passes. H10: so it does with a limit of zero. */
TEST(wait_one_round)
{
    weft_task *done = ACTOR(0, .work = -1), *slow = ACTOR(1, .work = 5);
    CHECK(weft_await(done) == 0);
    weft_task *other = ACTOR(2, .work = -1);
    CHECK(weft_wait(&done, 1, WEFT_ALL_COMPLETED, WEFT_MS(1000)) == 1);
    CHECK(setting.workers != 1 || weft_done(other));
    CHECK(now_ms() == 0);
    weft_task *pair[2] = {ACTOR(3, .work = -1), slow};
    int ended = weft_wait(pair, 2, WEFT_ALL_COMPLETED, 0);
    CHECK(setting.workers != 1 ? ended <= 1 : ended == 1);
    CHECK(now_ms() == 0 && !weft_done(slow));
    CHECK(weft_wait(pair, 2, WEFT_ALL_COMPLETED, WEFT_NS(-5)) <= 1);
    CHECK(weft_gather(pair[0], slow, other) == 0);
    weft_release(done);
    weft_release(other);
    weft_release(slow);
    weft_release(pair[0]);
    return 0;
}

/* H8: nothing to wait for is an error. H9: duplicates are waited for once, each entry is counted. */
TEST(wait_arguments)
{
    weft_task *slow = ACTOR(0, .work = 2), *list[3] = {slow, slow, NULL};
    CHECK(weft_wait(list, 0, WEFT_ALL_COMPLETED, WEFT_FOREVER) == -EINVAL);
    CHECK(weft_wait(list, 1, (enum weft_return_when)7, WEFT_FOREVER) == -EINVAL);
    CHECK(weft_wait(list, 3, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == 1);
    CHECK(weft_wait(list, 3, WEFT_FIRST_EXCEPTION, WEFT_FOREVER) == 1);
    CHECK(weft_wait(list, 3, WEFT_ALL_COMPLETED, WEFT_FOREVER) == 3);
    CHECK(now_ms() == 2);
    weft_release(slow);
    return 0;
}

static int waits(void *argument)
{
    return weft_wait(argument, 2, WEFT_ALL_COMPLETED, WEFT_MS(100));
}

/* H6, N18: cancelling the waiter cancels none of the tasks; its timer and its waiters are gone. */
TEST(wait_cancelled)
{
    weft_task *t[2] = {ACTOR(0, .work = 5), ACTOR(1, .work = 6)};
    weft_task *waiter = start(waits, t);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(waiter));
    CHECK(weft_await_release(waiter) == -ECANCELED);
    CHECK(now_ms() == 1);
    CHECK(weft_gather(t[0], t[1]) == 0);
    CHECK(now_ms() == 6 && actors[0].cancels == 0 && actors[1].cancels == 0);
    weft_release(t[0]);
    weft_release(t[1]);
    return 0;
}

static int cancels_itself_and_waits(void *argument)
{
    CHECK(weft_cancel(weft_current_task()));
    return weft_wait(argument, 1, WEFT_ALL_COMPLETED, WEFT_FOREVER);
}

/* N8: a wait is a suspension also when there is nothing to wait for. */
TEST(wait_delivers_pending_request)
{
    weft_task *done = ACTOR(0, .work = -1);
    CHECK(weft_await(done) == 0);
    weft_task *t = start(cancels_itself_and_waits, &done);
    CHECK(weft_await_release(t) == -ECANCELED);
    weft_release(done);
    return 0;
}

/* A wait that only the waiting task could end, by ending, is refused; with a limit, or with somebody else to end it, not. */
TEST(wait_for_oneself)
{
    weft_task *self = weft_current_task(), *other = ACTOR(0, .work = 2);
    weft_task *both[] = {self, other};
    CHECK(weft_wait(&self, 1, WEFT_ALL_COMPLETED, WEFT_FOREVER) == -EDEADLK);
    CHECK(weft_wait(&self, 1, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == -EDEADLK);
    CHECK(weft_wait(&self, 1, WEFT_FIRST_EXCEPTION, WEFT_FOREVER) == -EDEADLK);
    CHECK(weft_wait(both, 2, WEFT_ALL_COMPLETED, WEFT_FOREVER) == -EDEADLK);
    CHECK(now_ms() == 0);
    CHECK(weft_wait(&self, 1, WEFT_ALL_COMPLETED, WEFT_MS(1)) == 0 && now_ms() == 1);
    CHECK(weft_wait(both, 2, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == 1 && now_ms() == 2);
    CHECK(weft_wait(both, 2, WEFT_FIRST_COMPLETED, WEFT_FOREVER) == 1);
    CHECK(weft_wait(both, 2, WEFT_ALL_COMPLETED, WEFT_FOREVER) == -EDEADLK);
    weft_release(other);
    return 0;
}

/* ---- wait_for --------------------------------------------------------------------------------------------------- */

/* I1: value or error in time; I6: no limit is plain await, and an ended task gives its result also with a limit of
 * zero. */
TEST(wait_for_in_time)
{
    weft_task *good = ACTOR(0, .work = 2, .result = 5), *bad = ACTOR(1, .work = 1, .result = -EIO);
    CHECK(weft_wait_for(good, WEFT_MS(50)) == 5);
    CHECK(weft_wait_for(bad, WEFT_FOREVER) == -EIO);
    CHECK(weft_wait_for(good, 0) == 5 && weft_wait_for(bad, 0) == -EIO);
    CHECK(now_ms() == 2);
    CHECK(weft_wait_for(NULL, WEFT_MS(1)) == -ENOMEM && weft_wait_for(NULL, 0) == -ENOMEM);
    CHECK(weft_wait_for(weft_current_task(), 0) == -EDEADLK);
    CHECK(weft_wait_for(weft_current_task(), WEFT_MS(1)) == -EDEADLK);
    CHECK(weft_cancelling(weft_current_task()) == 0);
    weft_release(good);
    weft_release(bad);
    return 0;
}

/* I2, I5: cancelled, waited for as long as its clean-up takes, then the error. I3, I4: its answer is the result. */
TEST(wait_for_too_late)
{
    weft_task *t = ACTOR(0, .work = 50, .cleanup = 7);
    CHECK(weft_wait_for(t, WEFT_MS(3)) == -ETIMEDOUT);
    CHECK(now_ms() == 10 && weft_cancelled(t) && actors[0].cancels == 1);
    CHECK(weft_cancelling(weft_current_task()) == 0);
    weft_release(t);
    t = ACTOR(1, .work = 50, .reply = 9);
    CHECK(weft_wait_for(t, WEFT_MS(3)) == 9);
    weft_release(t);
    t = ACTOR(2, .work = 50, .reply = -EIO);
    CHECK(weft_wait_for(t, WEFT_MS(3)) == -EIO);
    CHECK(now_ms() == 16);
    weft_release(t);
    CHECK(weft_yield() == 0);
    return 0;
}

/* I6: a limit of zero or less cancels at once; what has not started never does. I3 for it. */
TEST(wait_for_zero)
{
    weft_task *t = ACTOR(0, .work = 50);
    CHECK(weft_wait_for(t, 0) == -ETIMEDOUT);
    CHECK(weft_cancelled(t) && now_ms() == 0);
    CHECK(setting.workers != 1 || actors[0].started == 0);
    weft_release(t);
    t = ACTOR(1, .work = 50, .cleanup = 2, .reply = 9);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_wait_for(t, WEFT_NS(-1)) == 9);
    CHECK(now_ms() == 3);
    weft_release(t);
    t = ACTOR(2, .work = 50, .reply = -EIO);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_wait_for(t, 0) == -EIO);
    weft_release(t);
    return 0;
}

struct waiter_for {
    weft_task *t;
    weft_ns timeout;
};
static int waits_for(void *argument)
{
    struct waiter_for *w = argument;
    return weft_wait_for(w->t, w->timeout);
}

/* I7, N18: cancelling the caller cancels the task and waits for it. With a limit of zero it does not wait (I6). */
TEST(wait_for_cancelled)
{
    struct waiter_for w = {ACTOR(0, .work = 50, .cleanup = 4), WEFT_MS(20)};
    weft_task *t = start(waits_for, &w);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    CHECK(now_ms() == 5 && weft_cancelled(w.t) && actors[0].cancels == 1);
    weft_release(w.t);

    w = (struct waiter_for){ACTOR(1, .work = 50, .cleanup = 40), 0};
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    t = start(waits_for, &w);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    CHECK(now_ms() == 7 && !weft_done(w.t));
    CHECK(weft_await(w.t) == -ECANCELED);
    CHECK(actors[1].cancels == 1);
    weft_release(w.t);
    return 0;
}

/* I8: cancelled after the task has ended and before the waiter has gone on: the cancellation is not lost. (An order
 * that only asyncio's own promises: at 5 ms the task, then this one, then the waiter.) */
TEST(wait_for_cancel_and_done)
{
    if (setting.order != WEFT_ORDER_FIFO)
        return 0;
    struct waiter_for w = {ACTOR(0, .work = 5, .result = 1), WEFT_MS(20)};
    weft_task *t = start(waits_for, &w);
    CHECK(weft_yield() == 0);
    CHECK(weft_sleep(WEFT_MS(5)) == 0);
    CHECK(weft_done(w.t) && !weft_done(t));
    CHECK(weft_cancel(t));
    CHECK(weft_await(t) == -ECANCELED && weft_status(w.t) == 1);
    weft_release(t);
    weft_release(w.t);
    return 0;
}

static int shields(void *t)
{
    return weft_shield(t);
}
static int waits_long_for(void *t)
{
    return weft_wait_for(t, WEFT_MS(30));
}
static int gathers_two(void *pair)
{
    return weft_gather_n(pair, 2);
}

/* I10: the shielded task goes on. I11: an inner -ETIMEDOUT looks the same, an outer one cancels what is inside. */
TEST(wait_for_nested)
{
    weft_task *t = ACTOR(0, .work = 9), *shield = start(shields, t);
    CHECK(weft_wait_for(shield, WEFT_MS(2)) == -ETIMEDOUT);
    CHECK(now_ms() == 2 && !weft_done(t));
    CHECK(weft_await(t) == 0 && actors[0].cancels == 0);
    weft_release(t);
    weft_release(shield);
    t = ACTOR(1, .work = 100);
    weft_task *inner = start(waits_long_for, t);
    CHECK(weft_wait_for(inner, WEFT_MS(50)) == -ETIMEDOUT);
    CHECK(now_ms() == 39 && weft_cancelled(t) && !weft_cancelled(inner));
    weft_release(t);
    weft_release(inner);
    t = ACTOR(2, .work = 100);
    inner = start(waits_long_for, t);
    CHECK(weft_wait_for(inner, WEFT_MS(5)) == -ETIMEDOUT);
    CHECK(now_ms() == 44 && weft_cancelled(t) && weft_cancelled(inner));
    weft_release(t);
    weft_release(inner);
    return 0;
}

/* I13: the time limit reaches every child of a gather. */
TEST(wait_for_gather)
{
    weft_task *pair[2] = {ACTOR(0, .work = 50), ACTOR(1, .work = 60)}, *both = start(gathers_two, pair);
    CHECK(weft_wait_for(both, WEFT_MS(2)) == -ETIMEDOUT);
    CHECK(weft_gather_settled(pair[0], pair[1]) == 2);
    CHECK(now_ms() == 2 && actors[0].cancels == 1 && actors[1].cancels == 1);
    weft_release(both);
    weft_release(pair[0]);
    weft_release(pair[1]);
    return 0;
}

/* I12: limit and end at the same instant: exactly one outcome, and the task has ended either way. */
TEST(wait_for_tie)
{
    for (int i = 0; i < 20; i++) {
        weft_task *t = ACTOR(i, .work = 3, .result = 2);
        int rc = weft_wait_for(t, WEFT_MS(3));
        CHECK(rc == 2 ? weft_status(t) == 2 : rc == -ETIMEDOUT);
        CHECK(weft_done(t) && weft_cancelling(weft_current_task()) == 0);
        CHECK(weft_yield() == 0);
        weft_release(t);
    }
    return 0;
}

/* ---- shield ----------------------------------------------------------------------------------------------------- */

/* K1, K4, K5, K3: value, done already, error, and a shielded task that is cancelled itself. */
TEST(shield_outcomes)
{
    weft_task *good = ACTOR(0, .work = 2, .result = 6), *bad = ACTOR(1, .work = 3, .result = -EIO),
              *gone = ACTOR(2, .work = 50);
    CHECK(weft_shield(good) == 6 && weft_shield(good) == 6);
    CHECK(weft_shield(bad) == -EIO);
    weft_task *shield = start(shields, gone);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(gone));
    CHECK(weft_await(shield) == -ECANCELED && weft_cancelling(shield) == 0);
    CHECK(weft_shield(NULL) == -ENOMEM && weft_shield(weft_current_task()) == -EDEADLK);
    weft_release(good);
    weft_release(bad);
    weft_release(gone);
    weft_release(shield);
    return 0;
}

/* K2, K8: cancelling one awaiter stops only that one. K6: a gather over shields leaves the task alone. */
TEST(shield_protects)
{
    weft_task *t = ACTOR(0, .work = 9, .result = 6), *one = start(shields, t), *two = start(shields, t);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(one));
    CHECK(weft_await(one) == -ECANCELED && now_ms() == 1);
    weft_task *pair[2] = {start(shields, t), ACTOR(1, .work = 50)}, *both = start(gathers_two, pair);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(both));
    CHECK(weft_await(both) == -ECANCELED && now_ms() == 2);
    CHECK(weft_await(two) == 6 && now_ms() == 9);
    CHECK(weft_status(t) == 6 && actors[0].cancels == 0 && weft_gather_settled(pair[0], pair[1]) == 2);
    weft_release(t);
    weft_release(one);
    weft_release(two);
    weft_release(both);
    weft_release(pair[0]);
    weft_release(pair[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_all),
        cmocka_unit_test(wait_first),
        cmocka_unit_test(wait_no_exception),
        cmocka_unit_test(wait_one_round),
        cmocka_unit_test(wait_arguments),
        cmocka_unit_test(wait_cancelled),
        cmocka_unit_test(wait_delivers_pending_request),
        cmocka_unit_test(wait_for_oneself),
        cmocka_unit_test(wait_for_in_time),
        cmocka_unit_test(wait_for_too_late),
        cmocka_unit_test(wait_for_zero),
        cmocka_unit_test(wait_for_cancelled),
        cmocka_unit_test(wait_for_cancel_and_done),
        cmocka_unit_test(wait_for_nested),
        cmocka_unit_test(wait_for_gather),
        cmocka_unit_test(wait_for_tie),
        cmocka_unit_test(shield_outcomes),
        cmocka_unit_test(shield_protects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
