/* SPDX-License-Identifier: Apache-2.0 */
/* io/buffers.c -- read buffers that no stream holds at the moment, kept warm.
 *
 * A stream has a buffer only while bytes are in it, so buffers change hands at every request. Each worker keeps some, the warmest last, which only
 * its own thread touches: plain loads and stores. A buffer belongs to no worker: its task may go on elsewhere between get and put. Who finds none, has
 * too many, or is no worker of this runtime (a stream may be closed from any thread) uses malloc and free.
 *
 * Threads: get and put any; free_all when the workers have ended. Nothing here suspends, so who the worker is does not change meanwhile. */
#include <stdlib.h>
#include <weft/io.h>

#include "executor/runtime.h"
#include "io/reactor.h"

/* The calling worker's; NULL: it is none of this runtime. */
static inline struct weft__buffer_cache *own(struct weft__io *io)
{
    const struct weft__worker *w = weft__worker_self();
    return weft__likely(w != NULL && w->rt == io->rt) ? &io->buffers[w->index] : NULL;
}

struct weft__buffer *weft__buffer_new(size_t capacity)
{
    struct weft__buffer *buffer = malloc(sizeof *buffer + capacity);
    if (buffer != NULL) {
        buffer->start = buffer->end = 0;
        buffer->capacity = capacity;
    }
    return buffer;
}

struct weft__buffer *weft__buffer_get(struct weft__io *io)
{
    struct weft__buffer_cache *cache = own(io);
    if (weft__unlikely(cache == NULL || cache->count == 0))
        return weft__buffer_new(WEFT_STREAM_BUFFER);
    struct weft__buffer *buffer = cache->kept[--cache->count];
    buffer->start = buffer->end = 0;
    return buffer;
}

void weft__buffer_put(struct weft__io *io, struct weft__buffer *buffer)
{
    struct weft__buffer_cache *cache = own(io);
    if (weft__likely(cache != NULL && cache->count < WEFT__BUFFERS_KEPT))
        cache->kept[cache->count++] = buffer;
    else
        free(buffer);
}

struct weft__buffer_cache *weft__buffers_create(const struct weft_runtime *rt)
{
    size_t size = rt->worker_count * sizeof(struct weft__buffer_cache);
    struct weft__buffer_cache *caches = aligned_alloc(WEFT__CACHELINE, size);
    for (unsigned i = 0; caches != NULL && i < rt->worker_count; i++)
        caches[i].count = 0;
    return caches;
}

void weft__buffers_free(struct weft__io *io)
{
    for (unsigned i = 0; i < io->rt->worker_count; i++) {
        struct weft__buffer_cache *cache = &io->buffers[i];
        while (cache->count > 0)
            free(cache->kept[--cache->count]);
    }
    free(io->buffers);
}
