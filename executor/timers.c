/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers.c -- deadlines: each worker has its own, under its own guard; any thread may use any of them.
 *
 * Programs use few different durations, and the clock goes forward: so most timers are due in the order in which they were
 * set. A run is a ring of such timers. A new one goes to the end of the first run whose last is not due later (a duration finds
 * itself a run of its own); what fits nowhere goes into a 4-ary min-heap. The next to fire is the least of the runs' heads
 * and the heap's root. So setting, cancelling and firing take constant time for what runs hold, and touch memory in order.
 *
 * Entries are {deadline, sequence, timer}, so that comparing touches no timer; the timer knows its place. A cancelled timer's
 * entry stays in its run as a gap until an end of the run comes to it, or until the ring is full: then gaps are squeezed out
 * if they are half of it, else it doubles. Most timers are cancelled, not fired: a run is at most twice as long as the live
 * timers it ever held at once. In the heap a cancel takes the entry out, in O(log n).
 *
 * A timer's index is its state:
 *   IDLE     -> place    set, by its user, under the guard of the home it goes to
 *   place    -> place    others move it, under the home's guard
 *   place    -> IDLE     cancel, under the home's guard
 *   place    -> FIRING   fire, under the home's guard, which it holds until the callback has returned
 *   FIRING   -> IDLE     fire, after the callback; from here on the timer's memory is its user's again
 * So IDLE may be believed without a guard, which makes the usual cancel of a fired or never set timer one load; and who
 * meets FIRING takes the home's guard, which waits until that fire is over. A callback often wakes the very task that
 * then cancels or sets the timer again: it waits that moment. A place is a run's number above the position (cut to 28 bits),
 * or HEAP above the place in the heap.
 *
 * Invariants
 *   1 The entry at timer.index says timer and timer.home is where that is, for each pending timer.
 *   2 home changes only in set, under the guard of the new home. Under the guard of H, pending with home H means in H.
 *   3 earliest is the least deadline or WEFT_FOREVER whenever the guard is free.
 *   4 Timers fire in order of (deadline, sequence); sequence counts the sets of this home. Along a run both only grow.
 *   5 A run's head and last entry are no gaps. An empty run has head == tail.
 *   6 A timer is set only by its user, one thread at a time, and not while it is pending. Before its memory goes,
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
 * Rejected: a wheel (rounds deadlines or cascades, and next-deadline, which each park needs, is a search); the heap alone
 * (each step of each removal writes to a timer somewhere in memory); one home for all (its lock is everybody's); leaving
 * cancelled ones to their deadline (a server that renews a timeout for each request grows a pile of dead ones). Memory grows by
 * doubling and stays until destroy. */
#include "executor/timers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "executor/guard.h"

struct weft__timer_entry {
    weft_ns deadline;
    uint64_t sequence;
    struct weft__timer *timer; /* NULL: a gap */
};

#define TIMER_FIRING (WEFT__TIMER_IDLE - 1)
#define PLACE_BITS 28
#define PLACE_MASK ((UINT32_C(1) << PLACE_BITS) - 1)
#define HEAP (WEFT__TIMER_RUNS << PLACE_BITS)
#define FIRST_CAPACITY 64U
#define MAX_CAPACITY (UINT32_C(1) << (PLACE_BITS - 1))
#define TIMERS_ARITY 4U
#define AHEAD 6U /* so many places before a timer fires its memory is asked for */

static inline bool entry_before(const struct weft__timer_entry *x, const struct weft__timer_entry *y)
{
    return x->deadline < y->deadline || (x->deadline == y->deadline && x->sequence < y->sequence);
}

/* ---- the runs ---------------------------------------------------------------------------------------------------- */

static inline struct weft__timer_entry *run_at(const struct weft__timer_run *r, uint32_t position)
{
    return &r->ring[position & (r->capacity - 1)];
}

static inline void set_place(struct weft__timer *t, uint32_t place)
{
    weft__store_release(&t->index, place); /* pairs: TIMER-INDEX */
}

static void run_squeeze(struct weft__timer_run *r, uint32_t number)
{
    uint32_t to = r->head;
    for (uint32_t from = r->head; from != r->tail; from++) {
        struct weft__timer_entry *entry = run_at(r, from);
        if (entry->timer == NULL)
            continue;
        if (from != to) {
            *run_at(r, to) = *entry;
            set_place(entry->timer, number << PLACE_BITS | (to & PLACE_MASK));
        }
        to++;
    }
    r->tail = to;
}

/* The ring is full: make room for one more. */
static WEFT__COLD bool run_grow(struct weft__timer_run *r, uint32_t number)
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
            memcpy(run_at(r, from), &ring[from & (old - 1)], (end - from) * sizeof *ring);
        from = end;
    }
    return true;
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
    if (weft__unlikely(r->tail - r->head == r->capacity) && !run_grow(r, number))
        return false;
    if (r->head == r->tail) {
        ts->first[number] = entry.deadline;
        ts->busy |= 1U << number;
    }
    ts->last[number] = entry.deadline;
    *run_at(r, r->tail) = entry;
    set_place(entry.timer, number << PLACE_BITS | (r->tail & PLACE_MASK));
    r->tail++;
    r->live++;
    return true;
}

static inline void run_emptied(struct weft__timers *ts, uint32_t number)
{
    struct weft__timer_run *r = &ts->runs[number];
    r->head = r->tail = 0; /* at the ring's start again, which is in the cache if the run is short */
    ts->first[number] = WEFT_FOREVER;
    ts->last[number] = INT64_MIN;
    ts->busy &= ~(1U << number);
}

static inline void run_remove(struct weft__timers *ts, uint32_t number, uint32_t position)
{
    struct weft__timer_run *r = &ts->runs[number];
    run_at(r, position)->timer = NULL;
    if (--r->live == 0) {
        run_emptied(ts, number);
        return;
    }
    if (((position ^ r->head) & PLACE_MASK) == 0) {
        while (run_at(r, r->head)->timer == NULL)
            r->head++;
        ts->first[number] = run_at(r, r->head)->deadline;
    } else if (((position ^ (r->tail - 1)) & PLACE_MASK) == 0) {
        while (run_at(r, r->tail - 1)->timer == NULL)
            r->tail--;
        ts->last[number] = run_at(r, r->tail - 1)->deadline;
    }
}

/* ---- the heap ---------------------------------------------------------------------------------------------------- */

static inline void heap_place(struct weft__timers *ts, uint32_t at, struct weft__timer_entry entry)
{
    ts->heap[at] = entry;
    set_place(entry.timer, HEAP | at);
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
        if (first >= ts->heap_count)
            break;
        uint64_t end = first + TIMERS_ARITY < ts->heap_count ? first + TIMERS_ARITY : ts->heap_count;
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
    WEFT__BUG_ON(ts->heap == NULL); /* it holds an entry at least */
    struct weft__timer_entry last = ts->heap[--ts->heap_count];
    if (at == ts->heap_count)
        return;
    if (at > 0 && entry_before(&last, &ts->heap[(at - 1) / TIMERS_ARITY]))
        heap_raise(ts, at, last);
    else
        heap_sink(ts, at, last);
}

static WEFT__COLD bool heap_grow(struct weft__timers *ts)
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

/* ---- both -------------------------------------------------------------------------------------------------------- */

/* Whose head is next; WEFT__TIMER_RUNS: the heap's root. There is one. *bound: the least deadline of the others, or WEFT_FOREVER. */
static inline uint32_t next_source(const struct weft__timers *ts, weft_ns *bound)
{
    uint32_t best = WEFT__TIMER_RUNS;
    const struct weft__timer_entry *least = ts->heap_count != 0 ? &ts->heap[0] : NULL;
    *bound = WEFT_FOREVER;
    for (uint32_t left = ts->busy; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        const struct weft__timer_entry *entry = run_at(&ts->runs[i], ts->runs[i].head);
        const struct weft__timer_entry *later = entry;
        if (least == NULL || entry_before(entry, least)) {
            later = least;
            least = entry;
            best = i;
        }
        if (later != NULL && later->deadline < *bound)
            *bound = later->deadline;
    }
    return best;
}

static inline void remove_at(struct weft__timers *ts, uint32_t place)
{
    ts->count--;
    if (weft__likely(place < HEAP))
        run_remove(ts, place >> PLACE_BITS, place & PLACE_MASK);
    else
        heap_remove(ts, place & PLACE_MASK);
}

static inline const struct weft__timer_entry *entry_at(const struct weft__timers *ts, uint32_t place)
{
    return place < HEAP ? run_at(&ts->runs[place >> PLACE_BITS], place & PLACE_MASK) : &ts->heap[place & PLACE_MASK];
}

/* Before the guard is given back: invariant 3. */
static inline void publish(struct weft__timers *ts, weft_ns earliest)
{
    if (weft__load_relaxed(&ts->earliest) != earliest) /* relaxed: written under the guard only */
        weft__store_release(&ts->earliest, earliest);  /* pairs: TIMER-EARLIEST */
}

static inline void publish_anew(struct weft__timers *ts)
{
    weft_ns earliest = ts->heap_count != 0 ? ts->heap[0].deadline : WEFT_FOREVER;
    for (uint32_t left = ts->busy; left != 0; left &= left - 1) {
        weft_ns first = ts->first[__builtin_ctz(left)];
        earliest = first < earliest ? first : earliest;
    }
    publish(ts, earliest);
}

void weft__timers_init(struct weft__timers *ts)
{
    memset(ts, 0, sizeof *ts);
    for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++)
        run_emptied(ts, i);
    weft__store_relaxed(&ts->earliest, WEFT_FOREVER); /* relaxed: nobody else knows it yet */
}

void weft__timers_destroy(struct weft__timers *ts)
{
    WEFT__ASSERT(ts->count == 0); /* a pending timer would later look for its place in freed memory */
    free(ts->heap);
    for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++)
        free(ts->runs[i].ring);
    memset(ts, 0, sizeof *ts);
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

static inline bool insert(struct weft__timers *ts, struct weft__timer_entry entry)
{
    uint32_t number = run_for(ts, entry.deadline);
    if (weft__likely(number < WEFT__TIMER_RUNS))
        return run_append(ts, number, entry);
    if (weft__unlikely(ts->heap_count == ts->heap_capacity) && !heap_grow(ts))
        return false;
    heap_raise(ts, ts->heap_count++, entry);
    return true;
}

int weft__timers_set(struct weft__timers *ts, struct weft__timer *t, weft_ns deadline)
{
    uint32_t state = weft__load_acquire(&t->index); /* pairs: TIMER-INDEX */
    if (weft__unlikely(state != WEFT__TIMER_IDLE)) {
        WEFT__BUG_ON(state != TIMER_FIRING);
        timer_await_fire(t);
    }
    weft__guard_lock(&ts->guard);
    weft__store_relaxed(&t->home, ts); /* relaxed: the store of index publishes it */
    struct weft__timer_entry entry = {.deadline = deadline, .sequence = ts->sequence, .timer = t};
    bool done = insert(ts, entry);
    t->refused = !done; /* before the timer may fire, that is inside the guard */
    if (weft__likely(done)) {
        ts->sequence++;
        ts->count++;
        if (deadline < weft__load_relaxed(&ts->earliest)) /* relaxed: written under the guard only */
            publish(ts, deadline);
    }
    weft__guard_unlock(&ts->guard);
    return done ? 0 : -ENOMEM;
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
            const struct weft__timer_entry *entry = entry_at(home, at);
            WEFT__ASSERT(entry->timer == t);
            bool first =
                entry->deadline <= weft__load_relaxed(&home->earliest); /* relaxed: written under the guard only */
            remove_at(home, at);
            set_place(t, WEFT__TIMER_IDLE);
            if (first)
                publish_anew(home);
        }
        weft__guard_unlock(&home->guard);
        if (here)
            return true;
    }
    return false;
}

/* The guard is held; the timer's entry has been taken out. */
static inline void fire(struct weft__timer *t)
{
    set_place(t, TIMER_FIRING);
    t->fire(t);
    set_place(t, WEFT__TIMER_IDLE); /* not touched again from here on */
}

uint64_t weft__timers_sequence(struct weft__timers *ts)
{
    weft__guard_lock(&ts->guard);
    uint64_t sequence = ts->sequence;
    weft__guard_unlock(&ts->guard);
    return sequence;
}

/* The heap's first one that is due and older than `before`. Newer ones in front of it are put aside and come back: rare, and few (set
 * for the past by what this round runs). */
static struct weft__timer *heap_older(struct weft__timers *ts, weft_ns now, uint64_t before)
{
    struct weft__timer_entry newer[16];
    unsigned aside = 0;
    while (ts->heap_count > 0 && ts->heap[0].deadline <= now && ts->heap[0].sequence >= before &&
           aside < sizeof newer / sizeof newer[0]) {
        newer[aside++] = ts->heap[0];
        heap_remove(ts, 0);
    }
    bool due = ts->heap_count > 0 && ts->heap[0].deadline <= now && ts->heap[0].sequence < before;
    struct weft__timer *first = due ? ts->heap[0].timer : NULL;
    while (aside > 0)
        heap_raise(ts, ts->heap_count++, newer[--aside]);
    return first;
}

static inline uint32_t place_of(struct weft__timer *t)
{
    return weft__load_relaxed(&t->index); /* relaxed: written under the guard, which is held */
}

bool weft__timers_fire_one(struct weft__timers *ts, weft_ns now, uint64_t before)
{
    if (weft__load_relaxed(&ts->earliest) > now) /* relaxed: its owner asks, and set it itself */
        return false;
    weft__guard_lock(&ts->guard);
    struct weft__timer *first = heap_older(ts, now, before);
    const struct weft__timer_entry *least = first != NULL ? entry_at(ts, place_of(first)) : NULL;
    /* What stands first in a run is its oldest as well (invariant 4). */
    for (uint32_t left = ts->busy; left != 0; left &= left - 1) {
        const struct weft__timer_run *r = &ts->runs[__builtin_ctz(left)];
        const struct weft__timer_entry *entry = run_at(r, r->head);
        if (entry->deadline <= now && entry->sequence < before && (least == NULL || entry_before(entry, least)))
            least = entry;
    }
    bool due = least != NULL;
    if (due) {
        first = least->timer;
        remove_at(ts, place_of(first));
        fire(first);
        weft__count(&ts->fired, 1); /* one writer: under the guard */
    }
    publish_anew(ts);
    weft__guard_unlock(&ts->guard);
    return due;
}

bool weft__timers_fire_nth(struct weft__timers *ts, weft_ns now, unsigned n)
{
    struct weft__timer_entry aside[8]; /* from the heap's root, until it is known whose turn it is */
    uint32_t cursor[WEFT__TIMER_RUNS];
    unsigned count = 0, heaps = 0;
    struct weft__timer *chosen = NULL;
    weft__guard_lock(&ts->guard);
    for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++)
        cursor[i] = ts->runs[i].head;
    for (; count <= n && count < sizeof aside / sizeof aside[0]; count++) {
        const struct weft__timer_entry *least = ts->heap_count != 0 ? &ts->heap[0] : NULL;
        uint32_t source = WEFT__TIMER_RUNS;
        for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++) {
            const struct weft__timer_run *r = &ts->runs[i];
            while (cursor[i] != r->tail && run_at(r, cursor[i])->timer == NULL)
                cursor[i]++;
            if (cursor[i] != r->tail && (least == NULL || entry_before(run_at(r, cursor[i]), least))) {
                least = run_at(r, cursor[i]);
                source = i;
            }
        }
        if (least == NULL || least->deadline > now)
            break;
        chosen = least->timer;
        if (source < WEFT__TIMER_RUNS) {
            cursor[source]++;
        } else {
            aside[heaps++] = *least;
            heap_remove(ts, 0);
        }
    }
    while (heaps > 0)
        heap_raise(ts, ts->heap_count++, aside[--heaps]);
    if (chosen != NULL) {
        remove_at(ts, place_of(chosen));
        fire(chosen);
        weft__count(&ts->fired, 1); /* one writer: under the guard */
    }
    publish_anew(ts);
    weft__guard_unlock(&ts->guard);
    return chosen != NULL;
}

/* Fire what stands first in a run, while it is due and comes before what others have. */
static inline unsigned fire_run(struct weft__timers *ts, uint32_t number, weft_ns now, weft_ns bound, unsigned limit)
{
    struct weft__timer_run *r = &ts->runs[number];
    unsigned fired = 0;
    do {
        struct weft__timer *t = run_at(r, r->head)->timer;
        __builtin_prefetch(run_at(r, r->head + AHEAD)->timer);
        ts->count--;
        run_remove(ts, number, r->head);
        fire(t);
        fired++;
    } while (fired < limit && ts->first[number] <= now && ts->first[number] < bound);
    return fired;
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
    while (fired < limit && ts->count > 0) {
        weft_ns bound;
        uint32_t source = next_source(ts, &bound);
        if (source < WEFT__TIMER_RUNS) {
            if (ts->first[source] > now)
                break;
            fired += fire_run(ts, source, now, bound, limit - fired);
        } else {
            struct weft__timer *t = ts->heap[0].timer;
            if (ts->heap[0].deadline > now)
                break;
            ts->count--;
            heap_remove(ts, 0);
            fire(t);
            fired++;
        }
    }
    if (fired) {
        publish_anew(ts);
        weft__count(&ts->fired, fired); /* one writer: under the guard */
    }
    weft__guard_unlock(&ts->guard);
    return fired;
}
