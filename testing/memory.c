/* SPDX-License-Identifier: Apache-2.0 */
/* testing/memory.c -- allocations of the program and of weft: they fail as faults.c says, and while they are watched a table knows those
 * that live.
 *
 * Only calls from objects that are linked with --wrap come here. What such an object frees but did not allocate (strdup's result) is in no table and
 * is just freed; what it allocates and libc frees would count as left, so such things (a stream's buffer) must be made by libc.
 *
 * The table is open addressing under a spinning lock: never held over anything that blocks or allocates, so a signal handler or a fork meets it
 * unlocked but for the thread's own. Any thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "testing/testing.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);

#define GONE UINTPTR_MAX /* a place whose block was freed */

static struct {
    atomic_flag lock;
    _Atomic(bool) on;
    uintptr_t *places;
    size_t used, live, capacity; /* used: with those that are gone */
} table = {.lock = ATOMIC_FLAG_INIT};

void *weft__testing_alloc(size_t count, size_t size)
{
    void *p = __real_calloc(count, size);
    if (p == NULL)
        abort();
    return p;
}

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&table.lock, memory_order_acquire))
        sched_yield();
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&table.lock, memory_order_release);
}

static size_t place_of(uintptr_t p)
{
    return (size_t)((p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20);
}

static void put(uintptr_t *places, size_t capacity, uintptr_t p)
{
    size_t i = place_of(p);
    while (places[i & (capacity - 1)] != 0)
        i++;
    places[i & (capacity - 1)] = p;
}

static void grow(void)
{
    size_t capacity = table.live * 4 < 4096 ? 4096 : table.capacity;
    while (capacity < table.live * 4)
        capacity *= 2;
    uintptr_t *places =
        __real_mmap(NULL, capacity * sizeof *places, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (places == MAP_FAILED)
        abort();
    for (size_t i = 0; i < table.capacity; i++) {
        if (table.places[i] != 0 && table.places[i] != GONE)
            put(places, capacity, table.places[i]);
    }
    if (table.places != NULL)
        munmap(table.places, table.capacity * sizeof *places);
    table.places = places;
    table.capacity = capacity;
    table.used = table.live;
}

static void *note(void *p)
{
    if (p == NULL || !atomic_load_explicit(&table.on, memory_order_relaxed))
        return p;
    lock();
    if (table.used * 2 >= table.capacity)
        grow();
    put(table.places, table.capacity, (uintptr_t)p);
    table.used++;
    table.live++;
    unlock();
    return p;
}

static void forget(const void *p)
{
    if (p == NULL || !atomic_load_explicit(&table.on, memory_order_relaxed))
        return;
    lock();
    for (size_t i = place_of((uintptr_t)p); table.capacity != 0; i++) {
        uintptr_t *at = &table.places[i & (table.capacity - 1)];
        if (*at == 0)
            break;
        if (*at == (uintptr_t)p) {
            *at = GONE;
            table.live--;
            break;
        }
    }
    unlock();
}

void weft__memory_watch(void)
{
    lock();
    table.live = 0;
    if (table.capacity != 0)
        memset(table.places, 0, table.capacity * sizeof *table.places);
    table.used = 0;
    atomic_store(&table.on, true);
    unlock();
}

size_t weft__memory_left(size_t *size)
{
    atomic_store(&table.on, false);
    lock();
    size_t live = table.live;
    for (size_t i = 0; live != 0 && i < table.capacity; i++) {
        if (table.places[i] != 0 && table.places[i] != GONE) {
            *size = malloc_usable_size((void *)table.places[i]);
            break;
        }
    }
    unlock();
    return live;
}

/* ---- the calls ---------------------------------------------------------------------------------------------------- */

static bool refused(enum weft__call call)
{
    int error = weft__fault(call, -1);
    if (error == 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return refused(WEFT__MALLOC) ? NULL : note(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return refused(WEFT__CALLOC) ? NULL : note(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return refused(WEFT__ALIGNED_ALLOC) ? NULL : note(__real_aligned_alloc(alignment, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (refused(WEFT__REALLOC))
        return NULL;
    forget(old); /* first: when it has moved, another thread may be given the old address */
    void *p = __real_realloc(old, size);
    if (p == NULL && size != 0)
        note(old);
    else
        note(p);
    return p;
}

void __wrap_free(void *p)
{
    forget(p); /* first: as above */
    __real_free(p);
}
