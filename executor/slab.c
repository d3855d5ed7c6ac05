/* SPDX-License-Identifier: Apache-2.0 */
/* executor/slab.c -- objects of one size in memory that stays of their type until the slab is destroyed.
 *
 * Chunks from the kernel are handed out front to back, a few objects at a time, and never go back before destroy. So a stale
 * pointer to an object meets an old or a newer object of the type, never foreign memory: late wakes and task dumps rest on
 * that. Free objects are kept in the threads' caches, last in first out; what a cache has too much goes to the slab's shared
 * list as one batch, and comes out of it as one batch: the guard is taken once for 128 frees.
 *
 * Where the chunks come from, and of what pages they are: slab_chunks.c.
 *
 *   shared -> head of batch --batch--> head of batch -> NULL       while free, the first 16 bytes of an object are
 *               | next                   | next                      next          of its batch or cache
 *             second: count            second: count                 batch         in a batch's head: the next batch
 *               | next                   | next                      count         in a batch's second: how many it has
 *              ...                      NULL                       (a batch without a second has one object)
 *
 * Nodes. A slab of several parts has one for each NUMA node: chunks of 2 MiB, each aligned to that and bound to its node, so an object tells
 * where it belongs. A cache takes from one part. What is freed into it and belongs to another goes home in batches of SLAB_AWAY; only what
 * slab_give puts there unseen stays until the cache spills, and is sorted then.
 *
 * Invariants
 *   1 Every chunk but the newest is used up, and `used` of the newest grows only: [objects, objects + used) have been
 *     handed out, or lie zeroed (so not alive) in a cache. Only under the guard.
 *   2 Beyond its first 16 bytes a free object is as its last user left it, a fresh one zero. get zeroes the 16 bytes.
 *   3 An object is in use, or in one cache, or in one batch.
 *
 * Threads: a cache belongs to one thread; calls with NULL as cache, and each, by anyone; init and destroy by one thread
 * while nobody else uses the slab. Lock rank: the guard is innermost, nothing is called under it but mmap.
 *
 * Not done. No poisoning of free objects under address sanitizer: readers of stale objects and `each` are legal. No memory goes back to the
 * kernel while the slab lives: its high-water mark is the price of stable types. */
#include "executor/slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "executor/guard.h"
#include "executor/slab_chunks.h"

#define SLAB_BATCH (WEFT__SLAB_CACHE_MAX / 2)
#define SLAB_AWAY 32U  /* objects that go home at once */
#define SLAB_CARVE 32U /* fresh objects at a time: few, linking them commits their pages */

static void part_init(struct weft__slab_part *p, int node)
{
    memset(p, 0, sizeof *p);
    p->node = node;
}

void weft__slab_init(struct weft__slab *s, size_t object_size)
{
    WEFT__BUG_ON(object_size == 0 || object_size > WEFT__SLAB_CHUNK / 8);
    s->object_size = (object_size + 15) & ~(size_t)15;
    s->parts = 1;
    s->part = &s->only;
    part_init(&s->only, -1);
    weft__store_relaxed(&s->mapped_bytes, 0); /* relaxed: nobody else knows it yet */
    weft__store_relaxed(&s->small_pages, 0);  /* relaxed: as above */
}

int weft__slab_init_nodes(struct weft__slab *s, size_t object_size, unsigned parts, const int *nodes)
{
    weft__slab_init(s, object_size);
    if (parts <= 1) {
        s->only.node = parts == 1 ? nodes[0] : -1;
        return 0;
    }
    struct weft__slab_part *part = calloc(parts, sizeof *part);
    if (part == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < parts; i++)
        part_init(&part[i], nodes[i]);
    s->part = part;
    s->parts = parts;
    return 0;
}

int weft__slab_cache_init(struct weft__slab_cache *cache, struct weft__slab *s, uint32_t home)
{
    *cache = (struct weft__slab_cache){.slab = s, .home = s->parts > 1 ? home : 0};
    if (s->parts > 1 && (cache->away = calloc(s->parts, sizeof *cache->away)) == NULL)
        return -ENOMEM;
    return 0;
}

void weft__slab_move(struct weft__slab *to, struct weft__slab *from)
{
    *to = *from;
    if (from->part == &from->only)
        to->part = &to->only;
    from->parts = 0;
    from->part = NULL;
}

/* The number of an object's part. */
static inline uint32_t home_of(const struct weft__slab *s, const struct weft__slab_object *object)
{
    if (weft__likely(s->parts == 1))
        return 0;
    return ((const struct weft__slab_chunk *)((uintptr_t)object & ~(uintptr_t)(WEFT__SLAB_HUGE - 1)))->home;
}

/* ---- under the guard ---- */

static void shared_push(struct weft__slab_part *p, struct weft__slab_object *batch, uint32_t count)
{
    batch->batch = p->shared;
    if (batch->next)
        batch->next->count = count;
    p->shared = batch;
}

/* Takes a whole batch; there is one. */
static struct weft__slab_object *shared_pop(struct weft__slab_part *p, uint32_t *count)
{
    struct weft__slab_object *batch = p->shared;
    p->shared = batch->batch;
    *count = batch->next ? (uint32_t)batch->next->count : 1;
    return batch;
}

/* ---- without a cache: one object, the guard each time ---- */

static void *slab_get_uncached(struct weft__slab *s)
{
    uint32_t count;
    struct weft__slab_fresh unused;
    struct weft__slab_part *p = &s->part[0];
    weft__guard_lock(&p->guard);
    struct weft__slab_object *object = p->shared;
    if (object) {
        object = shared_pop(p, &count);
        if (object->next)
            shared_push(p, object->next, count - 1);
    } else {
        object = weft__slab_carve(s, p, 1, &count, &unused);
    }
    weft__guard_unlock(&p->guard);
    if (object)
        memset(object, 0, sizeof *object);
    return object;
}

static void slab_put_uncached(struct weft__slab *s, struct weft__slab_object *object)
{
    uint32_t count = 0;
    struct weft__slab_part *p = &s->part[home_of(s, object)];
    object->next = NULL;
    weft__guard_lock(&p->guard);
    /* Let the first batch grow, so that single frees do not leave the caches batches of one. */
    if (p->shared && p->shared->next && p->shared->next->count < SLAB_BATCH)
        object->next = shared_pop(p, &count);
    else if (p->shared && !p->shared->next)
        object->next = shared_pop(p, &count);
    shared_push(p, object, count + 1);
    weft__guard_unlock(&p->guard);
}

/* ---- with a cache ---- */

static WEFT__NOINLINE bool cache_refill(struct weft__slab_cache *cache)
{
    struct weft__slab *s = cache->slab;
    struct weft__slab_part *p = &s->part[cache->home];
    weft__guard_lock(&p->guard);
    if (p->shared) {
        cache->free = shared_pop(p, &cache->count);
        weft__guard_unlock(&p->guard);
        return true;
    }
    struct weft__slab_fresh fresh = {NULL, NULL};
    struct weft__slab_object *first = weft__slab_carve(s, p, SLAB_CARVE, &cache->count, &fresh);
    weft__guard_unlock(&p->guard);
    if (weft__unlikely(fresh.page != NULL))
        weft__slab_touch(s, fresh);
    struct weft__slab_object *object = first;
    for (uint32_t i = 1; i < cache->count; i++) {
        object->next = (struct weft__slab_object *)(void *)((char *)object + s->object_size);
        object = object->next;
    }
    cache->free = first; /* the last one's next is zero, as it came from the kernel */
    return first != NULL;
}

/* A whole list goes to a part. */
static void give_back(struct weft__slab *s, uint32_t home, struct weft__slab_object *batch, uint32_t count)
{
    struct weft__slab_part *p = &s->part[home];
    if (count == 0)
        return;
    weft__guard_lock(&p->guard);
    shared_push(p, batch, count);
    weft__guard_unlock(&p->guard);
}

static void send_away(struct weft__slab_cache *cache, uint32_t home)
{
    struct weft__slab_away *a = &cache->away[home];
    give_back(cache->slab, home, a->first, a->count);
    a->first = NULL;
    a->count = 0;
}

static WEFT__NOINLINE void put_away(struct weft__slab_cache *cache, struct weft__slab_object *object, uint32_t home)
{
    struct weft__slab_away *a = &cache->away[home];
    object->next = a->first;
    a->first = object;
    weft__count(&a->freed, 1);
    if (++a->count == SLAB_AWAY)
        send_away(cache, home);
}

/* Of a list that leaves the cache: what belongs to others goes home, the rest is returned. */
static struct weft__slab_object *sort_out(struct weft__slab_cache *cache, struct weft__slab_object *list,
                                          uint32_t *count)
{
    struct weft__slab_object *own = NULL;
    *count = 0;
    while (list != NULL) {
        struct weft__slab_object *next = list->next;
        uint32_t home = home_of(cache->slab, list);
        if (home != cache->home) {
            put_away(cache, list, home);
        } else {
            list->next = own;
            own = list;
            ++*count;
        }
        list = next;
    }
    return own;
}

/* Keeps the half that was freed last: it is warm. */
WEFT__NOINLINE void weft__slab_cache_spill(struct weft__slab_cache *cache)
{
    struct weft__slab_object *last = cache->free;
    for (uint32_t i = 1; i < SLAB_BATCH; i++)
        last = last->next;
    struct weft__slab_object *batch = last->next;
    uint32_t count = cache->count - SLAB_BATCH;
    last->next = NULL;
    cache->count = SLAB_BATCH;
    if (cache->away != NULL)
        batch = sort_out(cache, batch, &count);
    give_back(cache->slab, cache->home, batch, count);
}

void weft__slab_cache_send(struct weft__slab_cache *cache)
{
    for (uint32_t i = 0; cache->away != NULL && i < cache->slab->parts; i++)
        send_away(cache, i);
}

void *weft__slab_get(struct weft__slab *s, struct weft__slab_cache *cache)
{
    if (!cache)
        return slab_get_uncached(s);
    if (weft__unlikely(!cache->free) && !cache_refill(cache))
        return NULL;
    struct weft__slab_object *object = cache->free;
    cache->free = object->next;
    cache->count--;
    memset(object, 0, sizeof *object);
    return object;
}

void weft__slab_put(struct weft__slab *s, struct weft__slab_cache *cache, void *object)
{
    struct weft__slab_object *freed = object;
    if (!cache) {
        slab_put_uncached(s, freed);
        return;
    }
    uint32_t home = home_of(s, freed);
    if (weft__likely(home == cache->home))
        weft__slab_give(cache, freed);
    else
        put_away(cache, freed, home);
}

void weft__slab_cache_flush(struct weft__slab_cache *cache)
{
    struct weft__slab_object *list = cache->free;
    uint32_t count = cache->count;
    if (cache->away != NULL)
        list = sort_out(cache, list, &count);
    give_back(cache->slab, cache->home, list, count);
    weft__slab_cache_send(cache);
    cache->free = NULL;
    cache->count = 0;
}
