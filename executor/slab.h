/* SPDX-License-Identifier: Apache-2.0 */
/* executor/slab.h -- see slab.c: objects of one size whose memory stays of that type until the slab is destroyed, so that a
 * late reader meets an old or another object of the type, never foreign memory. */
#ifndef WEFT_EXECUTOR_SLAB_H
#define WEFT_EXECUTOR_SLAB_H

#include "executor/atomic.h"
#include "executor/base.h"

#define WEFT__SLAB_CACHE_MAX 256U /* objects in a cache */

/* One per type and runtime. */
struct weft__slab {
    size_t object_size; /* multiple of 16 */
    uint32_t guard;     /* of the chunk list and the shared free list */
    struct weft__slab_chunk *chunks;
    struct weft__slab_object *shared; /* free objects no cache holds */
    _Atomic(uint64_t) mapped_bytes;
    _Atomic(uint32_t) small_pages; /* huge ones have been found to be slow */
};

/* A worker's own free list: used by that thread only. Zero-initialised with the slab's address. Freed objects go to the
 * cache of the thread that frees; a cache that holds too many gives half back to the slab in one operation. */
struct weft__slab_cache {
    struct weft__slab *slab;
    struct weft__slab_object *free;
    uint32_t count;
};

void weft__slab_init(struct weft__slab *s, size_t object_size);
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
/* As put, with a cache. */
void weft__slab_cache_spill(struct weft__slab_cache *cache);
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
/* Any thread: call visit for every object ever handed out, free or not (its first 16 bytes are the free link when free: so
 * the type keeps its own "alive" mark beyond them). */
void weft__slab_each(struct weft__slab *s, void (*visit)(void *user, void *object), void *user);

#endif
