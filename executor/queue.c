/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue.c -- weft_queue: getters and putters that wait for items and for room.
 *
 * One guard, the getters' list's, covers all: the items, the three lists, the counts. A woken getter or putter owns
 * nothing; it looks again when it runs, and who comes by meanwhile may take what it was woken for (then it waits on,
 * at the end of the list), as in asyncio. Items are copied under the guard.
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

#include "executor/queue_store.h"
#include "executor/seeded.h"
#include "executor/sync_wait.h"

struct weft_queue {
    weft__waitlist getters, putters, joiners;
    struct weft__store store;
    size_t maxsize;
    size_t unfinished;
    bool shut_down;
};

static const struct weft__wait_kind get_wait = {"queue: get", NULL};
static const struct weft__wait_kind put_wait = {"queue: put", NULL};
static const struct weft__wait_kind join_wait = {"queue: join", NULL};

static inline void lock(weft_queue *q)
{
    weft__waitlist_lock(&q->getters);
}
static inline void unlock(weft_queue *q)
{
    weft__waitlist_unlock(&q->getters);
}

static weft_queue *create(enum weft__store_kind kind, size_t item_size, size_t maxsize, weft__compare *compare)
{
    if (item_size == 0)
        return NULL;
    size_t bytes = (sizeof(weft_queue) + WEFT__CACHELINE - 1) / WEFT__CACHELINE * WEFT__CACHELINE;
    weft_queue *q = aligned_alloc(WEFT__CACHELINE, bytes);
    if (q == NULL)
        return NULL;
    *q = (weft_queue){.maxsize = maxsize};
    if (weft__store_init(&q->store, kind, item_size, maxsize, compare) != 0) {
        free(q);
        return NULL;
    }
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
    bool waited_on = q->getters.count_ != 0 || q->putters.count_ != 0 || q->joiners.count_ != 0;
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
    unlock(q);
    free(block);
    lock(q);
    return 0;
}

/* Wait for room. 0 or -ECANCELED. The guard is held before and after. */
static WEFT__NOINLINE int await_room(weft_queue *q)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_put");
    struct weft__slept slept = weft__sync_suspend(&q->putters, &q->getters.guard_, f, &put_wait, q);
    if (slept.cancelled && slept.woken && !full(q))
        weft__sync_wake(&q->putters, 1);
    return slept.cancelled ? -ECANCELED : 0;
}

/* Wait for an item. 0 or -ECANCELED. The guard is held before and after. */
static WEFT__NOINLINE int await_item(weft_queue *q)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_get");
    struct weft__slept slept = weft__sync_suspend(&q->getters, &q->getters.guard_, f, &get_wait, q);
    if (slept.cancelled && slept.woken && q->store.count > 0)
        weft__sync_wake(&q->getters, 1);
    return slept.cancelled ? -ECANCELED : 0;
}

static inline int put(weft_queue *q, const void *item, size_t size, bool may_wait)
{
    int rc = 0;
    if (weft__unlikely(size != q->store.item_size))
        return -EINVAL;
    lock(q);
    while (rc == 0) {
        if (weft__unlikely(q->shut_down)) {
            rc = -ESHUTDOWN;
        } else if (weft__unlikely(full(q))) {
            rc = may_wait ? await_room(q) : -EAGAIN;
        } else if (weft__unlikely(q->store.count == q->store.capacity)) {
            rc = grow(q);
            if (rc != 0 && !full(q))
                weft__sync_wake(&q->putters, 1); /* the place that this one was woken for, if it was */
        } else {
            weft__store_put(&q->store, item);
            q->unfinished++;
            if (q->getters.first_ != NULL)
                weft__sync_wake(&q->getters, 1);
            break;
        }
    }
    unlock(q);
    return rc;
}

static inline int get(weft_queue *q, void *item, size_t size, bool may_wait)
{
    int rc = 0;
    void *block = NULL;
    if (weft__unlikely(size != q->store.item_size))
        return -EINVAL;
    lock(q);
    while (rc == 0 && q->store.count == 0) {
        if (q->shut_down)
            rc = -ESHUTDOWN;
        else
            rc = may_wait ? await_item(q) : -EAGAIN;
    }
    if (rc == 0) {
        block = weft__store_take(&q->store, item);
        if (q->putters.first_ != NULL)
            weft__sync_wake(&q->putters, 1);
    }
    unlock(q);
    if (weft__unlikely(block != NULL))
        free(block);
    return rc;
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
        slept = weft__sync_suspend(&q->joiners, &q->getters.guard_, f, &join_wait, q);
    }
    unlock(q);
    return slept.cancelled ? -ECANCELED : 0;
}

void weft_queue_shutdown(weft_queue *q, bool immediate)
{
    weft__preempt_point();
    void *block = NULL;
    lock(q);
    q->shut_down = true;
    if (immediate) {
        /* an item may have been reported done before it was taken */
        q->unfinished -= q->store.count < q->unfinished ? q->store.count : q->unfinished;
        block = weft__store_clear(&q->store);
        if (q->unfinished == 0)
            weft__sync_wake_many(&q->joiners, SIZE_MAX);
    }
    weft__sync_wake_many(&q->getters, SIZE_MAX);
    weft__sync_wake_many(&q->putters, SIZE_MAX);
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
