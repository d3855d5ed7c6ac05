/* SPDX-License-Identifier: Apache-2.0 */
/* gather, settled and not: sections G and N18 of the semantics. (wait, wait_for and shield: test_wait.c.) */
#include "support/actors.h"

/* G2: results stay in the tasks, in argument order, whatever the order of completion. G16: no error, so 0. */
TEST(values_in_order)
{
    weft_task *t[3] = {weft_create_task(actor, .id = 0, .work = 5, .result = 10),
                       weft_create_task(actor, .id = 1, .work = 1, .result = 11),
                       weft_create_task(actor, .id = 2, .work = 3, .result = 12)};
    CHECK(weft_gather(t[0], t[1], t[2]) == 0);
    CHECK(now_ms() == 5);
    for (int i = 0; i < 3; i++) {
        CHECK(weft_status(t[i]) == 10 + i);
        CHECK(weft_result(actor, t[i])->id == i);
        weft_release(t[i]);
    }
    return 0;
}

struct flag {
    _Atomic(bool) set;
};
static int set_flag(void *argument)
{
    ((struct flag *)argument)->set = true;
    return 0;
}

/* G3: nothing to wait for, no suspension; G17: nor when all have ended. (What is ready has not run: one worker.) */
TEST(all_done_does_not_suspend)
{
    struct flag flag = {false};
    weft_task *a = weft_create_task(actor, .id = 0, .result = 1), *b = weft_create_task(actor, .id = 1, .result = -EIO);
    CHECK(weft_await(a) == 1 && weft_await(b) == -EIO);
    weft_task *other = start(set_flag, &flag);
    CHECK(weft_gather_n(NULL, 0) == 0);
    CHECK(weft_gather_settled_n(NULL, 0) == 0);
    CHECK(weft_gather(a, a) == 0);
    CHECK(weft_gather(a, b) == -EIO);
    CHECK(weft_gather_settled(a, b) == 1);
    CHECK(setting.workers != 1 || !flag.set);
    CHECK(weft_await_release(other) == 0);
    weft_release(a);
    weft_release(b);
    return 0;
}

/* G4: the first error ends the wait at once; the others go on, uncancelled. G14 with it. */
TEST(first_error_ends)
{
    weft_task *slow = weft_create_task(actor, .id = 0, .work = 9),
              *bad = weft_create_task(actor, .id = 1, .work = 2, .result = -EIO),
              *later = weft_create_task(actor, .id = 2, .work = 4, .result = -EPERM);
    CHECK(weft_gather(slow, bad, later) == -EIO);
    CHECK(now_ms() == 2);
    CHECK(!weft_done(slow) && !weft_done(later));
    CHECK(weft_gather(slow, later) == -EPERM);
    CHECK(weft_await(slow) == 0);
    CHECK(now_ms() == 9);
    CHECK(actors[0].cancels == 0 && actors[2].cancels == 0);
    weft_release(slow);
    weft_release(bad);
    weft_release(later);
    return 0;
}

/* An error of one that has ended already decides without waiting for the others. */
TEST(ended_error_decides)
{
    weft_task *bad = weft_create_task(actor, .id = 0, .work = -1, .result = -EIO);
    CHECK(weft_await(bad) == -EIO);
    weft_task *slow = weft_create_task(actor, .id = 1, .work = 9);
    CHECK(weft_gather(slow, bad) == -EIO);
    CHECK(now_ms() == 0);
    CHECK(weft_await_release(slow) == 0);
    weft_release(bad);
    return 0;
}

/* G5, G7: settled waits for all, and errors and cancelled tasks are outcomes; G6: unsettled, a cancelled one ends it.
 * */
TEST(settled)
{
    weft_task *good = weft_create_task(actor, .id = 0, .work = 5, .result = 3),
              *bad = weft_create_task(actor, .id = 1, .work = 1, .result = -EIO),
              *gone = weft_create_task(actor, .id = 2, .work = 50);
    CHECK(weft_yield() == 0);
    CHECK(weft_cancel(gone));
    CHECK(weft_gather_settled(good, bad, gone) == 2);
    CHECK(now_ms() == 5);
    CHECK(weft_status(good) == 3 && weft_status(bad) == -EIO && weft_cancelled(gone) && !weft_cancelled(bad));
    weft_task *other = weft_create_task(actor, .id = 3, .work = 5);
    CHECK(weft_gather(other, gone) == -ECANCELED);
    CHECK(weft_cancelling(weft_current_task()) == 0); /* D3: nobody cancelled this one */
    CHECK(weft_await(other) == 0);
    CHECK(actors[3].cancels == 0);
    weft_release(good);
    weft_release(bad);
    weft_release(gone);
    weft_release(other);
    return 0;
}

/* ---- cancelling who gathers ------------------------------------------------------------------------------------- */

struct gatherer {
    struct actor child[2];
    bool settled;
    int rc;
    int64_t at;
    int after; /* weft_yield() once it has ended */
    weft_task *t[2];
};
static int gatherer(void *argument)
{
    struct gatherer *g = argument;
    for (int i = 0; i < 2; i++) {
        g->child[i].frame_.coro = &actor_coro_;
        g->child[i].id = i;
        g->t[i] = weft_create_task_(NULL, &g->child[i].frame_);
    }
    g->rc = g->settled ? weft_gather_settled(g->t[0], g->t[1]) : weft_gather(g->t[0], g->t[1]);
    g->at = now_ms();
    g->after = weft_yield();
    return g->rc;
}

static int cancel_at(int64_t ms, struct gatherer *g)
{
    weft_task *t = start(gatherer, g);
    CHECK(weft_sleep(WEFT_MS(ms)) == 0);
    CHECK(weft_cancel(t));
    int rc = weft_await(t);
    CHECK(weft_cancelling(t) == 1);
    CHECK(g->after == 0); /* the request was used up */
    weft_release(t);
    return rc;
}

static void release_children(struct gatherer *g)
{
    weft_release(g->t[0]);
    weft_release(g->t[1]);
}

/* G8: every unfinished child is cancelled. G9a: the first to end otherwise than with a value decides, here a cancelled
 * one; the other may still be cleaning up. */
TEST(cancel_reaches_children)
{
    struct gatherer g = {.child = {{.work = 50, .cleanup = 5}, {.work = 60}}};
    CHECK(cancel_at(1, &g) == -ECANCELED);
    CHECK(g.at == 1);
    CHECK(weft_gather_settled(g.t[0], g.t[1]) == 2);
    CHECK(actors[0].cancels == 1 && actors[1].cancels == 1);
    CHECK(now_ms() == 6);
    release_children(&g);
    return 0;
}

/* G8, G9: settled waits for every clean-up, and is cancelled in the end, even if all children swallowed it. */
TEST(cancel_settled_waits_for_all)
{
    struct gatherer g = {.child = {{.work = 50, .cleanup = 5}, {.work = 60}}, .settled = true};
    CHECK(cancel_at(1, &g) == -ECANCELED);
    CHECK(g.at == 6);
    CHECK(actors[0].cancels == 1 && actors[1].cancels == 1);
    release_children(&g);

    struct gatherer all = {.child = {{.work = 50, .cleanup = 5, .reply = 7}, {.work = 60, .reply = 8}},
                           .settled = true};
    CHECK(cancel_at(1, &all) == -ECANCELED);
    CHECK(weft_status(all.t[0]) == 7 && weft_status(all.t[1]) == 8);
    release_children(&all);
    return 0;
}

/* G9a: values do not rescue the awaiter; an error in reply comes out if it is first; else cancelled does. */
TEST(cancel_replies)
{
    struct gatherer swallow = {.child = {{.work = 50, .reply = 7}, {.work = 60, .cleanup = 2, .reply = 8}}};
    CHECK(cancel_at(1, &swallow) == -ECANCELED);
    CHECK(swallow.at == 3);
    release_children(&swallow);

    struct gatherer error = {.child = {{.work = 50, .cleanup = 3}, {.work = 60, .cleanup = 1, .reply = -EIO}}};
    CHECK(cancel_at(1, &error) == -EIO);
    release_children(&error);

    struct gatherer late = {.child = {{.work = 50, .cleanup = 1}, {.work = 60, .cleanup = 3, .reply = -EIO}}};
    CHECK(cancel_at(1, &late) == -ECANCELED);
    CHECK(weft_await(late.t[1]) == -EIO);
    release_children(&late);
    return 0;
}

/* G13: after the first error, a cancellation of the awaiter no longer touches the other children. */
TEST(cancel_after_error)
{
    struct gatherer g = {.child = {{.work = 50}, {.work = 1, .result = -EIO}}};
    weft_task *t = start(gatherer, &g);
    CHECK(weft_await(t) == -EIO);
    CHECK(!weft_cancel(t));
    CHECK(weft_await(g.t[0]) == 0);
    CHECK(actors[0].cancels == 0);
    weft_release(t);
    release_children(&g);
    return 0;
}

static int cancelled_then_gathers(void *argument)
{
    struct gatherer *g = argument;
    CHECK(weft_cancel(weft_current_task()));
    return gatherer(g);
}

/* N8, N17, N18, C16: a request pending when the gather suspends is passed on at once; unstarted children never run. */
TEST(pending_request)
{
    struct gatherer g = {.child = {{.work = 50}, {.work = 60}}};
    weft_task *t = start(cancelled_then_gathers, &g);
    CHECK(weft_await(t) == -ECANCELED);
    CHECK(now_ms() == 0);
    CHECK(weft_gather_settled(g.t[0], g.t[1]) == 2);
    CHECK(setting.workers != 1 || (actors[0].started == 0 && actors[1].started == 0));
    weft_release(t);
    release_children(&g);
    return 0;
}

/* G12: nested gathers pass cancellation down. */
static int outer(void *argument)
{
    weft_task *inner = start(gatherer, argument), *own = weft_create_task(actor, .id = 2, .work = 70);
    int rc = weft_gather_settled(inner, own);
    CHECK(weft_cancelled(inner) && weft_cancelled(own));
    weft_release(inner);
    weft_release(own);
    return rc;
}
TEST(nested)
{
    struct gatherer g = {.child = {{.work = 50, .cleanup = 4}, {.work = 60}}, .settled = true};
    weft_task *t = start(outer, &g);
    CHECK(weft_sleep(WEFT_MS(2)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await(t) == -ECANCELED);
    CHECK(now_ms() == 6);
    CHECK(actors[0].cancels == 1 && actors[1].cancels == 1 && actors[2].cancels == 1);
    weft_release(t);
    release_children(&g);
    return 0;
}

/* ---- arguments -------------------------------------------------------------------------------------------------- */

/* G11: a task given twice counts once, also when there are many; NULL is a task that could not be created. */
TEST(duplicates_and_null)
{
    weft_task *many[40], *bad = weft_create_task(actor, .id = 0, .work = 2, .result = -EIO),
                         *good = weft_create_task(actor, .id = 1, .work = 1, .result = 4);
    CHECK(weft_gather(good, good) == 0);
    CHECK(weft_gather_settled(bad, good, bad, bad) == 1);
    for (int i = 0; i < 40; i++)
        many[i] = i % 3 != 0 ? bad : good;
    CHECK(weft_gather_settled_n(many, 40) == 1);
    for (int i = 0; i < 40; i++)
        many[i] = weft_create_task(actor, .id = 2 + i / 2, .work = 1, .result = i % 2 != 0 ? -EIO : 0);
    CHECK(weft_gather_settled_n(many, 40) == 20);
    for (int i = 0; i < 40; i++)
        weft_release(many[i]);
    CHECK(weft_gather((weft_task *)NULL) == -ENOMEM);
    CHECK(weft_gather(good, (weft_task *)NULL, bad) == -ENOMEM);
    CHECK(weft_gather_settled(good, (weft_task *)NULL, bad) == 2);
    weft_release(bad);
    weft_release(good);
    return 0;
}

/* C11: a task that gathers itself. */
TEST(itself)
{
    CHECK(weft_gather(weft_current_task()) == -EDEADLK);
    CHECK(weft_gather_settled(weft_current_task()) == -EDEADLK);
    return 0;
}

/* ---- many at once ----------------------------------------------------------------------------------------------- */

/* G16: with many children failing on several workers, exactly one error is chosen, and it is one of theirs; the
 * waiters of the others are taken out while these end. */
TEST(stampede)
{
    enum { CHILDREN = 200 };
    for (int round = 0; round < 30; round++) {
        weft_task *t[CHILDREN];
        for (int i = 0; i < CHILDREN; i++)
            t[i] = weft_create_task(actor, .id = 0, .work = i % 3 - 1, .result = i % 7 == round % 7 ? -(1 + i) : i);
        int rc = weft_gather_n(t, CHILDREN);
        CHECK(rc < 0 && (-rc - 1) % 7 == round % 7);
        int failed = weft_gather_settled_n(t, CHILDREN), expected = 0;
        for (int i = 0; i < CHILDREN; i++) {
            expected += i % 7 == round % 7;
            CHECK(weft_done(t[i]));
            weft_release(t[i]);
        }
        CHECK(failed == expected);
    }
    return 0;
}

/* With asyncio's order a task's end reaches the gather a turn later, when the gather may have ended, the task be released, and its memory
 * be another's: an error of that one is still nobody's, and reported. */
static int lost_errors;
static void count_lost(void *user, const weft_exception *e)
{
    (void)user;
    lost_errors += e->kind == WEFT_NEVER_RETRIEVED && e->error == -EIO;
}

static int fail_at_once(void *argument)
{
    (void)argument;
    return -EPERM;
}
static int end_later(void *argument)
{
    (void)argument;
    return weft_yield();
}
static int fail_unseen(void *argument)
{
    (void)argument;
    return -EIO;
}

static int late_turn(void *unused)
{
    (void)unused;
    weft_task *failing = start(fail_at_once, NULL), *ending = start(end_later, NULL);
    CHECK(weft_gather(failing, ending) == -EPERM);
    CHECK(weft_done(ending));
    weft_release(ending);
    /* In the same place, if that is free. */
    weft_task *other = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), call, .fn = fail_unseen);
    CHECK(weft_done(other));
    CHECK(weft_yield() == 0 && weft_yield() == 0);
    weft_release(other);
    weft_release(failing);
    return 0;
}

static void late_turns_touch_no_other_task(void **state)
{
    (void)state;
    lost_errors = 0;
    run_options.exception_handler = count_lost;
    int rc = run_with((struct setting){.workers = 1, .order = WEFT_ORDER_FIFO}, late_turn, NULL);
    run_options.exception_handler = NULL;
    assert_int_equal(rc, 0);
    assert_null(first_failure);
    assert_int_equal(lost_errors, 1);
    assert_int_equal(handles_left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_order),
        cmocka_unit_test(all_done_does_not_suspend),
        cmocka_unit_test(first_error_ends),
        cmocka_unit_test(ended_error_decides),
        cmocka_unit_test(settled),
        cmocka_unit_test(cancel_reaches_children),
        cmocka_unit_test(cancel_settled_waits_for_all),
        cmocka_unit_test(cancel_replies),
        cmocka_unit_test(cancel_after_error),
        cmocka_unit_test(pending_request),
        cmocka_unit_test(nested),
        cmocka_unit_test(duplicates_and_null),
        cmocka_unit_test(itself),
        cmocka_unit_test(stampede),
        cmocka_unit_test(late_turns_touch_no_other_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
