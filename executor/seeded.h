/* SPDX-License-Identifier: Apache-2.0 */
/* executor/seeded.h -- see seeded.c: every choice that workers make, drawn from a seed. */
#ifndef WEFT_EXECUTOR_SEEDED_H
#define WEFT_EXECUTOR_SEEDED_H

#include "executor/atomic.h"
#include "executor/base.h"

struct weft_runtime;
struct weft__seeded;
struct weft__worker;

/* NULL: memory. */
struct weft__seeded *weft__seeded_create(uint64_t seed);
void weft__seeded_destroy(struct weft__seeded *s);
/* The one worker, in its idle loop: what comes next; 0: nothing is ready. */
uintptr_t weft__seeded_pick(struct weft__worker *w);
/* The one worker: is anything ready that it has not picked? */
bool weft__seeded_any(const struct weft__seeded *s);
/* For the end of the run: take out what is left, 0 when nothing is. */
uintptr_t weft__seeded_take(struct weft__seeded *s);
/* What is drawn. In brackets: what makes a calm run, in which nothing comes at a bad moment (testing/ counts what differs from that). */
enum weft__choice {
    WEFT__CHOOSE_NEXT, /* which item is next; then, if there are any, the due timers, then the forked children [the oldest item] */
    WEFT__CHOOSE_TIMER,   /* which of the timers that are due [0] */
    WEFT__CHOOSE_CHILD,   /* 0: the newest forked child, 1: the oldest [0] */
    WEFT__CHOOSE_FORK,    /* 1: a thief takes the child at once, 0: its parent may join it [0] */
    WEFT__CHOOSE_INLINE,  /* 1: the awaiter runs an unstarted task, 0: somebody else does [1] */
    WEFT__CHOOSE_PREEMPT, /* 0: others come in at this call, else not [1] */
    WEFT__CHOICES
};
/* One choice, 0 .. n - 1. Every one goes through this function, which testing/ replaces when it is linked in. */
uint64_t weft__seeded_choose(struct weft__seeded *s, enum weft__choice what, uint64_t n);
/* The same, as the library itself makes it and as it goes into the hash. */
uint64_t weft__seeded_draw(struct weft__seeded *s, enum weft__choice what, uint64_t n);
uint64_t weft__seeded_random(struct weft__seeded *s, uint64_t n);
uint64_t weft__seeded_hash(const struct weft__seeded *s);

/* ---- for choosers: what WEFT__CHOOSE_NEXT and WEFT__CHOOSE_PREEMPT are about ---- */

/* Take what has become ready into the set, so that all of it is seen. */
void weft__seeded_gather(struct weft__worker *w);
size_t weft__seeded_count(const struct weft__seeded *s);
/* When did item i become ready, in order? Who is it (the same number in each run with the same choices)? */
uint64_t weft__seeded_arrival(const struct weft__seeded *s, size_t i);
uint64_t weft__seeded_who(const struct weft__seeded *s, size_t i);
/* Who runs now. */
uint64_t weft__seeded_running(void);

/* At the start of each public call that may let others run on other workers meanwhile, with no guard held and no wait begun: a seeded runtime may
 * let them run here. Costs a load elsewhere. */
extern _Atomic(uint32_t) weft__watched_runtimes; /* alive in this process; those in debug mode, too */
void weft__preempt(void);
/* Is any of them alive? Else nobody cares who makes which call. */
static inline bool weft__watched(void)
{
    /* relaxed: set before the runtime's tasks run */
    return weft__unlikely(weft__load_relaxed(&weft__watched_runtimes) != 0);
}
static inline void weft__preempt_point(void)
{
    if (weft__watched())
        weft__preempt();
}

#endif
