/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber_run.h -- the running of a task's function on the calling fiber, inline for the two places where that is most of the work: a
 * fiber's own loop, and an await that runs what it awaits.
 *
 * Threads: whoever runs the fiber. */
#ifndef WEFT_EXECUTOR_FIBER_RUN_H
#define WEFT_EXECUTOR_FIBER_RUN_H

#include "executor/runtime.h"

struct weft__barrier {
    const weft_coro *coro;
    bool returned;
};
_Noreturn WEFT__COLD void weft__barrier_broken(const weft_coro *coro);

/* Runs when call_entry's frame is left; by an exception if the coroutine has not returned. */
static inline void weft__barrier_check(struct weft__barrier *b)
{
    if (weft__unlikely(!b->returned))
        weft__barrier_broken(b->coro);
}

/* Its function has returned rc, and something unusual is about: what it leaves open; it is called again while it has waited on its stack instead of
 * parking. Its outcome. */
int weft__fiber_ran(struct weft__fiber *f, struct weft_task *t, const weft_coro *coro, int rc);

static inline int weft__call_entry(const weft_coro *coro, void *frame)
{
    __attribute__((cleanup(weft__barrier_check))) struct weft__barrier barrier = {coro, false};
    int rc = coro->entry(frame);
    barrier.returned = true;
    return rc;
}

/* Run a task that w's calling fiber f has claimed on top of what f runs now; its outcome. `whole`: it may have been claimed to run
 * coro->unstarted. */
static inline __attribute__((always_inline)) int weft__fiber_run_inline(struct weft__fiber *f, struct weft__worker *w,
                                                                        struct weft_task *t, bool whole)
{
#ifdef WEFT_DEBUG
    uint16_t children = f->children; /* of the task below */
    f->children = 0;
#endif
    weft_frame *frame = t->frame;
    const weft_coro *coro = frame->coro, *outer = f->coro;
    t->below = f->task;
    weft__store_shown(&f->task, t);
    f->coro = coro;
    weft__store_relaxed(&w->running, coro); /* relaxed: a hint for reports */
    weft__store_release(&t->fiber, f);      /* pairs: TASK-FIBER, the canceller's acquire load */
    int rc = -ECANCELED;
    if (whole && weft__unlikely(weft__load_relaxed(&t->flags) & WEFT__TASK_UNSTARTED)) /* relaxed: set by the claim */
        coro->unstarted(frame);
    else
        rc = weft__call_entry(coro, frame);
    if (weft__unlikely(weft__load_relaxed(&t->open) != 0 || /* relaxed: its own */
                       (f->unusual & (WEFT__FIBER_BATCH | WEFT__FIBER_SCOPE | WEFT__FIBER_PARK_AGAIN))))
        rc = weft__fiber_ran(f, t, coro, rc);
#ifdef WEFT_DEBUG
    if (f->children != 0)
        weft__misuse(coro->name, "the coroutine returned with a forked child not joined: each weft_fork needs its "
                                 "weft_join, on every way out of the block");
    f->children = children;
#endif
    weft__store_shown(&f->task, t->below);
    f->coro = outer;
    weft__store_relaxed(&f->worker->running, outer); /* relaxed: a hint for reports; another worker's, maybe */
    return rc;
}

/* The same for a plain task on a fiber without one. What it leaves in f->coro and w->running stands for a moment. */
static inline __attribute__((always_inline)) int weft__fiber_run_outermost(struct weft__fiber *f,
                                                                           struct weft__worker *w, struct weft_task *t)
{
#ifdef WEFT_DEBUG
    return weft__fiber_run_inline(f, w, t, false);
#else
    const weft_coro *coro = t->frame->coro;
    t->below = NULL;
    weft__store_shown(&f->task, t);
    f->coro = coro;
    weft__store_relaxed(&w->running, coro); /* relaxed: a hint for reports */
    weft__store_release(&t->fiber, f);      /* pairs: TASK-FIBER, the canceller's acquire load */
    int rc = weft__call_entry(coro, t->frame);
    if (weft__unlikely(weft__load_relaxed(&t->open) != 0 || /* relaxed: its own */
                       (f->unusual & (WEFT__FIBER_BATCH | WEFT__FIBER_SCOPE | WEFT__FIBER_PARK_AGAIN))))
        rc = weft__fiber_ran(f, t, coro, rc);
    weft__store_shown(&f->task, NULL);
    return rc;
#endif
}

/* weft__fiber_get and _put where the worker's cache is enough. */
static inline struct weft__fiber *weft__fiber_get_quick(struct weft__worker *w, uint32_t stack_class)
{
    struct weft__fiber_cache *cache = &w->stacks[stack_class];
    uint32_t count = weft__load_relaxed(&cache->count); /* relaxed: own */
    if (weft__unlikely(count == 0 || count <= cache->cold || count <= cache->low))
        return weft__fiber_get(w, stack_class);
    weft__store_relaxed(&cache->count, count - 1); /* relaxed: own */
    return cache->fibers[count - 1];
}
static inline void weft__fiber_put_quick(struct weft__worker *w, struct weft__fiber *f)
{
    struct weft__fiber_cache *cache = &w->stacks[f->stack.size_class];
    uint32_t count = weft__load_relaxed(&cache->count); /* relaxed: own */
    if (weft__unlikely(f->stack.home != w->home || count == WEFT__STACK_CACHE)) {
        weft__fiber_put(w, f);
        return;
    }
    cache->fibers[count] = f;
    weft__store_relaxed(&cache->count, count + 1); /* relaxed: own */
}

#endif
