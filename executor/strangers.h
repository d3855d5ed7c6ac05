/* SPDX-License-Identifier: Apache-2.0 */
/* executor/strangers.h -- see strangers.c: an owner changes its words without locked instructions, and whoever else wants to announces himself. */
#ifndef WEFT_EXECUTOR_STRANGERS_H
#define WEFT_EXECUTOR_STRANGERS_H

#include "executor/atomic.h"
#include "executor/base.h"

/* Counted for good where the kernel has no membarrier. */
#define WEFT__STRANGERS_ALWAYS 0x10000u

struct weft__strangers {
    _Atomic(uint32_t) count;    /* at work, or left behind (pairs: STRANGERS) */
    _Atomic(uint32_t) kept;     /* one of them was left behind: for so many ticks more */
    _Atomic(uint32_t) barriers; /* since the last tick */
    uint32_t keep, few; /* ticks that a count is left for, 0: none is ever; barriers in a tick before the first */
};

/* An owner's. */
struct weft__owner {
    _Atomic(uint32_t) inside;   /* (pairs: STRANGERS) */
    _Atomic(uint32_t) gave_way; /* times that it saw strangers, and did nothing (pairs: STRANGERS) */
};

/* Before there are other threads. */
void weft__strangers_init(struct weft__strangers *s, uint32_t keep, uint32_t few);

/* A stranger comes. True: there is none so far, so a membarrier must follow, then `outlast` for each owner but the caller himself, then `stay`. */
bool weft__strangers_come(struct weft__strangers *s);
/* Wait until what this owner did inside when the barrier fell is over. */
void weft__strangers_outlast(const _Atomic(uint32_t) *inside, const _Atomic(uint32_t) *gave_way);
/* A count is left behind, if it is time for that. */
void weft__strangers_stay(struct weft__strangers *s);
void weft__strangers_go(struct weft__strangers *s);
/* The reactor thread, at each tick. */
void weft__strangers_tick(struct weft__strangers *s);

/* The owner, inside already, sees strangers. Always false. */
static inline bool weft__owner_gives_way(_Atomic(uint32_t) *gave_way)
{
    weft__bump_release(gave_way); /* pairs: STRANGERS */
    return false;
}

/* The owner. True: until its end no stranger is at work; a few instructions, in which nothing waits or suspends. */
static inline bool weft__owner_begin(struct weft__owner *o, const struct weft__strangers *s)
{
    weft__store_relaxed(&o->inside, 1); /* relaxed: membarrier in the stranger, see STRANGERS */
    weft__compiler_barrier();
    if (weft__likely(weft__load_acquire(&s->count) == 0)) /* pairs: STRANGERS */
        return true;
    weft__store_release(&o->inside, 0); /* pairs: STRANGERS */
    return weft__owner_gives_way(&o->gave_way);
}
static inline void weft__owner_end(struct weft__owner *o)
{
    weft__store_release(&o->inside, 0); /* pairs: STRANGERS */
}

#endif
