/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue_life.c -- a queue's creation, shutdown and end, and its size. Any thread. */
#include <stdlib.h>

#include "executor/queue.h"
#include "executor/seeded.h"

static weft_queue *create(enum weft__store_kind kind, size_t item_size, size_t maxsize, weft__compare *compare)
{
    if (item_size == 0)
        return NULL;
    size_t bytes = (sizeof(weft_queue) + WEFT__CACHELINE - 1) / WEFT__CACHELINE * WEFT__CACHELINE;
    weft_queue *q = aligned_alloc(WEFT__CACHELINE, bytes);
    if (q == NULL)
        return NULL;
    *q = (weft_queue){.maxsize = maxsize, .getters_patience = WEFT__QUEUE_FRESH, .putters_patience = WEFT__QUEUE_FRESH};
    if (weft__store_init(&q->store, kind, item_size, maxsize, compare) != 0) {
        free(q);
        return NULL;
    }
    q->special = weft__store_is_plain(&q->store) ? 0 : WEFT__QUEUE_OTHER;
    weft__queue_block_changed(q);
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
    weft__guard_lock(&q->guard); /* whoever woke the last waiter may still be about to let go of the guard */
    bool waited_on = q->getters.count_ != 0 || q->putters.count_ != 0 || q->joiners.count_ != 0 || q->looking != 0 ||
                     weft__guard_see(&q->taker) != 0; /* pairs: QUEUE-TAKER */
    weft__guard_unlock(&q->guard);
    if (waited_on)
        weft__misuse("weft_queue_destroy", "a task still waits on the queue");
    free(q->store.block);
    free(q);
}

void weft_queue_shutdown(weft_queue *q, bool immediate)
{
    weft__preempt_point();
    void *block = NULL;
    weft__guard_lock(&q->guard);
    weft__queue_mark(q, WEFT__QUEUE_SHUT_DOWN, true);
    if (immediate) {
        /* an item may have been reported done before it was taken */
        q->unfinished -= q->store.count < q->unfinished ? q->store.count : q->unfinished;
        block = weft__store_clear(&q->store);
        weft__queue_block_changed(q);
        if (q->unfinished == 0)
            weft__sync_wake_many(&q->joiners, SIZE_MAX);
    }
    weft__sync_wake_many(&q->getters, SIZE_MAX);
    weft__sync_wake_many(&q->putters, SIZE_MAX);
    weft__queue_mark(q, WEFT__QUEUE_GETTERS, q->getters.first_ != NULL);
    weft__queue_mark(q, WEFT__QUEUE_PUTTERS, q->putters.first_ != NULL);
    weft__guard_unlock(&q->guard);
    free(block);
}

size_t weft_queue_size(const weft_queue *q)
{
    weft_queue *queue = (weft_queue *)(uintptr_t)q; /* const for the caller: only the guard is written */
    weft__guard_lock(&queue->guard);
    size_t size = queue->store.count;
    weft__guard_unlock(&queue->guard);
    return size;
}
