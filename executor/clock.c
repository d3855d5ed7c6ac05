/* SPDX-License-Identifier: Apache-2.0 */
/* executor/clock.c -- the runtime's two clocks: the kernel's monotonic one, or a virtual one that jumps.
 *
 * The virtual clock stands still while anything is ready, while something has arrived at a descriptor that a task waits for,
 * and while a helper thread works. It moves to the next deadline when every worker has parked: the last one to park moves it
 * (weft__virtual_advance). If there is no deadline either, and no task waits for a descriptor, the program can never go on:
 * that is reported as a deadlock, and weft_run returns -EDEADLK. */
#include <errno.h>

#include "executor/blocking.h"
#include "executor/guard.h"
#include "executor/runtime.h"

weft_ns weft__runtime_now(struct weft_runtime *rt)
{
    if (weft__unlikely(rt->is_virtual))
        return weft__load_acquire(&rt->virtual_now); /* pairs: VIRTUAL */
    return weft__monotonic();
}

weft_ns weft__deadline_after(struct weft_runtime *rt, weft_ns duration)
{
    return weft__deadline_from(weft__runtime_now(rt), duration);
}

weft_ns weft__stamp_tick(struct weft_runtime *rt)
{
    uint32_t number = weft__load_relaxed(&rt->tick_known) + 1; /* relaxed: own */
    weft__exchange_seq_cst(&rt->tick_begun, number); /* pairs: TICK-STAMP; an exchange: seen before the clock is read */
    weft_ns now = weft__monotonic();
    weft__store_relaxed(&rt->tick_at[number % WEFT__TICKS], now); /* relaxed: tick_known publishes */
    weft__store_release(&rt->tick_known, number);                 /* pairs: TICK-STAMP */
    return now;
}

weft_ns weft__stamp_instant(struct weft_runtime *rt, uint32_t stamp)
{
    uint32_t known = weft__load_acquire(&rt->tick_known); /* pairs: TICK-STAMP */
    if (weft__likely((int32_t)(known - stamp) <= 0))
        return weft__monotonic();
    uint32_t next = stamp + 1;
    if (known - next >= WEFT__TICKS / 2)
        next = known - WEFT__TICKS / 2; /* its place may have been used again: a later one then */
    return weft__load_relaxed(
        &rt->tick_at[next % WEFT__TICKS]); /* relaxed: if it is a newer one's, it is later still */
}

weft_ns weft_now(void)
{
    struct weft_runtime *rt = weft_runtime_current();
    return rt != NULL ? weft__runtime_now(rt) : weft__monotonic();
}

/* An instant at which nobody ran: no helper did anything from the first look at the pool to the second, so all that helpers
 * have made ready was visible, and in between all workers were parked with nothing to take. */
static bool nothing_runs(struct weft_runtime *rt)
{
    uint64_t helpers = weft__blocking_state(rt->blocking);
    /* Parked before and after the look at the queues: a worker that left in between may hold an item that is in no queue. */
    return (uint32_t)helpers == 0 && weft__all_parked(rt) && !weft__work_visible(rt, 1, NULL) &&
           !weft__pinned_any(rt) && weft__all_parked(rt) && weft__blocking_state(rt->blocking) == helpers;
}

/* The turns that all workers have taken: read before and after, while all are parked, it tells whether anybody ran between. */
static uint64_t steps(struct weft_runtime *rt)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < rt->worker_count; i++)
        sum += weft__load_acquire(
            &rt->workers[i].steps); /* pairs: PARK; no later than the looks at the bits that follow */
    return sum;
}

static bool advance(struct weft_runtime *rt)
{
    uint64_t before = steps(rt);
    if (weft__load_seq_cst(&rt->begun) != WEFT__MAIN_QUEUED || weft__load_seq_cst(&rt->ended) != 0 ||
        !nothing_runs(rt)) /* pairs: BEGUN, ENDED */
        return false;
    if (rt->seeded != NULL && weft__seeded_any(rt->seeded)) /* it stood between two runs */
        return true;
    bool io = rt->driver != NULL && rt->driver->waiting(rt);
    if (io) {
        int arrived = weft__collect_arrived(rt);
        if (arrived != 0)
            return arrived > 0;
    }
    /* A leader may have made something ready just before, behind the first look at its queue; and who ran it may have written
     * to a descriptor just after. It parks later, and then this is its question. Also when no task waits for a descriptor: the
     * one that did may be what the leader has made ready, and run by now. */
    if (!nothing_runs(rt) || steps(rt) != before)
        return false;
    weft_ns next = WEFT_FOREVER;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        weft_ns earliest = weft__timers_earliest(&rt->workers[i].timers);
        if (earliest < next)
            next = earliest;
    }
    if (next == WEFT_FOREVER) {
        if (!io && weft__load_seq_cst(&rt->stopping) == 0) { /* pairs: STOPPING */
            weft__store_release(&rt->deadlocked, 1);         /* pairs: ENDED */
            weft__store_seq_cst(&rt->ended, 1);              /* pairs: ENDED */
            weft__parker_post(&rt->done);
        }
        return false;
    }
    if (next > weft__runtime_now(rt))
        weft__store_release(&rt->virtual_now, next); /* pairs: VIRTUAL */
    unsigned fired = rt->in_turn;                    /* the worker fires them, each in its turn */
    for (unsigned i = 0; i < rt->worker_count && !rt->in_turn; i++)
        fired += weft__timers_fire(&rt->workers[i].timers, next, UINT32_MAX, false);
    return fired != 0;
}

bool weft__virtual_advance(struct weft_runtime *rt)
{
    weft__guard_lock(&rt->virtual_guard);
    bool any = advance(rt);
    weft__guard_unlock(&rt->virtual_guard);
    return any;
}

void weft__runtime_work_done(struct weft_runtime *rt)
{
    if (rt->is_virtual)
        weft__notify(rt, NULL); /* whoever wakes and finds nothing parks again, as the last one, and moves the clock */
}
