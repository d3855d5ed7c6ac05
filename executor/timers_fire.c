/* SPDX-License-Identifier: Apache-2.0 */
/* executor/timers_fire.c -- firing the timers that are due (states and rules: timers.c).
 *
 * Firing takes the least of the runs' heads, the heap's root and the first of those without memory, again and again; as long as the same run's
 * head comes before all else, nothing else is looked at. The callback runs under the home's guard, with the index at FIRING.
 *
 * Threads: any; each function takes the home's guard. */
#include "executor/timers_store.h"

#define AHEAD 6U /* so many places before a timer fires its memory is asked for */

/* The guard is held; the timer's entry has been taken out. */
static inline void fire(struct weft__timer *t)
{
    weft__timer_set_place(t, WEFT__TIMER_FIRING);
    t->fire(t);
    weft__timer_set_place(t, WEFT__TIMER_IDLE); /* not touched again from here on */
}

#define HEAP WEFT__TIMER_RUNS
#define SPARE (WEFT__TIMER_RUNS + 1)

/* Whose head is next; HEAP: the heap's root; SPARE. There is one. *bound: the least deadline of the others, or WEFT_FOREVER. */
static inline uint32_t next_source(const struct weft__timers *ts, weft_ns *bound)
{
    uint32_t best = HEAP;
    const struct weft__timer_entry *least = ts->heap_count != 0 ? &ts->heap[0] : NULL;
    *bound = WEFT_FOREVER;
    if (weft__unlikely(ts->spare != NULL)) {
        const struct weft__timer_entry *entry = &ts->spare->entry;
        bool first = least == NULL || weft__timer_before(entry, least);
        if (least != NULL)
            *bound = first ? least->deadline : entry->deadline;
        best = first ? SPARE : HEAP;
        least = first ? entry : least;
    }
    for (uint32_t left = ts->busy; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);
        const struct weft__timer_entry *entry = weft__timer_run_at(&ts->runs[i], ts->runs[i].head);
        const struct weft__timer_entry *later = entry;
        if (least == NULL || weft__timer_before(entry, least)) {
            later = least;
            least = entry;
            best = i;
        }
        if (later != NULL && later->deadline < *bound)
            *bound = later->deadline;
    }
    return best;
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
        weft__timer_heap_remove(ts, 0);
    }
    bool due = ts->heap_count > 0 && ts->heap[0].deadline <= now && ts->heap[0].sequence < before;
    struct weft__timer *first = due ? ts->heap[0].timer : NULL;
    while (aside > 0)
        weft__timer_heap_raise(ts, ts->heap_count++, newer[--aside]);
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
    const struct weft__timer_entry *least = first != NULL ? weft__timer_entry_at(ts, first, place_of(first)) : NULL;
    /* What stands first in a run is its oldest as well (invariant 4). */
    for (uint32_t left = ts->busy; left != 0; left &= left - 1) {
        const struct weft__timer_run *r = &ts->runs[__builtin_ctz(left)];
        const struct weft__timer_entry *entry = weft__timer_run_at(r, r->head);
        if (entry->deadline <= now && entry->sequence < before && (least == NULL || weft__timer_before(entry, least)))
            least = entry;
    }
    for (const struct weft__timer_spare *s = ts->spare; weft__unlikely(s != NULL); s = s->next) {
        if (s->entry.deadline <= now && s->entry.sequence < before &&
            (least == NULL || weft__timer_before(&s->entry, least))) {
            least = &s->entry;
            break;
        }
    }
    bool due = least != NULL;
    if (due) {
        first = least->timer;
        weft__timer_remove_at(ts, first, place_of(first));
        fire(first);
        weft__count(&ts->fired, 1); /* one writer: under the guard */
    }
    weft__timers_publish_anew(ts);
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
    const struct weft__timer_spare *spare = ts->spare;
    for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++)
        cursor[i] = ts->runs[i].head;
    for (; count <= n && count < sizeof aside / sizeof aside[0]; count++) {
        const struct weft__timer_entry *least = ts->heap_count != 0 ? &ts->heap[0] : NULL;
        uint32_t source = HEAP;
        if (weft__unlikely(spare != NULL) && (least == NULL || weft__timer_before(&spare->entry, least))) {
            least = &spare->entry;
            source = SPARE;
        }
        for (uint32_t i = 0; i < WEFT__TIMER_RUNS; i++) {
            const struct weft__timer_run *r = &ts->runs[i];
            while (cursor[i] != r->tail && weft__timer_run_at(r, cursor[i])->timer == NULL)
                cursor[i]++;
            if (cursor[i] != r->tail &&
                (least == NULL || weft__timer_before(weft__timer_run_at(r, cursor[i]), least))) {
                least = weft__timer_run_at(r, cursor[i]);
                source = i;
            }
        }
        if (least == NULL || least->deadline > now)
            break;
        chosen = least->timer;
        if (source < WEFT__TIMER_RUNS) {
            cursor[source]++;
        } else if (source == SPARE) {
            spare = spare->next;
        } else {
            aside[heaps++] = *least;
            weft__timer_heap_remove(ts, 0);
        }
    }
    while (heaps > 0)
        weft__timer_heap_raise(ts, ts->heap_count++, aside[--heaps]);
    if (chosen != NULL) {
        weft__timer_remove_at(ts, chosen, place_of(chosen));
        fire(chosen);
        weft__count(&ts->fired, 1); /* one writer: under the guard */
    }
    weft__timers_publish_anew(ts);
    weft__guard_unlock(&ts->guard);
    return chosen != NULL;
}

/* The first lines of what fires soon: most timers lie in a fiber's second line, and it is the first that decides. */
static inline __attribute__((always_inline)) void ask_for(const struct weft__timer_run *r, uint32_t places)
{
    uintptr_t later = (uintptr_t)weft__timer_run_at(r, r->head + places)->timer; /* or a gap, or nothing yet */
    __builtin_prefetch(weft__timer_run_at(r, r->head + 4 * places));
    __builtin_prefetch((const void *)later, 1);
    __builtin_prefetch((const void *)(later - 64), 1);
}

/* Fire what stands first in a run, while it is due and comes before what others have. */
static inline unsigned fire_run(struct weft__timers *ts, uint32_t number, weft_ns now, weft_ns bound, unsigned limit)
{
    struct weft__timer_run *r = &ts->runs[number];
    unsigned fired = 0;
    do {
        struct weft__timer *t = weft__timer_run_at(r, r->head)->timer;
        ask_for(r, AHEAD);
        ts->count--;
        weft__timer_run_remove(ts, number, r->head);
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
        } else if (weft__unlikely(source == SPARE)) {
            struct weft__timer *t = ts->spare->entry.timer;
            if (ts->spare->entry.deadline > now)
                break;
            weft__timer_remove_at(ts, t, WEFT__TIMER_SPARE);
            fire(t);
            fired++;
        } else {
            struct weft__timer *t = ts->heap[0].timer;
            if (ts->heap[0].deadline > now)
                break;
            ts->count--;
            weft__timer_heap_remove(ts, 0);
            fire(t);
            fired++;
        }
    }
    if (fired) {
        weft__timers_publish_anew(ts);
        weft__count(&ts->fired, fired); /* one writer: under the guard */
    }
    weft__guard_unlock(&ts->guard);
    return fired;
}

bool weft__timers_fire_next(struct weft__timers *ts, weft_ns now, void (*ahead)(struct weft__timer *later))
{
    bool due = false;
    weft_ns bound;
    weft__guard_lock(&ts->guard);
    if (ts->count > 0) {
        uint32_t source = next_source(ts, &bound);
        struct weft__timer_run *r = source < WEFT__TIMER_RUNS ? &ts->runs[source] : NULL;
        const struct weft__timer_entry *first = r != NULL         ? weft__timer_run_at(r, r->head)
                                                : source == SPARE ? &ts->spare->entry
                                                                  : &ts->heap[0];
        struct weft__timer *t = first->timer;
        due = first->deadline <= now;
        if (due) {
            if (r != NULL && r->live > AHEAD) {
                ask_for(r, AHEAD);
                struct weft__timer *later = weft__timer_run_at(r, r->head + AHEAD / 2)->timer;
                if (later != NULL)
                    ahead(later);
            }
            weft__timer_remove_at(ts, t, place_of(t));
            fire(t);
            weft__count(&ts->fired, 1); /* one writer: under the guard */
        }
    }
    weft__timers_publish_anew(ts);
    weft__guard_unlock(&ts->guard);
    return due;
}
