/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_semaphore.c -- weft_semaphore, plain and bounded: a number of permits, first come first served.
 *
 * A wake-up carries a permit: value_ goes down when it is given, not when the waiter runs. So value_ counts the
 * permits that nobody has been promised.
 *
 * Invariants (under the guard)
 *  1 value_ >= 0, and value_ + permits held + waiters woken and not yet gone = permits ever given.
 *  2 value_ > 0 and a pending waiter: some woken or cancelled waiter has not gone yet. When it goes it gives what is
 *    free to those that wait. (The pending one came while there was a waiter it could not overtake.)
 * Acquire: tasks only. Everything else: any thread. */
#include <errno.h>

#include "executor/seeded.h"
#include "executor/sight.h"
#include "executor/sync_wait.h"

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_semaphore *semaphore = object;
    (void)f;
    weft__waitlist_lock(&semaphore->waiters_);
    weft__sight_say(s, "waits for semaphore %p, %lld free%s", object, (long long)semaphore->value_,
                    semaphore->value_ > 0 ? " (a waiter is woken, and has still to run)" : ""); /* invariant 2 */
    weft__sight_others(s, &semaphore->waiters_);
    weft__waitlist_unlock(&semaphore->waiters_);
}

static const struct weft__wait_kind semaphore_wait = {"semaphore", NULL, tell};

int weft_semaphore_init(weft_semaphore *s, int64_t value)
{
    if (value < 0)
        return -EINVAL;
    *s = (weft_semaphore)WEFT_SEMAPHORE_INIT(value);
    return 0;
}

int weft_bounded_semaphore_init(weft_semaphore *s, int64_t value)
{
    if (value < 0)
        return -EINVAL;
    *s = (weft_semaphore)WEFT_BOUNDED_SEMAPHORE_INIT(value);
    return 0;
}

static bool locked(const weft_semaphore *s)
{
    return s->value_ <= 0 || weft__sync_has_waiters(&s->waiters_);
}

static bool give_one(weft_semaphore *s)
{
    bool given = weft__sync_wake(&s->waiters_, 1) == 1;
    s->value_ -= given;
    return given;
}

/* To be called with the guard held; gives it back. */
static WEFT__NOINLINE int acquire_slow(weft_semaphore *s)
{
    struct weft__fiber *f = weft__fiber_require("weft_semaphore_acquire");
    struct weft__slept slept = weft__sync_suspend(&s->waiters_, &s->waiters_.guard_, f, &semaphore_wait, s);
    if (slept.cancelled && slept.woken)
        s->value_++;
    while (s->value_ > 0 && give_one(s)) {
    }
    weft__waitlist_unlock(&s->waiters_);
    return slept.cancelled ? -ECANCELED : 0;
}

int weft_semaphore_acquire(weft_semaphore *s)
{
    weft__preempt_point();
    weft__waitlist_lock(&s->waiters_);
    if (weft__unlikely(locked(s)))
        return acquire_slow(s);
    s->value_--;
    weft__waitlist_unlock(&s->waiters_);
    return 0;
}

int weft_semaphore_try_acquire(weft_semaphore *s)
{
    weft__preempt_point();
    weft__waitlist_lock(&s->waiters_);
    bool mine = !locked(s);
    s->value_ -= mine;
    weft__waitlist_unlock(&s->waiters_);
    return mine ? 0 : -EBUSY;
}

int weft_semaphore_release(weft_semaphore *s)
{
    weft__preempt_point();
    weft__waitlist_lock(&s->waiters_);
    bool room = s->value_ < s->bound_;
    if (weft__likely(room)) {
        s->value_++;
        if (weft__unlikely(s->waiters_.first_ != NULL))
            give_one(s);
    }
    weft__waitlist_unlock(&s->waiters_);
    return room ? 0 : -EOVERFLOW;
}

bool weft_semaphore_locked(const weft_semaphore *s)
{
    weft_semaphore *semaphore = (weft_semaphore *)(uintptr_t)s; /* const for the caller: only the guard is written */
    weft__waitlist_lock(&semaphore->waiters_);
    bool answer = locked(semaphore);
    weft__waitlist_unlock(&semaphore->waiters_);
    return answer;
}
