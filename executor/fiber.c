/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber.c -- fibers: what runs on them, how they hand the CPU on (where they come from: fiber_cache.c).
 *
 * A fiber's life: made once (a slot of the arena: its stack, and struct weft__fiber above it), it runs weft__fiber_main for ever:
 * start the task it was given; when that ends take the next unstarted task on the same stack; when there is none, switch to
 * another fiber or to the worker's idle loop and go to the worker's cache. Taken from the cache, it continues inside
 * weft__fiber_main, so a warm start costs one switch and no preparation.
 *
 * What must follow a suspension (publish, requeue, put into the cache) is left as worker->after and runs on the context
 * switched to, so that nobody can run or reuse a fiber whose context is not saved. The usual yield leaves nothing there: it
 * takes the oldest fiber out of the ready queue's ring and puts itself at the end in one go, and stays inside (ready.c) over
 * the switch; so no thief can have it before its context is saved. Whoever is switched to leaves the queue (weft__worker_after).
 *
 * Threads: everything here is for the worker that runs (or is about to run) the fiber. */
#include <errno.h>

#include "executor/fiber_switch.h"
#include "executor/guard.h"

/* ---- running a task ---------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct weft__fiber) <= WEFT__STACK_OWNER, "it lies at the top of its stack");

int weft__fiber_run(struct weft__fiber *f, struct weft_task *t)
{
    return weft__fiber_run_inline(f, f->worker, t, true);
}

/* The fiber is to start the task when it is switched to. */
static inline void prepare(struct weft__worker *w, struct weft__fiber *f, struct weft_task *t)
{
    f->first = t;
    f->coro = t->frame->coro;
    f->unusual = w->unusual;
    uint32_t flags = weft__load_relaxed(&t->flags); /* relaxed: STRAND is set at creation */
    if (weft__unlikely((flags & (WEFT__TASK_STRAND | WEFT__TASK_HAS_PARKED | WEFT__TASK_PINNED)) ||
                       t->kind == WEFT__KIND_CALLBACK)) {
        if (weft__likely(!(flags & (WEFT__TASK_STRAND | WEFT__TASK_PINNED)) && t->kind == WEFT__KIND_TASK)) {
            weft__parked_begin(w, f, t);
            return;
        }
        f->strand = weft__task_counted(t) ? weft__task_strand(t) : NULL;
        weft__fiber_set(f, (f->strand != NULL ? WEFT__FIBER_STRAND : 0U) |
                               (flags & WEFT__TASK_PINNED ? WEFT__FIBER_PINNED : 0U) |
                               (t->kind == WEFT__KIND_CALLBACK ? WEFT__FIBER_CALLBACK : 0U));
        if (flags & WEFT__TASK_HAS_PARKED) {
            weft__parked_begin(w, f, t);
            return;
        }
    }
    weft__store_release(&t->fiber, f); /* pairs: TASK-FIBER; now: a canceller may come before it starts */
}

WEFT__NOINLINE struct weft__fiber *weft__fiber_for(struct weft__worker *w, struct weft_task *t)
{
    struct weft__fiber *f = weft__fiber_get(w, weft__task_counted(t) ? t->stack_class : w->rt->stack_class);
    if (weft__likely(f != NULL)) {
        prepare(w, f, t);
        return f;
    }
    weft__strand_pass(w->rt, weft__task_counted(t) ? weft__task_strand(t) : NULL);
    if (weft__load_relaxed(&t->flags) & WEFT__TASK_HAS_PARKED) { /* relaxed: set before it was parked */
        weft__parked_wait_for_stack(w, t);
        return NULL;
    }
    if (t->frame->coro->unstarted != NULL) /* without a stack of its own: better than to lose what the frame owns */
        t->frame->coro->unstarted(t->frame);
    bool callback = t->kind == WEFT__KIND_CALLBACK;
    weft__task_finish(t, -ENOMEM);
    if (callback)
        weft__callback_left(w);
    return NULL;
}

WEFT__NOINLINE void weft__switch_to_idle(struct weft__worker *w, struct weft__context *from)
{
    weft__count(&w->steps, 1);
    weft__count(&w->counters.idles, 1);
    weft__store_shown(&w->current, NULL);
    weft__store_relaxed(&w->running, NULL); /* relaxed: a hint for reports */
    if (from != &w->context)
        weft__context_switch(from, &w->context);
}

void weft__worker_enter(struct weft__worker *w, uintptr_t item)
{
    weft__switch_to(w, &w->context, item);
    weft__worker_after(w);
}

WEFT__NOINLINE uintptr_t weft__fiber_leave_unusual(struct weft__fiber *f, struct weft__worker *w)
{
    if (f->unusual & WEFT__FIBER_SCOPE)
        weft__scopes_arm(f);
    if (f->unusual & WEFT__FIBER_BATCH)
        weft__batch_close(f);
    if (f->unusual & WEFT__FIBER_STRAND)
        weft__strand_pass(w->rt, f->strand);
    if (f->unusual & WEFT__FIBER_RETURNS) {
        weft__fiber_clear(f, WEFT__FIBER_RETURNS);
        return weft__item_of_fiber(f->return_to);
    }
    return w->in_turn ? 0 : weft__worker_pick(w);
}

/* Its task has returned. */
WEFT__NOINLINE void weft__fiber_end_unusual(struct weft__fiber *f, struct weft_task *t, int rc)
{
    weft__park_settle(f);
    if (f->unusual & WEFT__FIBER_STRAND)
        weft__strand_pass(f->worker->rt, f->strand); /* before the end: the task holds the strand */
    if (f->unusual & WEFT__FIBER_CALLBACK) {
        if (rc < 0)
            weft__callback_failed(t, rc);
        weft__callback_left(f->worker);
    }
    weft__fiber_clear(f, WEFT__FIBER_STRAND | WEFT__FIBER_CALLBACK | WEFT__FIBER_PINNED);
}

void weft__fiber_switch_away(struct weft__fiber *f, void (*after)(struct weft__worker *, void *), void *argument)
{
    struct weft__worker *w = f->worker;
    uintptr_t item = weft__unlikely(f->unusual != 0) ? weft__fiber_leave_unusual(f, w) : weft__worker_pick_quick(w);
    w->after = after;
    w->after_argument = argument;
    weft__switch_to(w, &f->context, item);
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
}

static void requeue(struct weft__worker *w, void *fiber)
{
    weft__make_ready(w->rt, weft__item_of_fiber(fiber));
}

WEFT__NOINLINE int weft__yield_slowly(struct weft__fiber *f)
{
    if (weft__unlikely(f->unusual & WEFT__FIBER_CALLBACK))
        weft__in_callback(f);
    if (weft__unlikely(weft__requested(f)) && !f->rt->fifo && weft__take_request(f))
        return -ECANCELED;
    f->inlined = f->inlined_rounds = 0;
    weft__fiber_switch_away(f, requeue, f);
    return weft__yielded(f);
}

/* A thief is in the ready queue. */
static WEFT__NOINLINE int yield_waits(struct weft__fiber *f)
{
    weft__ready_wait(&f->worker->ready);
    weft__ready_leave(&f->worker->ready);
    return weft__yield_slowly(f);
}

/* The whole of a yield where nothing unusual is about (no batch is open, so nothing is held back): the oldest item is a fiber, this one takes the last
 * place, and the queue stays locked against thieves until this context is saved (weft__worker_after). Whatever else there is to do is a call in the last
 * place: so hardly a register is saved twice. `exceptions`: the process has a C++ runtime. */
static inline __attribute__((always_inline)) int yield_here(struct weft__fiber *f, bool exceptions)
{
    struct weft__worker *w = f->worker;
    struct weft__ready *r = &w->ready;
    if (weft__unlikely(f->unusual != 0 || weft__requested(f) || w->slowly != 0 ||
                       ((w->picks + 1) & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0 || /* relaxed: a hint */
                       weft__ready_asked(r) || weft__ready_open(r)))
        return weft__yield_slowly(f);
    if (weft__unlikely(!weft__ready_try_enter(r)))
        return yield_waits(f);
    uintptr_t item = weft__ready_exchange(r, weft__item_of_fiber(f));
    if (weft__unlikely(item == 0)) {
        weft__ready_leave(r);
        return weft__yield_to_child(f);
    }
    w->picks++; /* so each way of giving way looks around every LOOK_AROUND-th time */
    struct weft__fiber *next = (struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
    weft__go_on_with(w, next);
    if (exceptions)
        weft__context_switch(&f->context, &next->context);
    else
        weft__context_switch_plain(&f->context, &next->context);
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
    return weft__yielded(f);
}

static WEFT__NOINLINE int yield_with_exceptions(struct weft__fiber *f)
{
    return yield_here(f, true);
}

int weft__yield(struct weft__fiber *f)
{
    return weft__unlikely(__cxa_get_globals != NULL) ? yield_with_exceptions(f) : yield_here(f, false);
}

void weft__fiber_step_aside(struct weft__fiber *f)
{
    uint32_t kept = f->unusual & (WEFT__FIBER_STRAND | WEFT__FIBER_RETURNS);
    weft__fiber_clear(f, kept); /* what is ready without a strand takes no turn of it */
    weft__fiber_switch_away(f, requeue, f);
    weft__fiber_set(f, kept);
}

void weft__fiber_round_end(struct weft__fiber *f)
{
    f->rt->at_round_end = f;
    weft__fiber_switch_away(f, NULL, NULL);
}

void weft__task_start_eagerly(struct weft__fiber *f, struct weft_task *t)
{
    struct weft__worker *w = f->worker;
    bool apart = weft__task_strand(t) != NULL || weft__task_pinned(t);
    struct weft__fiber *next = !apart ? weft__fiber_get(w, t->stack_class) : NULL;
    if (f->unusual & WEFT__FIBER_BATCH)
        weft__batch_close(f); /* somebody else is going to run here */
    if (next == NULL) {
        weft__task_schedule(
            t); /* a strand has turns to wait for, a place may be elsewhere; without memory somebody else may have a stack */
        return;
    }
    int claimed = weft__task_claim(t);
    if (weft__unlikely(claimed < 0 && !weft__task_owns(t))) {
        weft__task_met_unstarted(t);
        weft__fiber_put(w, next);
        weft__task_finish(t, -ECANCELED);
        return;
    }
    if (weft__unlikely(claimed == 0)) { /* only somebody who enumerates the tasks can know it */
        weft__fiber_put(w, next);
        weft__task_unref(t);
        return;
    }
    prepare(w, next, t);
    next->return_to = f;
    weft__fiber_set(next, WEFT__FIBER_RETURNS);
    weft__switch_to_fiber(w, &f->context, next);
    weft__worker_after(f->worker);
}

void weft__fiber_main(void *fiber)
{
    struct weft__fiber *f = fiber;
    weft__worker_after(f->worker);
    for (;;) {
        struct weft_task *t = f->first;
        uintptr_t item = 0;
        int rc;
        if (weft__likely(t != NULL)) {
            f->first = NULL;
            f->budget = WEFT__FIBER_BUDGET;
            rc = weft__fiber_run_inline(f, f->worker, t, true);
        } else { /* it was lent */
            t = weft__chain_work(f, &rc, &item);
        }
        WEFT__ASSERT(f->task == NULL);
        struct weft__worker *w = f->worker; /* the task is w's runtime's, whatever worker it began on */
        if (weft__likely(t != NULL))        /* else a chain is over */
            item = weft__task_left(f, w, t, rc);
        if (weft__likely(item == 0))
            item = weft__unlikely(f->unusual != 0) ? weft__fiber_leave_unusual(f, w) : weft__worker_pick_quick(w);
        if (item != 0 && !(item & WEFT__ITEM_FIBER)) {
            t = weft__item_task(item);
            if ((weft__task_counted(t) ? t->stack_class : w->rt->stack_class) == f->stack.size_class) {
                prepare(w, f, t);
                f->inlined = f->inlined_rounds = 0;
                weft__count(&w->steps, 1);
                continue;
            }
        }
        w->after = weft__put_after;
        w->after_argument = f;
        weft__switch_to(w, &f->context, item);
        weft__worker_after(f->worker); /* taken from the cache, maybe by another worker */
    }
}
