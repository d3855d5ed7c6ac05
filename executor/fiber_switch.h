/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber_switch.h -- the steps by which a fiber gives the CPU away, inline for the two files that are made of them: fiber.c, and lend.c, which does
 * the same where the stack beneath is borrowed.
 *
 * Threads: the worker that runs (or is about to run) the fiber. */
#ifndef WEFT_EXECUTOR_FIBER_SWITCH_H
#define WEFT_EXECUTOR_FIBER_SWITCH_H

#include "executor/chain.h"
#include "executor/fiber_run.h"
#include "executor/task_hot.h"

/* ---- fiber.c has these ------------------------------------------------------------------------------------------- */

/* A fiber for a claimed task; NULL: the task has ended with -ENOMEM. */
struct weft__fiber *weft__fiber_for(struct weft__worker *w, struct weft_task *t);
void weft__switch_to_idle(struct weft__worker *w, struct weft__context *from);
/* An unusual fiber leaves the CPU: its strand's turn goes on, and who runs next is whoever started its task eagerly, else the worker's next.
 * In asyncio's order, and from a seed, that is chosen in the idle loop: entries and timers must find this fiber suspended. */
uintptr_t weft__fiber_leave_unusual(struct weft__fiber *f, struct weft__worker *w);
/* A yield by the slow way, in which all can be about. */
int weft__yield_slowly(struct weft__fiber *f);

/* ---- lend.c has this --------------------------------------------------------------------------------------------- */

/* A yield where the oldest ready item is no fiber. If there is none at all, but there are forked children, the newest runs on a fiber of its own, and
 * this one takes its place in the queue. What an ordinary turn would come to, in fewer steps. */
int weft__yield_to_child(struct weft__fiber *f);

/* ---- switching --------------------------------------------------------------------------------------------------- */

static inline void weft__go_on_with(struct weft__worker *w, struct weft__fiber *next)
{
    weft__count(&w->steps, 1);
    weft__store_shown(&w->current, next);
    next->worker = w;
    next->inlined = next->inlined_rounds = 0;
    weft__store_relaxed(&w->running, next->coro); /* relaxed: a hint for reports */
}

static inline void weft__switch_to_fiber(struct weft__worker *w, struct weft__context *from, struct weft__fiber *next)
{
    weft__go_on_with(w, next);
    weft__context_switch(from, &next->context);
}

/* Switch from `from` (a fiber's context or the idle loop's) to the item, or to the idle loop for 0. */
static inline void weft__switch_to(struct weft__worker *w, struct weft__context *from, uintptr_t item)
{
    struct weft__fiber *next = NULL;
    if (weft__likely(item & WEFT__ITEM_FIBER))
        next = (struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
    else if (item != 0)
        next = weft__fiber_for(w, weft__item_task(item));
    if (weft__likely(next != NULL))
        weft__switch_to_fiber(w, from, next);
    else
        weft__switch_to_idle(w, from);
}

/* For worker->after: the fiber has run out of tasks. */
static inline void weft__put_after(struct weft__worker *w, void *fiber)
{
    weft__fiber_put(w, fiber);
}

/* The fiber's own task has returned rc. What runs next; 0: as ever. */
static inline uintptr_t weft__task_left(struct weft__fiber *f, struct weft__worker *w, struct weft_task *t, int rc)
{
    if (weft__unlikely(rc == WEFT_PARK)) {
        bool in_chain = weft__chain_parks(w, t);
        weft__parked_leave(f, t);
        return in_chain ? weft__chain_parked(w) : 0;
    }
    if (weft__unlikely(f->unusual != 0))
        weft__fiber_end_unusual(f, t, rc);
    weft__task_finish_here(w, t, rc);
    return 0;
}

static inline bool weft__requested(struct weft__fiber *f)
{
    return (weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
}

/* It goes on: what a yield returns. */
static inline int weft__yielded(struct weft__fiber *f)
{
    return weft__unlikely(weft__requested(f)) && weft__take_request(f) ? -ECANCELED : 0;
}

#endif
