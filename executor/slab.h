/* SPDX-License-Identifier: Apache-2.0 */
/* executor/slab.h -- see slab.c: objects of one size whose memory stays of that type until the slab is destroyed, so that a
 * late reader meets an old or another object of the type, never foreign memory. */
#ifndef WEFT_EXECUTOR_SLAB_H
#define WEFT_EXECUTOR_SLAB_H

#include "executor/atomic.h"
#include "executor/base.h"

#define WEFT__SLAB_CACHE_MAX 256U /* objects in a cache */

/* The memory of one NUMA node; a slab that knows of no nodes has one part. */
struct weft__slab_part {
    uint32_t guard; /* of the rest */
    int node;       /* the kernel's number; -1: anywhere */
    struct weft__slab_chunk *chunks;
    struct weft__slab_object *shared; /* free objects no cache holds */
    uint64_t mapped;                  /* bytes */
};

/* One per type and runtime. */
struct weft__slab {
    size_t object_size; /* multiple of 16 */
    unsigned parts;
    struct weft__slab_part *part; /* `only` where there is one */
    struct weft__slab_part only;
    _Atomic(uint64_t) mapped_bytes;
    _Atomic(uint32_t) small_pages; /* huge ones have been found to be slow */
};

/* Freed objects of another part, on their way home. */
struct weft__slab_away {
    struct weft__slab_object *first;
    uint32_t count;
    _Atomic(uint64_t) freed; /* so many in all */
};

/* A worker's own free list: used by that thread only. Zero-initialised with the slab's address. Freed objects go to the
 * cache of the thread that frees; a cache that holds too many gives half back to the slab in one operation. Those of another node's part
 * go home, some at a time. */
struct weft__slab_cache {
    struct weft__slab *slab;
    struct weft__slab_object *free;
    uint32_t count;
    uint32_t home;                /* the part that it takes from */
    struct weft__slab_away *away; /* for each part; NULL where there is one */
};

void weft__slab_init(struct weft__slab *s, size_t object_size);
/* With a part for each of these nodes. 0 or -ENOMEM; then it is as after init. */
int weft__slab_init_nodes(struct weft__slab *s, size_t object_size, unsigned parts, const int *nodes);
/* A cache of the slab that takes from that part. 0 or -ENOMEM. `away` is the caller's to free, after the last use. */
int weft__slab_cache_init(struct weft__slab_cache *cache, struct weft__slab *s, uint32_t home);
/* While nobody uses it, and no cache is of it: the slab lives on at another address. */
void weft__slab_move(struct weft__slab *to, struct weft__slab *from);
void weft__slab_destroy(struct weft__slab *s); /* unmaps everything */
/* `cache` may be NULL (threads without one; takes the guard). The memory is zero when fresh from the kernel, else as it
 * was when freed except its first 16 bytes. NULL when memory is short. 16-byte aligned. */
void *weft__slab_get(struct weft__slab *s, struct weft__slab_cache *cache);
/* The object that a get would return, or NULL when the cache is empty; and take it (its first 16 bytes are not zeroed). */
static inline void *weft__slab_try(const struct weft__slab_cache *cache)
{
    return cache->free;
}
static inline void weft__slab_taken(struct weft__slab_cache *cache)
{
    void **object = (void **)(void *)cache->free;
    cache->free = object[0]; /* its link: slab.c */
    cache->count--;
}
void weft__slab_cache_spill(struct weft__slab_cache *cache);
/* As put, with a cache; of another part's objects it keeps some for a while. */
static inline void weft__slab_give(struct weft__slab_cache *cache, void *object)
{
    if (weft__unlikely(cache->count == WEFT__SLAB_CACHE_MAX))
        weft__slab_cache_spill(cache);
    *(void **)object = cache->free;
    cache->free = object;
    cache->count++;
}
void weft__slab_put(struct weft__slab *s, struct weft__slab_cache *cache, void *object);
void weft__slab_cache_flush(struct weft__slab_cache *cache); /* give everything back to the slab */
/* While nobody uses the slab: the chunk of a part that follows `after` (NULL: the first), and how much of it has been used. */
const void *weft__slab_memory(const struct weft__slab *s, unsigned part, const void *after, size_t *size);
/* Send home what is on its way. */
void weft__slab_cache_send(struct weft__slab_cache *cache);
/* Any thread: call visit for every object ever handed out, free or not (its first 16 bytes are the free link when free: so
 * the type keeps its own "alive" mark beyond them). */
void weft__slab_each(struct weft__slab *s, void (*visit)(void *user, void *object), void *user);

#endif
