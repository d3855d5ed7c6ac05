/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_barrier.c -- weft_barrier: a number of tasks wait for each other, again and again.
 *
 * asyncio builds it from a condition whose lock is held only between suspensions; here the guard takes the lock's
 * place, and one list holds two kinds of waiters, told apart by where in weft_barrier_wait they stand:
 *   outside  came while the last round was leaving, wait for the state to be no longer DRAINING or RESETTING
 *   inside   counted in count_, wait for the state to be no longer FILLING
 * A change of state wakes all of them; each looks at the state when it runs, and one that must go on waiting joins at
 * the end of the list. A cancelled one wakes one other, as a condition's waiter does: to no effect but the order of
 * leaving.
 *
 * | state     | to        | when                                            |
 * | FILLING   | DRAINING  | the last of `parties` came in                   |
 * | DRAINING  | FILLING   | the last one inside left                        |
 * | RESETTING | FILLING   | the last one inside left                        |
 * | any       | RESETTING | reset with somebody inside (nobody: to FILLING) |
 * | any       | BROKEN    | abort                                           |
 * The index is count_ on entry; after a cancellation inside, two tasks of a round may so get the same one, as in
 * asyncio. Wait: tasks only. Everything else: any thread. */
#include <errno.h>

#include "executor/seeded.h"
#include "executor/sight.h"
#include "executor/sync_wait.h"

enum { FILLING = 0, DRAINING, RESETTING, BROKEN };

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_barrier *b = object;
    (void)f;
    weft__waitlist_lock(&b->waiters_);
    if (b->state_ == FILLING)
        weft__sight_say(s, "waits for barrier %p, %u of %u are there", object, b->count_, b->parties_);
    else
        weft__sight_say(s, "waits for barrier %p, %u have not left it", object, b->count_);
    weft__waitlist_unlock(&b->waiters_);
}

static const struct weft__wait_kind barrier_wait = {"barrier", NULL, tell};

int weft_barrier_init(weft_barrier *b, uint32_t parties)
{
    if (parties == 0 || parties > INT32_MAX)
        return -EINVAL;
    *b = (weft_barrier){.parties_ = parties, .state_ = FILLING};
    return 0;
}

static void set_state(weft_barrier *b, uint32_t state)
{
    b->state_ = state;
    weft__sync_wake_many(&b->waiters_, SIZE_MAX);
}

/* Wait for a change of state. 0 or -ECANCELED. The guard is held before and after. */
static int await_change(weft_barrier *b)
{
    struct weft__fiber *f = weft__fiber_require("weft_barrier_wait");
    struct weft__slept slept = weft__sync_suspend(&b->waiters_, &b->waiters_.guard_, f, &barrier_wait, b);
    if (slept.cancelled)
        weft__sync_wake(&b->waiters_, 1);
    return slept.cancelled ? -ECANCELED : 0;
}

/* Come in, meet the others, leave. Index or error. The guard is held. */
static int meet(weft_barrier *b)
{
    int rc = 0;
    uint32_t index = b->count_++;
    if (b->count_ == b->parties_) {
        set_state(b, DRAINING);
    } else {
        while (rc == 0 && b->state_ == FILLING)
            rc = await_change(b);
        if (rc == 0 && b->state_ != DRAINING)
            rc = -EPIPE;
    }
    if (--b->count_ == 0)
        set_state(b, b->state_ == BROKEN ? BROKEN : FILLING);
    return rc != 0 ? rc : (int)index;
}

int weft_barrier_wait(weft_barrier *b)
{
    weft__preempt_point();
    int rc = 0;
    weft__waitlist_lock(&b->waiters_);
    while (rc == 0 && (b->state_ == DRAINING || b->state_ == RESETTING))
        rc = await_change(b);
    if (rc == 0)
        rc = b->state_ == BROKEN ? -EPIPE : meet(b);
    weft__waitlist_unlock(&b->waiters_);
    return rc;
}

void weft_barrier_reset(weft_barrier *b)
{
    weft__preempt_point();
    weft__waitlist_lock(&b->waiters_);
    set_state(b, b->count_ > 0 ? RESETTING : FILLING);
    weft__waitlist_unlock(&b->waiters_);
}

void weft_barrier_abort(weft_barrier *b)
{
    weft__preempt_point();
    weft__waitlist_lock(&b->waiters_);
    set_state(b, BROKEN);
    weft__waitlist_unlock(&b->waiters_);
}

uint32_t weft_barrier_n_waiting(const weft_barrier *b)
{
    weft_barrier *barrier = (weft_barrier *)(uintptr_t)b; /* const for the caller: only the guard is written */
    weft__waitlist_lock(&barrier->waiters_);
    uint32_t n = barrier->state_ == FILLING ? barrier->count_ : 0;
    weft__waitlist_unlock(&barrier->waiters_);
    return n;
}

bool weft_barrier_broken(const weft_barrier *b)
{
    weft_barrier *barrier = (weft_barrier *)(uintptr_t)b;
    weft__waitlist_lock(&barrier->waiters_);
    bool broken = barrier->state_ == BROKEN;
    weft__waitlist_unlock(&barrier->waiters_);
    return broken;
}
