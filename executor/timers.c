/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers.c -- deadlines: each worker has its own, under its own guard; any thread may use any of them. Where they lie:
 * timers_store.c; how they fire: timers_fire.c.
 *
 * A timer's index is its state, and its place while it is pending (a run's number or WEFT__TIMER_HEAP, above a position; WEFT__TIMER_SPARE):
 *
 * |        | set, by its user          | others move it | cancel              | fire                  | the callback has returned |
 * | IDLE   | place (of the new home)   | -              | stays: false        | -                     | -                         |
 * | place  | a bug                     | another place  | IDLE: true          | FIRING, callback runs | -                         |
 * | FIRING | waits for IDLE, then place| -              | waits, looks again  | -                     | IDLE                      |
 *
 * Each of these changes is made under the home's guard, which fire holds until the callback has returned. From IDLE on the timer's
 * memory is its user's again. So IDLE may be believed without a guard, which makes the usual cancel of a fired or never set timer
 * one load; and who meets FIRING takes the home's guard, which waits until that fire is over. A callback often wakes the very
 * task that then cancels or sets the timer again: it waits that moment.
 *
 * Invariants
 *   1 The entry at timer.index says timer and timer.home is where that is, for each pending timer.
 *   2 home changes only in set, under the guard of the new home. Under the guard of H, pending with home H means in H.
 *   3 earliest is the least deadline or WEFT_FOREVER whenever the guard is free.
 *   4 Timers fire in order of (deadline, sequence); sequence counts the sets of this home.
 *   5 A timer is set only by its user, one thread at a time, and not while it is pending. Before its memory goes,
 *     cancel.
 *
 * Guards: one at a time. fire callbacks run under the guard: they must be short, must not suspend and must call nothing
 * of this file (on this home: deadlock; on another: two threads firing crosswise).
 *
 * Orders, and the labels in the code
 *   TIMER-INDEX     release stores of index -> acquire load in cancel and set: who sees a place or FIRING sees a home at
 *                   least as new; who sees IDLE after FIRING sees all that the callback did.
 *   TIMER-EARLIEST  read without the guard: by the home's worker, which sets its timers itself and so knows how long to
 *                   sleep; as a hint by the tick; for the virtual clock when all workers are parked, which orders it.
 *
 * Rejected: one home for all (its lock is everybody's); leaving cancelled ones to their deadline (a server that renews a timeout
 * for each request grows a pile of dead ones). */
#include "executor/timers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "executor/timers_store.h"

void weft__timers_init(struct weft__timers *ts)
{
    memset(ts, 0, sizeof *ts);
    for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++)
        weft__timer_run_emptied(ts, i);
    weft__store_relaxed(&ts->earliest, WEFT_FOREVER); /* relaxed: nobody else knows it yet */
}

void weft__timers_destroy(struct weft__timers *ts)
{
    WEFT__ASSERT(ts->count == 0); /* a pending timer would later look for its place in freed memory */
    free(ts->heap);
    for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++)
        free(ts->runs[i].ring);
    memset(ts, 0, offsetof(struct weft__timers, fired)); /* that one is still asked for, while the runtime is held */
}

void weft__timer_init(struct weft__timer *t, void (*fire)(struct weft__timer *))
{
    t->fire = fire;
    t->refused = false;
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

/* The number of the run to whose end a timer of that deadline belongs; WEFT__TIMER_RUNS: none. */
static inline uint32_t run_for(const struct weft__timers *ts, weft_ns deadline)
{
    uint32_t i = 0;
    while (i < WEFT__TIMER_RUNS && ts->last[i] > deadline)
        i++;
    return i;
}

static inline bool run_append(struct weft__timers *ts, uint32_t number, struct weft__timer_entry entry)
{
    struct weft__timer_run *r = &ts->runs[number];
    if (weft__unlikely(r->tail - r->head == r->capacity) && !weft__timer_run_grow(r, number))
        return false;
    if (r->head == r->tail) {
        ts->first[number] = entry.deadline;
        ts->busy |= 1U << number;
    }
    ts->last[number] = entry.deadline;
    *weft__timer_run_at(r, r->tail) = entry;
    weft__timer_set_place(entry.timer, number << WEFT__TIMER_PLACE_BITS | (r->tail & WEFT__TIMER_PLACE_MASK));
    r->tail++;
    r->live++;
    return true;
}

static inline bool weft__timer_insert(struct weft__timers *ts, struct weft__timer_entry entry)
{
    uint32_t number = run_for(ts, entry.deadline);
    if (weft__likely(number < WEFT__TIMER_RUNS))
        return run_append(ts, number, entry);
    if (weft__unlikely(ts->heap_count == ts->heap_capacity) && !weft__timer_heap_grow(ts))
        return false;
    weft__timer_heap_raise(ts, ts->heap_count++, entry);
    return true;
}

/* Under the guard of its new home from here on. */
static inline void set_begin(struct weft__timers *ts, struct weft__timer *t)
{
    uint32_t state = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
    if (weft__unlikely(state != WEFT__TIMER_IDLE)) {
        WEFT__BUG_ON(state != WEFT__TIMER_FIRING);
        timer_await_fire(t);
    }
    weft__guard_lock(&ts->guard);
    weft__store_relaxed(&t->home, ts); /* relaxed: the store of index publishes it */
}

static inline void set_done(struct weft__timers *ts, weft_ns deadline)
{
    ts->sequence++;
    ts->count++;
    if (deadline < weft__load_relaxed(&ts->earliest)) /* relaxed: written under the guard only */
        weft__timers_publish(ts, deadline);
}

int weft__timers_set(struct weft__timers *ts, struct weft__timer *t, weft_ns deadline)
{
    set_begin(ts, t);
    struct weft__timer_entry entry = {.deadline = deadline, .sequence = ts->sequence, .timer = t};
    bool done = weft__timer_insert(ts, entry);
    t->refused = !done; /* before the timer may fire, that is inside the guard */
    if (weft__likely(done))
        set_done(ts, deadline);
    weft__guard_unlock(&ts->guard);
    return done ? 0 : -ENOMEM;
}

WEFT__COLD void weft__timers_set_spare(struct weft__timers *ts, struct weft__timer *t, struct weft__timer_spare *spare,
                                       weft_ns deadline)
{
    set_begin(ts, t);
    spare->entry = (struct weft__timer_entry){.deadline = deadline, .sequence = ts->sequence, .timer = t};
    weft__timer_spare_insert(ts, spare);
    t->refused = false;
    set_done(ts, deadline);
    weft__guard_unlock(&ts->guard);
}

bool weft__timer_cancel(struct weft__timer *t)
{
    while (weft__load_acquire(&t->index) != WEFT__TIMER_IDLE) {   /* pairs: TIMER-INDEX */
        struct weft__timers *home = weft__load_relaxed(&t->home); /* relaxed: TIMER-INDEX made it visible */
        weft__guard_lock(&home->guard);
        /* It may have fired meanwhile, and been set elsewhere: believe what is true under this guard (invariant 2). */
        uint32_t at = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
        /* relaxed: TIMER-INDEX; once it is this home it stays so while we hold the guard */
        bool here = at < WEFT__TIMER_FIRING && weft__load_relaxed(&t->home) == home;
        if (here) {
            const struct weft__timer_entry *entry = weft__timer_entry_at(home, t, at);
            WEFT__ASSERT(entry->timer == t);
            bool first =
                entry->deadline <= weft__load_relaxed(&home->earliest); /* relaxed: written under the guard only */
            weft__timer_remove_at(home, t, at);
            weft__timer_set_place(t, WEFT__TIMER_IDLE);
            if (first)
                weft__timers_publish_anew(home);
        }
        weft__guard_unlock(&home->guard);
        if (here)
            return true;
    }
    return false;
}

weft_ns weft__timer_deadline(struct weft__timer *t)
{
    for (;;) {
        uint32_t at = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
        if (at == WEFT__TIMER_IDLE || at == WEFT__TIMER_FIRING)
            return WEFT_FOREVER;
        struct weft__timers *home = weft__load_relaxed(&t->home); /* relaxed: TIMER-INDEX made it visible */
        weft_ns deadline = WEFT_FOREVER;
        weft__guard_lock(&home->guard);
        at = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
        /* relaxed: as in cancel */
        bool here = at < WEFT__TIMER_FIRING && weft__load_relaxed(&t->home) == home;
        if (here)
            deadline = weft__timer_entry_at(home, t, at)->deadline;
        weft__guard_unlock(&home->guard);
        if (here)
            return deadline;
    }
}

uint64_t weft__timers_sequence(struct weft__timers *ts)
{
    weft__guard_lock(&ts->guard);
    uint64_t sequence = ts->sequence;
    weft__guard_unlock(&ts->guard);
    return sequence;
}
