/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/strands.h -- what the tests of strands and of seeded runs share: plain memory that notices when two are in it, and the heap
 * in use, to see leaks without a leak checker. */
#ifndef WEFT_TESTS_SUPPORT_STRANDS_H
#define WEFT_TESTS_SUPPORT_STRANDS_H

#include <malloc.h>
#include <sched.h>
#include <time.h>

#include <weft/strand.h>

#include "support/threads.h"

/* Not atomic on purpose: only tasks of one strand touch it. */
struct guarded {
    long count;
    volatile int inside;
    bool overlapped;
};

static inline void touch(struct guarded *g)
{
    if (g->inside++ != 0)
        g->overlapped = true;
    for (volatile int i = 0; i < 20; i++)
        ;
    g->count++;
    g->inside--;
}

/* 0 where the allocator does not tell (sanitizers look for leaks by themselves). */
static inline size_t heap_in_use(void)
{
#if THREADS_SANITIZED
    return 0;
#else
    if (RUNNING_ON_VALGRIND)
        return 0;
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
#endif
}

/* The least that one of several rounds of the same left in the heap: what malloc's own caches keep counts as in use, and comes to an end only slowly
 * and at a different time in each thread; what is lost is lost in each round. */
struct heap_rounds {
    size_t last;
    long least;
    unsigned rounds;
};
static inline void heap_round(struct heap_rounds *r)
{
    size_t now = heap_in_use();
    if (r->rounds++ != 0 && ((long)now - (long)r->last < r->least || r->rounds == 2))
        r->least = (long)now - (long)r->last;
    r->last = now;
}

#endif
