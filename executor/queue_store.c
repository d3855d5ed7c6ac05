/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue_store.c -- ring, stack and heap of items of one fixed size; see queue_store.h.
 *
 * Growth and giving back are amortised: a block of n items is copied only after n/2 puts, and a block over KEEP_BYTES
 * that has run empty took at least n/2 puts to come about, so filling and draining in turns costs a constant for each
 * item. */
#include "executor/queue_store.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_BYTES = 4096, KEEP_BYTES = 65536, MAX_ALIGNMENT = 64 };

static inline char *at(const struct weft__store *s, size_t index)
{
    return s->block + index * s->stride;
}

static inline void copy(const struct weft__store *s, void *to, const void *from)
{
    if (weft__likely(s->item_size == sizeof(void *))) /* the usual item, a pointer: no call */
        memcpy(to, from, sizeof(void *));
    else
        memcpy(to, from, s->item_size);
}

static size_t align_up(size_t n, size_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

int weft__store_init(struct weft__store *s, enum weft__store_kind kind, size_t item_size, size_t maxsize,
                     weft__compare *compare)
{
    if (item_size > SIZE_MAX / 4)
        return -ENOMEM;
    size_t alignment = item_size & (~item_size + 1);
    if (alignment > MAX_ALIGNMENT)
        alignment = MAX_ALIGNMENT;
    if (alignment < sizeof(void *))
        alignment = sizeof(void *); /* for aligned_alloc and the sequence; small items still lie side by side */
    size_t stride = item_size;
    if (kind == WEFT__STORE_HEAP)
        stride = align_up(align_up(item_size, sizeof(uint64_t)) + sizeof(uint64_t), alignment);
    size_t first = 1;
    while (first * 2 * stride <= FIRST_BYTES && (maxsize == 0 || first < maxsize))
        first *= 2;
    *s = (struct weft__store){.item_size = item_size,
                              .stride = stride,
                              .alignment = alignment,
                              .first_capacity = first,
                              .compare = compare,
                              .kind = kind};
    s->block = weft__store_allocate(s, first);
    if (s->block == NULL)
        return -ENOMEM;
    s->capacity = first;
    return 0;
}

void *weft__store_allocate(const struct weft__store *s, size_t capacity)
{
    size_t bytes;
    if (capacity == 0 || __builtin_mul_overflow(capacity, s->stride, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    return aligned_alloc(s->alignment, align_up(bytes, s->alignment));
}

size_t weft__store_next_capacity(const struct weft__store *s)
{
    return s->capacity == 0 ? s->first_capacity : s->capacity * 2; /* 0 on overflow: not to be had */
}

void *weft__store_adopt(struct weft__store *s, void *block, size_t capacity)
{
    char *old = s->block;
    size_t straight = s->count;
    if (s->kind == WEFT__STORE_RING && s->head + s->count > s->capacity)
        straight = s->capacity - s->head;
    if (s->count > 0) {
        memcpy(block, at(s, s->head), straight * s->stride);
        memcpy((char *)block + straight * s->stride, old, (s->count - straight) * s->stride);
    }
    s->block = block;
    s->capacity = capacity;
    s->head = 0;
    return old;
}

/* ---- the heap: the least item at 0, the children of i at 2i+1 and 2i+2. Items move along a path into a hole. ---- */

static inline uint64_t *sequence_of(const struct weft__store *s, const char *item)
{
    return (uint64_t *)(void *)(uintptr_t)(item + align_up(s->item_size, sizeof(uint64_t)));
}

/* Among those in the block. */
static bool less(const struct weft__store *s, size_t a, size_t b)
{
    int order = s->compare(at(s, a), at(s, b));
    return order != 0 ? order < 0 : *sequence_of(s, at(s, a)) < *sequence_of(s, at(s, b));
}

static void heap_put(struct weft__store *s, const void *item)
{
    size_t hole = s->count;
    while (hole > 0) {
        size_t parent = (hole - 1) / 2;
        if (s->compare(item, at(s, parent)) >= 0) /* equal: the parent was put before */
            break;
        memcpy(at(s, hole), at(s, parent), s->stride);
        hole = parent;
    }
    copy(s, at(s, hole), item);
    *sequence_of(s, at(s, hole)) = s->sequence++;
}

static void heap_take(struct weft__store *s, void *item)
{
    size_t last = s->count - 1, hole = 0;
    copy(s, item, at(s, 0));
    for (;;) {
        size_t child = 2 * hole + 1;
        if (child >= last)
            break;
        if (child + 1 < last && less(s, child + 1, child))
            child++;
        if (less(s, last, child))
            break;
        memcpy(at(s, hole), at(s, child), s->stride);
        hole = child;
    }
    if (hole != last)
        memcpy(at(s, hole), at(s, last), s->stride);
}

/* ---- all three ---- */

void weft__store_put(struct weft__store *s, const void *item)
{
    switch (s->kind) {
    case WEFT__STORE_RING:
        copy(s, at(s, (s->head + s->count) & (s->capacity - 1)), item);
        break;
    case WEFT__STORE_STACK:
        copy(s, at(s, s->count), item);
        break;
    case WEFT__STORE_HEAP:
        heap_put(s, item);
        break;
    }
    weft__store_set_count(s, s->count + 1);
}

static WEFT__COLD void *give_block_back(struct weft__store *s)
{
    void *block = s->block;
    s->block = NULL;
    s->capacity = 0;
    s->head = 0;
    return block;
}

bool weft__store_is_large(const struct weft__store *s)
{
    return s->capacity > s->first_capacity && s->capacity * s->stride > KEEP_BYTES;
}

void *weft__store_take(struct weft__store *s, void *item)
{
    switch (s->kind) {
    case WEFT__STORE_RING:
        copy(s, item, at(s, s->head));
        s->head = (s->head + 1) & (s->capacity - 1);
        break;
    case WEFT__STORE_STACK:
        copy(s, item, at(s, s->count - 1));
        break;
    case WEFT__STORE_HEAP:
        heap_take(s, item);
        break;
    }
    weft__store_set_count(s, s->count - 1);
    if (s->count == 0 && weft__unlikely(weft__store_is_large(s)))
        return give_block_back(s);
    return NULL;
}

void *weft__store_clear(struct weft__store *s)
{
    weft__store_set_count(s, 0);
    s->head = 0;
    return s->capacity * s->stride > KEEP_BYTES ? give_block_back(s) : NULL;
}
