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
/* One draw, 0 .. n - 1. */
uint64_t weft__seeded_draw(struct weft__seeded *s, uint64_t n);
uint64_t weft__seeded_hash(const struct weft__seeded *s);

/* At the start of each public call that may let others run on other workers meanwhile, with no guard held and no wait begun: a seeded runtime may
 * let them run here. Costs a load elsewhere. */
extern _Atomic(uint32_t) weft__seeded_runtimes; /* alive in this process */
void weft__preempt(void);
static inline void weft__preempt_point(void)
{
    if (weft__unlikely(weft__load_relaxed(&weft__seeded_runtimes) !=
                       0)) /* relaxed: set before the runtime's tasks run */
        weft__preempt();
}

#endif
