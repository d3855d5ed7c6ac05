/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue_store.h -- where a queue keeps its items: a ring, a stack or a heap in one growing block.
 *
 * Knows nothing of waiting and of threads; the queue calls everything but weft__store_allocate under its guard. The
 * block grows by doubling: the new one is allocated outside the guard and handed in, the old one handed out to be
 * freed there.
 *
 * Items lie at multiples of `stride` from a block so aligned that each is aligned for any type of its size (the
 * alignment of a type divides its size). A heap's item is followed by the number of its put, which keeps equal items
 * in order. */
#ifndef WEFT_EXECUTOR_QUEUE_STORE_H
#define WEFT_EXECUTOR_QUEUE_STORE_H

#include <string.h>

#include "executor/guard.h"

typedef int weft__compare(const void *a, const void *b);

enum weft__store_kind { WEFT__STORE_RING, WEFT__STORE_STACK, WEFT__STORE_HEAP };

struct weft__store {
    /* all that the put and take of a ring of words touch, for the queue to keep in one cache line */
    char *block;
    size_t count;    /* glanced at without the guard: changed by set_count only */
    size_t head;     /* of a ring: where the oldest item lies */
    size_t capacity; /* items the block has room for: 0 or a power of two */
    /* the rest */
    size_t item_size, stride, alignment;
    size_t first_capacity; /* of the block that comes after none */
    uint64_t sequence;     /* of a heap: items ever put */
    weft__compare *compare;
    enum weft__store_kind kind;
};

/* A store with its first block, for queues of at most maxsize items (0: no limit). 0 or -ENOMEM. */
int weft__store_init(struct weft__store *s, enum weft__store_kind kind, size_t item_size, size_t maxsize,
                     weft__compare *compare);
/* A block for so many items, to be adopted or freed with free. NULL: memory is short. */
void *weft__store_allocate(const struct weft__store *s, size_t capacity);
/* How many items the next block must have room for. */
size_t weft__store_next_capacity(const struct weft__store *s);
/* Move into a larger block. Returns the old one, to be freed. */
void *weft__store_adopt(struct weft__store *s, void *block, size_t capacity);
/* Copy an item in; count < capacity. */
void weft__store_put(struct weft__store *s, const void *item);
/* Copy the next item out; count > 0. Returns NULL or a block to be freed: a large one does not stay behind a burst. */
void *weft__store_take(struct weft__store *s, void *item);
/* Drop all items. Returns NULL or a block to be freed. */
void *weft__store_clear(struct weft__store *s);

static inline void weft__store_set_count(struct weft__store *s, size_t count)
{
    weft__guard_set_size(&s->count, count);
}

/* The usual store, a ring of items as large as a word, may be used by these as well: no call, no choice. */
static inline bool weft__store_is_plain(const struct weft__store *s)
{
    return s->kind == WEFT__STORE_RING && s->item_size == sizeof(uint64_t);
}
/* Would the last item's take give the block back? Then only weft__store_take may take it. */
bool weft__store_is_large(const struct weft__store *s);
/* As weft__store_put. */
static inline void weft__store_put_plain(struct weft__store *s, const void *item)
{
    size_t count = s->count;
    memcpy(s->block + ((s->head + count) & (s->capacity - 1)) * sizeof(uint64_t), item, sizeof(uint64_t));
    weft__store_set_count(s, count + 1);
}
/* As weft__store_take. */
static inline void weft__store_take_plain(struct weft__store *s, void *item)
{
    memcpy(item, s->block + s->head * sizeof(uint64_t), sizeof(uint64_t));
    s->head = (s->head + 1) & (s->capacity - 1);
    weft__store_set_count(s, s->count - 1);
}

#endif
