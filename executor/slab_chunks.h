/* SPDX-License-Identifier: Apache-2.0 */
/* executor/slab_chunks.h -- see slab_chunks.c: the memory that slab.c hands out, for that file alone. */
#ifndef WEFT_EXECUTOR_SLAB_CHUNKS_H
#define WEFT_EXECUTOR_SLAB_CHUNKS_H

#include "executor/slab.h"

#define WEFT__SLAB_CHUNK ((size_t)256 * 1024)
#define WEFT__SLAB_HUGE ((size_t)2 * 1024 * 1024)

struct weft__slab_object {
    struct weft__slab_object *next;
    union {
        struct weft__slab_object *batch;
        uintptr_t count;
    };
};

struct weft__slab_chunk {
    struct weft__slab_chunk *next; /* older; constant once the chunk is on the list, as its size */
    size_t size;
    uint32_t used;
    uint32_t home; /* the number of its part */
    bool huge;     /* of huge pages, if the kernel has any */
    alignas(WEFT__CACHELINE) char objects[];
};

_Static_assert(sizeof(struct weft__slab_object) == 16, "what slab.h promises to leave alone");

static inline uint32_t weft__slab_per_chunk(const struct weft__slab *s, const struct weft__slab_chunk *chunk)
{
    return (uint32_t)((chunk->size - sizeof(struct weft__slab_chunk)) / s->object_size);
}

static inline struct weft__slab_object *weft__slab_chunk_object(const struct weft__slab *s,
                                                                struct weft__slab_chunk *chunk, uint32_t i)
{
    return (struct weft__slab_object *)(void *)(chunk->objects + i * s->object_size);
}

/* A huge page that nobody has touched, and its chunk. */
struct weft__slab_fresh {
    char *page; /* NULL: none */
    struct weft__slab_chunk *chunk;
};

/* Under the part's guard. Up to `wish` fresh objects in a row; *count is 0 when memory is short. *fresh: the huge page that they reach first. */
struct weft__slab_object *weft__slab_carve(struct weft__slab *s, struct weft__slab_part *p, uint32_t wish,
                                           uint32_t *count, struct weft__slab_fresh *fresh);
/* Then, without the guard: others that come upon the page meanwhile wait in their own fault. */
void weft__slab_touch(struct weft__slab *s, struct weft__slab_fresh fresh);

#endif
