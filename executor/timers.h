/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers.h -- see timers.c: one worker's deadlines, ordered by (instant, order of setting). */
#ifndef WEFT_EXECUTOR_TIMERS_H
#define WEFT_EXECUTOR_TIMERS_H

#include "executor/atomic.h"
#include "executor/base.h"

struct weft__timers;
struct weft__timer;

struct weft__timer_entry {
    weft_ns deadline;
    uint64_t sequence;
    struct weft__timer *timer; /* NULL: a gap */
};

struct weft__timer {
    void (*fire)(struct weft__timer *timer); /* under the home's guard: short, never takes a timers' guard */
    _Atomic(struct weft__timers *) home;     /* where it is set; valid while pending */
    _Atomic(uint32_t) index;                 /* its place; WEFT__TIMER_IDLE; timers.c: while fire runs */
    bool refused;                            /* the latest set found no memory; its user's */
};
#define WEFT__TIMER_IDLE UINT32_MAX

#define WEFT__TIMER_RUNS 8U

/* Timers that were set in the order in which they are due: a ring, positions count up. */
struct weft__timer_run {
    struct weft__timer_entry *ring;
    uint32_t capacity; /* power of two, or 0 */
    uint32_t head, tail;
    uint32_t live; /* the others between head and tail were cancelled */
};

/* Where a timer waits for which there was no memory: its user's own, as long as the timer is pending. */
struct weft__timer_spare {
    struct weft__timer_entry entry;
    struct weft__timer_spare *next; /* the one that is due next */
};

struct weft__timers {
    alignas(WEFT__CACHELINE) uint32_t guard;
    uint32_t count;                  /* pending, wherever they lie */
    uint32_t busy;                   /* bit i: runs[i] is not empty */
    _Atomic(int64_t) earliest;       /* least deadline, WEFT_FOREVER when there is none; read without the guard */
    uint64_t sequence;               /* sets so far */
    weft_ns first[WEFT__TIMER_RUNS]; /* deadline at each run's head */
    weft_ns last[WEFT__TIMER_RUNS];  /* and at its tail; INT64_MIN when it is empty: whatever comes is later */
    struct weft__timer_run runs[WEFT__TIMER_RUNS];
    struct weft__timer_entry *heap; /* 4-ary: deadline, sequence, timer */
    uint32_t heap_count, heap_capacity;
    struct weft__timer_spare *spare; /* those that found no memory, in order: nearly always none */
    _Atomic(uint64_t) fired;         /* the last */
};

void weft__timers_init(struct weft__timers *ts);
void weft__timers_destroy(struct weft__timers *ts);
void weft__timer_init(struct weft__timer *t, void (*fire)(struct weft__timer *));
/* Any thread; but a worker that sleeps is not woken for it, so in practice the home's own. 0 or -ENOMEM. The timer must be idle. */
int weft__timers_set(struct weft__timers *ts, struct weft__timer *t, weft_ns deadline);
/* The same without memory, and slower the more of these there are: for who must not fail. */
void weft__timers_set_spare(struct weft__timers *ts, struct weft__timer *t, struct weft__timer_spare *spare,
                            weft_ns deadline);
/* Any thread. When it returns the timer is idle and its fire is not running. True: it was pending, it did not fire. */
bool weft__timer_cancel(struct weft__timer *t);
/* Any thread. When it is due; WEFT_FOREVER: it is not pending, or is about to fire. */
weft_ns weft__timer_deadline(struct weft__timer *t);
/* Any thread. Fire what is due at `now`, at most `limit`, in order; returns how many. `try_only`: give up when the guard
 * is taken. */
unsigned weft__timers_fire(struct weft__timers *ts, weft_ns now, unsigned limit, bool try_only);
/* Fire the first one that is due. False: there is none. `ahead`: called for one that comes some places later, if that is known; it is
 * pending, and the guard is held: to ask for its memory, no more. */
bool weft__timers_fire_next(struct weft__timers *ts, weft_ns now, void (*ahead)(struct weft__timer *later));
/* How many timers have been set so far. */
uint64_t weft__timers_sequence(struct weft__timers *ts);
/* Fire the first one that is due and was set before that count. False: there is none. */
bool weft__timers_fire_one(struct weft__timers *ts, weft_ns now, uint64_t before);
/* Fire one that is due: the n-th (from 0, at most 7), or the last if there are not so many. False: there is none. */
bool weft__timers_fire_nth(struct weft__timers *ts, weft_ns now, unsigned n);
static inline weft_ns weft__timers_earliest(const struct weft__timers *ts)
{
    return weft__load_acquire(&ts->earliest); /* pairs: TIMER-EARLIEST */
}

#endif
