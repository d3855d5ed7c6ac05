/* SPDX-License-Identifier: Apache-2.0 */
/* Eager tasks (the option eager of weft/task.h): the body runs inside the call that creates the task, up to its first suspension. */
#include <stdlib.h>

#include "support/actors.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/context.h>
#include <weft/future.h>
#include <weft/strand.h>

#define EAGER(...) weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true), __VA_ARGS__)

static _Atomic(int) steps;
struct step {
    WEFT_FRAME;
    int result, at; /* at: the how-manieth step it began with */
    bool suspend, current_is_own;
    weft_task *creator;
};
static int step(struct step *s)
{
    s->at = ++steps;
    s->current_is_own = weft_current_task() != s->creator && weft_current_task() != NULL;
    if (s->suspend) {
        int rc = weft_yield();
        ++steps;
        if (rc < 0)
            return rc;
    }
    return s->result;
}
WEFT_CORO(step);

TEST_BOTH_CLOCKS(ends_at_once)
{
    steps = 0;
    weft_task *me = weft_current_task(), *t = EAGER(step, .result = 3, .creator = me);
    CHECK(steps == 1 && weft_done(t) && weft_status(t) == 3 && weft_result(step, t)->at == 1);
    CHECK(weft_result(step, t)->current_is_own && weft_current_task() == me);
    CHECK(!weft_cancel(t) && weft_await(t) == 3 && weft_await(t) == 3 && weft_gather(t, t) == 0);
    weft_release(t);

    t = EAGER(step, .result = -EIO, .creator = me);
    CHECK(weft_done(t) && !weft_cancelled(t) && weft_await(t) == -EIO);
    weft_release(t);
    t = EAGER(step, .result = -ECANCELED, .creator = me);
    CHECK(weft_done(t) && weft_cancelled(t) && weft_await(t) == -ECANCELED);
    CHECK(weft_cancelling(me) == 0 && weft_yield() == 0);
    weft_release(t);
    weft_release(EAGER(step, .creator = me)); /* released at once: it has run all the same */
    CHECK(steps == 4);
    return 0;
}

TEST_BOTH_CLOCKS(suspends)
{
    steps = 0;
    weft_task *t = EAGER(step, .suspend = true, .result = 4);
    CHECK(steps >= 1 && (setting.workers != 1 || (steps == 1 && !weft_done(t))));
    CHECK(weft_await(t) == 4 && steps == 2 && weft_result(step, t)->at == 1);
    weft_release(t);

    /* The first suspension takes it out of the call, be it a sleep, a lock or an unset future. */
    weft_future *f = weft_future_create();
    t = EAGER(actor, .id = 0, .work = 100, .result = 1);
    CHECK(actors[0].started == 1 && !weft_done(t));
    weft_task *shielded = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true, .name = "eager one"), actor, .id = 1,
                                                .work = 1, .result = -EIO);
    char name[20];
    CHECK(weft_task_name(shielded, name, sizeof name) == 9 && strcmp(name, "eager one") == 0);
    CHECK(weft_gather_settled(t, shielded) == 1);
    weft_release(t);
    weft_release(shielded);
    weft_release(f);
    return 0;
}

/* Before what was ready when it was created, and its creator goes on before that as well (one worker). */
TEST(order)
{
    steps = 0;
    weft_task *plain = weft_create_task(step), *eager = EAGER(step, .suspend = true);
    int mine = ++steps;
    CHECK(weft_gather(plain, eager) == 0);
    if (setting.workers == 1)
        CHECK(weft_result(step, eager)->at == 1 && mine == 2 && weft_result(step, plain)->at == 3);
    weft_release(plain);
    weft_release(eager);
    return 0;
}

TEST_BOTH_CLOCKS(cancelled)
{
    weft_task *t = EAGER(actor, .id = 0, .work = 3600000);
    CHECK(weft_cancel(t) && weft_await_release(t) == -ECANCELED && actors[0].cancels == 1);
    t = EAGER(actor, .id = 1, .work = 3600000, .cleanup = 1, .reply = -EIO);
    CHECK(weft_cancel(t) && weft_await_release(t) == -EIO && actors[1].cancels == 1);

    /* By itself, at its first suspension. */
    t = EAGER(step, .suspend = true, .result = 1);
    (void)weft_cancel(t);
    int rc = weft_await_release(t);
    CHECK(rc == -ECANCELED || (rc == 1 && setting.workers != 1));
    return 0;
}

static int cancel_task(void *t)
{
    CHECK(weft_cancel(t));
    return 7;
}
TEST(cancels_its_creator)
{
    weft_task *me = weft_current_task(), *t = EAGER(call, .fn = cancel_task, .argument = me);
    CHECK(weft_done(t) && weft_status(t) == 7 && weft_cancelling(me) == 1);
    CHECK(weft_yield() == -ECANCELED && weft_yield() == 0 && weft_uncancel(me) == 0);
    weft_release(t);
    return 0;
}

static int cancel_itself(void *unused)
{
    (void)unused;
    CHECK(weft_cancel(weft_current_task()));
    return 5; /* without a suspension: ends cancelled */
}
TEST(cancels_itself)
{
    weft_task *t = EAGER(call, .fn = cancel_itself);
    CHECK(weft_done(t) && weft_cancelled(t));
    weft_release(t);
    return 0;
}

/* ---- nests ------------------------------------------------------------------------------------------------------ */

struct nest {
    WEFT_FRAME;
    int depth;
    bool suspend;
    int count;
};
static int nest(struct nest *n);
WEFT_CORO(nest);
static int nest(struct nest *n)
{
    n->count = 1;
    int rc = n->suspend ? weft_yield() : 0;
    if (n->depth == 0 || rc < 0)
        return rc;
    weft_task *t = EAGER(nest, .depth = n->depth - 1, .suspend = n->suspend);
    CHECK(n->suspend || weft_done(t));
    rc = weft_await(t);
    if (rc == 0)
        n->count += weft_result(nest, t)->count;
    weft_release(t);
    return rc;
}

TEST(a_thousand_deep)
{
    for (int suspend = 0; suspend < 2; suspend++) {
        weft_task *t = EAGER(nest, .depth = 1000, .suspend = suspend);
        CHECK(suspend || weft_done(t));
        CHECK(weft_await(t) == 0 && weft_result(nest, t)->count == 1001);
        weft_release(t);
        t = EAGER(nest, .depth = 1000, .suspend = suspend);
        (void)weft_yield();
        bool taken = weft_cancel(t);
        int rc = weft_await_release(t);
        CHECK(taken ? rc == -ECANCELED || setting.workers != 1 : rc == 0);
    }
    return 0;
}

static int many_children(void *out)
{
    weft_task *t[20];
    for (int i = 0; i < 20; i++)
        t[i] = EAGER(step, .suspend = i % 2, .result = 0);
    int rc = weft_gather_n(t, 20);
    for (int i = 0; i < 20; i++)
        weft_release(t[i]);
    *(int *)out = rc;
    return rc;
}
TEST(children_of_eager_ones)
{
    int out[20];
    weft_task *t[20];
    steps = 0;
    for (int i = 0; i < 20; i++) {
        out[i] = -1;
        t[i] = EAGER(call, .fn = many_children, .argument = &out[i]);
    }
    CHECK(weft_gather_n(t, 20) == 0 && steps == 20 * 30);
    for (int i = 0; i < 20; i++) {
        CHECK(out[i] == 0);
        weft_release(t[i]);
    }
    return 0;
}

/* ---- from elsewhere --------------------------------------------------------------------------------------------- */

static int create_in_callback(void *out)
{
    *(weft_task **)out = EAGER(step, .suspend = true, .result = 6);
    CHECK(weft_current_task() == NULL && *(weft_task **)out != NULL);
    weft_task *t = EAGER(step, .result = 1);
    CHECK(weft_done(t));
    weft_release(t);
    return 0;
}
static int in_child(void *out)
{
    weft_task *t = EAGER(step, .result = 9, .creator = weft_current_task());
    *(int *)out = weft_result(step, t)->current_is_own ? weft_status(t) : -1;
    weft_release(t);
    return 0;
}
static int big_stack(void *out)
{
    volatile char room[200 * 1024];
    for (size_t i = 0; i < sizeof room; i += 512)
        room[i] = 1;
    *(int *)out = room[512];
    return 0;
}

TEST(in_callbacks_children_and_groups)
{
    weft_task *t = NULL;
    weft_handle *h = weft_call_soon(call, .fn = create_in_callback, .argument = &t);
    CHECK(weft_await_release(h) == 0 && weft_await_release(t) == 6);

    int got = 0;
    struct call frame = {.fn = in_child, .argument = &got};
    weft_child child;
    weft_fork(&child, call, &frame);
    CHECK(weft_join(&child) == 0 && got == 9);

    got = 0;
    t = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true, .stack_size = 512 * 1024), call, .fn = big_stack,
                              .argument = &got);
    CHECK(weft_done(t) && got == 1);
    weft_release(t);

    weft_group g;
    steps = 0;
    CHECK(weft_group_begin(&g) == 0);
    CHECK(weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.eager = true), &t, step, .result = 2) == 0);
    CHECK(weft_done(t) && steps == 1 && weft_status(t) == 2);
    weft_release(t);
    CHECK(weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.eager = true), NULL, step, .suspend = true) == 0);
    CHECK(steps >= 2);
    CHECK(weft_group_join(&g, 0) == 0 && steps == 3);

    /* One that fails at once aborts the group inside the call. */
    CHECK(weft_group_begin(&g) == 0);
    CHECK(weft_group_start(&g, actor, .id = 0, .work = 50) == 0);
    CHECK(weft_group_create_task_with(&g, WEFT_TASK_OPTIONS(.eager = true), NULL, step, .result = -EIO) == 0);
    CHECK(setting.order == WEFT_ORDER_FIFO || weft_group_start(&g, step) == -ESHUTDOWN);
    CHECK(weft_group_join(&g, weft_sleep(WEFT_MS(5))) == -EIO);
    return 0;
}

/* ---- strands ---------------------------------------------------------------------------------------------------- */

static weft_strand *strand;
static _Atomic(int) inside;
static int on_the_strand(void *unused)
{
    (void)unused;
    CHECK(weft_strand_current() == strand);
    for (int i = 0; i < 3; i++) {
        CHECK(++inside == 1);
        weft_task *t = EAGER(step); /* on no strand, inside the turn */
        CHECK(weft_done(t) && weft_strand_current() == strand);
        weft_release(t);
        CHECK(--inside == 0);
        CHECK(weft_yield() == 0 && weft_strand_current() == strand);
    }
    return 0;
}

/* An eager task with a strand waits for its turn like any other. */
TEST(with_strands)
{
    weft_task *t[10];
    strand = weft_strand_create();
    for (int i = 0; i < 10; i++)
        t[i] = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true, .strand = strand), call, .fn = on_the_strand);
    CHECK(setting.workers != 1 || (inside == 0 && !weft_done(t[0])));
    CHECK(weft_gather_n(t, 10) == 0);
    for (int i = 0; i < 10; i++)
        weft_release(t[i]);
    CHECK(weft_strand_current() == NULL);
    weft_strand_release(strand);
    return 0;
}

/* ---- from a seed ------------------------------------------------------------------------------------------------ */

/* Overtaken where others could run on other workers, but never by who waits inside the call that creates it, or for the strand's turn. */
static void seeded(void **state)
{
    (void)state;
    static int (*const fns[])(void *) = {cancels_its_creator_main, cancels_itself_main, a_thousand_deep_main,
                                         in_callbacks_children_and_groups_main, with_strands_main};
    run_options.sched = WEFT_SCHED_SEEDED;
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        for (run_options.seed = 1; run_options.seed <= 10; run_options.seed++) {
            int rc = run_with((struct setting){2, WEFT_ORDER_DEFAULT}, fns[i], NULL);
            if (first_failure != NULL || rc != 0 || handles_left != 0)
                fail_msg("test %zu, seed %d: %d, %s", i, (int)run_options.seed, rc, first_failure);
        }
    }
    run_options.sched = WEFT_SCHED_DEFAULT;
    run_options.seed = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_at_once),
        cmocka_unit_test(suspends),
        cmocka_unit_test(order),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(cancels_its_creator),
        cmocka_unit_test(cancels_itself),
        cmocka_unit_test(a_thousand_deep),
        cmocka_unit_test(children_of_eager_ones),
        cmocka_unit_test(in_callbacks_children_and_groups),
        cmocka_unit_test(with_strands),
        cmocka_unit_test(seeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
