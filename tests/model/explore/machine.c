/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c -- what the library asks of the kernel and of the C library, for the explorer: sleeping, barriers in all threads, memory.
 *
 *   parker      executor/parker.h as its header promises: a post after the ticket ends the wait. One with a deadline may also end without.
 *   membarrier  reaches the other threads one after the other, anybody running in between.
 *   memory      from an arena that every execution begins anew, at the same addresses; what is freed is not used again, and not to be touched. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "executor/atomic.h"
#include "executor/base.h"
#include "executor/membarrier.h"
#include "executor/numa.h"
#include "executor/parker.h"
#include "executor/sole.h"
#include "internal.h"

enum { ARENA = 1 << 20, GRAIN = 128 };

static alignas(GRAIN) char arena[ARENA];
static size_t used;
static bool freed[ARENA / GRAIN];
static unsigned allocations;

void *__real_malloc(size_t size);
void __real_free(void *p);
void *__real_memset(void *to, int value, size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void __wrap_free(void *p);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool in_arena(uintptr_t address)
{
    return address - (uintptr_t)arena < ARENA;
}

bool explore_is_freed(uintptr_t address)
{
    return in_arena(address) && freed[(address - (uintptr_t)arena) / GRAIN];
}

static void *take(size_t size)
{
    if (++allocations == explore_running->memory_lean)
        return NULL;
    size = (size + GRAIN - 1) / GRAIN * GRAIN;
    if (used + size > ARENA)
        explore_fail("the arena is used up");
    char *p = arena + used;
    used += size;
    __real_memset(p, 0xa5, size); /* not the library's access */
    return p;
}

void *__wrap_malloc(size_t size)
{
    return explore_inside ? take(size) : __real_malloc(size);
}
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return explore_inside && alignment <= GRAIN ? take(size) : __real_aligned_alloc(alignment, size);
}
void *__wrap_calloc(size_t n, size_t size)
{
    if (!explore_inside)
        return __real_calloc(n, size);
    void *p = take(n * size);
    return p != NULL ? __real_memset(p, 0, n * size) : NULL;
}
void __wrap_free(void *p)
{
    if (!in_arena((uintptr_t)p)) {
        __real_free(p);
        return;
    }
    size_t at = ((uintptr_t)p - (uintptr_t)arena) / GRAIN;
    if (freed[at])
        explore_fail("freed twice");
    freed[at] = true; /* of a large block the first bytes */
}

void explore_machine_reset(void)
{
    memset(freed, 0, used / GRAIN * sizeof freed[0]);
    used = 0;
    allocations = 0;
}

/* ---- waiting ---- */

int __wrap_sched_yield(void);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_sched_yield(void)
{
    explore_yield();
    return 0;
}
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted;
    (void)left;
    explore_yield();
    return 0;
}
void weft__explore_relax(void);
void weft__explore_relax(void)
{
    explore_yield();
}

/* A parker's word is its count; who posted is known to who has seen it. */
static struct explore_sync posted[64];

static struct explore_sync *sync_of(const struct weft__parker *p)
{
    return &posted[((uintptr_t)p / sizeof *p) % 64];
}

struct waiting {
    const struct weft__parker *parker;
    uint32_t ticket;
};

static bool has_moved(void *waiting)
{
    const struct waiting *w = waiting;
    return w->parker->count.counter != w->ticket;
}

void weft__parker_init(struct weft__parker *p)
{
    p->count.counter = 0;
    *sync_of(p) = (struct explore_sync){{0}};
}
uint32_t weft__parker_ticket(const struct weft__parker *p)
{
    explore_point();
    explore_arrive(sync_of(p));
    return p->count.counter;
}
bool weft__parker_wait(struct weft__parker *p, uint32_t ticket, weft_ns deadline)
{
    struct waiting w = {p, ticket};
    explore_point();
    if (deadline == WEFT_FOREVER || (!has_moved(&w) && explore_any(2) == 0))
        explore_block(has_moved, &w);
    explore_arrive(sync_of(p));
    return has_moved(&w);
}
void weft__parker_post(struct weft__parker *p)
{
    explore_point();
    explore_leave(sync_of(p));
    p->count.counter++;
    explore_wrote();
}

bool weft__membarrier_prepare(void)
{
    return !explore_running->no_membarrier;
}
bool weft__membarrier(void)
{
    if (explore_running->no_membarrier)
        return false;
    for (unsigned i = 1; i < EXPLORE_THREADS; i++) {
        if (i == explore_current || explore_running->thread[i - 1] == NULL)
            continue;
        explore_point();
        explore_memory_barrier(i);
    }
    explore_note("barrier", NULL, 0, __builtin_return_address(0));
    return true;
}

/* Who a thread is, in models that do not say it: one of several. */
struct weft__nowhere weft__nowhere;
__attribute__((weak)) struct weft_here_ *weft_here_(void)
{
    return &weft__nowhere.here;
}

/* ---- reports of the library ---- */

void weft__bug(const char *file, int line, const char *what)
{
    explore_fail("%s:%d: broken invariant: %s", file, line, what);
}
void weft__misuse(const char *call, const char *what)
{
    explore_fail("%s: %s", call, what);
}

/* ---- memory of no node ---- */

void *weft__numa_alloc(size_t size, int node)
{
    (void)node;
    return aligned_alloc(WEFT__CACHELINE, (size + WEFT__CACHELINE - 1) / WEFT__CACHELINE * WEFT__CACHELINE);
}

void *weft__numa_grow(void *memory, size_t size, size_t larger, int node)
{
    _Atomic(uintptr_t) *from = memory, *to = weft__numa_alloc(larger, node);
    for (size_t i = 0; to != NULL && i < size / sizeof *to; i++)
        weft__store_relaxed(&to[i], weft__load_relaxed(&from[i])); /* relaxed: whoever grows it has it alone */
    if (to != NULL)
        weft__numa_free(memory, size, node);
    return to;
}

void weft__numa_free(void *memory, size_t size, int node)
{
    (void)size, (void)node;
    free(memory);
}
