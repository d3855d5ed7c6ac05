/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_lock.c -- weft_lock: mutual exclusion between tasks, first come first served.
 *
 * A release does not hand the lock over: it makes it free and wakes the first waiter, which takes it when it runs.
 * Until then nobody overtakes, because a newcomer takes a free lock only if no pending or woken waiter is listed.
 *
 * Invariants (under the guard)
 *  1 At most one listed waiter is woken, it is the first, and the lock is free while there is one. It takes the lock,
 *    or, if it was cancelled too, goes and wakes the next.
 *  2 Lock free and waiters listed: the first one is woken or cancelled. Either runs soon and keeps the queue moving:
 *    only the first is looked at, since a cancelled one wakes its successor itself.
 * Acquire: tasks only. Everything else: any thread. */
#include <errno.h>

#include "executor/seeded.h"
#include "executor/sync_wait.h"

static const struct weft__wait_kind lock_wait = {"lock", NULL};

static void wake_first(weft_lock *l)
{
    struct weft__wait_node *first = l->waiters_.first_;
    if (first != NULL && !first->woken)
        first->woken = weft__wake(first->fiber, first->ticket, WEFT__WOKEN);
}

/* To be called with the guard held; gives it back. */
static WEFT__NOINLINE int acquire_slow(weft_lock *l)
{
    if (!l->locked_ && !weft__sync_has_waiters(&l->waiters_)) {
        l->locked_ = true;
        weft__waitlist_unlock(&l->waiters_);
        return 0;
    }
    struct weft__fiber *f = weft__fiber_require("weft_lock_acquire");
    struct weft__slept slept = weft__sync_suspend(&l->waiters_, &l->waiters_.guard_, f, &lock_wait, l);
    if (slept.cancelled) {
        if (!l->locked_)
            wake_first(l);
    } else {
        WEFT__BUG_ON(l->locked_);
        l->locked_ = true;
    }
    weft__waitlist_unlock(&l->waiters_);
    return slept.cancelled ? -ECANCELED : 0;
}

void weft_lock_init(weft_lock *l)
{
    *l = (weft_lock)WEFT_LOCK_INIT;
}

int weft_lock_acquire(weft_lock *l)
{
    weft__preempt_point();
    weft__waitlist_lock(&l->waiters_);
    if (weft__unlikely(l->locked_ || l->waiters_.count_ != 0))
        return acquire_slow(l);
    l->locked_ = true;
    weft__waitlist_unlock(&l->waiters_);
    return 0;
}

int weft_lock_try_acquire(weft_lock *l)
{
    weft__preempt_point();
    weft__waitlist_lock(&l->waiters_);
    bool mine = !l->locked_ && !weft__sync_has_waiters(&l->waiters_);
    if (mine)
        l->locked_ = true;
    weft__waitlist_unlock(&l->waiters_);
    return mine ? 0 : -EBUSY;
}

void weft__lock_let_go(weft_lock *l)
{
    l->locked_ = false;
    if (weft__unlikely(l->waiters_.first_ != NULL))
        wake_first(l);
}

int weft_lock_release(weft_lock *l)
{
    weft__preempt_point();
    weft__waitlist_lock(&l->waiters_);
    bool held = l->locked_;
    if (weft__likely(held))
        weft__lock_let_go(l);
    weft__waitlist_unlock(&l->waiters_);
    return held ? 0 : -EPERM;
}

bool weft_lock_locked(const weft_lock *l)
{
    weft_lock *lock = (weft_lock *)(uintptr_t)l; /* const for the caller: only the guard is written */
    weft__waitlist_lock(&lock->waiters_);
    bool locked = lock->locked_;
    weft__waitlist_unlock(&lock->waiters_);
    return locked;
}
