/* SPDX-License-Identifier: Apache-2.0 */
/* executor/stack_space.c -- address space for the chunks of stacks.
 *
 * A mapping of their own for each chunk would be some hundreds for a million stacks, because other mappings come to lie between them. So
 * they are cut from regions, each fifteen times as large as all before it: four of them hold a million stacks. A region is address space alone
 * (PROT_NONE): a chunk is opened when it is taken, so that no limit on memory counts what is not in use yet, and mlockall fills nothing.
 * Chunks are taken from the top of a region downwards, which is the order in which the kernel places mappings: neighbours melt into one.
 * Where the process has a limit on its address space (RLIMIT_AS) a region is one chunk: the rest of the program needs what is left. A region
 * that is refused is tried again at half the size.
 *
 * Invariants: 1. A chunk's memory is given out once. 2. What lies in a region below `left` is PROT_NONE, except where a chunk could not be
 * opened in the one moment when another thread took the next: that one is lost until the end.
 *
 * Any thread may get; the space is under the caller's guard, no system call is made under it. */
#include "executor/stack_space.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "executor/fiber_tools.h"
#include "executor/guard.h"
#include "executor/numa.h"

#define REGION_GROWTH 15
/* Chunks in a region: 64 GiB. Sanitizers do something for each byte of a mapping. */
#define REGION_MOST ((size_t)(WEFT__FIBER_TOOLS ? 4 : 1024))

struct weft__stack_region {
    struct weft__stack_region *older;
    char *first;
    size_t size;
};

static bool address_space_is_limited(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/* A region of up to so many chunks; NULL: refused. */
static struct weft__stack_region *region_map(size_t chunks, unsigned which, bool bind)
{
    struct weft__stack_region *region = malloc(sizeof *region);
    if (region == NULL)
        return NULL;
    void *memory = MAP_FAILED;
    for (; memory == MAP_FAILED && chunks != 0; chunks /= 2) {
        region->size = chunks * WEFT__STACK_CHUNK;
        memory = mmap(NULL, region->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (memory == MAP_FAILED) {
        free(region);
        return NULL;
    }
    madvise(memory, region->size, MADV_NOHUGEPAGE); /* fails only where there are no huge pages */
    if (bind)
        weft__numa_bind(memory, region->size, (int)which);
    region->first = memory;
    return region;
}

/* Under the guard. */
static char *take(struct weft__stack_space *s, unsigned which)
{
    if (s->rest[which].left == 0)
        return NULL;
    s->chunks++;
    s->rest[which].left -= WEFT__STACK_CHUNK;
    return s->rest[which].first + s->rest[which].left;
}

/* Somebody else may have come first: then only one chunk is kept of the region. */
static char *take_of_new(struct weft__stack_space *s, uint32_t *guard, struct weft__stack_region *region,
                         unsigned which)
{
    char *spare = region->first;
    size_t unwanted = region->size - WEFT__STACK_CHUNK;
    weft__guard_lock(guard);
    region->older = s->regions;
    s->regions = region;
    if (s->rest[which].left == 0) {
        s->rest[which].first = region->first;
        s->rest[which].left = unwanted;
        unwanted = 0;
    } else {
        region->first += unwanted;
        region->size = WEFT__STACK_CHUNK;
    }
    s->chunks++;
    weft__guard_unlock(guard);
    if (unwanted != 0)
        munmap(spare, unwanted);
    return region->first + region->size - WEFT__STACK_CHUNK;
}

void *weft__stack_space_get(struct weft__stack_space *s, uint32_t *guard, unsigned which, bool bind)
{
    weft__guard_lock(guard);
    char *memory = take(s, which);
    size_t wish = REGION_GROWTH * s->chunks;
    weft__guard_unlock(guard);
    if (memory == NULL) {
        wish = wish > REGION_MOST ? REGION_MOST : wish;
        struct weft__stack_region *region = region_map(wish == 0 || address_space_is_limited() ? 1 : wish, which, bind);
        if (region == NULL)
            return NULL;
        memory = take_of_new(s, guard, region, which);
    }
    if (mprotect(memory, WEFT__STACK_CHUNK, PROT_READ | PROT_WRITE) == 0)
        return memory;
    weft__guard_lock(guard);
    s->chunks--;
    if (s->rest[which].first + s->rest[which].left == memory)
        s->rest[which].left += WEFT__STACK_CHUNK;
    weft__guard_unlock(guard);
    return NULL;
}

void weft__stack_space_end(struct weft__stack_space *s)
{
    while (s->regions != NULL) {
        struct weft__stack_region *region = s->regions;
        s->regions = region->older;
        munmap(region->first, region->size);
        free(region);
    }
    *s = (struct weft__stack_space){.chunks = 0};
}
