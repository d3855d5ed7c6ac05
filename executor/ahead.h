/* SPDX-License-Identifier: Apache-2.0 */
/* executor/ahead.h -- asking for the memory of those whose turn comes soon.
 *
 * A fiber that has waited long has left the caches, and its stack lies in a page of its own: to go on it needs some ten lines of
 * memory, one after the other, because each return from a function ends in a branch that was not foreseen. With very many
 * such fibers that is most of what a wake costs. So who takes an item from a long ready queue looks at two that come later: of
 * the farther one it asks for the fiber's first line, which tells where its stack was left; of the nearer one, for which that
 * has come by now, for what lies from there up to the fiber's end, and for its task. A short queue is left alone: what is in it was
 * touched a moment ago.
 *
 * These are hints: items may be taken by others meanwhile, and run elsewhere. Memory of tasks and fibers stays of its type, so whatever is read
 * is an address in a stack of this runtime, now or a moment ago, and only the prefetch uses it.
 *
 * Threads: the owner of the queue. */
#ifndef WEFT_EXECUTOR_AHEAD_H
#define WEFT_EXECUTOR_AHEAD_H

#include "executor/fiber.h"
#include "executor/ready.h"

#define WEFT__AHEAD_FAR 8
#define WEFT__AHEAD_NEAR 4
#define WEFT__AHEAD_MOST (12 * 64) /* bytes of a stack */
#define WEFT__AHEAD_LINE 64        /* what one prefetch brings */

/* gcc holds a function that does nothing but prefetch for one without effect, and drops the calls that it has not inlined. */
#define WEFT__AHEAD static inline __attribute__((always_inline))

/* For an item of a ready queue whose first line is here, or on its way. */
WEFT__AHEAD void weft__ahead_rest(uintptr_t item)
{
#if WEFT__FIBER_TOOLS
    (void)item; /* it may run elsewhere by now: they would call this a race, which it is */
#else
    if (!(item & 1))
        return;
    const struct weft__fiber *f = (const struct weft__fiber *)(item & ~(uintptr_t)1);
    const char *at = f->context.sp, *end = (const char *)(f + 1);
    if (end - at > WEFT__AHEAD_MOST)
        end = at + WEFT__AHEAD_MOST;
    __builtin_prefetch(f->task);
    for (; at < end; at += WEFT__AHEAD_LINE)
        __builtin_prefetch(at);
#endif
}

/* A fiber without a task: its first line, which says where its stack stands. */
WEFT__AHEAD void weft__ahead_first(const struct weft__fiber *f)
{
    __builtin_prefetch(f, 1);
}

/* When that has come: what its next task will use first. */
WEFT__AHEAD void weft__ahead_fresh(const struct weft__fiber *f)
{
    const char *at = f->context.sp;
    for (int i = -6; i < 4; i++)
        __builtin_prefetch(at + i * WEFT__AHEAD_LINE, 1);
    __builtin_prefetch((const char *)f + WEFT__AHEAD_LINE, 1);
}

/* Who cancels one task of many mostly goes on to its neighbour in memory, as they were created one after the other: the first line of its fiber, on either
 * side. Only in the same page, which is there; if no such descriptor lies in that place, an address is asked for that is none, and nothing comes. */
WEFT__AHEAD void weft__ahead_neighbours(const struct weft_task *t)
{
#if WEFT__FIBER_TOOLS || defined(WEFT__EXPLORE)
    (void)t;
#else
    const uintptr_t page = WEFT__PAGE - 1, at = (uintptr_t)t;
    for (int i = -2; i <= 2; i += 4) {
        uintptr_t other = at + (uintptr_t)((intptr_t)sizeof *t * i);
        if ((other & ~page) == (at & ~page)) {
            struct weft__fiber *f = weft__load_relaxed(&((struct weft_task *)other)->fiber); /* relaxed: a hint */
            __builtin_prefetch((const void *)((uintptr_t)f & ~(uintptr_t)3), 1);
        }
    }
#endif
}

/* The oldest item has just been taken. */
WEFT__AHEAD void weft__look_ahead(const struct weft__ready *r)
{
    uintptr_t item = weft__ready_later(r, WEFT__AHEAD_FAR);
    if (weft__likely(item == 0))
        return;
    __builtin_prefetch((const void *)(item & ~(uintptr_t)1));
    weft__ahead_rest(weft__ready_later(r, WEFT__AHEAD_NEAR));
}

#endif
