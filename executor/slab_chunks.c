/* SPDX-License-Identifier: Apache-2.0 */
/* executor/slab_chunks.c -- the memory of slabs: chunks from the kernel, handed out front to back.
 *
 * The first chunks are of 256 KiB. A slab of more than 4 MiB goes on in huge pages: chunks aligned to 2 MiB, each
 * seven times as large as all so far or more, up to 128 MiB, so that a million objects cost some dozens of page faults, and few
 * mappings; at most one huge page is touched and not full. Where the kernel is slow to find one (a guest whose host has yet to find the
 * memory: milliseconds for each) the rest of the slab is of small pages: the first touch of each huge page is timed.
 *
 * What is cut from them, and the invariants: slab.c. Not done: no huge pages for small slabs, a runtime with ten tasks would pay 2 MiB for each type.
 *
 * Threads: carve under the part's guard; touch and each any thread; destroy and memory while nobody uses the slab. */
#include "executor/slab_chunks.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "executor/guard.h"
#include "executor/numa.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_LSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_LSAN 1
#endif
#endif
#ifdef SLAB_LSAN
/* The leak checker looks for pointers in heap memory, but not in mappings it is not told of. */
#include <sanitizer/lsan_interface.h>
#define SLAB_ROOT(chunk, size) __lsan_register_root_region((chunk), (size))
#define SLAB_UNROOT(chunk, size) __lsan_unregister_root_region((chunk), (size))
#else
#define SLAB_ROOT(chunk, size) ((void)(size))
#define SLAB_UNROOT(chunk, size) ((void)0)
#endif

#define SLAB_HUGE_FROM ((size_t)4 * 1024 * 1024) /* a slab that has so much goes on in huge pages */
#define SLAB_HUGE_SLOW 2000000                   /* nanoseconds of the thread's own time: then small pages do better */
#define SLAB_HUGE_MOST ((size_t)128 * 1024 * 1024)
#define SLAB_GROWTH 7
#define SLAB_PAGE 4096 /* larger ones are multiples of it */

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

/* Aligned to a huge page. */
static void *map_huge(size_t size)
{
    char *memory = map(size + WEFT__SLAB_HUGE);
    if (memory == NULL)
        return NULL;
    size_t before = -(uintptr_t)memory & (WEFT__SLAB_HUGE - 1);
    if (before != 0)
        munmap(memory, before);
    munmap(memory + before + size, WEFT__SLAB_HUGE - before);
    return memory + before;
}

/* The next chunk: NULL when memory is short. */
static WEFT__COLD struct weft__slab_chunk *slab_grow(struct weft__slab *s, struct weft__slab_part *p)
{
    struct weft__slab_chunk *chunk = NULL;
    size_t size = WEFT__SLAB_CHUNK;
    bool large = p->mapped >= SLAB_HUGE_FROM;
    if (s->parts > 1) {
        size = WEFT__SLAB_HUGE;
        chunk = map_huge(size);
        if (chunk == NULL)
            return NULL;
    } else if (large) {
        size = WEFT__SLAB_HUGE;
        while (size < SLAB_HUGE_MOST && size < SLAB_GROWTH * p->mapped)
            size *= 2;
        chunk = map_huge(size);
    }
    bool small_pages = weft__load_relaxed(&s->small_pages) != 0; /* relaxed: a hint */
    if (chunk == NULL) {
        size = WEFT__SLAB_CHUNK;
        chunk = map(size);
        large = false;
    } else if (large) {
        madvise(chunk, size, small_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE); /* fails only where there are none */
    }
    if (chunk == NULL)
        return NULL;
    weft__numa_bind(chunk, size, p->node);
    SLAB_ROOT(chunk, size);
    chunk->next = p->chunks;
    chunk->size = size;
    chunk->used = 0;
    chunk->home = (uint32_t)(p - s->part);
    chunk->huge = large;
    p->chunks = chunk;
    p->mapped += size;
    weft__fetch_add_relaxed(&s->mapped_bytes, size); /* relaxed: statistic */
    return chunk;
}

struct weft__slab_object *weft__slab_carve(struct weft__slab *s, struct weft__slab_part *p, uint32_t wish,
                                           uint32_t *count, struct weft__slab_fresh *fresh)
{
    struct weft__slab_chunk *chunk = p->chunks;
    *count = 0;
    if ((!chunk || chunk->used == weft__slab_per_chunk(s, chunk)) && (chunk = slab_grow(s, p)) == NULL)
        return NULL;
    uint32_t limit = weft__slab_per_chunk(s, chunk);
    struct weft__slab_object *first = weft__slab_chunk_object(s, chunk, chunk->used);
    *count = wish < limit - chunk->used ? wish : limit - chunk->used;
    /* The last one's link is read before anything is written there: not on a page of its own, or that page faults twice. */
    uintptr_t end = (uintptr_t)first + *count * s->object_size;
    if (*count > 1 && (end - s->object_size) / SLAB_PAGE != (end - 2 * s->object_size) / SLAB_PAGE)
        --*count;
    bool unused = chunk->used == 0;
    chunk->used += *count;
    if (chunk->huge && weft__load_relaxed(&s->small_pages) == 0) { /* relaxed: a hint */
        uintptr_t last = (uintptr_t)weft__slab_chunk_object(s, chunk, chunk->used) - 1;
        if (unused || (last ^ ((uintptr_t)first - 1)) >= WEFT__SLAB_HUGE) { /* also when it begins there */
            fresh->page = (char *)chunk + (last - (uintptr_t)chunk) / WEFT__SLAB_HUGE * WEFT__SLAB_HUGE;
            fresh->chunk = chunk;
        }
    }
    return first;
}

static int64_t own_time(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0 ? t.tv_sec * INT64_C(1000000000) + t.tv_nsec : 0;
}

WEFT__COLD void weft__slab_touch(struct weft__slab *s, struct weft__slab_fresh fresh)
{
    int64_t before = own_time();
    char *last = fresh.page + WEFT__SLAB_HUGE - 1; /* the byte that will be needed last: it is zero, and so it stays */
    (void)weft__fetch_add_relaxed((_Atomic(char) *)(void *)last,
                                  0); /* relaxed: it changes nothing; but the page is written to */
    if (own_time() - before <= SLAB_HUGE_SLOW)
        return;
    weft__store_relaxed(&s->small_pages, 1);                  /* relaxed: a hint */
    madvise(fresh.chunk, fresh.chunk->size, MADV_NOHUGEPAGE); /* all of it, or one mapping becomes two */
}

void weft__slab_destroy(struct weft__slab *s)
{
    for (unsigned i = 0; i < s->parts; i++) {
        struct weft__slab_chunk *chunk = s->part[i].chunks;
        while (chunk) {
            struct weft__slab_chunk *next = chunk->next;
            SLAB_UNROOT(chunk, chunk->size);
            WEFT__BUG_ON(munmap(chunk, chunk->size) != 0);
            chunk = next;
        }
    }
    if (s->part != &s->only)
        free(s->part);
    s->parts = 0;
    s->part = NULL;
    weft__store_relaxed(&s->mapped_bytes, 0); /* relaxed: nobody else uses it any more */
}

void weft__slab_each(struct weft__slab *s, void (*visit)(void *user, void *object), void *user)
{
    for (unsigned p = 0; p < s->parts; p++) {
        /* The list at one moment; visit runs without the guard. What is handed out first meanwhile is not visited. */
        weft__guard_lock(&s->part[p].guard);
        struct weft__slab_chunk *chunk = s->part[p].chunks;
        uint32_t used = chunk ? chunk->used : 0;
        weft__guard_unlock(&s->part[p].guard);
        while (chunk) {
            for (uint32_t i = 0; i < used; i++)
                visit(user, weft__slab_chunk_object(s, chunk, i));
            chunk = chunk->next;
            used = chunk ? weft__slab_per_chunk(s, chunk) : 0; /* invariant 1 */
        }
    }
}

const void *weft__slab_memory(const struct weft__slab *s, unsigned part, const void *after, size_t *size)
{
    const struct weft__slab_chunk *chunk =
        after == NULL ? s->part[part].chunks : ((const struct weft__slab_chunk *)after)->next;
    *size = chunk != NULL ? sizeof *chunk + chunk->used * s->object_size : 0;
    return chunk;
}
