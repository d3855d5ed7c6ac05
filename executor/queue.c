/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue.c -- weft_queue: getters and putters that wait for items and for room.
 *
 * One guard covers all: the items, the three lists, the counts. A woken getter or putter owns nothing; it looks again
 * when it runs, and who comes by meanwhile may take what it was woken for (then it waits on, at the end of the list),
 * as in asyncio. Items are copied under the guard. Who finds nothing may look for a while before it waits (look.h).
 *
 * A getter that looks at an empty queue of words is given the next item: whoever puts it leaves it in `given`, and not in the store. So what
 * two workers hand to each other crosses between them once, with the guard's line, and the getter does not come for the guard again.
 *
 * | LOOKS | taker |                                                                                                 |
 * | no    | no    | nobody looks so                                                                                 |
 * | yes   | yes   | the taker looks, the queue is empty and stays so. A put: LOOKS is cleared. The taker in vain: both are cleared |
 * | no    | yes   | `given` is the taker's, who clears `taker` when it has read it: without the guard                |
 *
 * QUEUE-GIVEN: the putter clears LOOKS with release, then lets go of the guard; the taker sees LOOKS cleared (acquire), then the guard not held: then
 * the putter is done with the queue. QUEUE-TAKER: the taker clears `taker` with release; who sets it anew, or destroys the queue, has acquired it.
 *
 * Most puts and gets find room or an item in a ring of words, and nobody whom they must wake. Then each is one round of
 * the guard and a word copied, and all that it touches but the item is in the queue's first cache line. Whatever may be
 * in the way has a bit in `special`, so there is one test; for the rest there are put_slow and get_slow.
 *
 * Invariants (under the guard)
 *  1 With a pending getter, there are at least as many woken getters that have not gone yet as there are items: a put
 *    wakes one, a take by a woken one lowers both, a woken one that is cancelled wakes another while there are items.
 *  2 The same for putters and free places.
 *  3 `unfinished` > 0 or nobody is pending in joiners.
 *  4 After shutdown no getter waits on an empty queue, no putter waits.
 * Put, get, join: tasks only. Everything else: any thread. */
#include <errno.h>
#include <stdlib.h>
#include <weft/queue.h>

#include "executor/look.h"
#include "executor/queue_store.h"
#include "executor/seeded.h"
#include "executor/sync_wait.h"

/* Written under the guard. */
enum {
    SHUT_DOWN = 1,
    GETTERS = 2, /* one is on the list: a put wakes it */
    PUTTERS = 4, /* one is on the list: a get wakes it */
    OTHER = 8,   /* the store is no ring of words */
    LARGE = 16,  /* the block goes with its last item */
    LOOKS = 32,  /* a getter looks: a put gives it the item */
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

/* Looking for a while (look.h). At a new queue nobody looks until FEW more have waited while others worked than, eight times as many,
 * while nobody did: two tasks that a thief has set apart come together again at their first wait, and are faster then. */
enum {
    LOOK = 512,
    LOOK_MOST = 128,
    PATIENCE = 14,
    FEW = 4,
    EIGHT = 8,
    FRESH = WEFT__PATIENCE_MIN - WEFT__PATIENCE_PROBE - 1
};

static const struct weft__wait_kind get_wait = {"queue: get", NULL};
static const struct weft__wait_kind put_wait = {"queue: put", NULL};
static const struct weft__wait_kind join_wait = {"queue: join", NULL};

static inline void lock(weft_queue *q)
{
    weft__guard_lock(&q->guard);
}
static inline void unlock(weft_queue *q)
{
    weft__guard_unlock(&q->guard);
}

static inline void set_special(weft_queue *q, uint32_t bit, bool value)
{
    weft__guard_hint(&q->special, value ? q->special | bit : q->special & ~bit);
}

/* The store has another block. */
static void block_changed(weft_queue *q)
{
    size_t capacity = q->store.capacity;
    q->room = q->maxsize != 0 && q->maxsize < capacity ? q->maxsize : capacity;
    set_special(q, LARGE, weft__store_is_large(&q->store));
}

/* Wake somebody who waits for an item or for room, if anybody does. `bit` is the list's. */
static inline void wake_one(weft_queue *q, weft__waitlist *l, uint32_t bit)
{
    if ((q->special & bit) != 0) {
        weft__sync_wake(l, 1);
        set_special(q, bit, l->first_ != NULL);
    }
}
static inline void wake_getter(weft_queue *q)
{
    wake_one(q, &q->getters, GETTERS);
}
static inline void wake_putter(weft_queue *q)
{
    wake_one(q, &q->putters, PUTTERS);
}

/* Wait on a list; `bit` is its own, 0 for the joiners'. The guard is held before and after. */
static inline __attribute__((always_inline)) struct weft__slept wait_on(weft_queue *q, weft__waitlist *l, uint32_t bit,
                                                                        struct weft__fiber *f,
                                                                        const struct weft__wait_kind *kind)
{
    struct weft__wait_node *node = weft__sync_join(l, f, kind, q);
    set_special(q, bit, true);
    unlock(q);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    lock(q);
    struct weft__slept slept = weft__sync_leave(l, node, how);
    if (weft__unlikely(slept.cancelled) && l->first_ == NULL)
        set_special(q, bit, false);
    return slept;
}

static weft_queue *create(enum weft__store_kind kind, size_t item_size, size_t maxsize, weft__compare *compare)
{
    if (item_size == 0)
        return NULL;
    size_t bytes = (sizeof(weft_queue) + WEFT__CACHELINE - 1) / WEFT__CACHELINE * WEFT__CACHELINE;
    weft_queue *q = aligned_alloc(WEFT__CACHELINE, bytes);
    if (q == NULL)
        return NULL;
    *q = (weft_queue){.maxsize = maxsize, .getters_patience = FRESH, .putters_patience = FRESH};
    if (weft__store_init(&q->store, kind, item_size, maxsize, compare) != 0) {
        free(q);
        return NULL;
    }
    q->special = weft__store_is_plain(&q->store) ? 0 : OTHER;
    block_changed(q);
    return q;
}

weft_queue *weft_queue_create(size_t item_size, size_t maxsize)
{
    return create(WEFT__STORE_RING, item_size, maxsize, NULL);
}

weft_queue *weft_lifo_queue_create(size_t item_size, size_t maxsize)
{
    return create(WEFT__STORE_STACK, item_size, maxsize, NULL);
}

weft_queue *weft_priority_queue_create(size_t item_size, size_t maxsize, int (*compare)(const void *a, const void *b))
{
    return compare != NULL ? create(WEFT__STORE_HEAP, item_size, maxsize, compare) : NULL;
}

void weft_queue_destroy(weft_queue *q)
{
    if (q == NULL)
        return;
    lock(q); /* whoever woke the last waiter may still be about to let go of the guard */
    bool waited_on = q->getters.count_ != 0 || q->putters.count_ != 0 || q->joiners.count_ != 0 || q->looking != 0 ||
                     weft__guard_see(&q->taker) != 0; /* pairs: QUEUE-TAKER */
    unlock(q);
    if (waited_on)
        weft__misuse("weft_queue_destroy", "a task still waits on the queue");
    free(q->store.block);
    free(q);
}

static inline bool full(const weft_queue *q)
{
    return q->maxsize != 0 && q->store.count >= q->maxsize;
}

/* Let a larger block be there, or -ENOMEM. The guard is held before and after, not between: look at everything again.
 * */
static WEFT__NOINLINE int grow(weft_queue *q)
{
    size_t before = q->store.capacity, after = weft__store_next_capacity(&q->store);
    unlock(q);
    void *block = weft__store_allocate(&q->store, after); /* reads only what never changes */
    if (block == NULL) {
        lock(q);
        return -ENOMEM;
    }
    lock(q);
    if (q->store.capacity == before)
        block = weft__store_adopt(&q->store, block, after);
    block_changed(q);
    unlock(q);
    free(block);
    lock(q);
    return 0;
}

/* ---- looking for a while: look.h ---- */

/* Without the guard, and only when nobody has it: who comes for it too early has to pause. */
static inline bool nobody_inside(const weft_queue *q)
{
    return (weft__guard_glance(&q->guard) & WEFT__GUARD_HELD) == 0;
}
static inline int32_t patience_of(const int32_t *patience)
{
    return (int32_t)weft__guard_glance((const uint32_t *)patience);
}
static inline void set_patience(int32_t *patience, int32_t value)
{
    weft__guard_hint((uint32_t *)patience, (uint32_t)value);
}
static inline bool is_shut(const weft_queue *q)
{
    return (weft__guard_glance(&q->special) & SHUT_DOWN) != 0;
}
static inline bool may_have_item(const void *queue)
{
    const weft_queue *q = queue;
    return (weft__guard_glance_size(&q->store.count) != 0 || is_shut(q)) && nobody_inside(q);
}
static inline bool may_have_room(const void *queue)
{
    const weft_queue *q = queue;
    return (weft__guard_glance_size(&q->store.count) < q->maxsize || is_shut(q)) && nobody_inside(q);
}

/* For how many pauses may this task look? */
static inline unsigned look_length(const struct weft__fiber *f, const int32_t *patience)
{
    unsigned length = weft__may_look(f) ? weft__look_length(patience_of(patience), LOOK) : 0;
    return length < LOOK_MOST ? length : LOOK_MOST;
}
static inline void learn(int32_t *patience, enum weft__looked how)
{
    int32_t now = patience_of(patience), next = now;
    if (now <= FRESH)
        next = now > FRESH - EIGHT * FEW ? now - EIGHT : WEFT__PATIENCE_PROBE_FOR;
    else if (how != WEFT__LOOK_LEFT)
        next = weft__look_learn(now, how == WEFT__LOOK_FOUND, PATIENCE);
    if (next != now)
        set_patience(patience, next);
}

/* Give what this task came for a while to come. The guard is held before and after, not between. */
static inline __attribute__((always_inline)) void look(weft_queue *q, struct weft__fiber *f, int32_t *patience,
                                                       bool (*there)(const void *))
{
    if (!weft__may_look(f))
        return;
    unsigned length = look_length(f, patience);
    enum weft__looked how = WEFT__LOOK_VAIN;
    if (length != 0) {
        q->looking++;
        unlock(q);
        how = weft__look(f, length, 4, there, q);
        lock(q);
        q->looking--;
    }
    learn(patience, how);
}

static inline bool was_given(const weft_queue *q)
{
    return (weft__guard_see(&q->special) & LOOKS) == 0 &&        /* pairs: QUEUE-GIVEN */
           (weft__guard_see(&q->guard) & WEFT__GUARD_HELD) == 0; /* pairs: GUARD */
}
static inline bool was_given_or_shut(const void *queue)
{
    return was_given(queue) || is_shut(queue);
}

/* The same for a getter that may be given an item, into *item: true, and the guard is not held any more. */
static inline __attribute__((always_inline)) bool look_as_taker(weft_queue *q, struct weft__fiber *f, void *item,
                                                                unsigned length)
{
    weft__guard_hint(&q->taker, 1);
    set_special(q, LOOKS, true);
    unlock(q);
    enum weft__looked how = weft__look(f, length, 1, was_given_or_shut, q);
    bool given = was_given(q);
    if (weft__unlikely(!given)) {
        lock(q);
        given = (q->special & LOOKS) == 0;
        if (!given) {
            set_special(q, LOOKS, false);
            weft__guard_hint(&q->taker, 0);
            learn(&q->getters_patience, how);
            return false;
        }
        unlock(q);
    }
    memcpy(item, &q->given, sizeof q->given);
    learn(&q->getters_patience, WEFT__LOOK_FOUND);
    weft__guard_tell(&q->taker, 0); /* pairs: QUEUE-TAKER */
    return true;
}
/* Is there room, or will there never be, after a while? */
static WEFT__NOINLINE bool look_for_room(weft_queue *q, struct weft__fiber *f)
{
    look(q, f, &q->putters_patience, may_have_room);
    return !full(q) || (q->special & SHUT_DOWN) != 0;
}
/* The same for an item. GIVEN: it is in *item already, and the guard is not held. */
enum { NOTHING, THERE, GIVEN };
static WEFT__NOINLINE int look_for_item(weft_queue *q, struct weft__fiber *f, void *item)
{
    unsigned length = look_length(f, &q->getters_patience);
    if (weft__likely(length != 0 && !(q->special & OTHER) &&
                     weft__guard_see(&q->taker) == 0)) { /* pairs: QUEUE-TAKER */
        if (look_as_taker(q, f, item, length))
            return GIVEN;
    } else {
        look(q, f, &q->getters_patience, may_have_item);
    }
    return q->store.count != 0 || (q->special & SHUT_DOWN) != 0 ? THERE : NOTHING;
}

/* Who would be first in the line may look; else the end of the line is the place. */
static inline bool worth_looking(const struct weft__fiber *f, const weft__waitlist *l, int32_t *patience)
{
    if (weft__likely(!weft__others_work(f->rt))) {
        if (weft__unlikely(patience_of(patience) < FRESH))
            set_patience(patience, patience_of(patience) + 1);
        return false;
    }
    return l->count_ == 0;
}

/* Wait for room. 0 or -ECANCELED. The guard is held before and after. */
static WEFT__NOINLINE int await_room(weft_queue *q)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_put");
    if (worth_looking(f, &q->putters, &q->putters_patience) && look_for_room(q, f))
        return 0;
    struct weft__slept slept = wait_on(q, &q->putters, PUTTERS, f, &put_wait);
    if (slept.cancelled && slept.woken && !full(q))
        wake_putter(q);
    return slept.cancelled ? -ECANCELED : 0;
}

/* Wait for an item. 0 or -ECANCELED, the guard is held before and after; or GIVEN. */
static WEFT__NOINLINE int await_item(weft_queue *q, void *item)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_get");
    if (worth_looking(f, &q->getters, &q->getters_patience)) {
        int found = look_for_item(q, f, item);
        if (found != NOTHING)
            return found == GIVEN ? GIVEN : 0;
    }
    struct weft__slept slept = wait_on(q, &q->getters, GETTERS, f, &get_wait);
    if (slept.cancelled && slept.woken && q->store.count > 0)
        wake_getter(q);
    return slept.cancelled ? -ECANCELED : 0;
}

/* An item has been put, somebody waits for one. The guard is held; these give it back. */
static WEFT__NOINLINE int wake_getter_and_leave(weft_queue *q)
{
    wake_getter(q);
    unlock(q);
    return 0;
}
static WEFT__NOINLINE int wake_putter_and_leave(weft_queue *q)
{
    wake_putter(q);
    unlock(q);
    return 0;
}

/* A getter looks: the item is his. The guard is held. */
static inline void give(weft_queue *q, const void *item)
{
    memcpy(&q->given, item, sizeof q->given);
    q->unfinished++;
    weft__guard_tell(&q->special, q->special & ~(uint32_t)LOOKS); /* pairs: QUEUE-GIVEN */
}
/* And gives it back. */
static WEFT__NOINLINE int give_and_leave(weft_queue *q, const void *item)
{
    give(q, item);
    unlock(q);
    return 0;
}

/* The whole put, with whatever is in its way. The guard is held; gives it back. */
static WEFT__NOINLINE int put_slow(weft_queue *q, const void *item, size_t size, bool may_wait)
{
    int rc = size == q->store.item_size ? 0 : -EINVAL;
    while (rc == 0) {
        if (weft__unlikely(q->special & SHUT_DOWN)) {
            rc = -ESHUTDOWN;
        } else if (full(q)) {
            rc = may_wait ? await_room(q) : -EAGAIN;
        } else if (weft__unlikely(q->store.count == q->store.capacity)) {
            rc = grow(q);
            if (rc != 0 && !full(q))
                wake_putter(q);                          /* the place that this one was woken for, if it was */
        } else if (weft__unlikely(q->special & LOOKS)) { /* one came while this one waited for room */
            give(q, item);
            wake_putter(q); /* as above */
            break;
        } else {
            if (weft__likely(!(q->special & OTHER)))
                weft__store_put_plain(&q->store, item);
            else
                weft__store_put(&q->store, item);
            q->unfinished++;
            wake_getter(q);
            break;
        }
    }
    unlock(q);
    return rc;
}

static inline int put(weft_queue *q, const void *item, size_t size, bool may_wait)
{
    lock(q);
    if (weft__unlikely((q->special & (SHUT_DOWN | OTHER | LOOKS)) != 0 || q->store.count >= q->room ||
                       size != sizeof(uint64_t))) {
        if ((q->special & (SHUT_DOWN | LOOKS)) == LOOKS && size == sizeof(uint64_t))
            return give_and_leave(q, item);
        return put_slow(q, item, size, may_wait);
    }
    weft__store_put_plain(&q->store, item);
    q->unfinished++;
    if (weft__unlikely(q->special & GETTERS))
        return wake_getter_and_leave(q);
    unlock(q);
    return 0;
}

/* The whole get, with whatever is in its way. The guard is held; gives it back. */
static WEFT__NOINLINE int get_slow(weft_queue *q, void *item, size_t size, bool may_wait)
{
    int rc = size == q->store.item_size ? 0 : -EINVAL;
    void *block = NULL;
    while (rc == 0 && q->store.count == 0) {
        if (q->special & SHUT_DOWN)
            rc = -ESHUTDOWN;
        else
            rc = may_wait ? await_item(q, item) : -EAGAIN;
        if (rc == GIVEN)
            return 0;
    }
    if (rc == 0) {
        if (weft__likely(!(q->special & (OTHER | LARGE))))
            weft__store_take_plain(&q->store, item);
        else if ((block = weft__store_take(&q->store, item)) != NULL)
            block_changed(q);
        wake_putter(q);
    }
    unlock(q);
    if (weft__unlikely(block != NULL))
        free(block);
    return rc;
}

static inline int get(weft_queue *q, void *item, size_t size, bool may_wait)
{
    lock(q);
    if (weft__unlikely((q->special & (OTHER | LARGE)) != 0 || q->store.count == 0 || size != sizeof(uint64_t)))
        return get_slow(q, item, size, may_wait);
    weft__store_take_plain(&q->store, item);
    if (weft__unlikely(q->special & PUTTERS))
        return wake_putter_and_leave(q);
    unlock(q);
    return 0;
}

int weft_queue_put_(weft_queue *q, const void *item, size_t size)
{
    weft__preempt_point();
    return put(q, item, size, true);
}

int weft_queue_put_nowait_(weft_queue *q, const void *item, size_t size)
{
    weft__preempt_point();
    return put(q, item, size, false);
}

int weft_queue_get_(weft_queue *q, void *item, size_t size)
{
    weft__preempt_point();
    return get(q, item, size, true);
}

int weft_queue_get_nowait_(weft_queue *q, void *item, size_t size)
{
    weft__preempt_point();
    return get(q, item, size, false);
}

int weft_queue_task_done(weft_queue *q)
{
    weft__preempt_point();
    lock(q);
    bool counted = q->unfinished > 0;
    if (counted && --q->unfinished == 0)
        weft__sync_wake_many(&q->joiners, SIZE_MAX);
    unlock(q);
    return counted ? 0 : -EINVAL;
}

/* Woken is woken: an item put before the joiner runs does not call it back. */
int weft_queue_join(weft_queue *q)
{
    weft__preempt_point();
    struct weft__slept slept = {.cancelled = false};
    lock(q);
    if (q->unfinished > 0) {
        struct weft__fiber *f = weft__fiber_require("weft_queue_join");
        slept = wait_on(q, &q->joiners, 0, f, &join_wait);
    }
    unlock(q);
    return slept.cancelled ? -ECANCELED : 0;
}

void weft_queue_shutdown(weft_queue *q, bool immediate)
{
    weft__preempt_point();
    void *block = NULL;
    lock(q);
    set_special(q, SHUT_DOWN, true);
    if (immediate) {
        /* an item may have been reported done before it was taken */
        q->unfinished -= q->store.count < q->unfinished ? q->store.count : q->unfinished;
        block = weft__store_clear(&q->store);
        block_changed(q);
        if (q->unfinished == 0)
            weft__sync_wake_many(&q->joiners, SIZE_MAX);
    }
    weft__sync_wake_many(&q->getters, SIZE_MAX);
    weft__sync_wake_many(&q->putters, SIZE_MAX);
    set_special(q, GETTERS, q->getters.first_ != NULL);
    set_special(q, PUTTERS, q->putters.first_ != NULL);
    unlock(q);
    free(block);
}

size_t weft_queue_size(const weft_queue *q)
{
    weft_queue *queue = (weft_queue *)(uintptr_t)q; /* const for the caller: only the guard is written */
    lock(queue);
    size_t size = queue->store.count;
    unlock(queue);
    return size;
}
