/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue.c -- weft_queue: put and get, and the tasks that wait for items and for room (queue.h tells the whole).
 *
 * Most puts and gets find room or an item in a ring of words, and nobody whom they must wake. Then each is one round of
 * the guard and a word copied, and all that it touches but the item is in the queue's first cache line. Whatever may be
 * in the way has a bit in `special`, so there is one test; for the rest there are put_slow and get_slow.
 *
 * Put, get, join: tasks only. Everything else: any thread. */
#include "executor/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/seeded.h"
#include "executor/sight.h"

static void tell_of(weft_queue *q, const char *call, const weft__waitlist *l, struct weft__sight *s)
{
    weft__guard_lock(&q->guard);
    weft__sight_say(s, "waits for queue %p (%s): ", (void *)q, call);
    if (l == &q->joiners)
        weft__sight_say(s, "%zu items unfinished", q->unfinished);
    else if (q->maxsize != 0)
        weft__sight_say(s, "%zu of %zu items", q->store.count, q->maxsize);
    else
        weft__sight_say(s, "%zu items", q->store.count);
    weft__sight_others(s, l);
    weft__guard_unlock(&q->guard);
}

static void tell_get(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_queue *q = object;
    (void)f;
    tell_of(q, "get", &q->getters, s);
}

static void tell_put(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_queue *q = object;
    (void)f;
    tell_of(q, "put", &q->putters, s);
}

static void tell_join(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    weft_queue *q = object;
    (void)f;
    tell_of(q, "join", &q->joiners, s);
}

static const struct weft__wait_kind get_wait = {"queue: get", NULL, tell_get};
static const struct weft__wait_kind put_wait = {"queue: put", NULL, tell_put};
static const struct weft__wait_kind join_wait = {"queue: join", NULL, tell_join};

/* Wake somebody who waits for an item or for room, if anybody does. `bit` is the list's. */
static inline void wake_one(weft_queue *q, weft__waitlist *l, uint32_t bit)
{
    if ((q->special & bit) != 0) {
        weft__sync_wake_one(l);
        if (l->first_ == NULL)
            weft__queue_mark(q, bit, false);
    }
}
static inline void wake_getter(weft_queue *q)
{
    wake_one(q, &q->getters, WEFT__QUEUE_GETTERS);
}
static inline void wake_putter(weft_queue *q)
{
    wake_one(q, &q->putters, WEFT__QUEUE_PUTTERS);
}

/* Wait on a list; `bit` is its own, 0 for the joiners'. The guard is held before and after. */
static inline __attribute__((always_inline)) struct weft__slept wait_on(weft_queue *q, weft__waitlist *l, uint32_t bit,
                                                                        struct weft__fiber *f,
                                                                        const struct weft__wait_kind *kind)
{
    struct weft__wait_node *node = weft__sync_join(l, f, kind, q);
    weft__queue_mark(q, bit, true);
    weft__guard_unlock(&q->guard);
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    weft__guard_lock(&q->guard);
    struct weft__slept slept = weft__sync_leave(l, node, how);
    if (weft__unlikely(slept.cancelled) && l->first_ == NULL)
        weft__queue_mark(q, bit, false);
    return slept;
}

/* Let a larger block be there, or -ENOMEM. The guard is held before and after, not between: look at everything again.
 * */
static WEFT__NOINLINE int grow(weft_queue *q)
{
    size_t before = q->store.capacity, after = weft__store_next_capacity(&q->store);
    weft__guard_unlock(&q->guard);
    void *block = weft__store_allocate(&q->store, after); /* reads only what never changes */
    if (block == NULL) {
        weft__guard_lock(&q->guard);
        return -ENOMEM;
    }
    weft__guard_lock(&q->guard);
    if (q->store.capacity == before)
        block = weft__store_adopt(&q->store, block, after);
    weft__queue_block_changed(q);
    weft__guard_unlock(&q->guard);
    free(block);
    weft__guard_lock(&q->guard);
    return 0;
}

/* Who would be first in the line may look; else the end of the line is the place. */
static inline bool worth_looking(const struct weft__fiber *f, const weft__waitlist *l, int32_t *patience)
{
    if (weft__likely(!weft__others_work(f->rt))) {
        if (weft__unlikely(weft__queue_patience(patience) < WEFT__QUEUE_FRESH))
            weft__queue_set_patience(patience, weft__queue_patience(patience) + 1);
        return false;
    }
    return l->count_ == 0;
}

/* Wait for room. 0 or -ECANCELED. The guard is held before and after. */
static WEFT__NOINLINE int await_room(weft_queue *q)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_put");
    if (worth_looking(f, &q->putters, &q->putters_patience) && weft__queue_look_for_room(q, f))
        return 0;
    struct weft__slept slept = wait_on(q, &q->putters, WEFT__QUEUE_PUTTERS, f, &put_wait);
    if (slept.cancelled && slept.woken && !weft__queue_full(q))
        wake_putter(q);
    return slept.cancelled ? -ECANCELED : 0;
}

/* Wait for an item. 0 or -ECANCELED, the guard is held before and after; or WEFT__QUEUE_GIVEN. */
static WEFT__NOINLINE int await_item(weft_queue *q, void *item)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_get");
    if (worth_looking(f, &q->getters, &q->getters_patience)) {
        int found = weft__queue_look_for_item(q, f, item);
        if (found != WEFT__QUEUE_NOTHING)
            return found == WEFT__QUEUE_GIVEN ? WEFT__QUEUE_GIVEN : 0;
    }
    struct weft__slept slept = wait_on(q, &q->getters, WEFT__QUEUE_GETTERS, f, &get_wait);
    if (slept.cancelled && slept.woken && q->store.count > 0)
        wake_getter(q);
    return slept.cancelled ? -ECANCELED : 0;
}

/* An item has been put, somebody waits for one. The guard is held; these give it back. */
static WEFT__NOINLINE int wake_getter_and_leave(weft_queue *q)
{
    wake_getter(q);
    weft__guard_unlock(&q->guard);
    return 0;
}
static WEFT__NOINLINE int wake_putter_and_leave(weft_queue *q)
{
    wake_putter(q);
    weft__guard_unlock(&q->guard);
    return 0;
}

/* And gives it back. */
static WEFT__NOINLINE int give_and_leave(weft_queue *q, const void *item)
{
    weft__queue_give(q, item);
    weft__guard_unlock(&q->guard);
    return 0;
}

/* The whole put, with whatever is in its way. The guard is held; gives it back. */
static WEFT__NOINLINE int put_slow(weft_queue *q, const void *item, size_t size, bool may_wait)
{
    int rc = size == q->store.item_size ? 0 : -EINVAL;
    while (rc == 0) {
        if (weft__unlikely(q->special & WEFT__QUEUE_SHUT_DOWN)) {
            rc = -ESHUTDOWN;
        } else if (weft__queue_full(q)) {
            rc = may_wait ? await_room(q) : -EAGAIN;
        } else if (weft__unlikely(q->store.count == q->store.capacity)) {
            rc = grow(q);
            if (rc != 0 && !weft__queue_full(q))
                wake_putter(q); /* the place that this one was woken for, if it was */
        } else if (weft__unlikely(q->special & WEFT__QUEUE_LOOKS)) { /* one came while this one waited for room */
            weft__queue_give(q, item);
            wake_putter(q); /* as above */
            break;
        } else {
            if (weft__likely(!(q->special & WEFT__QUEUE_OTHER)))
                weft__store_put_plain(&q->store, item);
            else
                weft__store_put(&q->store, item);
            q->unfinished++;
            wake_getter(q);
            break;
        }
    }
    weft__guard_unlock(&q->guard);
    return rc;
}

static inline int put(weft_queue *q, const void *item, size_t size, bool may_wait)
{
    weft__guard_lock(&q->guard);
    if (weft__unlikely((q->special & (WEFT__QUEUE_SHUT_DOWN | WEFT__QUEUE_OTHER | WEFT__QUEUE_LOOKS)) != 0 ||
                       q->store.count >= q->room || size != sizeof(uint64_t))) {
        if ((q->special & (WEFT__QUEUE_SHUT_DOWN | WEFT__QUEUE_LOOKS)) == WEFT__QUEUE_LOOKS && size == sizeof(uint64_t))
            return give_and_leave(q, item);
        return put_slow(q, item, size, may_wait);
    }
    weft__store_put_plain(&q->store, item);
    q->unfinished++;
    if (weft__unlikely(q->special & WEFT__QUEUE_GETTERS))
        return wake_getter_and_leave(q);
    weft__guard_unlock(&q->guard);
    return 0;
}

/* The whole get, with whatever is in its way. The guard is held; gives it back. */
static WEFT__NOINLINE int get_slow(weft_queue *q, void *item, size_t size, bool may_wait)
{
    int rc = size == q->store.item_size ? 0 : -EINVAL;
    void *block = NULL;
    while (rc == 0 && q->store.count == 0) {
        if (q->special & WEFT__QUEUE_SHUT_DOWN)
            rc = -ESHUTDOWN;
        else
            rc = may_wait ? await_item(q, item) : -EAGAIN;
        if (rc == WEFT__QUEUE_GIVEN)
            return 0;
    }
    if (rc == 0) {
        if (weft__likely(!(q->special & (WEFT__QUEUE_OTHER | WEFT__QUEUE_LARGE))))
            weft__store_take_plain(&q->store, item);
        else if ((block = weft__store_take(&q->store, item)) != NULL)
            weft__queue_block_changed(q);
        wake_putter(q);
    }
    weft__guard_unlock(&q->guard);
    if (weft__unlikely(block != NULL))
        free(block);
    return rc;
}

/* The usual wait: a queue of words is empty, and nothing else is in the way. The guard is held; gives it back. */
static WEFT__NOINLINE int get_waiting(weft_queue *q, void *item)
{
    struct weft__fiber *f = weft__fiber_require("weft_queue_get");
    if (weft__unlikely(worth_looking(f, &q->getters, &q->getters_patience)))
        return get_slow(q, item, sizeof(uint64_t), true);
    struct weft__slept slept = wait_on(q, &q->getters, WEFT__QUEUE_GETTERS, f, &get_wait);
    if (weft__unlikely(slept.cancelled)) {
        if (slept.woken && q->store.count > 0)
            wake_getter(q);
        weft__guard_unlock(&q->guard);
        return -ECANCELED;
    }
    if (weft__unlikely(q->store.count == 0 || (q->special & (WEFT__QUEUE_LARGE | WEFT__QUEUE_PUTTERS)) != 0))
        return get_slow(q, item, sizeof(uint64_t), true);
    weft__store_take_plain(&q->store, item);
    weft__guard_unlock(&q->guard);
    return 0;
}

static inline int get(weft_queue *q, void *item, size_t size, bool may_wait)
{
    weft__guard_lock(&q->guard);
    if (weft__unlikely((q->special & (WEFT__QUEUE_OTHER | WEFT__QUEUE_LARGE)) != 0 || q->store.count == 0 ||
                       size != sizeof(uint64_t))) {
        if (may_wait && size == sizeof(uint64_t) && q->store.count == 0 &&
            (q->special & ~(uint32_t)WEFT__QUEUE_GETTERS) == 0)
            return get_waiting(q, item);
        return get_slow(q, item, size, may_wait);
    }
    weft__store_take_plain(&q->store, item);
    if (weft__unlikely(q->special & WEFT__QUEUE_PUTTERS))
        return wake_putter_and_leave(q);
    weft__guard_unlock(&q->guard);
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
    weft__guard_lock(&q->guard);
    bool counted = q->unfinished > 0;
    if (counted && --q->unfinished == 0)
        weft__sync_wake_many(&q->joiners, SIZE_MAX);
    weft__guard_unlock(&q->guard);
    return counted ? 0 : -EINVAL;
}

/* Woken is woken: an item put before the joiner runs does not call it back. */
int weft_queue_join(weft_queue *q)
{
    weft__preempt_point();
    struct weft__slept slept = {.cancelled = false};
    weft__guard_lock(&q->guard);
    if (q->unfinished > 0) {
        struct weft__fiber *f = weft__fiber_require("weft_queue_join");
        slept = wait_on(q, &q->joiners, 0, f, &join_wait);
    }
    weft__guard_unlock(&q->guard);
    return slept.cancelled ? -ECANCELED : 0;
}
