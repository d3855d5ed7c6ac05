/* SPDX-License-Identifier: Apache-2.0 */
/* executor/deque.h -- see deque.c. Items are non-zero words. */
#ifndef WEFT_EXECUTOR_DEQUE_H
#define WEFT_EXECUTOR_DEQUE_H

#include "executor/atomic.h"
#include "executor/base.h"

struct weft__deque_array; /* capacity (power of two), older array, slots */

struct weft__deque {
    /* the owner writes, thieves read */
    alignas(WEFT__CACHELINE) _Atomic(int64_t) bottom;
    int64_t limit;             /* least index for which there may be no room; owner only */
    int64_t mask;              /* of the array; owner only */
    int node;                  /* where its arrays lie (numa.h); -1: anywhere */
    _Atomic(uintptr_t) *slots; /* of the array; owner only */
    _Atomic(struct weft__deque_array *) array;
    /* the owner and thieves claim here */
    alignas(WEFT__CACHELINE) _Atomic(int64_t) top;
};

enum weft__steal { WEFT__STEAL_EMPTY, WEFT__STEAL_LOST, WEFT__STEAL_GOT };

/* 0 or -ENOMEM. `capacity` is rounded up to a power of two. */
int weft__deque_init(struct weft__deque *d, size_t capacity, int node);
void weft__deque_destroy(struct weft__deque *d); /* nobody else uses it any more */

/* Owner only: push where `limit` is reached. */
bool weft__deque_push_slow(struct weft__deque *d, uintptr_t item);
/* Owner only. Adds at the bottom; grows by doubling. False when memory is short (nothing is pushed). */
static inline bool weft__deque_push(struct weft__deque *d, uintptr_t item)
{
    WEFT__ASSERT(item != 0);
    int64_t b = weft__load_relaxed(&d->bottom); /* relaxed: the owner is the only writer */
    if (weft__unlikely(b >= d->limit))
        return weft__deque_push_slow(d, item);
    weft__store_relaxed(&d->slots[b & d->mask], item); /* relaxed: the store of bottom publishes it */
    weft__store_release(&d->bottom, b + 1);            /* pairs: DEQUE-ITEM */
    return true;
}
/* Owner only. The newest item, 0 when empty. */
uintptr_t weft__deque_pop_newest(struct weft__deque *d);
/* Owner only. Takes the newest item if it is `item`. */
bool weft__deque_pop_newest_if(struct weft__deque *d, uintptr_t item);
/* Owner only. Takes the oldest item if it is `item`. */
bool weft__deque_pop_oldest_if(struct weft__deque *d, uintptr_t item);
/* Owner only. The oldest item, 0 when empty (retries when it loses a race to a thief). */
uintptr_t weft__deque_pop_oldest(struct weft__deque *d);
/* Any thread. The oldest item. LOST: somebody else got it, try again or go elsewhere. */
enum weft__steal weft__deque_steal(struct weft__deque *d, uintptr_t *item);
/* Any thread; a moment's view, never negative. */
int64_t weft__deque_size(const struct weft__deque *d);

#endif
