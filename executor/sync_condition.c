/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_condition.c -- weft_condition: wait, without the lock, for news about what the lock protects.
 *
 * Joining the waiters and releasing the lock are one step under the condition's guard, so a notification by whoever
 * takes the lock next finds the waiter. The way back has two waits of their own: for the
 * notification, then for the lock, which is wanted however often the task is cancelled meanwhile.
 *
 * A wait that ends with a cancellation wakes one other waiter, as asyncio's does, whether or not it had been notified
 * itself: the notification may have reached it before, or counted on it. So waits may end for no reason, and a
 * cancelled one may have taken a notification in; the program looks at its predicate in a loop. Wait: tasks only.
 * Notify: any thread, the lock being held by whomever. */
#include <errno.h>

#include "executor/seeded.h"
#include "executor/sight.h"
#include "executor/sync_wait.h"

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_condition *c = object;
    bool held = weft_lock_locked(c->lock_);
    (void)f;
    weft__waitlist_lock(&c->waiters_);
    weft__sight_say(s, "waits for condition %p, whose lock %p is %s", object, (void *)c->lock_, held ? "held" : "free");
    weft__sight_others(s, &c->waiters_);
    weft__waitlist_unlock(&c->waiters_);
}

static const struct weft__wait_kind condition_wait = {"condition", NULL, tell};

void weft_condition_init(weft_condition *c, weft_lock *lock)
{
    *c = (weft_condition)WEFT_CONDITION_INIT(lock);
}

/* Join the waiters and release the lock in one step, then wait. -EPERM if the lock is not held. */
static int wait_for_notification(weft_condition *c, struct weft__fiber *f)
{
    weft__waitlist_lock(&c->waiters_);
    weft__guard_hint(&c->lock_->owner_, 0);
    if (weft__lock_let_go(c->lock_) != 0) {
        weft__waitlist_unlock(&c->waiters_);
        return -EPERM;
    }
    struct weft__slept slept = weft__sync_suspend(&c->waiters_, &c->waiters_.guard_, f, &condition_wait, c);
    weft__waitlist_unlock(&c->waiters_);
    return slept.cancelled ? -ECANCELED : 0;
}

int weft_condition_wait(weft_condition *c)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_condition_wait");
    if (weft__unlikely(c->lock_ == NULL))
        return -EINVAL;
    int rc = wait_for_notification(c, f);
    if (rc == -EPERM)
        return rc;
    while (weft_lock_acquire(c->lock_) != 0)
        rc = -ECANCELED;
    if (rc == -ECANCELED) {
        weft__waitlist_lock(&c->waiters_);
        weft__sync_wake(&c->waiters_, 1);
        weft__waitlist_unlock(&c->waiters_);
    }
    return rc;
}

int weft_condition_notify(weft_condition *c, size_t n)
{
    weft__preempt_point();
    if (weft__unlikely(c->lock_ == NULL))
        return -EINVAL;
    weft__waitlist_lock(&c->waiters_);
    bool held = weft_lock_locked(c->lock_);
    if (held)
        weft__sync_wake_many(&c->waiters_, n);
    weft__waitlist_unlock(&c->waiters_);
    return held ? 0 : -EPERM;
}

int weft_condition_notify_all(weft_condition *c)
{
    weft__preempt_point();
    return weft_condition_notify(c, SIZE_MAX);
}
