/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers_store.h -- see timers_store.c: where one worker's timers lie, runs and heap. For timers.c and timers_fire.c only; all of it
 * under the home's guard. */
#ifndef WEFT_EXECUTOR_TIMERS_STORE_H
#define WEFT_EXECUTOR_TIMERS_STORE_H

#include "executor/guard.h"
#include "executor/timers.h"

/* A timer's place: a run's number above the position (cut to 28 bits), WEFT__TIMER_HEAP above the place in the heap, or WEFT__TIMER_SPARE: it
 * found no memory, and lies in the list of those. */
#define WEFT__TIMER_FIRING (WEFT__TIMER_IDLE - 1)
#define WEFT__TIMER_PLACE_BITS 28
#define WEFT__TIMER_PLACE_MASK ((UINT32_C(1) << WEFT__TIMER_PLACE_BITS) - 1)
#define WEFT__TIMER_HEAP (WEFT__TIMER_RUNS << WEFT__TIMER_PLACE_BITS)
#define WEFT__TIMER_SPARE ((WEFT__TIMER_RUNS + 1) << WEFT__TIMER_PLACE_BITS)

static inline bool weft__timer_before(const struct weft__timer_entry *x, const struct weft__timer_entry *y)
{
    return x->deadline < y->deadline || (x->deadline == y->deadline && x->sequence < y->sequence);
}

static inline struct weft__timer_entry *weft__timer_run_at(const struct weft__timer_run *r, uint32_t position)
{
    return &r->ring[position & (r->capacity - 1)];
}

static inline void weft__timer_set_place(struct weft__timer *t, uint32_t place)
{
    weft__store_release(&t->index, place); /* pairs: TIMER-INDEX */
}

/* The ring is full: make room for one more. False: memory. */
bool weft__timer_run_grow(struct weft__timer_run *r, uint32_t number);

static inline void weft__timer_run_emptied(struct weft__timers *ts, uint32_t number)
{
    struct weft__timer_run *r = &ts->runs[number];
    r->head = r->tail = 0; /* at the ring's start again, which is in the cache if the run is short */
    ts->first[number] = WEFT_FOREVER;
    ts->last[number] = INT64_MIN;
    ts->busy &= ~(1U << number);
}

static inline void weft__timer_run_remove(struct weft__timers *ts, uint32_t number, uint32_t position)
{
    struct weft__timer_run *r = &ts->runs[number];
    weft__timer_run_at(r, position)->timer = NULL;
    if (--r->live == 0) {
        weft__timer_run_emptied(ts, number);
        return;
    }
    if (((position ^ r->head) & WEFT__TIMER_PLACE_MASK) == 0) {
        while (weft__timer_run_at(r, r->head)->timer == NULL)
            r->head++;
        ts->first[number] = weft__timer_run_at(r, r->head)->deadline;
    } else if (((position ^ (r->tail - 1)) & WEFT__TIMER_PLACE_MASK) == 0) {
        while (weft__timer_run_at(r, r->tail - 1)->timer == NULL)
            r->tail--;
        ts->last[number] = weft__timer_run_at(r, r->tail - 1)->deadline;
    }
}

/* Where its order asks, into a heap that has room: `hole` is a free place. */
void weft__timer_heap_raise(struct weft__timers *ts, uint32_t hole, struct weft__timer_entry entry);
/* Takes an entry out; its timer's index is the caller's to set. */
void weft__timer_heap_remove(struct weft__timers *ts, uint32_t at);
bool weft__timer_heap_grow(struct weft__timers *ts);

/* Where a timer that lies in the list is linked. */
struct weft__timer_spare **weft__timer_spare_at(struct weft__timers *ts, const struct weft__timer *t);
void weft__timer_spare_insert(struct weft__timers *ts, struct weft__timer_spare *spare);

/* Takes out a timer that is pending at that place; its index is the caller's to set. */
static inline void weft__timer_remove_at(struct weft__timers *ts, struct weft__timer *t, uint32_t place)
{
    ts->count--;
    if (weft__likely(place < WEFT__TIMER_HEAP)) {
        weft__timer_run_remove(ts, place >> WEFT__TIMER_PLACE_BITS, place & WEFT__TIMER_PLACE_MASK);
    } else if (weft__likely(place < WEFT__TIMER_SPARE)) {
        weft__timer_heap_remove(ts, place & WEFT__TIMER_PLACE_MASK);
    } else {
        struct weft__timer_spare **at = weft__timer_spare_at(ts, t);
        *at = (*at)->next;
    }
}

static inline const struct weft__timer_entry *weft__timer_entry_at(struct weft__timers *ts, const struct weft__timer *t,
                                                                   uint32_t place)
{
    if (place < WEFT__TIMER_HEAP)
        return weft__timer_run_at(&ts->runs[place >> WEFT__TIMER_PLACE_BITS], place & WEFT__TIMER_PLACE_MASK);
    return weft__likely(place < WEFT__TIMER_SPARE) ? &ts->heap[place & WEFT__TIMER_PLACE_MASK]
                                                   : &(*weft__timer_spare_at(ts, t))->entry;
}

/* Before the guard is given back: invariant 3. */
static inline void weft__timers_publish(struct weft__timers *ts, weft_ns earliest)
{
    if (weft__load_relaxed(&ts->earliest) != earliest) /* relaxed: written under the guard only */
        weft__store_release(&ts->earliest, earliest);  /* pairs: TIMER-EARLIEST */
}

static inline void weft__timers_publish_anew(struct weft__timers *ts)
{
    weft_ns earliest = ts->heap_count != 0 ? ts->heap[0].deadline : WEFT_FOREVER;
    if (weft__unlikely(ts->spare != NULL) && ts->spare->entry.deadline < earliest)
        earliest = ts->spare->entry.deadline;
    for (uint32_t left = ts->busy; left != 0; left &= left - 1) {
        weft_ns first = ts->first[__builtin_ctz(left)];
        earliest = first < earliest ? first : earliest;
    }
    weft__timers_publish(ts, earliest);
}

#endif
