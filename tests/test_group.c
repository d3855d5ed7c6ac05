/* SPDX-License-Identifier: Apache-2.0 */
/* Task groups: section M of the semantics. */
#include "support/actors.h"

#define START(g, id_, ...) CHECK(weft_group_start((g), actor, .id = (id_), __VA_ARGS__) == 0)

static unsigned requests(void)
{
    return weft_cancelling(weft_current_task());
}

/* M1: the end of the block waits for all. M15: an empty group ends at once, without suspension. */
TEST(waits_for_all)
{
    weft_group g;
    weft_task *other = weft_create_task(actor, .id = 2, .work = -1);
    CHECK(weft_group_begin(&g) == 0);
    CHECK(weft_group_join(&g, 5) == 5);
    CHECK(setting.workers != 1 || actors[2].started == 0);
    CHECK(weft_await_release(other) == 0);

    CHECK(weft_group_begin(&g) == 0);
    START(&g, 0, .work = 5, .result = 3);
    START(&g, 1, .work = 3);
    CHECK(weft_group_join(&g, 0) == 0);
    CHECK(now_ms() == 5 && actors[0].ended == 1 && actors[1].ended == 1);
    return 0;
}

/* M2, M3: the first error cancels the others and the block; the owner's count is balanced. M4: cancelled children add
 * nothing. M5: errors in reply do. M14: in order of completion. */
TEST(error_aborts)
{
    weft_group g;
    int errors[4];
    size_t count = 9;
    CHECK(weft_group_begin(&g) == 0);
    weft_group_collect_errors(&g, errors, 4, &count);
    START(&g, 0, .work = 90, .cleanup = 3);
    START(&g, 1, .work = 5, .result = -EIO);
    START(&g, 2, .work = 90, .cleanup = 1, .reply = -EPERM);
    START(&g, 3, .work = 90, .cleanup = 2, .reply = 4);
    int rc = weft_sleep(WEFT_MS(50));
    CHECK(rc == -ECANCELED && now_ms() == 5 && requests() == 1);
    CHECK(weft_group_errors(&g, errors, 4) == 1 && errors[0] == -EIO);
    CHECK(weft_group_join(&g, rc) == -EIO);
    CHECK(now_ms() == 8 && requests() == 0);
    CHECK(count == 2 && errors[0] == -EIO && errors[1] == -EPERM);
    for (int i = 0; i < 4; i++)
        CHECK(actors[i].cancels == (i != 1));
    CHECK(weft_yield() == 0);
    return 0;
}

/* M2, M3 with the owner already waiting: it need not be cancelled; more errors than fit are counted. */
TEST(error_while_joining)
{
    enum { CHILDREN = 20 };
    weft_group g;
    int errors[CHILDREN];
    size_t count;
    CHECK(weft_group_begin(&g) == 0);
    weft_group_collect_errors(&g, errors, 3, &count);
    for (int i = 0; i < CHILDREN; i++)
        START(&g, i, .work = 5 + i, .cleanup = i, .result = -EIO, .reply = -EPERM);
    CHECK(weft_group_join(&g, 0) == -EIO);
    CHECK(now_ms() == 5 + CHILDREN - 1 && requests() == 0);
    CHECK(count == CHILDREN && errors[0] == -EIO && errors[1] == -EPERM && errors[2] == -EPERM);
    CHECK(weft_yield() == 0);
    return 0;
}

/* M4: a child cancelled by hand does not disturb the group. M16: its tasks can be awaited and cancelled like any
 * other. */
TEST(child_cancelled_by_hand)
{
    weft_group g;
    weft_task *t, *u;
    CHECK(weft_group_begin(&g) == 0);
    CHECK(weft_group_create_task(&g, &t, actor, .id = 0, .work = 50) == 0);
    CHECK(weft_group_create_task(&g, &u, actor, .id = 1, .work = 4, .result = 6) == 0);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    CHECK(weft_await_release(u) == 6);
    CHECK(weft_group_join(&g, 0) == 0 && now_ms() == 4);
    return 0;
}

/* M16: awaiting a failed child in the block aborts the group, too. */
TEST(await_failed_child)
{
    weft_group g;
    weft_task *t;
    CHECK(weft_group_begin(&g) == 0);
    START(&g, 0, .work = 50);
    CHECK(weft_group_create_task(&g, &t, actor, .id = 1, .work = 2, .result = -EIO) == 0);
    int rc = weft_await_release(t);
    CHECK(rc == -ECANCELED || rc == -EIO);
    CHECK(weft_group_join(&g, rc) == -EIO);
    CHECK(now_ms() == 2 && actors[0].cancels == 1 && requests() == 0 && weft_yield() == 0);
    return 0;
}

/* M6: an error of the block's own code cancels the tasks, and comes last. M17: what has not started never runs. */
TEST(body_error)
{
    weft_group g;
    int errors[4];
    size_t count;
    CHECK(weft_group_begin(&g) == 0);
    weft_group_collect_errors(&g, errors, 4, &count);
    START(&g, 0, .work = 50);
    CHECK(weft_group_join(&g, -EDOM) == -EDOM);
    CHECK(now_ms() == 0 && count == 1 && errors[0] == -EDOM);
    CHECK(setting.workers != 1 || actors[0].started == 0);

    CHECK(weft_group_begin(&g) == 0);
    weft_group_collect_errors(&g, errors, 4, &count);
    START(&g, 1, .work = 50, .reply = -EIO);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_group_join(&g, -EDOM) == -EDOM); /* what came first, not what answered to it */
    CHECK(count == 2 && errors[0] == -EIO && errors[1] == -EDOM);
    CHECK(requests() == 0 && weft_yield() == 0);
    return 0;
}

/* ---- cancelling the owner --------------------------------------------------------------------------------------- */

struct owner {
    struct actor child;
    int64_t body; /* ms in the block before the join; -1: none */
    int rc, after;
    unsigned count;
    int64_t at;
};
static int owner(void *argument)
{
    struct owner *o = argument;
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    o->child.frame_.coro = &actor_coro_;
    CHECK(weft_group_start_(&g, NULL, &o->child.frame_, NULL) == 0);
    int rc = o->body >= 0 ? weft_sleep(WEFT_MS(o->body)) : 0;
    o->rc = weft_group_join(&g, rc);
    o->at = now_ms();
    o->count = requests();
    o->after = weft_sleep(WEFT_MS(1));
    return o->rc;
}

static void cancel_owner(struct owner *o, int times)
{
    weft_task *t = start(owner, o);
    for (int i = 0; i < times; i++) {
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
        CHECK(weft_cancel(t));
    }
    CHECK(weft_await_release(t) == o->rc);
}

/* M7: all tasks are cancelled and waited for, then cancelled comes out; in the block or in the join. M12: again and
 * again. */
TEST(owner_cancelled)
{
    for (int64_t body = -1; body <= 50; body += 51) {
        int64_t begin = now_ms();
        struct owner o = {.child = {.work = 90, .cleanup = 10}, .body = body};
        cancel_owner(&o, 1);
        CHECK(o.rc == -ECANCELED && o.at == begin + 11 && o.count == 1 && o.after == 0);
    }
    int64_t begin = now_ms();
    struct owner o = {.child = {.work = 90, .cleanup = 10}, .body = -1};
    cancel_owner(&o, 4);
    CHECK(o.rc == -ECANCELED && o.at == begin + 11 && o.count == 4 && o.after == 0);
    CHECK(actors[0].cancels == 3);
    return 0;
}

/* M8: owner cancelled and a task failing: the error comes out, the cancellation stays and is met at the next
 * suspension. */
TEST(owner_cancelled_and_error)
{
    struct owner reply = {.child = {.work = 90, .reply = -EIO}, .body = -1};
    cancel_owner(&reply, 1);
    CHECK(reply.rc == -EIO && reply.count == 1 && reply.after == -ECANCELED);

    /* ... or the error first, then the cancellation during the clean-up */
    struct owner late = {.child = {.work = 90, .cleanup = 5, .reply = -EIO}, .body = 1};
    int64_t begin = now_ms();
    weft_task *t = start(owner, &late);
    CHECK(weft_sleep(WEFT_MS(3)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -EIO);
    CHECK(late.at == begin + 8 && late.count == 2 && late.after == -ECANCELED);
    return 0;
}

/* A running owner is cancelled by a failing child at its next suspension: the join itself, here. M3 for it. */
TEST(running_owner)
{
    for (int i = 0; i < 50; i++) {
        weft_group g;
        CHECK(weft_group_begin(&g) == 0);
        START(&g, 0, .work = -1, .result = -EIO);
        int rc = weft_group_start(&g, actor, .id = 1, .work = i % 3 - 1);
        CHECK(rc == 0 || rc == -ESHUTDOWN); /* the first may have failed already, elsewhere */
        if (i % 2 != 0)
            (void)weft_yield();
        CHECK(weft_group_join(&g, 0) == -EIO);
        CHECK(requests() == 0 && weft_yield() == 0);
    }
    return 0;
}

/* ---- starting --------------------------------------------------------------------------------------------------- */

struct grower {
    WEFT_FRAME;
    weft_group *g;
    int depth;
};
static int grower(struct grower *f);
WEFT_CORO(grower);
static int grower(struct grower *f)
{
    actors[f->depth].started++;
    int rc = weft_sleep(WEFT_MS(1));
    if (f->depth < 5)
        for (int i = 0; i < 2; i++)
            CHECK(weft_group_start(f->g, grower, .g = f->g, .depth = f->depth + 1) == 0);
    return rc;
}

/* M9: tasks of the group start more, also while the owner waits already. */
TEST(grows)
{
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    CHECK(weft_group_start(&g, grower, .g = &g, .depth = 0) == 0);
    CHECK(weft_group_join(&g, 0) == 0);
    CHECK(now_ms() == 6);
    for (int i = 0; i < 6; i++)
        CHECK(actors[i].started == 1 << i);
    return 0;
}

static int refused(void *argument)
{
    weft_group *g = argument;
    weft_task *t = weft_current_task();
    CHECK(weft_sleep(WEFT_MS(50)) == -ECANCELED);
    CHECK(weft_group_start(g, actor, .id = 9, .work = -1) == -ESHUTDOWN);
    CHECK(weft_group_create_task(g, &t, actor, .id = 9, .work = -1) == -ESHUTDOWN && t == NULL);
    return 0;
}

/* M10: a group that is aborting or has ended takes no tasks; they do not run. */
TEST(refuses)
{
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    CHECK(weft_group_start(&g, call, .fn = refused, .argument = &g) == 0);
    START(&g, 0, .work = 2, .result = -EIO);
    CHECK(weft_group_join(&g, 0) == -EIO);
    CHECK(weft_group_start(&g, actor, .id = 9, .work = -1) == -ESHUTDOWN);
    CHECK(weft_yield() == 0 && actors[9].started == 0);
    return 0;
}

static int inner_group(void *argument)
{
    (void)argument;
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    START(&g, 0, .work = 5, .result = -EIO);
    START(&g, 1, .work = 50);
    return weft_group_join(&g, 0);
}

/* M11: an inner group's error is one of the outer group's. */
TEST(nested)
{
    weft_group g;
    int errors[2];
    size_t count;
    CHECK(weft_group_begin(&g) == 0);
    weft_group_collect_errors(&g, errors, 2, &count);
    CHECK(weft_group_start(&g, call, .fn = inner_group) == 0);
    START(&g, 2, .work = 90);
    CHECK(weft_group_join(&g, 0) == -EIO);
    CHECK(count == 1 && errors[0] == -EIO && actors[1].cancels == 1 && actors[2].cancels == 1 && now_ms() == 5);
    return 0;
}

/* weft_group_cancel: all are cancelled, more are refused, the owner is not cancelled; its own cancellation is not
 * lost. */
TEST(cancelled_as_a_whole)
{
    weft_group g;
    CHECK(weft_group_begin(&g) == 0);
    START(&g, 0, .work = 50, .cleanup = 3);
    START(&g, 1, .work = 50);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    weft_group_cancel(&g);
    CHECK(weft_group_start(&g, actor, .id = 2, .work = -1) == -ESHUTDOWN);
    CHECK(weft_group_join(&g, 2) == 2);
    CHECK(now_ms() == 4 && actors[0].cancels == 1 && actors[1].cancels == 1 && actors[2].started == 0);

    CHECK(weft_group_begin(&g) == 0);
    START(&g, 3, .work = 50, .cleanup = 3);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    weft_group_cancel(&g);
    CHECK(weft_cancel(weft_current_task()));
    CHECK(weft_group_join(&g, 0) == -ECANCELED);
    CHECK(weft_uncancel(weft_current_task()) == 0 && weft_yield() == 0);
    return 0;
}

/* J14: a time limit around a group: its tasks are cancelled and waited for, then the limit is reported. */
TEST(within_time_limit)
{
    weft_timeout limit;
    weft_group g;
    CHECK(weft_timeout_begin(&limit, WEFT_MS(5)) == 0);
    CHECK(weft_group_begin(&g) == 0);
    START(&g, 0, .work = 50, .cleanup = 2);
    START(&g, 1, .work = 50);
    CHECK(weft_timeout_end(&limit, weft_group_join(&g, 0)) == -ETIMEDOUT);
    CHECK(now_ms() == 7 && requests() == 0 && weft_yield() == 0);
    return 0;
}

/* A group in a forked child: its owner is the child, and only that is cancelled. */
TEST(in_forked_child)
{
    struct call frame = {.fn = inner_group};
    weft_child child;
    weft_fork(&child, call, &frame);
    CHECK(weft_sleep(WEFT_MS(2)) == 0);
    CHECK(weft_join(&child) == -EIO);
    CHECK(requests() == 0 && weft_yield() == 0 && actors[1].cancels == 1);
    return 0;
}

/* Task options with a wrong size or stack are refused, and leave nothing behind. */
TEST(wrong_options)
{
    weft_group g;
    weft_task *t = weft_current_task();
    static const size_t wrong[] = {0, sizeof(size_t), sizeof(weft_task_options) + 1};
    CHECK(weft_group_begin(&g) == 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        weft_task_options options = {.size = wrong[i]};
        CHECK(weft_group_create_task_with(&g, &options, &t, actor, .id = 1) == -EINVAL && t == NULL);
    }
    CHECK(weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.stack_size = 2 * WEFT_MAX_STACK), &t, actor, .id = 1) ==
          -EINVAL);
    CHECK(weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.name = "right"), &t, actor, .id = 2) == 0);
    weft_release(t);
    CHECK(weft_group_join(&g, 0) == 0);
    CHECK(actors[1].started == 0 && actors[2].ended == 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_all),
        cmocka_unit_test(error_aborts),
        cmocka_unit_test(error_while_joining),
        cmocka_unit_test(child_cancelled_by_hand),
        cmocka_unit_test(await_failed_child),
        cmocka_unit_test(body_error),
        cmocka_unit_test(owner_cancelled),
        cmocka_unit_test(owner_cancelled_and_error),
        cmocka_unit_test(running_owner),
        cmocka_unit_test(grows),
        cmocka_unit_test(refuses),
        cmocka_unit_test(nested),
        cmocka_unit_test(cancelled_as_a_whole),
        cmocka_unit_test(within_time_limit),
        cmocka_unit_test(in_forked_child),
        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
