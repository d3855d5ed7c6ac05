/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sync_wait.h -- what lock, event, condition, semaphore, barrier and queue have in common.
 *
 * A waiter of such an object is in one of three conditions, as the future it waits for would be in asyncio:
 *   pending    listed, neither woken nor cancelled
 *   woken      the object gave it a wake-up; a cancellation may have come afterwards, it is woken all the same
 *   cancelled  still listed, but no wake-up can reach it any more
 * and it goes from the object only by itself, under the guard, when it runs again (weft__sync_suspend).
 *
 * A woken waiter either stays on the list (lock: it keeps its place) or is taken off by the waker (all others:
 * finding the next pending one stays cheap). Both remain counted: count_ is the number of waiters that have not gone
 * yet.
 *
 * Invariants
 *  1 Everything here runs under the object's guard. Wakes are given under it as well: the woken task must take the
 *    guard before it can return to its caller, so the waker is done with the object, and with the woken task's
 *    runtime, before either can go. For the same reason no call of these objects answers without having held the
 *    guard, or seen in the same word that nobody holds it, not even a read.
 *  2 Nothing is run by a wake; it only queues.
 * Rank: a condition's guard before its lock's guard; no other two are ever held together. Any thread. */
#ifndef WEFT_EXECUTOR_SYNC_WAIT_H
#define WEFT_EXECUTOR_SYNC_WAIT_H

#include "executor/fiber.h"
#include "executor/waitlist.h"

struct weft__slept {
    bool cancelled; /* the wait ended with a cancellation */
    bool woken;     /* the object had given it a wake-up: to be used, or passed on when cancelled */
};

/* A hint for the order in which waiters come: false is certain (it was woken or cancelled), true may be outdated by a
 * cancellation under way, whose waiter then passes on what it must when it goes. */
static inline bool weft__sync_pending(const struct weft__wait_node *node)
{
    /* relaxed: the guard orders what its owner wrote when it joined; later news may come late, see above */
    uint64_t word = weft__load_relaxed(&node->fiber->word);
    return !node->woken && (word >> 32 != node->ticket || (word & WEFT__FIBER_STATE) != WEFT__FIBER_WOKEN);
}

/* Is there a waiter that is pending or woken? A newcomer must not overtake it. */
static inline bool weft__sync_has_waiters(const weft__waitlist *l)
{
    uint32_t cancelled = 0;
    if (weft__likely(l->count_ == 0))
        return false;
    for (const struct weft__wait_node *node = l->first_; node != NULL; node = node->next) {
        if (node->woken || weft__sync_pending(node))
            return true;
        cancelled++;
    }
    return l->count_ > cancelled;
}

/* Wake at most n pending waiters in the order in which they wait, and take them off the list. Returns how many. */
static inline size_t weft__sync_wake(weft__waitlist *l, size_t n)
{
    struct weft__wait_node *next;
    size_t woken = 0;
    for (struct weft__wait_node *node = l->first_; node != NULL && woken < n; node = next) {
        next = node->next;
        if (!weft__wake(node->fiber, node->ticket, WEFT__WOKEN))
            continue;
        weft__waitlist_leave(l, node);
        l->count_++; /* not gone yet */
        node->woken = true;
        woken++;
    }
    return woken;
}

/* The first pending one. */
static inline bool weft__sync_wake_one(weft__waitlist *l)
{
    struct weft__wait_node *first = l->first_, *next;
    if (weft__unlikely(first == NULL || !weft__wake(first->fiber, first->ticket, WEFT__WOKEN)))
        return first != NULL && weft__sync_wake(l, 1) != 0;
    next = first->next;
    l->first_ = next;
    if (next != NULL)
        next->previous = NULL;
    else
        l->last_ = NULL;
    first->listed = false; /* but counted: it is not gone yet */
    first->woken = true;
    return true;
}

/* weft__sync_wake for many: sleeping workers are called at the end, all at once. */
size_t weft__sync_wake_many(weft__waitlist *l, size_t n);

/* The three steps of a wait: join at the end of the list; let go of the guard, weft__wait_commit, and take the guard
 * again (the caller may be in another thread then); leave. */
static inline struct weft__wait_node *weft__sync_join(weft__waitlist *l, struct weft__fiber *f,
                                                      const struct weft__wait_kind *kind, void *object)
{
    weft__waitlist_append(l, &f->node, f, kind, object);
    return &f->node;
}
static inline struct weft__slept weft__sync_leave(weft__waitlist *l, struct weft__wait_node *node, enum weft__wake how)
{
    if (node->listed)
        weft__waitlist_leave(l, node);
    else
        l->count_--;
    WEFT__BUG_ON(how != WEFT__CANCELLED && !node->woken);
    return (struct weft__slept){.cancelled = how == WEFT__CANCELLED, .woken = node->woken};
}

/* All three, for a guard without bits of its own, which is held before and after. */
static inline struct weft__slept weft__sync_suspend(weft__waitlist *l, uint32_t *guard, struct weft__fiber *f,
                                                    const struct weft__wait_kind *kind, void *object)
{
    struct weft__wait_node *node = weft__sync_join(l, f, kind, object);
    weft__guard_unlock(guard);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    weft__guard_lock(guard);
    return weft__sync_leave(l, node, how);
}

/* weft_lock_release, for a condition. */
int weft__lock_let_go(weft_lock *l);

#endif
