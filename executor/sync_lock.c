/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_lock.c -- weft_lock: mutual exclusion between tasks, first come first served.
 *
 * All that a lock is without waiters is in its guard's word: taking a free one and releasing it are one
 * compare-and-swap each. Two bits of the word are the lock's:
 *   LOCKED  somebody holds it
 *   LISTED  there are waiters that have not gone yet (count_ is not 0)
 *
 * | word            | acquire                         | release                               |
 * | 0               | LOCKED                          | -EPERM                                |
 * | LOCKED          | looks for a while, then waits   | 0                                     |
 * | LISTED          | waits, unless all are cancelled | -EPERM                                |
 * | LISTED + LOCKED | waits                           | LISTED, and the first waiter is woken |
 *
 * A release does not hand the lock over: it makes it free and wakes the first waiter, which takes it when it runs.
 * Until then nobody overtakes, because a newcomer takes a free lock only if no pending or woken waiter is listed.
 *
 * Invariants (under the guard)
 *  1 At most one listed waiter is woken, it is the first, and the lock is free while there is one. It takes the lock,
 *    or, if it was cancelled too, goes and wakes the next.
 *  2 Lock free and waiters listed: the first one is woken or cancelled. Either runs soon and keeps the queue moving:
 *    only the first is looked at, since a cancelled one wakes its successor itself.
 *
 * Looking for a while. A lock that a task on another worker holds for less time than a suspension takes is had sooner
 * by looking again than by waiting. And once one waits, all that come have to, as nobody overtakes: with tasks that
 * take a lock again and again the line never ends, and each acquire is a suspension from then on. So a newcomer looks
 * before it founds a line, for a time that successes lengthen and failures shorten: next to nothing, soon, for a lock
 * whose holders suspend. Not where no other worker runs. The pauses between looks grow, so that the holder does some
 * rounds while it has the cache line.
 *
 * While a runtime in debug mode or a seeded one lives, who takes the lock leaves his number beside it, for dumps, and who releases it takes that away before: so a
 * number that stands there while the lock is held is the holder's, or that of the runtime's task which took it last and had somebody else release
 * it. The switch for that is the one that the seeded scheduler has anyhow.
 * Acquire: tasks only. Everything else: any thread. */
#include <errno.h>

#include "executor/look.h"
#include "executor/sight.h"
#include "executor/sync_wait.h"

enum { LOCKED = 2, LISTED = 4 };

/* At patience 0 (look.h) look for so many pauses; the pauses between two looks grow to PAUSE_MAX. */
enum { LOOK = 512, PAUSE_MAX = 32 };

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_lock *l = object;
    uint32_t word = weft__guard_take(&l->waiters_.guard_);
    (void)f;
    weft__sight_say(s, "waits for lock %p, which is %s", object,
                    word & LOCKED ? "held"
                                  : "free (its first waiter is woken, and has still to run)"); /* invariant 2 */
    if (word & LOCKED)
        weft__sight_owner(s, weft__guard_glance(&l->owner_));
    weft__sight_others(s, &l->waiters_);
    weft__guard_give(&l->waiters_.guard_, word);
}

static const struct weft__wait_kind lock_wait = {"lock", NULL, tell};

static void wake_first(weft_lock *l)
{
    struct weft__wait_node *first = l->waiters_.first_;
    if (first != NULL && !first->woken)
        first->woken = weft__wake(first->fiber, first->ticket, WEFT__WOKEN);
}

/* Take it if it comes free while nobody waits for it. */
static bool look_for_a_while(weft_lock *l)
{
    int32_t patience = (int32_t)weft__guard_glance(&l->patience_);
    unsigned left = weft__look_length(patience, LOOK);
    bool taken = false;
    for (unsigned pauses = 1; !taken && left != 0; pauses = 2 * pauses < PAUSE_MAX ? 2 * pauses : PAUSE_MAX) {
        pauses = pauses < left ? pauses : left;
        left -= pauses;
        for (unsigned i = 0; i < pauses; i++)
            weft__cpu_relax();
        uint32_t word = weft__guard_glance(&l->waiters_.guard_);
        if (word & LISTED)
            break;
        taken = word == 0 && weft__guard_change(&l->waiters_.guard_, 0, LOCKED);
    }
    int32_t next = weft__look_learn(patience, taken, WEFT__PATIENCE_MAX);
    if (next != patience)
        weft__guard_hint(&l->patience_, (uint32_t)next);
    return taken;
}

/* Can a holder be running at all, on another worker? */
static inline bool others_run(const struct weft__fiber *f)
{
    if (f == NULL || f->rt->worker_count == 1 || f->rt->in_turn)
        return false;
    return weft__load_relaxed(&f->rt->idle.parked) + 1 < f->rt->worker_count; /* relaxed: a hint */
}

static WEFT__NOINLINE int acquire_slow(weft_lock *l)
{
    struct weft__fiber *f = weft__fiber_self();
    if ((weft__guard_glance(&l->waiters_.guard_) & LISTED) == 0 && others_run(f) && look_for_a_while(l))
        return 0;
    uint32_t word = weft__guard_take(&l->waiters_.guard_);
    if (!(word & LOCKED) && !weft__sync_has_waiters(&l->waiters_)) {
        weft__guard_give(&l->waiters_.guard_, word | LOCKED);
        return 0;
    }
    if (weft__unlikely(f == NULL))
        f = weft__fiber_require("weft_lock_acquire"); /* says so, and aborts */
    struct weft__wait_node *node = weft__sync_join(&l->waiters_, f, &lock_wait, l);
    weft__guard_give(&l->waiters_.guard_, word | LISTED);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    word = weft__guard_take(&l->waiters_.guard_);
    struct weft__slept slept = weft__sync_leave(&l->waiters_, node, how);
    if (l->waiters_.count_ == 0)
        word &= ~(uint32_t)LISTED;
    if (!slept.cancelled) {
        WEFT__BUG_ON(word & LOCKED);
        word |= LOCKED;
    } else if (!(word & LOCKED)) {
        wake_first(l);
    }
    weft__guard_give(&l->waiters_.guard_, word);
    return slept.cancelled ? -ECANCELED : 0;
}

void weft_lock_init(weft_lock *l)
{
    *l = (weft_lock)WEFT_LOCK_INIT;
}

/* Of the calling task, for weft__sight_owner; 0: of none in debug mode, or in an order that is explored. */
static uint32_t own_number(void)
{
    struct weft__fiber *f = weft__fiber_self();
    bool tells = f != NULL && (f->rt->options.debug != 0 || f->rt->seeded != NULL);
    struct weft_task *t = tells ? weft_current_task() : NULL;
    return t != NULL && weft__task_visible(t) ? weft__sight_number(f->rt, t->id) : 0;
}

static WEFT__NOINLINE WEFT__COLD int acquire_watched(weft_lock *l)
{
    weft__preempt();
    int rc = weft__guard_change(&l->waiters_.guard_, 0, LOCKED) ? 0 : acquire_slow(l);
    if (rc == 0)
        weft__guard_hint(&l->owner_, own_number());
    return rc;
}

int weft_lock_acquire(weft_lock *l)
{
    if (weft__watched())
        return acquire_watched(l);
    if (weft__likely(weft__guard_change(&l->waiters_.guard_, 0, LOCKED)))
        return 0;
    return acquire_slow(l);
}

static WEFT__NOINLINE int try_acquire_slow(weft_lock *l)
{
    uint32_t word = weft__guard_take(&l->waiters_.guard_);
    bool mine = !(word & LOCKED) && !weft__sync_has_waiters(&l->waiters_);
    weft__guard_give(&l->waiters_.guard_, mine ? word | LOCKED : word);
    return mine ? 0 : -EBUSY;
}

static WEFT__NOINLINE WEFT__COLD int try_acquire_watched(weft_lock *l)
{
    weft__preempt();
    int rc = weft__guard_change(&l->waiters_.guard_, 0, LOCKED) ? 0 : try_acquire_slow(l);
    if (rc == 0)
        weft__guard_hint(&l->owner_, own_number());
    return rc;
}

int weft_lock_try_acquire(weft_lock *l)
{
    if (weft__watched())
        return try_acquire_watched(l);
    if (weft__likely(weft__guard_change(&l->waiters_.guard_, 0, LOCKED)))
        return 0;
    return try_acquire_slow(l);
}

static WEFT__NOINLINE int release_slow(weft_lock *l)
{
    uint32_t word = weft__guard_take(&l->waiters_.guard_);
    if (word & LOCKED)
        wake_first(l);
    weft__guard_give(&l->waiters_.guard_, word & ~(uint32_t)LOCKED);
    return word & LOCKED ? 0 : -EPERM;
}

int weft__lock_let_go(weft_lock *l)
{
    if (weft__likely(weft__guard_change(&l->waiters_.guard_, LOCKED, 0)))
        return 0;
    return release_slow(l);
}

int weft_lock_release(weft_lock *l)
{
    if (weft__watched()) {
        weft__preempt();
        weft__guard_hint(&l->owner_, 0);
    }
    return weft__lock_let_go(l);
}

bool weft_lock_locked(const weft_lock *l)
{
    return (weft__guard_look(&l->waiters_.guard_) & LOCKED) != 0;
}
