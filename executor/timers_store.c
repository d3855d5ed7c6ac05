/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers_store.c -- where one worker's timers lie, in the order in which they are due.
 *
 * Programs use few different durations, and the clock goes forward: so most timers are due in the order in which they were
 * set. A run is a ring of such timers. A new one goes to the end of the first run whose last is not due later (a duration finds
 * itself a run of its own); what fits nowhere goes into a 4-ary min-heap. The next to fire is the least of the runs' heads
 * and the heap's root. So setting, cancelling and firing take constant time for what runs hold, and touch memory in order.
 *
 * Entries are {deadline, sequence, timer}, so that comparing touches no timer; the timer knows its place. A cancelled timer's
 * entry stays in its run as a gap until an end of the run comes to it, or until the ring is full: then gaps are squeezed out
 * if they are half of it, else it doubles. Most timers are cancelled, not fired: a run is at most twice as long as the live
 * timers it ever held at once. In the heap a cancel takes the entry out, in O(log n). Memory grows by doubling and stays until
 * destroy.
 *
 * Who must not fail for want of memory brings the entry with it (weft__timers_set_spare): these are a list in order, which is searched from its
 * head.
 *
 * Invariants
 *   1 Along a run deadline and sequence only grow.
 *   2 A run's head and last entry are no gaps. An empty run has head == tail.
 *   3 first and last of a run are the deadlines of these two; its bit in busy says that it is not empty.
 *
 * Rejected: a wheel (rounds deadlines or cascades, and next-deadline, which each park needs, is a search); the heap alone
 * (each step of each removal writes to a timer somewhere in memory).
 *
 * Threads: whoever holds the home's guard. */
#include "executor/timers_store.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64U
#define MAX_CAPACITY (UINT32_C(1) << (WEFT__TIMER_PLACE_BITS - 1))
#define TIMERS_ARITY 4U

/* ---- the runs ---------------------------------------------------------------------------------------------------- */

static void run_squeeze(struct weft__timer_run *r, uint32_t number)
{
    uint32_t to = r->head;
    for (uint32_t from = r->head; from != r->tail; from++) {
        struct weft__timer_entry *entry = weft__timer_run_at(r, from);
        if (entry->timer == NULL)
            continue;
        if (from != to) {
            *weft__timer_run_at(r, to) = *entry;
            weft__timer_set_place(entry->timer, number << WEFT__TIMER_PLACE_BITS | (to & WEFT__TIMER_PLACE_MASK));
        }
        to++;
    }
    r->tail = to;
}

WEFT__COLD bool weft__timer_run_grow(struct weft__timer_run *r, uint32_t number)
{
    if (r->capacity != 0 && r->live <= r->capacity / 2) {
        run_squeeze(r, number);
        return true;
    }
    if (r->capacity >= MAX_CAPACITY)
        return false;
    uint32_t old = r->capacity, capacity = old != 0 ? 2 * old : FIRST_CAPACITY;
    struct weft__timer_entry *ring = realloc(r->ring, capacity * sizeof *ring);
    if (ring == NULL)
        return false;
    r->ring = ring;
    r->capacity = capacity;
    /* Positions stay: of the old ring's contents, some belong one old length further up now. */
    uint32_t wrap = (r->head + old - 1) & ~(old - 1); /* the first position at the old ring's start, from head on */
    for (uint32_t from = r->head; old != 0 && from != r->tail;) {
        uint32_t end = (int32_t)(wrap - from) > 0 && (int32_t)(r->tail - wrap) > 0 ? wrap : r->tail;
        if (from & old)
            memcpy(weft__timer_run_at(r, from), &ring[from & (old - 1)], (end - from) * sizeof *ring);
        from = end;
    }
    return true;
}

/* ---- the heap ---------------------------------------------------------------------------------------------------- */

static inline void heap_place(struct weft__timers *ts, uint32_t at, struct weft__timer_entry entry)
{
    ts->heap[at] = entry;
    weft__timer_set_place(entry.timer, WEFT__TIMER_HEAP | at);
}

void weft__timer_heap_raise(struct weft__timers *ts, uint32_t hole, struct weft__timer_entry entry)
{
    while (hole > 0) {
        uint32_t parent = (hole - 1) / TIMERS_ARITY;
        if (!weft__timer_before(&entry, &ts->heap[parent]))
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
        if (first >= ts->heap_count)
            break;
        uint64_t end = first + TIMERS_ARITY < ts->heap_count ? first + TIMERS_ARITY : ts->heap_count;
        uint32_t least = (uint32_t)first;
        for (uint32_t child = least + 1; child < end; child++) {
            if (weft__timer_before(&ts->heap[child], &ts->heap[least]))
                least = child;
        }
        if (!weft__timer_before(&ts->heap[least], &entry))
            break;
        heap_place(ts, hole, ts->heap[least]);
        hole = least;
    }
    heap_place(ts, hole, entry);
}

void weft__timer_heap_remove(struct weft__timers *ts, uint32_t at)
{
    WEFT__BUG_ON(ts->heap == NULL); /* it holds an entry at least */
    struct weft__timer_entry last = ts->heap[--ts->heap_count];
    if (at == ts->heap_count)
        return;
    if (at > 0 && weft__timer_before(&last, &ts->heap[(at - 1) / TIMERS_ARITY]))
        weft__timer_heap_raise(ts, at, last);
    else
        heap_sink(ts, at, last);
}

WEFT__COLD bool weft__timer_heap_grow(struct weft__timers *ts)
{
    if (ts->heap_capacity >= MAX_CAPACITY)
        return false;
    uint32_t capacity = ts->heap_capacity ? 2 * ts->heap_capacity : FIRST_CAPACITY;
    struct weft__timer_entry *heap = realloc(ts->heap, capacity * sizeof *heap);
    if (!heap)
        return false;
    ts->heap = heap;
    ts->heap_capacity = capacity;
    return true;
}

/* ---- those that found no memory ---------------------------------------------------------------------------------- */

WEFT__COLD struct weft__timer_spare **weft__timer_spare_at(struct weft__timers *ts, const struct weft__timer *t)
{
    struct weft__timer_spare **at = &ts->spare;
    while ((*at)->entry.timer != t)
        at = &(*at)->next;
    return at;
}

WEFT__COLD void weft__timer_spare_insert(struct weft__timers *ts, struct weft__timer_spare *spare)
{
    struct weft__timer_spare **at = &ts->spare;
    while (*at != NULL && weft__timer_before(&(*at)->entry, &spare->entry))
        at = &(*at)->next;
    spare->next = *at;
    *at = spare;
    weft__timer_set_place(spare->entry.timer, WEFT__TIMER_SPARE);
}
