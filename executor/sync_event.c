/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_event.c -- weft_event: a flag that tasks wait for.
 *
 * Setting wakes everybody who waits at that moment; a later clear does not call them back. There is no answer without
 * the guard, although one load would do for an event that is set: a task may have the event on its stack, wait,
 * return, and so free it; going through the guard makes sure that the one who set it has let go of it. Wait: tasks
 * only. Everything else: any thread. */
#include <errno.h>

#include "executor/seeded.h"
#include "executor/sync_wait.h"

static const struct weft__wait_kind event_wait = {"event", NULL};

/* It lives here because setting an event is the plainest case of it. Only the calling task's own runtime is told to
 * wait with calling its workers: a foreign thread, or a waiter of another runtime, pays one call for each wake. */
size_t weft__sync_wake_many(weft__waitlist *l, size_t n)
{
    struct weft__fiber *self = l->count_ > 1 && n > 1 ? weft__fiber_self() : NULL;
    struct weft_runtime *rt = self != NULL ? weft__fiber_runtime(self) : NULL;
    if (rt != NULL)
        weft__announce_later(rt);
    size_t woken = weft__sync_wake(l, n);
    if (rt != NULL)
        weft__announce_now(rt);
    return woken;
}

void weft_event_init(weft_event *e)
{
    *e = (weft_event)WEFT_EVENT_INIT;
}

int weft_event_wait(weft_event *e)
{
    weft__preempt_point();
    struct weft__slept slept = {.cancelled = false};
    weft__waitlist_lock(&e->waiters_);
    if (!e->set_) {
        struct weft__fiber *f = weft__fiber_require("weft_event_wait");
        slept = weft__sync_suspend(&e->waiters_, &e->waiters_.guard_, f, &event_wait, e);
    }
    weft__waitlist_unlock(&e->waiters_);
    return slept.cancelled ? -ECANCELED : 0;
}

void weft_event_set(weft_event *e)
{
    weft__preempt_point();
    weft__waitlist_lock(&e->waiters_);
    if (!e->set_) {
        e->set_ = true;
        weft__sync_wake_many(&e->waiters_, SIZE_MAX);
    }
    weft__waitlist_unlock(&e->waiters_);
}

void weft_event_clear(weft_event *e)
{
    weft__preempt_point();
    weft__waitlist_lock(&e->waiters_);
    e->set_ = false;
    weft__waitlist_unlock(&e->waiters_);
}

bool weft_event_is_set(const weft_event *e)
{
    weft_event *event = (weft_event *)(uintptr_t)e; /* const for the caller: only the guard is written */
    weft__waitlist_lock(&event->waiters_);
    bool set = event->set_;
    weft__waitlist_unlock(&event->waiters_);
    return set;
}
