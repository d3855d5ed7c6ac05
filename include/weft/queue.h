/* SPDX-License-Identifier: Apache-2.0 */
/* weft/queue.h -- queues between tasks: asyncio.Queue, LifoQueue, PriorityQueue, for items of one fixed size.
 *
 * Items are copied in and out. A queue is one allocated object; all calls may come from any worker, the _nowait ones
 * and weft_queue_task_done, _shutdown, _size from any thread. A getter or putter that is cancelled takes or puts
 * nothing. */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <weft/base.h>

WEFT_BEGIN_DECLS

typedef struct weft_queue weft_queue;

/* A new queue for items of item_size bytes that holds at most maxsize of them (0: no limit). NULL: memory is short, or
 * item_size is 0. Freed by weft_queue_destroy, when nobody waits on it any more. asyncio: Queue(maxsize). */
WEFT_API WEFT_NODISCARD weft_queue *weft_queue_create(size_t item_size, size_t maxsize);
/* Last in, first out. asyncio: LifoQueue. */
WEFT_API WEFT_NODISCARD weft_queue *weft_lifo_queue_create(size_t item_size, size_t maxsize);
/* Lowest first by `compare` (negative, zero, positive, as for qsort); ties in the order put. `compare` runs while the
 * queue is guarded: it must be short and call nothing of weft. NULL also when it is NULL. asyncio: PriorityQueue. */
WEFT_API WEFT_NODISCARD weft_queue *weft_priority_queue_create(size_t item_size, size_t maxsize,
                                                               int (*compare)(const void *a, const void *b));
/* Free it, with what is in it. NULL is allowed. Nobody may be in a call on it, or come later: shut it down and wait for its users first. */
WEFT_API void weft_queue_destroy(weft_queue *q);

/* Put one item, copied from *item; suspends while the queue is full. 0; -ECANCELED; -ESHUTDOWN after shutdown;
 * -ENOMEM. asyncio: put. */
#define weft_queue_put(q, item) weft_queue_put_((q), (item), sizeof *(item))
/* Take one item into *item; suspends while the queue is empty. 0; -ECANCELED; -ESHUTDOWN: shut down and empty. asyncio: get. */
#define weft_queue_get(q, item) weft_queue_get_((q), (item), sizeof *(item))
/* The same without suspending: -EAGAIN when full or empty. asyncio: QueueFull, QueueEmpty. */
#define weft_queue_put_nowait(q, item) weft_queue_put_nowait_((q), (item), sizeof *(item))
#define weft_queue_get_nowait(q, item) weft_queue_get_nowait_((q), (item), sizeof *(item))
/* `size` is checked against the queue's item size: -EINVAL when it differs. */
WEFT_API WEFT_NODISCARD int weft_queue_put_(weft_queue *q, const void *item, size_t size);
WEFT_API WEFT_NODISCARD int weft_queue_get_(weft_queue *q, void *item, size_t size);
WEFT_API WEFT_NODISCARD int weft_queue_put_nowait_(weft_queue *q, const void *item, size_t size);
WEFT_API WEFT_NODISCARD int weft_queue_get_nowait_(weft_queue *q, void *item, size_t size);

/* One item taken has been dealt with. 0; -EINVAL when called more often than items were put. asyncio: task_done. */
WEFT_API int weft_queue_task_done(weft_queue *q);
/* Suspend until weft_queue_task_done was called for every item put. 0 or -ECANCELED. asyncio: join. */
WEFT_API WEFT_NODISCARD int weft_queue_join(weft_queue *q);
/* Puts fail from now on with -ESHUTDOWN, gets once the queue is empty; waiters are woken. `immediate` drops what is
 * in it and releases join. asyncio: shutdown. */
WEFT_API void weft_queue_shutdown(weft_queue *q, bool immediate);
/* The number of items in it; by the time of the answer it may be different. asyncio: qsize. */
WEFT_API size_t weft_queue_size(const weft_queue *q);

WEFT_END_DECLS

#endif
