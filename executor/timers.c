/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers.c -- deadlines: each worker has its own heap, under its own guard; any thread may use any of them.
 *
 * A 4-ary min-heap of {deadline, sequence, timer}. The keys lie in the heap, so that comparing touches no timer; four
 * children are 96 bytes; the timer knows its place, so that a cancel takes it out in O(log n) from anywhere. Most
 * timers are cancelled, not fired: they leave nothing behind.
 *
 * A timer's index is its state:
 *   IDLE     -> place    set, by its user, under the guard of the home it goes to
 *   place    -> place    others move it, under the home's guard
 *   place    -> IDLE     cancel, under the home's guard
 *   place    -> FIRING   fire, under the home's guard, which it holds until the callback has returned
 *   FIRING   -> IDLE     fire, after the callback; from here on the timer's memory is its user's again
 * So IDLE may be believed without a guard, which makes the usual cancel of a fired or never set timer one load; and who
 * meets FIRING takes the home's guard, which waits until that fire is over. A callback often wakes the very task that
 * then cancels or sets the timer again: it waits that moment.
 *
 * Invariants
 *   1 heap[timer.index].timer == timer and timer.home is the heap, for each pending timer.
 *   2 home changes only in set, under the guard of the new home. Under the guard of H, pending with home H means in H.
 *   3 earliest is heap[0].deadline or WEFT_FOREVER whenever the guard is free.
 *   4 Timers fire in order of (deadline, sequence); sequence counts the sets of this heap.
 *   5 A timer is set only by its user, one thread at a time, and not while it is pending. Before its memory goes,
 *     cancel.
 *
 * Guards: one at a time. fire callbacks run under the guard: they must be short, must not suspend and must call nothing
 * of this file (on this heap: deadlock; on another: two threads firing crosswise).
 *
 * Orders, and the labels in the code
 *   TIMER-INDEX  release stores of index -> acquire load in cancel and set: who sees a place or FIRING sees a home at
 *                least as new; who sees IDLE after FIRING sees all that the callback did.
 *   TIMER-PARK   set stores earliest, then its caller looks whether the home's worker sleeps; the worker announces its
 *                sleep, then reads earliest (weft__timers_earliest) for how long. All seq_cst: at least one sees the
 *                other.
 *
 * Rejected: a wheel (constant time, but rounds deadlines or cascades, and next-deadline, which each park needs, is a
 * search); one heap for all (its lock is everybody's); lazy cancel (a server that renews a timeout for each request
 * grows a heap of dead ones). The heap's memory grows by doubling and stays until destroy. */
#include "executor/timers.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/guard.h"

struct weft__timer_entry {
    weft_ns deadline;
    uint64_t sequence;
    struct weft__timer *timer;
};

#define TIMER_FIRING (WEFT__TIMER_IDLE - 1)
#define TIMERS_FIRST_CAPACITY 64U
#define TIMERS_MAX_CAPACITY (UINT32_C(1) << 31)
#define TIMERS_ARITY 4U

static inline bool entry_before(const struct weft__timer_entry *x, const struct weft__timer_entry *y)
{
    return x->deadline < y->deadline || (x->deadline == y->deadline && x->sequence < y->sequence);
}

static inline void heap_place(struct weft__timers *ts, uint32_t at, struct weft__timer_entry entry)
{
    ts->heap[at] = entry;
    weft__store_release(&entry.timer->index, at); /* pairs: TIMER-INDEX */
}

/* The place `hole` is free: put entry there or where its order asks, towards the root. */
static void heap_raise(struct weft__timers *ts, uint32_t hole, struct weft__timer_entry entry)
{
    while (hole > 0) {
        uint32_t parent = (hole - 1) / TIMERS_ARITY;
        if (!entry_before(&entry, &ts->heap[parent]))
            break;
        heap_place(ts, hole, ts->heap[parent]);
        hole = parent;
    }
    heap_place(ts, hole, entry);
}

/* The same towards the leaves. */
static void heap_sink(struct weft__timers *ts, uint32_t hole, struct weft__timer_entry entry)
{
    for (;;) {
        uint64_t first = (uint64_t)hole * TIMERS_ARITY + 1;
        if (first >= ts->count)
            break;
        uint64_t end = first + TIMERS_ARITY < ts->count ? first + TIMERS_ARITY : ts->count;
        uint32_t least = (uint32_t)first;
        for (uint32_t child = least + 1; child < end; child++) {
            if (entry_before(&ts->heap[child], &ts->heap[least]))
                least = child;
        }
        if (!entry_before(&ts->heap[least], &entry))
            break;
        heap_place(ts, hole, ts->heap[least]);
        hole = least;
    }
    heap_place(ts, hole, entry);
}

/* Takes an entry out; its timer's index is the caller's to set. */
static void heap_remove(struct weft__timers *ts, uint32_t at)
{
    struct weft__timer_entry last = ts->heap[--ts->count];
    if (at == ts->count)
        return;
    if (at > 0 && entry_before(&last, &ts->heap[(at - 1) / TIMERS_ARITY]))
        heap_raise(ts, at, last);
    else
        heap_sink(ts, at, last);
}

static WEFT__COLD bool heap_grow(struct weft__timers *ts)
{
    if (ts->capacity >= TIMERS_MAX_CAPACITY)
        return false;
    uint32_t capacity = ts->capacity ? 2 * ts->capacity : TIMERS_FIRST_CAPACITY;
    struct weft__timer_entry *heap = realloc(ts->heap, capacity * sizeof *heap);
    if (!heap)
        return false;
    ts->heap = heap;
    ts->capacity = capacity;
    return true;
}

/* Before the guard is given back: invariant 3. */
static void timers_publish(struct weft__timers *ts)
{
    weft_ns earliest = ts->count ? ts->heap[0].deadline : WEFT_FOREVER;
    if (weft__load_relaxed(&ts->earliest) != earliest) /* relaxed: written under the guard only */
        weft__store_seq_cst(&ts->earliest, earliest);  /* pairs: TIMER-PARK */
}

void weft__timers_init(struct weft__timers *ts)
{
    ts->guard = 0;
    ts->heap = NULL;
    ts->count = ts->capacity = 0;
    ts->sequence = 0;
    weft__store_relaxed(&ts->earliest, WEFT_FOREVER); /* relaxed: nobody else knows it yet */
    weft__store_relaxed(&ts->fired, 0);               /* relaxed: nobody else knows it yet */
}

void weft__timers_destroy(struct weft__timers *ts)
{
    WEFT__ASSERT(ts->count == 0); /* a pending timer would later look for its place in freed memory */
    free(ts->heap);
    ts->heap = NULL;
    ts->count = ts->capacity = 0;
}

void weft__timer_init(struct weft__timer *t, void (*fire)(struct weft__timer *))
{
    t->deadline = WEFT_FOREVER;
    t->fire = fire;
    weft__store_relaxed(&t->home, NULL);              /* relaxed: nobody else knows it yet */
    weft__store_relaxed(&t->index, WEFT__TIMER_IDLE); /* relaxed: nobody else knows it yet */
}

/* Its callback is running, or has just run, in another thread: wait until that is over. */
static WEFT__COLD void timer_await_fire(struct weft__timer *t)
{
    struct weft__timers *home = weft__load_relaxed(&t->home); /* relaxed: TIMER-INDEX made it visible */
    weft__guard_lock(&home->guard);
    weft__guard_unlock(&home->guard);
}

int weft__timers_set(struct weft__timers *ts, struct weft__timer *t, weft_ns deadline)
{
    uint32_t state = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
    if (weft__unlikely(state != WEFT__TIMER_IDLE)) {
        WEFT__BUG_ON(state != TIMER_FIRING);
        timer_await_fire(t);
    }
    weft__guard_lock(&ts->guard);
    if (weft__unlikely(ts->count == ts->capacity) && !heap_grow(ts)) {
        weft__guard_unlock(&ts->guard);
        return -ENOMEM;
    }
    t->deadline = deadline;
    weft__store_relaxed(&t->home, ts); /* relaxed: the store of index publishes it */
    struct weft__timer_entry entry = {.deadline = deadline, .sequence = ts->sequence++, .timer = t};
    heap_raise(ts, ts->count++, entry);
    timers_publish(ts);
    weft__guard_unlock(&ts->guard);
    return 0;
}

bool weft__timer_cancel(struct weft__timer *t)
{
    while (weft__load_acquire(&t->index) != WEFT__TIMER_IDLE) {   /* pairs: TIMER-INDEX */
        struct weft__timers *home = weft__load_relaxed(&t->home); /* relaxed: TIMER-INDEX made it visible */
        weft__guard_lock(&home->guard);
        /* It may have fired meanwhile, and been set elsewhere: believe what is true under this guard (invariant 2). */
        uint32_t at = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
        /* relaxed: TIMER-INDEX; once it is this home it stays so while we hold the guard */
        bool here = at < TIMER_FIRING && weft__load_relaxed(&t->home) == home;
        if (here) {
            WEFT__ASSERT(home->heap[at].timer == t);
            heap_remove(home, at);
            weft__store_release(&t->index, WEFT__TIMER_IDLE); /* pairs: TIMER-INDEX */
            timers_publish(home);
        }
        weft__guard_unlock(&home->guard);
        if (here)
            return true;
    }
    return false;
}

/* The guard is held; the timer has been taken out of the heap. */
static void fire(struct weft__timer *t)
{
    weft__store_release(&t->index, TIMER_FIRING); /* pairs: TIMER-INDEX */
    t->fire(t);
    weft__store_release(&t->index, WEFT__TIMER_IDLE); /* pairs: TIMER-INDEX; not touched again from here on */
}

uint64_t weft__timers_sequence(struct weft__timers *ts)
{
    weft__guard_lock(&ts->guard);
    uint64_t sequence = ts->sequence;
    weft__guard_unlock(&ts->guard);
    return sequence;
}

bool weft__timers_fire_one(struct weft__timers *ts, weft_ns now, uint64_t before)
{
    if (weft__load_relaxed(&ts->earliest) > now) /* relaxed: its owner asks, and set it itself */
        return false;
    weft__guard_lock(&ts->guard);
    /* Newer ones that are due as well are put aside: rare, and few (set for the past by what this round runs). */
    struct weft__timer_entry newer[16];
    unsigned aside = 0;
    while (ts->count > 0 && ts->heap[0].deadline <= now && ts->heap[0].sequence >= before &&
           aside < sizeof newer / sizeof newer[0]) {
        newer[aside++] = ts->heap[0];
        heap_remove(ts, 0);
    }
    bool due = ts->count > 0 && ts->heap[0].deadline <= now && ts->heap[0].sequence < before;
    struct weft__timer *first = due ? ts->heap[0].timer : NULL;
    if (due)
        heap_remove(ts, 0);
    while (aside > 0)
        heap_raise(ts, ts->count++, newer[--aside]);
    if (due) {
        fire(first);
        weft__count(&ts->fired, 1); /* one writer: under the guard */
    }
    timers_publish(ts);
    weft__guard_unlock(&ts->guard);
    return due;
}

bool weft__timers_fire_nth(struct weft__timers *ts, weft_ns now, unsigned n)
{
    struct weft__timer_entry due[8];
    unsigned count = 0;
    weft__guard_lock(&ts->guard);
    while (count <= n && count < sizeof due / sizeof due[0] && ts->count > 0 && ts->heap[0].deadline <= now) {
        due[count++] = ts->heap[0];
        heap_remove(ts, 0);
    }
    bool any = count != 0;
    struct weft__timer *last = any ? due[--count].timer : NULL;
    while (count > 0)
        heap_raise(ts, ts->count++, due[--count]);
    if (any) {
        fire(last);
        weft__count(&ts->fired, 1); /* one writer: under the guard */
    }
    timers_publish(ts);
    weft__guard_unlock(&ts->guard);
    return any;
}

unsigned weft__timers_fire(struct weft__timers *ts, weft_ns now, unsigned limit, bool try_only)
{
    /* relaxed: a set this look misses is not older than the look; its caller sees to it that somebody looks again */
    if (weft__load_relaxed(&ts->earliest) > now)
        return 0;
    if (!try_only)
        weft__guard_lock(&ts->guard);
    else if (!weft__guard_try_lock(&ts->guard))
        return 0;
    unsigned fired = 0;
    while (fired < limit && ts->count > 0 && ts->heap[0].deadline <= now) {
        struct weft__timer *t = ts->heap[0].timer;
        heap_remove(ts, 0);
        fire(t);
        fired++;
    }
    if (fired) {
        timers_publish(ts);
        weft__count(&ts->fired, fired); /* one writer: under the guard */
    }
    weft__guard_unlock(&ts->guard);
    return fired;
}
