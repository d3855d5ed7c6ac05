/* SPDX-License-Identifier: Apache-2.0 */
/* Parked tasks (weft/park.h) without I/O: until an instant. Being called again, cancellation at every moment, who may not be parked,
 * and the tasks around one: awaiters, groups, strands, time limits. The run as a whole: test_parked_run.c. Streams: test_parking.c. */
#include "support/parked.h"

TEST(is_called_again)
{
    weft_task *t = weft_create_task(naps, .times = 3, .each = WEFT_MS(1), .result = 7);
    CHECK(weft_await(t) == 7 && weft_await(t) == 7);
    const struct naps *f = weft_result(naps, t);
    CHECK(f->calls == 4 && f->outcome == -ETIMEDOUT && f->ended - f->begun >= WEFT_MS(3));
    weft_release(t);
    t = weft_create_task(naps, .times = 2, .each = 0, .result = 1); /* as a yield */
    CHECK(weft_await_release(t) == 1);
    CHECK(parked_now() == 0);
    return 0;
}

TEST(keeps_what_it_is)
{
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "nap"), naps, .times = 1, .each = WEFT_FOREVER);
    await_parked(1);
    char name[16];
    CHECK(weft_task_name(t, name, sizeof name) == 3 && strcmp(name, "nap") == 0);
    CHECK(!weft_done(t) && weft_status(t) == -EINPROGRESS && weft_cancelling(t) == 0);
    int ends[2];
    char text[512] = "";
    CHECK(pipe(ends) == 0 && weft_dump_tasks(weft_runtime_current(), ends[1]) == 0);
    CHECK(read(ends[0], text, sizeof text - 1) > 0 && strstr(text, "nap#") != NULL &&
          strstr(text, "naps() parked, sleeps\n") != NULL);
    close(ends[0]);
    close(ends[1]);
    CHECK(weft_cancel(t) && weft_await(t) == -ECANCELED && weft_cancelled(t));
    CHECK(weft_result(naps, t)->calls == 2 && weft_result(naps, t)->outcome == -ECANCELED);
    weft_release(t);
    return 0;
}

static int count_parked(void *user, weft_task *t)
{
    char name[16];
    *(int *)user += weft_task_name(t, name, sizeof name) == 3;
    return 0;
}

TEST(is_one_of_all_tasks)
{
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "nap"), naps, .times = 1, .each = WEFT_FOREVER);
    await_parked(1);
    int seen = 0;
    CHECK(weft_all_tasks(count_parked, &seen) == 0 && seen == 1);
    CHECK(weft_cancel_with(t, "enough"));
    CHECK(weft_await(t) == -ECANCELED);
    CHECK(weft_result(naps, t)->message != NULL && strcmp(weft_result(naps, t)->message, "enough") == 0);
    weft_release(t);
    return 0;
}

/* ---- cancellation ------------------------------------------------------------------------------------------------ */

/* Before it begins, on its first call, parked, ready again: at any moment, and counted each time. */
TEST(cancel_at_each_moment)
{
    for (int pauses = 0; pauses < 12; pauses++) {
        weft_task *t = weft_create_task(naps, .times = 1000000, .each = pauses & 1 ? 0 : WEFT_US(1 + pauses));
        for (int i = 0; i < pauses; i++)
            CHECK((pauses & 1 ? weft_yield() : weft_sleep(WEFT_US(3))) == 0);
        CHECK(weft_cancel(t));
        CHECK(weft_await(t) == -ECANCELED && weft_cancelled(t) && weft_cancelling(t) == 1);
        weft_release(t);
    }
    CHECK(parked_now() == 0);
    return 0;
}

TEST(cleans_up)
{
    for (int swallow = 0; swallow < 2; swallow++) {
        weft_task *t = weft_create_task(cleans, .swallow = swallow);
        await_parked(1);
        CHECK(weft_cancel(t));
        CHECK(weft_await(t) == (swallow ? 5 : -ECANCELED) && weft_result(cleans, t)->cleaned);
        weft_release(t);
    }
    return 0;
}

/* Never asks: the first suspension tells it; or it parks again, and then that does. */
struct deaf {
    WEFT_FRAME;
    bool sleeps;
    int calls, rc;
};
static int deaf(struct deaf *f)
{
    if (f->calls++ != 0 && f->sleeps)
        return f->rc = weft_sleep(WEFT_SEC(100));
    return f->rc = weft_park_for(WEFT_FOREVER);
}
WEFT_CORO(deaf);

TEST(who_does_not_ask_is_told)
{
    for (int sleeps = 0; sleeps < 2; sleeps++) {
        weft_task *t = weft_create_task(deaf, .sleeps = sleeps);
        await_parked(1);
        CHECK(weft_cancel(t) && weft_await(t) == -ECANCELED);
        CHECK(weft_result(deaf, t)->calls == 2 && weft_result(deaf, t)->rc == -ECANCELED);
        weft_release(t);
    }
    return 0;
}

TEST(uncancelled_it_is_called_for_nothing)
{
    weft_task *t = weft_create_task(naps, .times = 2, .each = WEFT_FOREVER, .result = 3);
    await_parked(1);
    weft_batch batch;
    weft_batch_begin(&batch);
    CHECK(weft_cancel(t) && weft_cancelling(t) == 1 && weft_uncancel(t) == 0);
    weft_batch_end(&batch);
    CHECK(weft_yield() == 0);
    CHECK(weft_cancel(t) && weft_await(t) == -ECANCELED);
    weft_release(t);
    return 0;
}

/* The instant and the cancellation come together, from two workers. */
TEST(cancel_against_the_instant)
{
    int cancelled = 0, timed_out = 0;
    for (int round = 0; round < 60; round++) {
        weft_task *t = weft_create_task(naps, .times = 1, .each = WEFT_US(100 + round % 5), .result = 1);
        CHECK(weft_sleep(WEFT_US(100 + round % 7)) == 0);
        bool taken = weft_cancel(t);
        int rc = weft_await(t);
        CHECK(taken ? rc == -ECANCELED || rc == 1 : rc == 1);
        cancelled += rc == -ECANCELED;
        timed_out += rc == 1;
        weft_release(t);
    }
    CHECK(cancelled + timed_out == 60);
    return 0;
}

/* ---- around it --------------------------------------------------------------------------------------------------- */

TEST(others_wait_for_it)
{
    weft_task *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = weft_create_task(naps, .times = 2, .each = WEFT_MS(i + 1), .result = i);
    CHECK(weft_gather(t[0], t[1], t[2]) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(weft_status(t[i]) == i);
        weft_release(t[i]);
    }
    /* A time limit around the await cancels it; it is gone when the limit tells so. */
    weft_timeout limit;
    weft_task *forever = weft_create_task(naps, .times = 1, .each = WEFT_FOREVER);
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_timeout_end(&limit, weft_await(forever)) == -ETIMEDOUT);
    CHECK(weft_cancelled(forever));
    weft_release(forever);
    /* A group whose child fails cancels those that are parked. */
    weft_group group;
    CHECK(weft_group_begin(&group) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(weft_group_start(&group, naps, .times = 1, .each = WEFT_FOREVER) == 0);
    CHECK(weft_group_start(&group, naps, .times = 1, .each = WEFT_MS(1), .result = -EIO) == 0);
    CHECK(weft_group_join(&group, 0) == -EIO);
    CHECK(parked_now() == 0);
    return 0;
}

/* Of a strand: its turn is free while it is parked, and its own when it runs. */
static struct {
    int inside, most, steps;
} turn;
struct turns {
    WEFT_FRAME;
    int left;
};
static int turns(struct turns *f)
{
    if (++turn.inside > turn.most)
        turn.most = turn.inside;
    turn.steps++;
    turn.inside--;
    if (f->left-- == 0)
        return 0;
    return weft_park_for(f->left % 3 == 0 ? 0 : WEFT_US(f->left));
}
WEFT_CORO(turns);

TEST(takes_turns_in_its_strand)
{
    memset(&turn, 0, sizeof turn);
    weft_strand *strand = weft_strand_create();
    weft_task *t[8];
    for (int i = 0; i < 8; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.strand = strand), turns, .left = 20);
    weft_strand_release(strand);
    for (int i = 0; i < 8; i++)
        CHECK(weft_await_release(t[i]) == 0);
    CHECK(turn.most == 1 && turn.steps == 8 * 21);
    return 0;
}

static weft_context_var shade = WEFT_CONTEXT_VAR("shade", NULL);
struct shaded {
    WEFT_FRAME;
    bool again, kept;
};
static int shaded(struct shaded *f)
{
    static int value;
    if (f->again) {
        f->kept = weft_context_get(&shade) == &value;
        return 0;
    }
    f->again = true;
    int rc = weft_context_set(&shade, &value, NULL);
    return rc < 0 ? rc : weft_park_for(WEFT_MS(1));
}
WEFT_CORO(shaded);

TEST(keeps_its_context)
{
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), shaded);
    CHECK(!weft_done(t) && weft_await(t) == 0 && weft_result(shaded, t)->kept);
    weft_release(t);
    return 0;
}

/* ---- who has a stack anyhow -------------------------------------------------------------------------------------- */

TEST(a_forked_child_waits_on_its_stack)
{
    struct naps frame[3];
    weft_child child[3];
    for (int i = 0; i < 3; i++) {
        frame[i] = (struct naps){.times = 2, .each = WEFT_US(100), .result = i};
        weft_fork(&child[i], naps, &frame[i]);
    }
    for (int i = 2; i >= 0; i--)
        CHECK(weft_join(&child[i]) == i && frame[i].calls == 3 && frame[i].outcome == -ETIMEDOUT);
    /* Cancelled through its parent. */
    weft_timeout limit;
    struct naps forever = {.times = 1, .each = WEFT_FOREVER};
    weft_child one;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(2)) == 0);
    weft_fork(&one, naps, &forever);
    CHECK(weft_timeout_end(&limit, weft_join(&one)) == -ETIMEDOUT && forever.outcome == -ECANCELED);
    return 0;
}

/* Called as a function, in a task that was parked itself and has not asked; what it says is passed on or not. */
struct calls_naps {
    WEFT_FRAME;
    struct naps inner;
    bool passes_on;
    int calls;
};
static int calls_naps(struct calls_naps *f)
{
    f->calls++;
    int rc = naps(&f->inner);
    CHECK(rc == WEFT_PARK || rc == f->inner.result);
    return f->passes_on ? rc : 9;
}
WEFT_CORO(calls_naps);

TEST(called_as_a_function)
{
    struct naps inner = {.times = 2, .each = WEFT_MS(1), .result = 4};
    weft_task *t = weft_create_task(calls_naps, .inner = inner, .passes_on = true);
    CHECK(weft_await(t) == 4 && weft_result(calls_naps, t)->calls == 3);
    weft_release(t);
    t = weft_create_task(calls_naps, .inner = inner); /* the park that is not returned has no effect */
    CHECK(weft_await(t) == 9 && weft_result(calls_naps, t)->calls == 1);
    weft_release(t);
    return 0;
}

/* Parked, and called again, it awaits one that parks itself, before it has asked: each sees its own. */
struct outer {
    WEFT_FRAME;
    int calls, inner_calls;
};
static int outer(struct outer *f)
{
    if (f->calls++ == 0)
        return weft_park_for(WEFT_MS(1));
    weft_task *t = weft_create_task(naps, .times = 2, .each = WEFT_MS(1), .result = 2);
    struct naps frame = {.times = 1, .each = WEFT_US(10), .result = 3};
    weft_child child;
    weft_fork(&child, naps, &frame);
    CHECK(weft_join(&child) == 3);
    CHECK(weft_await(t) == 2);
    f->inner_calls = weft_result(naps, t)->calls + frame.calls;
    weft_release(t);
    CHECK(weft_parked() == -ETIMEDOUT);
    return 1;
}
WEFT_CORO(outer);

TEST(inside_one_that_was_parked)
{
    weft_task *t = weft_create_task(outer);
    CHECK(weft_await(t) == 1 && weft_result(outer, t)->calls == 2 && weft_result(outer, t)->inner_calls == 5);
    weft_release(t);
    return 0;
}

/* Who was parked has waited: one that runs awaited tasks on its stack, one after the other, gives it its turn as it would a fiber. */
struct quick {
    WEFT_FRAME;
};
static int quick(struct quick *f)
{
    (void)f;
    return 0;
}
WEFT_CORO(quick);

static int turns_beside_awaits(void)
{
    weft_task *t = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), naps, .times = 1000, .each = 0, .result = 1);
    for (int i = 0; i < 64 * 100; i++)
        CHECK(weft_await_release(weft_create_task(quick)) == 0);
    weft_metrics m = {.size = sizeof m};
    weft_metrics_read(weft_runtime_current(), -1, &m);
    CHECK(m.task_parks >= 90 && m.tasks_inlined >= 64 * 90);
    CHECK(weft_await_release(t) == 1);
    return 0;
}
static void has_waited(void **state)
{
    (void)state;
    assert_int_equal(weft_run_with(WEFT_OPTIONS(.workers = 1), body, .fn = turns_beside_awaits), 0);
    assert_tasks_ok();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_called_again),
        cmocka_unit_test(keeps_what_it_is),
        cmocka_unit_test(is_one_of_all_tasks),
        cmocka_unit_test(cancel_at_each_moment),
        cmocka_unit_test(cleans_up),
        cmocka_unit_test(who_does_not_ask_is_told),
        cmocka_unit_test(uncancelled_it_is_called_for_nothing),
        cmocka_unit_test(cancel_against_the_instant),
        cmocka_unit_test(others_wait_for_it),
        cmocka_unit_test(takes_turns_in_its_strand),
        cmocka_unit_test(keeps_its_context),
        cmocka_unit_test(a_forked_child_waits_on_its_stack),
        cmocka_unit_test(called_as_a_function),
        cmocka_unit_test(inside_one_that_was_parked),
        cmocka_unit_test(has_waited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
