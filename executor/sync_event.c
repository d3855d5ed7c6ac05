/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_event.c -- weft_event: a flag that tasks wait for.
 *
 * Setting wakes everybody who waits at that moment; a later clear does not call them back. The flag is a bit of the
 * guard's word, SET, so that one load tells both that it is set and that the one who set it has let go of the guard:
 * a task may have the event on its stack, wait, return, and so free it. Wait: tasks only. Everything else: any
 * thread. */
#include <errno.h>

#include "executor/seeded.h"
#include "executor/sight.h"
#include "executor/sync_wait.h"

enum { SET = 2 };

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_event *e = object;
    uint32_t word = weft__guard_take(&e->waiters_.guard_);
    (void)f;
    weft__sight_say(s, "waits for event %p", object);
    weft__sight_others(s, &e->waiters_);
    weft__guard_give(&e->waiters_.guard_, word);
}

static const struct weft__wait_kind event_wait = {"event", NULL, tell};

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

static WEFT__NOINLINE int wait_slow(weft_event *e)
{
    uint32_t *guard = &e->waiters_.guard_;
    uint32_t word = weft__guard_take(guard);
    if (word & SET) {
        weft__guard_give(guard, word);
        return 0;
    }
    struct weft__fiber *f = weft__fiber_require("weft_event_wait");
    struct weft__wait_node *node = weft__sync_join(&e->waiters_, f, &event_wait, e);
    weft__guard_give(guard, word);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    word = weft__guard_take(guard);
    struct weft__slept slept = weft__sync_leave(&e->waiters_, node, how);
    weft__guard_give(guard, word);
    return slept.cancelled ? -ECANCELED : 0;
}

int weft_event_wait(weft_event *e)
{
    weft__preempt_point();
    return weft__guard_look(&e->waiters_.guard_) & SET ? 0 : wait_slow(e);
}

/* Also when it is set already: who sees it set afterwards sees what was written before this call. */
void weft_event_set(weft_event *e)
{
    weft__preempt_point();
    if (!(weft__guard_take(&e->waiters_.guard_) & SET))
        weft__sync_wake_many(&e->waiters_, SIZE_MAX);
    weft__guard_give(&e->waiters_.guard_, SET);
}

void weft_event_clear(weft_event *e)
{
    weft__preempt_point();
    (void)weft__guard_take(&e->waiters_.guard_);
    weft__guard_give(&e->waiters_.guard_, 0);
}

bool weft_event_is_set(const weft_event *e)
{
    return (weft__guard_look(&e->waiters_.guard_) & SET) != 0;
}
