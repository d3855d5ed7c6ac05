/* SPDX-License-Identifier: Apache-2.0 */
/* executor/joins.h -- see joins.c: a worker's stack of forked children, youngest first for itself, of which the oldest lie open to thieves.
 * Items are non-zero words. The inline functions of weft/join.h do what push and pop do here. */
#ifndef WEFT_EXECUTOR_JOINS_H
#define WEFT_EXECUTOR_JOINS_H

#include "executor/deque.h"

struct weft__joins_array; /* capacity, older array, slots */

struct weft__joins {
    /* the owner's; weft/here.h knows it */
    alignas(WEFT__CACHELINE) _Atomic(int64_t) bottom; /* one above the newest (pairs: JOINS-FLOOR) */
    _Atomic(int64_t) floor;                           /* children from here up are closed (pairs: JOINS-FLOOR) */
    _Atomic(int64_t)
        limit; /* from here on push takes the slow way: no room, or somebody wants a part (pairs: JOINS-LIMIT) */
    int64_t mask;
    _Atomic(uintptr_t) *slots;
    _Atomic(uint64_t) pushes; /* by one writer; statistic */
    _Atomic(struct weft__joins_array *) array;
    uint32_t guard; /* of floor and end: the owner's slow ways, and raids */
    bool watched;   /* every push takes the slow way, whoever asks; set before anybody else knows it */
    int16_t node;   /* where its arrays lie (numa.h); -1: anywhere */
    /* thieves claim in [top, end) */
    alignas(WEFT__CACHELINE) _Atomic(int64_t) top;
    _Atomic(int64_t) end;
};

/* 0 or -ENOMEM. */
int weft__joins_init(struct weft__joins *j, size_t capacity, int node);
void weft__joins_destroy(struct weft__joins *j); /* nobody else uses it any more */

/* Owner only. Adds the newest. False when memory is short (nothing is pushed). */
bool weft__joins_push_slow(struct weft__joins *j, uintptr_t item);
/* Owner only: let thieves have the older half of what is closed, never the newest. True: something was opened. */
bool weft__joins_share(struct weft__joins *j);
/* Owner only. The newest, if it is `item` (0: whatever it is); 0 when it is not, or when thieves have got all. */
uintptr_t weft__joins_pop(struct weft__joins *j, uintptr_t item);
/* Owner only: the rest of a pop by somebody who has lowered bottom to the newest's index, and found floor above that: is it his? */
bool weft__joins_pop_open(struct weft__joins *j, int64_t bottom);
/* Owner only. The newest, if it lies closed; 0: none does. */
static inline uintptr_t weft__joins_pop_newest(struct weft__joins *j)
{
    int64_t b = weft__load_relaxed(&j->bottom) - 1; /* relaxed: own */
    if (weft__load_relaxed(&j->floor) > b)          /* relaxed: looked at again */
        return 0;
    uintptr_t newest = weft__load_relaxed(&j->slots[b & j->mask]); /* relaxed: own */
    weft__store_release(&j->bottom, b);                            /* pairs: JOINS-FLOOR */
    weft__compiler_barrier();
    if (weft__unlikely(weft__load_seq_cst(&j->floor) > b) && !weft__joins_pop_open(j, b)) /* pairs: JOINS-FLOOR */
        return 0;
    return newest;
}
/* Owner only. The oldest; 0 when empty. */
uintptr_t weft__joins_pop_oldest(struct weft__joins *j);
/* Any thread. The oldest open child. */
enum weft__steal weft__joins_steal(struct weft__joins *j, uintptr_t *item);
/* Any thread: the owner is to open a part at its next push that finds `pending` children or more. */
void weft__joins_ask(struct weft__joins *j, int64_t pending);
/* Owner only: nobody wants anything, as far as the owner knows; it must look again after this. */
void weft__joins_satisfied(struct weft__joins *j);
/* A thief, when the owner has not answered for long: open the older half of what is closed (all of one). Costs both sides microseconds. */
bool weft__joins_raid(struct weft__joins *j);
/* Any thread; a moment's view, never negative: all, and those that lie open. */
int64_t weft__joins_size(const struct weft__joins *j);
int64_t weft__joins_open(const struct weft__joins *j);

#endif
