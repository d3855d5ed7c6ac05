/* SPDX-License-Identifier: Apache-2.0 */
/* Callbacks (weft/callback.h): soon, later, when something has ended; cancelled, removed, released, in every order. What happens to them at
 * the end of a run, between threads and when they wait: test_callback_end.c. */
#include <stdlib.h>

#include "support/actors.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/context.h>
#include <weft/future.h>
#include <weft/queue.h>

/* ---- recording -------------------------------------------------------------------------------------------------- */

#define MANY 5000
static struct {
    _Atomic(int) runs;
    _Atomic(int) order; /* the how-manieth it was */
    _Atomic(int64_t) at;
} seen[MANY];
static _Atomic(int) calls;

struct note {
    WEFT_FRAME;
    int id, result;
    weft_future *set; /* then set this */
};
static int note(struct note *n)
{
    CHECK(weft_current_task() == NULL && weft_runtime_current() != NULL);
    seen[n->id].at = weft_now();
    seen[n->id].order = ++calls;
    seen[n->id].runs++;
    if (n->set != NULL) {
        CHECK(weft_future_set_result(n->set, n->id) == 0);
        weft_release(n->set);
    }
    return n->result;
}
WEFT_CORO(note);

static void forget(void)
{
    memset(seen, 0, sizeof seen);
    calls = 0;
}

/* Until all that is due has run, however busy the machine is; and then no more comes. */
static void settle(int n)
{
    for (int i = 0; calls < n && i < 60000; i++)
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
    CHECK(weft_sleep(WEFT_MS(1)) == 0 && weft_sleep(WEFT_MS(1)) == 0);
    CHECK(calls == n);
}

/* ---- soon ------------------------------------------------------------------------------------------------------- */

TEST_BOTH_CLOCKS(soon)
{
    forget();
    weft_handle *h[100];
    for (int i = 0; i < 100; i++)
        h[i] = weft_call_soon(note, .id = i);
    CHECK(setting.workers != 1 || calls == 0);
    CHECK(weft_handle_when(h[0]) == 0);
    settle(100);
    for (int i = 0; i < 100; i++) {
        CHECK(seen[i].runs == 1 && (setting.workers != 1 || seen[i].order == i + 1));
        CHECK(weft_done(h[i]) && weft_status(h[i]) == 0 && !weft_cancelled(h[i]) && !weft_cancel(h[i]));
        weft_release(h[i]);
    }
    for (int i = 0; i < 100; i++)
        weft_release(weft_call_soon(note, .id = 100 + i)); /* the handle does not keep it from running */
    settle(200);
    return 0;
}

TEST_BOTH_CLOCKS(a_handle_is_waited_for)
{
    forget();
    weft_handle *h = weft_call_soon(note, .id = 0, .result = 5);
    CHECK(weft_await_release(h) == 5 && calls == 1);
    h = weft_call_later(WEFT_MS(1), note, .id = 1);
    CHECK(weft_gather(h) == 0 && calls == 2);
    CHECK(weft_result(note, h)->id == 1);
    weft_release(h);
    return 0;
}

static int await_handle(void *h)
{
    return weft_await(h);
}
static int gather_handles(void *h)
{
    return weft_gather_n(h, 2);
}

/* A cancellation that reaches a callback through who waits for it ends it, too: now, not when its time would have come. */
TEST_BOTH_CLOCKS(cancelled_through_an_awaiter)
{
    forget();
    weft_future *never = weft_future_create();
    weft_handle *h[2] = {weft_call_later(WEFT_SEC(3600), note, .id = 0), weft_add_done_callback(never, note, .id = 1)};
    for (int i = 0; i < 3; i++) {
        weft_task *t = i == 2 ? start(gather_handles, h) : start(await_handle, h[i]);
        do /* cancelled before its first step it would pass nothing on */
            CHECK(weft_sleep(WEFT_MS(1)) == 0);
        while (weft__task_state(t) == WEFT__NEW);
        CHECK(weft_cancel(t) && weft_await_release(t) == -ECANCELED);
        if (i == 1) {
            CHECK(weft_cancelled(h[0]) && weft_cancelled(h[1]));
            weft_release(h[0]);
            weft_release(h[1]);
            h[0] = weft_call_later(WEFT_SEC(3600), note, .id = 0);
            h[1] = weft_add_done_callback(never, note, .id = 1);
        }
    }
    CHECK(weft_cancelled(h[0]) && weft_cancelled(h[1]) && weft_now() < WEFT_SEC(3600) + weft_handle_when(h[0]));
    weft_release(h[0]);
    weft_release(h[1]);
    CHECK(weft_future_set_result(never, 0) == 0);
    weft_release(never);
    settle(0);
    return 0;
}

/* ---- later ------------------------------------------------------------------------------------------------------ */

TEST_BOTH_CLOCKS(later)
{
    forget();
    weft_ns now = weft_now();
    weft_handle *h[5] = {weft_call_later(WEFT_MS(3), note, .id = 0), weft_call_at(now + WEFT_MS(2), note, .id = 1),
                         weft_call_later(-WEFT_SEC(1), note, .id = 2), weft_call_at(now - WEFT_SEC(5), note, .id = 3),
                         weft_call_later(0, note, .id = 4)};
    CHECK(setting.workers != 1 || calls == 0); /* never inside the call, also when it is late already */
    CHECK(weft_handle_when(h[1]) == now + WEFT_MS(2) && weft_handle_when(h[3]) == now - WEFT_SEC(5));
    CHECK(weft_handle_when(h[0]) >= now + WEFT_MS(3));
    CHECK(weft_sleep(WEFT_MS(5)) == 0);
    settle(5);
    for (int i = 0; i < 5; i++) {
        CHECK(seen[i].runs == 1 && (i > 1 || seen[i].at >= weft_handle_when(h[i])));
        CHECK(weft_done(h[i]) && !weft_cancel(h[i]));
        weft_release(h[i]);
    }
    CHECK(
        seen[1].order >
        0); /* on several workers the first to become ready may be the last to run, when the clock goes on meanwhile */
    CHECK(seen[0].order > seen[2].order || (setting.workers != 1 && run_options.clock != WEFT_CLOCK_VIRTUAL));
    CHECK(setting.order != WEFT_ORDER_FIFO || (seen[3].order == 1 && seen[2].order == 2 && seen[4].order == 3));
    CHECK(run_options.clock != WEFT_CLOCK_VIRTUAL ||
          (seen[1].at == now + WEFT_MS(2) && seen[0].at == now + WEFT_MS(3)));

    /* One that never comes keeps nothing going. */
    weft_handle *never = weft_call_later(WEFT_FOREVER, note, .id = 5);
    CHECK(weft_handle_when(never) == WEFT_FOREVER && weft_cancel(never));
    weft_release(never);
    weft_release(weft_call_at(WEFT_FOREVER, note, .id = 6));
    return 0;
}

TEST_BOTH_CLOCKS(same_instant)
{
    forget();
    weft_ns at = weft_now() + WEFT_MS(2);
    for (int i = 0; i < 200; i++)
        weft_release(weft_call_at(at, note, .id = i));
    CHECK(weft_sleep(WEFT_MS(4)) == 0);
    settle(200);
    for (int i = 0; i < 200; i++)
        CHECK(seen[i].runs == 1 && (setting.workers != 1 || seen[i].order == i + 1));
    return 0;
}

/* Thousands, set in no order, each third cancelled, each fifth released before it is due. */
TEST(thousands)
{
    forget();
    int n = (int)threads_scale(MANY), due = 0;
    weft_handle **h = calloc((size_t)n, sizeof *h);
    weft_ns now = weft_now();
    for (int i = 0; i < n; i++)
        h[i] = weft_call_later(WEFT_US((i * 7919) % n + 1), note, .id = i);
    for (int i = 0; i < n; i++) {
        if (i % 3 == 0)
            CHECK(weft_cancel(h[i]) && weft_done(h[i]) && weft_cancelled(h[i]) && !weft_cancel(h[i]));
        else
            due++;
        if (i % 5 == 0) {
            weft_release(h[i]);
            h[i] = NULL;
        }
    }
    CHECK(weft_sleep(WEFT_US(n + 1)) == 0);
    settle(due);
    for (int i = 0; i < n; i++) {
        CHECK(seen[i].runs == (i % 3 != 0));
        CHECK(i % 3 == 0 || seen[i].at == now + WEFT_US((i * 7919) % n + 1));
        CHECK(h[i] == NULL || weft_cancelled(h[i]) == (i % 3 == 0));
        weft_release(h[i]);
    }
    free(h);
    return 0;
}

/* ---- cancelled -------------------------------------------------------------------------------------------------- */

TEST_BOTH_CLOCKS(cancelled_before_it_begins)
{
    forget();
    weft_handle *soon = weft_call_soon(note, .id = 0), *later = weft_call_later(WEFT_SEC(3600), note, .id = 1),
                *late = weft_call_at(weft_now() - 1, note, .id = 2);
    CHECK(weft_cancel(later) && weft_done(later) && weft_cancelled(later) && weft_status(later) == -ECANCELED);
    bool kept_from[2] = {weft_cancel(soon), weft_cancel(late)};
    CHECK(setting.workers != 1 || (kept_from[0] && kept_from[1]));
    CHECK(!weft_cancel(later) && !weft_cancel(soon) && !weft_cancel(late));
    CHECK(weft_sleep(WEFT_MS(2)) == 0);
    settle(!kept_from[0] + !kept_from[1]);
    CHECK(weft_cancelled(soon) == kept_from[0] && weft_cancelled(late) == kept_from[1]);
    CHECK(seen[0].runs == !kept_from[0] && seen[2].runs == !kept_from[1]);
    weft_release(soon);
    weft_release(later);
    weft_release(late);
    CHECK(!weft_cancel(NULL));
    return 0;
}

struct self {
    weft_handle *h;
    bool taken;
};
static int cancel_itself(void *argument)
{
    struct self *s = argument;
    s->taken = weft_cancel(s->h);
    return 3;
}

/* One that has begun is not cancelled any more. */
TEST(cancels_itself)
{
    struct self s = {.h = NULL};
    s.h = weft_call_later(WEFT_MS(1), call, .fn = cancel_itself, .argument = &s);
    CHECK(weft_await(s.h) == 3 && !s.taken && !weft_cancelled(s.h));
    weft_release(s.h);
    return 0;
}

struct duel {
    weft_handle *h;
    weft_task *target;
    _Atomic(int) taken, runs;
};
static int duel_runs(void *argument)
{
    ((struct duel *)argument)->runs++;
    return 0;
}
static int duel_cancels(void *argument)
{
    struct duel *d = argument;
    d->taken += weft_cancel(d->h);
    return 0;
}
static int duel_removes(void *argument)
{
    struct duel *d = argument;
    d->taken += weft_remove_done_callback(d->target, d->h);
    return 0;
}
static int duel_sets(void *argument)
{
    struct duel *d = argument;
    CHECK(weft_future_set_result(d->target, 0) == 0);
    return 0;
}

/* Cancelling (twice), removing, ending and firing at once: it runs exactly when nobody was told that it would not. */
TEST(either_cancelled_or_called)
{
    for (unsigned round = 0; round < threads_scale(1000); round++) {
        struct duel d = {.target = weft_future_create()};
        bool timer = round & 1;
        weft_ns at = weft_now() + WEFT_US(1);
        d.h = timer ? weft_call_at(at, call, .fn = duel_runs, .argument = &d)
                    : weft_add_done_callback(d.target, call, .fn = duel_runs, .argument = &d);
        weft_task *t[4] = {start(duel_sets, &d), start(timer ? duel_cancels : duel_removes, &d),
                           start(duel_cancels, &d)};
        t[3] = start(timer ? duel_cancels : duel_removes, &d);
        if (timer)
            CHECK(weft_sleep_until(at) == 0);
        CHECK(weft_gather_n(t, 4) == 0);
        while (!weft_done(d.h))
            (void)weft_yield();
        CHECK(d.taken + d.runs == 1 && weft_cancelled(d.h) == (d.taken == 1));
        for (int i = 0; i < 4; i++)
            weft_release(t[i]);
        weft_release(d.h);
        weft_release(d.target);
    }
    return 0;
}

/* ---- when something has ended ----------------------------------------------------------------------------------- */

TEST_BOTH_CLOCKS(when_done)
{
    forget();
    weft_task *ended = weft_create_task(actor, .id = 0, .work = -1), *t = weft_create_task(actor, .id = 1, .work = 2);
    CHECK(weft_await(ended) == 0);
    weft_handle *h[4] = {weft_add_done_callback(ended, note, .id = 0), weft_add_done_callback(NULL, note, .id = 1),
                         weft_add_done_callback(t, note, .id = 2), weft_add_done_callback(t, note, .id = 3)};
    CHECK(setting.workers != 1 || calls == 0);
    CHECK(weft_await(t) == 0);
    while (calls < 4)
        (void)weft_yield();
    settle(4);
    for (int i = 0; i < 4; i++) {
        CHECK(seen[i].runs == 1 && (setting.workers != 1 || seen[i].order == i + 1));
        CHECK(!weft_remove_done_callback(i == 0 ? ended : i == 1 ? NULL : t, h[i]) && !weft_cancel(h[i]));
        weft_release(h[i]);
    }
    weft_release(ended);
    weft_release(t);
    return 0;
}

/* Never inside the call that ends it; of any kind of thing that ends, in any way; many of one. */
TEST(of_everything)
{
    forget();
    weft_future *f[5] = {weft_future_create(), weft_future_create(), weft_future_create()};
    f[3] = weft_gather_future(f, 3, true);
    f[4] = weft_shield_future(f[3]);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 20; j++)
            weft_release(weft_add_done_callback(f[i], note, .id = 20 * i + j));
    weft_handle *h = weft_call_later(WEFT_MS(1), note, .id = 200);
    weft_release(weft_add_done_callback(h, note, .id = 201));
    weft_handle *cancelled = weft_call_later(WEFT_SEC(1), note, .id = 202);
    weft_release(weft_add_done_callback(cancelled, note, .id = 203));
    CHECK(weft_future_set_result(f[0], 0) == 0 && weft_future_set_error(f[1], -EIO) == 0 && weft_cancel(f[2]));
    CHECK(weft_cancel(cancelled));
    CHECK(setting.workers != 1 || calls == 0);
    CHECK(weft_await(f[4]) == 0 && weft_sleep(WEFT_MS(2)) == 0);
    settle(103);
    for (int i = 0; i < 100; i++) {
        CHECK(seen[i].runs == 1);
        CHECK(setting.workers != 1 || i % 20 == 0 || seen[i].order > seen[i - 1].order);
    }
    CHECK(seen[200].runs == 1 && seen[201].runs == 1 && seen[202].runs == 0 && seen[203].runs == 1);
    weft_release(h);
    weft_release(cancelled);
    for (int i = 0; i < 5; i++)
        weft_release(f[i]);
    return 0;
}

TEST(removed)
{
    forget();
    weft_future *f = weft_future_create(), *other = weft_future_create();
    weft_handle *h[6];
    for (int i = 0; i < 6; i++)
        h[i] = weft_add_done_callback(f, note, .id = i);
    CHECK(!weft_remove_done_callback(other, h[0]) && !weft_remove_done_callback(NULL, h[0]));
    CHECK(!weft_remove_done_callback(f, NULL) && !weft_remove_done_callback(f, f));
    weft_handle *soon = weft_call_soon(note, .id = 10), *later = weft_call_later(WEFT_MS(1), note, .id = 11);
    CHECK(!weft_remove_done_callback(f, soon) && !weft_remove_done_callback(f, later));
    CHECK(weft_remove_done_callback(f, h[0]) && weft_remove_done_callback(f, h[5]) &&
          weft_remove_done_callback(f, h[2]));
    CHECK(!weft_remove_done_callback(f, h[0]) && weft_done(h[0]) && weft_cancelled(h[0]) && !weft_cancel(h[0]));
    CHECK(weft_cancel(h[3]) && weft_done(h[3]) && !weft_remove_done_callback(f, h[3]));
    CHECK(weft_future_set_result(f, 0) == 0);
    CHECK(!weft_remove_done_callback(f, h[1]));
    CHECK(weft_sleep(WEFT_MS(2)) == 0);
    settle(4);
    CHECK(seen[1].runs == 1 && seen[4].runs == 1 && seen[10].runs == 1 && seen[11].runs == 1);
    for (int i = 0; i < 6; i++)
        weft_release(h[i]);
    weft_release(soon);
    weft_release(later);
    weft_release(f);
    weft_release(other);
    return 0;
}

/* ---- what a callback may do ------------------------------------------------------------------------------------- */

struct busy {
    weft_task *made, *victim;
    weft_future *f;
    weft_queue *q;
    int put;
};
static int does_much(void *argument)
{
    struct busy *b = argument;
    b->made = weft_create_task(actor, .id = 7, .work = 1, .result = 5);
    CHECK(weft_future_set_result(b->f, 2) == 0 && weft_cancel(b->victim));
    b->put = weft_queue_put_nowait(b->q, &(int){9});
    CHECK(weft_await(b->f) == 2 && weft_gather(b->f) == 0); /* what has ended needs no waiting */
    weft_release(weft_call_soon(note, .id = 0));
    weft_release(weft_call_later(WEFT_MS(1), note, .id = 1));
    weft_release(weft_add_done_callback(b->made, note, .id = 2));
    weft_release(weft_add_done_callback(b->f, note, .id = 3));
    return 0;
}

TEST(does_all_but_wait)
{
    forget();
    struct busy b = {.f = weft_future_create(), .victim = weft_create_task(actor, .id = 8, .work = 50)};
    int item = 0;
    b.q = weft_queue_create(sizeof(int), 0);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    weft_handle *h = weft_call_soon(call, .fn = does_much, .argument = &b);
    CHECK(weft_await_release(h) == 0 && b.made != NULL && b.put == 0);
    CHECK(weft_await_release(b.made) == 5 && weft_await_release(b.victim) == -ECANCELED &&
          weft_await_release(b.f) == 2);
    CHECK(weft_queue_get(b.q, &item) == 0 && item == 9);
    weft_queue_destroy(b.q);
    CHECK(weft_sleep(WEFT_MS(2)) == 0);
    settle(4);
    return 0;
}

static weft_context_var who = WEFT_CONTEXT_VAR("who", NULL);
static int look_and_set(void *out)
{
    *(void **)out = weft_context_get(&who);
    return weft_context_set(&who, "callback", NULL);
}

/* In a copy of the context of whoever registered it, taken then. */
TEST(context)
{
    void *got[3] = {NULL, NULL, NULL};
    weft_future *f = weft_future_create();
    CHECK(weft_context_set(&who, "first", NULL) == 0);
    weft_handle *h[3] = {weft_call_soon(call, .fn = look_and_set, .argument = &got[0]),
                         weft_call_later(WEFT_MS(1), call, .fn = look_and_set, .argument = &got[1]),
                         weft_add_done_callback(f, call, .fn = look_and_set, .argument = &got[2])};
    CHECK(weft_context_set(&who, "second", NULL) == 0 && weft_future_set_result(f, 0) == 0);
    CHECK(weft_gather_n(h, 3) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(got[i] != NULL && strcmp(got[i], "first") == 0);
        weft_release(h[i]);
    }
    CHECK(strcmp(weft_context_get(&who), "second") == 0);
    weft_release(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(soon),
        cmocka_unit_test(a_handle_is_waited_for),
        cmocka_unit_test(cancelled_through_an_awaiter),
        cmocka_unit_test(later),
        cmocka_unit_test(same_instant),
        cmocka_unit_test(thousands),
        cmocka_unit_test(cancelled_before_it_begins),
        cmocka_unit_test(cancels_itself),
        cmocka_unit_test(either_cancelled_or_called),
        cmocka_unit_test(when_done),
        cmocka_unit_test(of_everything),
        cmocka_unit_test(removed),
        cmocka_unit_test(does_all_but_wait),
        cmocka_unit_test(context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
