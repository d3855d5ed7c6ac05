/* SPDX-License-Identifier: Apache-2.0 */
/* executor/shield.c -- waiting for one task without owning it: shield and wait_for.
 *
 * weft_shield is a watch (watch.c) of one task that passes no cancellation on. The future of weft_shield_future is a plain one, which the
 * task's waiter ends: cancelling it ends it and leaves the task alone.
 *
 * Threads: the running task's; waiters fire in whichever thread ends the task. */
#include <errno.h>
#include <stdlib.h>
#include <weft/gather.h>
#include <weft/scope.h>

#include "executor/runtime.h"
#include "executor/watch.h"

static const struct weft__wait_kind shield_wait = {.name = "shield", .tell = weft__watch_tell};
static const struct weft__wait_kind wait_for_wait = {.name = "wait_for", .tell = weft__watch_tell};

/* Wait for one task without passing a cancellation on: 0 when it has ended, -ECANCELED when the caller was cancelled. */
static int watch_one(struct weft__fiber *f, weft_task *t, const struct weft__wait_kind *kind)
{
    weft__task_set_retrieved(t);
    if (weft__watch_is_done(t))
        return 0;
    if (weft__watch_is_own(f, t))
        return -EDEADLK;
    if (weft__task_rt(t) != f->rt)
        return -EXDEV; /* as weft_await */
    struct weft__watched result = weft__watch_wait(f, &t, 1, WEFT__UNTIL_ALL, kind, WEFT_FOREVER, true, false, false);
    return result.how == WEFT__CANCELLED ? -ECANCELED : 0;
}

/* Cancel a task when the wait for it has begun: also one that ends at once takes a turn. */
static int cancel_and_wait(struct weft__fiber *f, weft_task *t)
{
    weft__task_set_retrieved(t);
    if (weft__task_rt(t) != f->rt)
        return -EXDEV;
    struct weft__watch *w = weft__watch_create(f->rt, &t, 1, WEFT__UNTIL_ALL, false);
    if (w == NULL)
        return -ENOMEM;
    w->fiber = f;
    w->ticket = weft__wait_begin(f, &wait_for_wait, w);
    weft__watch_begin(w, true);
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__cancel_add(t, &list);
    weft__cancel_run(&list);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    weft__watch_leave(w);
    return how == WEFT__CANCELLED ? -ECANCELED : 0;
}

int weft_shield(weft_task *t)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_shield");
    if (t == NULL)
        return -ENOMEM;
    int rc = watch_one(f, t, &shield_wait);
    if (rc == 0 && (rc = weft__task_rc(t)) == -ECANCELED)
        weft__task_met(weft__fiber_task(f), NULL);
    return rc;
}

int weft_wait_for(weft_task *t, weft_ns timeout)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_wait_for");
    if (t == NULL)
        return -ENOMEM;
    if (timeout == WEFT_FOREVER || weft__watch_is_done(t))
        return weft_await(t);
    if (weft__watch_is_own(f, t))
        return -EDEADLK;
    if (timeout > 0) {
        weft_timeout limit;
        int rc = weft_timeout_begin(&limit, timeout);
        if (rc == 0)
            rc = weft_await(t);
        return weft_timeout_end(&limit, rc);
    }
    int rc = cancel_and_wait(f, t);
    if (rc < 0)
        return rc;
    rc = weft__task_rc(t);
    return rc == -ECANCELED ? -ETIMEDOUT : rc;
}

/* ---- as a future ------------------------------------------------------------------------------------------------- */

/* Held by the inner task's waiter and by the outer future's; the last to go frees it.
 *
 * | what happens first  | then                                                                    |
 * | inner ends          | outer ends with its outcome, which tells the outer's waiter             |
 * | outer is cancelled  | its waiter takes the inner's out, unless that is being told already     | */
struct shield {
    struct weft__waiter inner_waiter, outer_waiter;
    struct weft__entry inner_entry, outer_entry;
    struct weft_task *inner; /* referenced */
    struct weft_task *outer; /* referenced */
    _Atomic(uint32_t) refs;  /* SHIELD-REFS: each drop comes before the free */
};

static void shield_drop(struct shield *s)
{
    if (weft__fetch_sub_acq_rel(&s->refs, 1) != 1) /* pairs: SHIELD-REFS (itself) */
        return;
    weft__task_unref(s->inner);
    weft__task_unref(s->outer);
    free(s);
}

static void inner_runs(struct weft__entry *entry)
{
    struct shield *s = weft__container_of(entry, struct shield, inner_entry);
    if (weft__task_rc(s->inner) < 0)
        weft__task_set_retrieved(s->inner); /* also when the outer was cancelled before */
    weft__future_finish(s->outer, weft__task_rc(s->inner), NULL, false);
    shield_drop(s);
}

static void outer_runs(struct weft__entry *entry)
{
    struct shield *s = weft__container_of(entry, struct shield, outer_entry);
    if (weft__task_remove_waiter(s->inner, &s->inner_waiter))
        shield_drop(s);
    shield_drop(s);
}

static void turn(struct weft_task *t, struct weft__entry *entry)
{
    if (weft__task_rt(t)->fifo)
        weft__make_ready(weft__task_rt(t), weft__item_of_entry(entry));
    else
        entry->run(entry);
}

static void inner_ended(struct weft__waiter *waiter, struct weft_task *t)
{
    turn(t, &weft__container_of(waiter, struct shield, inner_waiter)->inner_entry);
}

static void outer_ended(struct weft__waiter *waiter, struct weft_task *t)
{
    turn(t, &weft__container_of(waiter, struct shield, outer_waiter)->outer_entry);
}

weft_future *weft_shield_future(weft_task *t)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_shield_future");
    if (t == NULL)
        return NULL;
    if (weft__task_state(t) == WEFT__DONE)
        return weft_ref(t);
    if (weft__task_rt(t) != f->rt)
        return weft__future_ended(-EXDEV);
    struct shield *s = malloc(sizeof *s);
    weft_future *outer = s != NULL ? weft_future_create() : NULL;
    if (outer == NULL) {
        free(s);
        return NULL;
    }
    s->inner_waiter.fire = inner_ended;
    s->outer_waiter.fire = outer_ended;
    s->inner_entry = (struct weft__entry){.kind = WEFT__KIND_ENTRY, .run = inner_runs};
    s->outer_entry = (struct weft__entry){.kind = WEFT__KIND_ENTRY, .run = outer_runs};
    s->inner = weft_ref(t);
    s->outer = weft_ref(outer);
    weft__store_relaxed(&s->refs, 2); /* relaxed: add_waiter publishes */
    weft__task_add_waiter(outer, &s->outer_waiter);
    if (!weft__task_add_waiter(t, &s->inner_waiter)) /* it has just ended */
        inner_runs(&s->inner_entry);
    return outer;
}
