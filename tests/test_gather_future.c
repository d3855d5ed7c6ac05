/* SPDX-License-Identifier: Apache-2.0 */
/* weft_gather_future and weft_shield_future: outcomes, cancelling in every state, nests, and that nothing is kept too long. */
#include <stdlib.h>

#include "support/actors.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/future.h>

#define DEEP 1000

/* ---- outcomes --------------------------------------------------------------------------------------------------- */

TEST_BOTH_CLOCKS(outcomes)
{
    weft_task *t[3] = {weft_create_task(actor, .id = 0, .work = 3, .result = 5),
                       weft_create_task(actor, .id = 1, .work = 1, .result = 6),
                       weft_create_task(actor, .id = 2, .work = -1, .result = 7)};
    weft_future *g = weft_gather_future(t, 3, false), *s = weft_gather_future(t, 3, true);
    CHECK(weft_await(g) == 0 && weft_status(g) == 0 && weft_status(t[0]) == 5);
    CHECK(weft_await(s) == 0 && !weft_cancelled(s));
    weft_release(g);
    weft_release(s);

    g = weft_gather_future(t, 3, false); /* all have ended */
    CHECK(weft_done(g) && weft_await_release(g) == 0);
    weft_task *bad[3] = {t[0], weft_create_task(actor, .id = 3, .work = 1, .result = -EIO),
                         weft_create_task(actor, .id = 4, .work = 9)};
    g = weft_gather_future(bad, 3, false);
    s = weft_gather_future(bad, 3, true);
    CHECK(weft_await(g) == -EIO && !weft_cancelled(g));
    CHECK(run_options.clock == WEFT_CLOCK_REAL || !weft_done(bad[2]));
    CHECK(weft_await(s) == 0 && weft_done(bad[2]) && actors[4].cancels == 0);
    weft_release(g);
    weft_release(s);
    g = weft_gather_future(bad, 3, false);
    CHECK(weft_done(g) && weft_await_release(g) == -EIO);
    s = weft_gather_future(bad, 3, true);
    CHECK(weft_done(s) && weft_await_release(s) == 0);
    for (int i = 0; i < 3; i++)
        weft_release(t[i]);
    weft_release(bad[1]);
    weft_release(bad[2]);
    return 0;
}

TEST(none_and_nulls)
{
    for (int settled = 0; settled < 2; settled++) {
        weft_future *g = weft_gather_future(NULL, 0, settled);
        CHECK(weft_done(g) && weft_status(g) == 0 && !weft_cancel(g) && weft_await(g) == 0);
        weft_release(g);
        g = weft_gather_future((weft_task *const[]){NULL, NULL}, 2, settled);
        CHECK(weft_await(g) == (settled ? 0 : -ENOMEM) && !weft_cancel(g));
        weft_release(g);
        weft_task *t = weft_create_task(actor, .work = 2);
        g = weft_gather_future((weft_task *const[]){t, NULL}, 2, settled);
        CHECK(weft_await(g) == (settled ? 0 : -ENOMEM) && weft_done(t) == settled);
        weft_release(g);
        CHECK(weft_await_release(t) == 0);
    }
    return 0;
}

/* A task that ends cancelled ends it so, too; with exceptions returned it is an outcome like others. */
TEST(a_cancelled_child)
{
    weft_task *t = weft_create_task(actor, .id = 0, .work = 50), *other = weft_create_task(actor, .id = 1, .work = 5);
    weft_future *g = weft_gather_future((weft_task *const[]){t, other}, 2, false),
                *s = weft_gather_future((weft_task *const[]){t, other}, 2, true);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(t));
    CHECK(weft_await(g) == -ECANCELED && weft_cancelling(weft_current_task()) == 0);
    CHECK(!weft_done(other) && weft_await(s) == 0 && weft_done(other) && actors[1].cancels == 0);
    weft_release(t);
    weft_release(other);
    weft_release(g);
    weft_release(s);
    return 0;
}

#define MANY 1000
TEST(one_task_many_times)
{
    weft_task **t = malloc(MANY * sizeof *t);
    for (int round = 0; round < 3; round++) {
        weft_future *f = weft_future_create();
        for (int i = 0; i < MANY; i++)
            t[i] = f;
        weft_future *g = weft_gather_future(t, MANY, round == 1);
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && !weft_done(g));
        if (round < 2)
            CHECK(weft_future_set_error(f, -EIO) == 0 && weft_await(g) == (round == 0 ? -EIO : 0));
        else
            CHECK(weft_cancel(g) && weft_await(g) == -ECANCELED && weft_cancelled(f));
        weft_release(g);
        weft_release(f);
    }
    weft_task *task = weft_create_task(actor, .id = 0, .work = 50, .cleanup = 1);
    for (int i = 0; i < MANY; i++)
        t[i] = task;
    weft_future *g = weft_gather_future(t, MANY, false);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(g) && weft_await_release(g) == -ECANCELED);
    CHECK(weft_cancelled(task) && actors[0].ended == 1);
    weft_release(task);
    free(t);
    return 0;
}

/* ---- cancelling ------------------------------------------------------------------------------------------------- */

TEST(cancelled_in_every_state)
{
    for (int settled = 0; settled < 2; settled++) {
        /* Not begun. */
        memset(actors, 0, sizeof actors);
        weft_task *t[2] = {weft_create_task(actor, .id = 0, .work = 50), weft_create_task(actor, .id = 1, .work = 50)};
        weft_future *g = weft_gather_future(t, 2, settled);
        CHECK(weft_cancel(g) && weft_await(g) == -ECANCELED);
        if (settled || setting.workers == 1)
            CHECK(weft_cancelled(t[0]) && weft_cancelled(t[1]));
        CHECK(setting.workers != 1 || actors[0].started + actors[1].started == 0);
        CHECK(!weft_cancel(g));
        CHECK(weft_gather_settled_n(t, 2) == 2);
        weft_release(g);
        weft_release(t[0]);
        weft_release(t[1]);

        /* Waiting; one ended well; the other takes its time, and a second request finds it still at that. */
        t[0] = weft_create_task(actor, .id = 2, .work = -1);
        t[1] = weft_create_task(actor, .id = 3, .work = 50, .cleanup = 5);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
        g = weft_gather_future(t, 2, settled);
        CHECK(weft_cancel(g) && weft_sleep(WEFT_MS(1)) == 0 && !weft_done(g) && weft_cancel(g));
        CHECK(weft_await(g) == -ECANCELED && weft_cancelled(t[1]) && actors[3].cancels == 2);
        CHECK(!weft_cancel(g) && weft_status(t[0]) == 0);
        weft_release(g);
        weft_release(t[0]);
        weft_release(t[1]);

        /* The one that is cancelled goes on to a value, or to an error. */
        t[0] = weft_create_task(actor, .id = 4, .work = 4, .swallow = true);
        t[1] = weft_create_task(actor, .id = 5, .work = 4, .swallow = true);
        g = weft_gather_future(t, 2, settled);
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(g) && weft_await(g) == -ECANCELED);
        CHECK(weft_status(t[0]) == 0 && weft_status(t[1]) == 0 && !weft_cancelled(g));
        weft_release(g);
        weft_release(t[0]);
        weft_release(t[1]);
        t[0] = weft_create_task(actor, .id = 6, .work = 4, .reply = -EIO);
        g = weft_gather_future(t, 1, settled);
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(g) && weft_await(g) == (settled ? -ECANCELED : -EIO));
        weft_release(g);
        weft_release(t[0]);

        /* Decided by a failure while another still runs: that one is nobody's business any more. */
        t[0] = weft_create_task(actor, .id = 7, .work = 1, .result = -EIO);
        t[1] = weft_create_task(actor, .id = 8, .work = 4);
        g = weft_gather_future(t, 2, false);
        CHECK(weft_await(g) == -EIO && !weft_cancel(g) && weft_await(t[1]) == 0 && actors[8].cancels == 0);
        weft_release(g);
        weft_release(t[0]);
        weft_release(t[1]);
    }
    return 0;
}

static int await_handle(void *t)
{
    int rc = weft_await(t);
    return rc;
}

/* Through a task that awaits it; and a gather in a gather, a shield between. */
TEST(cancelled_through_others)
{
    weft_task *t = weft_create_task(actor, .id = 0, .work = 50);
    weft_future *g = weft_gather_future(&t, 1, false);
    weft_task *awaiter = start(await_handle, g), *second = start(await_handle, g);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(awaiter));
    CHECK(weft_await(awaiter) == -ECANCELED && weft_await(second) == -ECANCELED && weft_cancelled(t));
    CHECK(weft_cancelling(awaiter) == 1 && weft_cancelling(second) == 0 && actors[0].cancels == 1);
    weft_release(awaiter);
    weft_release(second);
    weft_release(g);
    weft_release(t);

    t = weft_create_task(actor, .id = 1, .work = 3, .result = 1);
    weft_future *s = weft_shield_future(t);
    g = weft_gather_future(&s, 1, false);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(g) && weft_await(g) == -ECANCELED && weft_cancelled(s));
    CHECK(!weft_done(t) && weft_await(t) == 1 && actors[1].cancels == 0);
    weft_release(g);
    weft_release(s);
    weft_release(t);

    /* weft_gather of gathers, cancelled from outside */
    t = weft_create_task(actor, .id = 2, .work = 50);
    weft_task *u = weft_create_task(actor, .id = 3, .work = 50);
    weft_future *inner[2] = {weft_gather_future(&t, 1, false), weft_gather_future(&u, 1, true)};
    g = weft_gather_future(inner, 2, false);
    awaiter = start(await_handle, g);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(awaiter) && weft_await_release(awaiter) == -ECANCELED);
    CHECK(weft_gather_settled(t, u) == 2 && weft_cancelled(t) && weft_cancelled(u));
    CHECK(weft_gather_settled(inner[0], inner[1], g) == 3);
    CHECK(actors[2].cancels == 1 && actors[3].cancels == 1);
    weft_release(g);
    weft_release(inner[0]);
    weft_release(inner[1]);
    weft_release(t);
    weft_release(u);
    return 0;
}

/* ---- depth ------------------------------------------------------------------------------------------------------ */

/* A nest over `f`, of which only the outermost is held; `kind` 0: gathers, 1: settled ones, 2: shields, 3: all in turn. */
static weft_future *nest(weft_future *f, int kind)
{
    weft_future *at = weft_ref(f);
    for (int i = 0; i < DEEP; i++) {
        int k = kind == 3 ? i % 3 : kind;
        weft_future *next = k == 2 ? weft_shield_future(at) : weft_gather_future(&at, 1, k == 1);
        weft_release(at);
        at = next;
    }
    return at;
}

TEST(a_thousand_deep)
{
    for (int kind = 0; kind < 4; kind++) {
        weft_future *f = weft_future_create(), *g = nest(f, kind);
        CHECK(weft_future_set_result(f, 3) == 0); /* ends them all, on this small stack */
        CHECK(weft_await(g) == (kind == 2 ? 3 : 0));
        weft_release(g); /* frees them all */
        weft_release(f);

        f = weft_future_create();
        g = nest(f, kind);
        CHECK(weft_future_set_error(f, -EIO) == 0);
        CHECK(weft_await(g) == (kind == 1 || kind == 3 ? 0 : -EIO));
        weft_release(g);
        weft_release(f);

        f = weft_future_create();
        g = nest(f, kind);
        CHECK(weft_yield() == 0 && weft_cancel(g) && weft_await(g) == -ECANCELED);
        CHECK(kind >= 2 || weft_cancelled(f));
        weft_release(g);
        weft_release(f);

        /* Not waited for: the futures end by themselves, and go. */
        f = weft_future_create();
        weft_release(nest(f, kind));
        CHECK(weft_yield() == 0 && weft_cancel(f));
        weft_release(f);

        /* By a task that is cancelled while it awaits the outermost. */
        f = weft_future_create();
        g = nest(f, kind);
        weft_task *t = start(await_handle, g);
        CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(t) && weft_await_release(t) == -ECANCELED);
        weft_release(g);
        weft_release(f);
    }
    return 0;
}

/* The end of the run meets a nest that nobody set, and a released one. */
TEST(a_thousand_deep_at_the_end)
{
    weft_future *f = weft_future_create();
    for (int kind = 0; kind < 4; kind++)
        weft_release(nest(f, kind));
    weft_release(f);
    return 0;
}

/* ---- whose task it is ------------------------------------------------------------------------------------------- */

/* It keeps the tasks, and keeps on when its own handle has gone. */
TEST(keeps_its_tasks)
{
    weft_task *t = weft_create_task(actor, .id = 0, .work = 2);
    weft_future *g = weft_gather_future(&t, 1, false);
    weft_release(t);
    CHECK(weft_await_release(g) == 0 && actors[0].ended == 1);
    t = weft_create_task(actor, .id = 1, .work = 2);
    weft_release(weft_gather_future(&t, 1, true));
    weft_release(weft_shield_future(t));
    weft_release(t);
    CHECK(weft_sleep(WEFT_MS(5)) == 0 && actors[1].ended == 1);
    return 0;
}

TEST(shields)
{
    CHECK(weft_shield_future(NULL) == NULL);
    weft_task *t = weft_create_task(actor, .id = 0, .work = -1, .result = 4);
    CHECK(weft_await(t) == 4);
    weft_future *s = weft_shield_future(t);
    CHECK(s == t && weft_await(s) == 4);
    weft_release(s);
    weft_release(t);

    t = weft_create_task(actor, .id = 1, .work = 2, .result = -EIO);
    s = weft_shield_future(t);
    CHECK(s != t && weft_await(s) == -EIO && !weft_cancel(s));
    weft_release(s);
    weft_release(t);

    t = weft_create_task(actor, .id = 2, .work = 20); /* the inner is cancelled */
    s = weft_shield_future(t);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_cancel(t) && weft_await(s) == -ECANCELED && weft_cancelled(s));
    weft_release(s);
    weft_release(t);

    t = weft_create_task(actor, .id = 3, .work = 2, .result = 1); /* the outer is */
    s = weft_shield_future(t);
    CHECK(weft_cancel(s) && weft_cancelled(s) && !weft_cancel(s) && weft_await(t) == 1);
    weft_release(s);
    weft_release(t);
    return 0;
}

/* ---- races ------------------------------------------------------------------------------------------------------ */

struct duel {
    weft_future *f, *g;
    bool cancelled;
    int set;
};
static int duel_set(void *argument)
{
    struct duel *d = argument;
    d->set = weft_future_set_result(d->f, 1);
    return 0;
}
static int duel_cancel(void *argument)
{
    struct duel *d = argument;
    d->cancelled = weft_cancel(d->g);
    return 0;
}

/* The outer is cancelled while the inner ends: of a gather or a shield, here or there, but never lost. */
TEST(cancelled_while_it_ends)
{
    for (unsigned round = 0; round < threads_scale(1000); round++) {
        struct duel d = {.f = weft_future_create()};
        bool shield = round & 2;
        d.g = shield ? weft_shield_future(d.f) : weft_gather_future(&d.f, 1, round & 4);
        weft_task *a = start(round & 1 ? duel_set : duel_cancel, &d),
                  *b = start(round & 1 ? duel_cancel : duel_set, &d);
        CHECK(weft_gather(a, b) == 0);
        int rc = weft_await(d.g);
        CHECK(shield || !d.cancelled || d.set == 0 || d.set == -EALREADY);
        CHECK(!shield || (d.set == 0 && rc == (d.cancelled ? -ECANCELED : 1)));
        CHECK(shield || d.cancelled || (d.set == 0 && rc == 0));
        CHECK(shield || d.set == 0 || rc == -ECANCELED);
        weft_release(a);
        weft_release(b);
        weft_release(d.f);
        weft_release(d.g);
    }
    return 0;
}

static int gather_in_callback(void *argument)
{
    weft_future **out = argument;
    *out = weft_gather_future((weft_task *const[]){out[1], out[2]}, 2, false);
    return 0;
}

TEST(in_a_callback)
{
    weft_future *f[3] = {NULL, weft_future_create(), weft_future_create()};
    weft_handle *h = weft_call_soon(call, .fn = gather_in_callback, .argument = f);
    CHECK(weft_await_release(h) == 0 && f[0] != NULL && !weft_done(f[0]));
    CHECK(weft_future_set_result(f[1], 0) == 0 && weft_future_set_result(f[2], 0) == 0 && weft_await(f[0]) == 0);
    for (int i = 0; i < 3; i++)
        weft_release(f[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes),
        cmocka_unit_test(none_and_nulls),
        cmocka_unit_test(a_cancelled_child),
        cmocka_unit_test(one_task_many_times),
        cmocka_unit_test(cancelled_in_every_state),
        cmocka_unit_test(cancelled_through_others),
        cmocka_unit_test(a_thousand_deep),
        cmocka_unit_test(a_thousand_deep_at_the_end),
        cmocka_unit_test(keeps_its_tasks),
        cmocka_unit_test(shields),
        cmocka_unit_test(cancelled_while_it_ends),
        cmocka_unit_test(in_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
