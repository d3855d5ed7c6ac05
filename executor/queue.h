/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue.h -- what a weft_queue is made of, for its three files: queue.c (put and get), queue_look.c (looking for a while before waiting) and
 * queue_life.c (creation, shutdown, end).
 *
 * One guard covers all: the items, the three lists, the counts. A woken getter or putter owns nothing; it looks again
 * when it runs, and who comes by meanwhile may take what it was woken for (then it waits on, at the end of the list),
 * as in asyncio. Items are copied under the guard.
 *
 * Invariants (under the guard)
 *  1 With a pending getter, there are at least as many woken getters that have not gone yet as there are items: a put
 *    wakes one, a take by a woken one lowers both, a woken one that is cancelled wakes another while there are items.
 *  2 The same for putters and free places.
 *  3 `unfinished` > 0 or nobody is pending in joiners.
 *  4 After shutdown no getter waits on an empty queue, no putter waits.
 *
 * A getter that looks at an empty queue of words is given the next item: whoever puts it leaves it in `given`, and not in the store. So what
 * two workers hand to each other crosses between them once, with the guard's line, and the getter does not come for the guard again.
 *
 * | LOOKS | taker |                                                                                                 |
 * | no    | no    | nobody looks so                                                                                 |
 * | yes   | yes   | the taker looks, the queue is empty and stays so. A put: LOOKS is cleared. The taker in vain: both are cleared |
 * | no    | yes   | `given` is the taker's, who clears `taker` when it has read it: without the guard                |
 *
 * QUEUE-GIVEN: the putter clears LOOKS with release, then lets go of the guard; the taker sees LOOKS cleared (acquire), by him or by who changed another bit
 * under the guard after him, then the guard not held: then the putter is done with the queue. QUEUE-TAKER: the taker clears `taker` with release; who sets it anew, or destroys the queue, has acquired it. */
#ifndef WEFT_EXECUTOR_QUEUE_H
#define WEFT_EXECUTOR_QUEUE_H

#include <weft/queue.h>

#include "executor/look.h"
#include "executor/queue_store.h"
#include "executor/sync_wait.h"

/* In `special`, written under the guard: whatever may be in the way of the usual put and get. */
enum {
    WEFT__QUEUE_SHUT_DOWN = 1,
    WEFT__QUEUE_GETTERS = 2, /* one is on the list: a put wakes it */
    WEFT__QUEUE_PUTTERS = 4, /* one is on the list: a get wakes it */
    WEFT__QUEUE_OTHER = 8,   /* the store is no ring of words */
    WEFT__QUEUE_LARGE = 16,  /* the block goes with its last item */
    WEFT__QUEUE_LOOKS = 32,  /* a getter looks: a put gives it the item */
};

struct weft_queue {
    /* ---- the first cache line ---- */
    uint32_t guard;
    uint32_t special;
    size_t room; /* a put must wait or grow the block when so many are there */
    size_t unfinished;
    uint64_t given;           /* the item for the taker */
    struct weft__store store; /* its first part; the rest lies in the next line */
    /* ---- */
    size_t maxsize;
    weft__waitlist getters, putters, joiners; /* their own guards are not used */
    int32_t getters_patience, putters_patience;
    uint32_t looking; /* how many tasks look for an item or for room right now, but for the taker */
    uint32_t taker;   /* a getter is to be given an item, or has been and has not read it yet */
};
_Static_assert(offsetof(struct weft_queue, store.item_size) <= 64, "what every put and get touches is one cache line");

/* Of a new queue: nobody looks until FEW more have waited while others worked than, eight times as many, while nobody did: two tasks that a
 * thief has set apart come together again at their first wait, and are faster then. */
enum { WEFT__QUEUE_FRESH = WEFT__PATIENCE_MIN - WEFT__PATIENCE_PROBE - 1 };

/* With release, each of them: a taker may see that LOOKS is cleared in what somebody wrote after the putter. */
static inline void weft__queue_mark(weft_queue *q, uint32_t bit, bool value)
{
    weft__guard_tell(&q->special, value ? q->special | bit : q->special & ~bit); /* pairs: QUEUE-GIVEN */
}

/* The store has another block. */
static inline void weft__queue_block_changed(weft_queue *q)
{
    size_t capacity = q->store.capacity;
    q->room = q->maxsize != 0 && q->maxsize < capacity ? q->maxsize : capacity;
    weft__queue_mark(q, WEFT__QUEUE_LARGE, weft__store_is_large(&q->store));
}

static inline bool weft__queue_full(const weft_queue *q)
{
    return q->maxsize != 0 && q->store.count >= q->maxsize;
}

/* ---- queue_look.c ---- */

static inline int32_t weft__queue_patience(const int32_t *patience)
{
    return (int32_t)weft__guard_glance((const uint32_t *)patience);
}
static inline void weft__queue_set_patience(int32_t *patience, int32_t value)
{
    weft__guard_hint((uint32_t *)patience, (uint32_t)value);
}

/* Is there room, or will there never be, after a while? The guard is held before and after, not between. */
bool weft__queue_look_for_room(weft_queue *q, struct weft__fiber *f);
/* The same for an item. GIVEN: it is in *item already, and the guard is not held. */
enum { WEFT__QUEUE_NOTHING, WEFT__QUEUE_THERE, WEFT__QUEUE_GIVEN };
int weft__queue_look_for_item(weft_queue *q, struct weft__fiber *f, void *item);

/* A getter looks: the item is his. The guard is held. */
static inline void weft__queue_give(weft_queue *q, const void *item)
{
    memcpy(&q->given, item, sizeof q->given);
    q->unfinished++;
    weft__guard_tell(&q->special, q->special & ~(uint32_t)WEFT__QUEUE_LOOKS); /* pairs: QUEUE-GIVEN */
}

#endif
