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
 * A stack can also be lent by a call (weft__context_lend): who gives way saves his context, and the idle fiber's stack is used beside the context
 * that stands in weft__fiber_main. The call returns if the next turn there is his and he has not gone on since (f->lending); else the lent fiber goes to the
 * cache by a switch, as it was before it was lent, and he goes on by a switch, too.
 *
 * Threads: everything here is for the worker that runs (or is about to run) the fiber. */
#include <errno.h>

#include "executor/chain.h"
#include "executor/fiber_run.h"
#include "executor/guard.h"
#include "executor/task_hot.h"

/* ---- running a task ---------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct weft__fiber) <= WEFT__STACK_OWNER, "it lies at the top of its stack");

int weft__fiber_run(struct weft__fiber *f, struct weft_task *t)
{
    return weft__fiber_run_inline(f, f->worker, t, true);
}

static void put_after(struct weft__worker *w, void *fiber)
{
    weft__fiber_put(w, fiber);
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

/* The same for a forked child: it has neither strand nor place, and was never parked. */
static inline void prepare_child(const struct weft__worker *w, struct weft__fiber *f, struct weft_task *t)
{
    f->first = t;
    f->coro = t->frame->coro;
    f->unusual = w->unusual;
    weft__store_release(&t->fiber, f); /* pairs: TASK-FIBER; as above */
}

/* A fiber for a claimed task; NULL: the task has ended with -ENOMEM. */
static WEFT__NOINLINE struct weft__fiber *fiber_for(struct weft__worker *w, struct weft_task *t)
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

static inline void go_on_with(struct weft__worker *w, struct weft__fiber *next)
{
    weft__count(&w->steps, 1);
    weft__store_shown(&w->current, next);
    next->worker = w;
    next->inlined = next->inlined_rounds = 0;
    weft__store_relaxed(&w->running, next->coro); /* relaxed: a hint for reports */
}

static inline void switch_to_fiber(struct weft__worker *w, struct weft__context *from, struct weft__fiber *next)
{
    go_on_with(w, next);
    weft__context_switch(from, &next->context);
}

static WEFT__NOINLINE void switch_to_idle(struct weft__worker *w, struct weft__context *from)
{
    weft__count(&w->steps, 1);
    weft__count(&w->counters.idles, 1);
    weft__store_shown(&w->current, NULL);
    weft__store_relaxed(&w->running, NULL); /* relaxed: a hint for reports */
    if (from != &w->context)
        weft__context_switch(from, &w->context);
}

/* Switch from `from` (a fiber's context or the idle loop's) to the item, or to the idle loop for 0. */
static inline void switch_to(struct weft__worker *w, struct weft__context *from, uintptr_t item)
{
    struct weft__fiber *next = NULL;
    if (weft__likely(item & WEFT__ITEM_FIBER))
        next = (struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
    else if (item != 0)
        next = fiber_for(w, weft__item_task(item));
    if (weft__likely(next != NULL))
        switch_to_fiber(w, from, next);
    else
        switch_to_idle(w, from);
}

void weft__worker_enter(struct weft__worker *w, uintptr_t item)
{
    switch_to(w, &w->context, item);
    weft__worker_after(w);
}

/* An unusual fiber leaves the CPU: its strand's turn goes on, and who runs next is whoever started its task eagerly, else the worker's next.
 * In asyncio's order, and from a seed, that is chosen in the idle loop: entries and timers must find this fiber suspended. */
static WEFT__NOINLINE uintptr_t leave_unusual(struct weft__fiber *f, struct weft__worker *w)
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
    uintptr_t item = weft__unlikely(f->unusual != 0) ? leave_unusual(f, w) : weft__worker_pick_quick(w);
    w->after = after;
    w->after_argument = argument;
    switch_to(w, &f->context, item);
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
}

/* The fiber's own task has returned rc. What runs next; 0: as ever. */
static inline uintptr_t task_left(struct weft__fiber *f, struct weft__worker *w, struct weft_task *t, int rc)
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

#if WEFT__CONTEXT_LENDS
struct weft__lending {
    struct weft__fiber *lent;
    bool back; /* who lent goes on by a return */
};

static inline struct weft__fiber *fiber_of(uintptr_t item)
{
    return (struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
}

static inline bool has_lent(uintptr_t item, const struct weft__lending *l, const struct weft__fiber *lent)
{
    return weft__likely(item & WEFT__ITEM_FIBER) && fiber_of(item)->lending == l && l->lent == lent;
}

/* A pick where only one item is ready, who has lent the fiber, and nothing unusual is about. False: nothing was done. */
static inline bool pick_lender(struct weft__fiber *f, struct weft__worker *w, const struct weft__lending *l)
{
    struct weft__ready *r = &w->ready;
    if (weft__unlikely(w->slowly != 0 || ((w->picks + 1) & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0 || /* relaxed: a hint */
                       weft__ready_open(r)))
        return false;
    weft__ready_enter(r);
    int64_t h = weft__load_relaxed(&r->head);                                  /* relaxed: inside */
    uintptr_t item = weft__load_relaxed(&r->slots[h & r->mask]);               /* relaxed: inside */
    bool only = weft__load_relaxed(&r->tail) == h + 1 && has_lent(item, l, f); /* relaxed: inside */
    if (weft__likely(only)) {
        weft__store_relaxed(&r->head, 0); /* relaxed: inside */
        weft__store_relaxed(&r->tail, 0); /* relaxed: inside */
        w->picks++;
        fiber_of(item)->worker = w; /* not the one that it lent on, maybe */
    }
    weft__ready_leave(r);
    return only;
}

/* On the lent fiber, beside its own context, which stands in weft__fiber_main: as there, until it is the turn of who lent it. */
static void run_lent(void *lending)
{
    struct weft__lending *l = lending;
    struct weft__fiber *f = l->lent;
    void *idle = f->context.sp;
    uintptr_t item;
    int rc;
    weft__ready_leave(&f->worker->ready);
    struct weft_task *t = f->first;
    if (t != NULL) {
        f->first = NULL;
        f->budget = WEFT__FIBER_BUDGET;
        f->inlined = f->inlined_rounds = 0;
        rc = weft__fiber_run_inline(f, f->worker, t, true);
    } else {
        t = weft__chain_work(f, &rc, &item);
    }
    struct weft__worker *w = f->worker;
    f->context.sp = idle; /* whatever has been saved there since */
    if (t != NULL)
        item = task_left(f, w, t, rc);
    if (weft__likely(item == 0 && f->unusual == 0 && pick_lender(f, w, l))) {
        l->back = true;
        return;
    }
    if (item == 0)
        item = weft__unlikely(f->unusual != 0) ? leave_unusual(f, w) : weft__worker_pick_quick(w);
    /* Who lent it may have gone on since, and have lent another one from the same place of his stack: l is then that one's. Where l is not his any more, it
     * is not read. */
    if (has_lent(item, l, f)) {
        fiber_of(item)->worker = w; /* not the one that it lent on, maybe */
        l->back = true;
        return;
    }
    struct weft__context gone = {.sp = NULL};
    w->after = put_after;
    w->after_argument = f;
    switch_to(w, &gone, item); /* for good */
    weft__bug(__FILE__, __LINE__, "a stack was lent and given back twice");
}

/* Inside the ready queue: f gives way, and `lent`, prepared, runs its first task, or the chain, at once. */
static inline void lend(struct weft__fiber *f, struct weft__worker *w, struct weft__fiber *lent)
{
    struct weft__lending l = {.lent = lent, .back = false};
    f->lending = &l;
    weft__count(&w->steps, 1);
    weft__store_shown(&w->current, lent);
    lent->worker = w;
    weft__context_lend(&f->context, &lent->context, run_lent, &l);
    w = f->worker; /* read anew: the fiber may have moved */
    f->lending = NULL;
    if (weft__unlikely(!l.back)) {
        weft__worker_after(w);
        return;
    }
    weft__store_shown(&w->current, f);
    f->inlined = f->inlined_rounds = 0;
    weft__store_relaxed(&w->running, f->coro); /* relaxed: a hint for reports */
    weft__fiber_put_quick(w, lent);
}
#else
static inline void lend(struct weft__fiber *f, struct weft__worker *w, struct weft__fiber *lent)
{
    switch_to_fiber(w, &f->context, lent);
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
}
#endif

static void requeue(struct weft__worker *w, void *fiber)
{
    weft__make_ready(w->rt, weft__item_of_fiber(fiber));
}

static inline bool requested(struct weft__fiber *f)
{
    return (weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
}

/* It goes on: what a yield returns. */
static inline int yielded(struct weft__fiber *f)
{
    return weft__unlikely(requested(f)) && weft__take_request(f) ? -ECANCELED : 0;
}

static WEFT__NOINLINE int yield_slowly(struct weft__fiber *f)
{
    if (weft__unlikely(f->unusual & WEFT__FIBER_CALLBACK))
        weft__in_callback(f);
    if (weft__unlikely(requested(f)) && !f->rt->fifo && weft__take_request(f))
        return -ECANCELED;
    f->inlined = f->inlined_rounds = 0;
    weft__fiber_switch_away(f, requeue, f);
    return yielded(f);
}

/* The oldest ready item is no fiber. If there is none at all, but there are forked children, the newest runs on a fiber of its own, and this one
 * takes its place in the queue, as below. What an ordinary turn would come to, in fewer steps. */
static WEFT__NOINLINE int yield_to_child(struct weft__fiber *f)
{
    struct weft__worker *w = f->worker;
    struct weft__ready *r = &w->ready;
    if (weft__load_relaxed(&r->head) !=
            weft__load_relaxed(&r->tail) || /* relaxed: a thief can only have made it emptier */
        weft__load_relaxed(&r->hunger) < 1) /* relaxed: a hint; who shares single items */
        return yield_slowly(f);
    uintptr_t item = weft__joins_pop_newest(&w->joins);
    if (item == 0)
        return yield_slowly(f);
    struct weft_task *t = weft__item_task(item);
    uint64_t word = WEFT__NEW;
    struct weft__fiber *next = NULL;
    if (weft__likely(weft__cas_acq_rel(&t->word, &word, WEFT__STARTED))) { /* pairs: TASK-NEW */
        next = weft__fiber_get_quick(w, w->rt->stack_class);
        if (weft__likely(next != NULL))
            prepare_child(w, next, t);
        else
            next = fiber_for(w, t);
    } else if (weft__item_claim(item)) {
        next = fiber_for(w, t);
    }
    if (weft__unlikely(next == NULL))
        return yield_slowly(f);
    w->picks++;
    weft__ready_enter(r);
    weft__ready_append(r, weft__item_of_fiber(f));
    lend(f, w, next);
    return yielded(f);
}

/* A thief is in the ready queue. */
static WEFT__NOINLINE int yield_waits(struct weft__fiber *f)
{
    weft__ready_wait(&f->worker->ready);
    weft__ready_leave(&f->worker->ready);
    return yield_slowly(f);
}

/* The whole of a yield where nothing unusual is about (no batch is open, so nothing is held back): the oldest item is a fiber, this one takes the last
 * place, and the queue stays locked against thieves until this context is saved (weft__worker_after). Whatever else there is to do is a call in the last
 * place: so hardly a register is saved twice. `exceptions`: the process has a C++ runtime. */
static inline __attribute__((always_inline)) int yield_here(struct weft__fiber *f, bool exceptions)
{
    struct weft__worker *w = f->worker;
    struct weft__ready *r = &w->ready;
    if (weft__unlikely(f->unusual != 0 || requested(f) || w->slowly != 0 ||
                       ((w->picks + 1) & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0 || /* relaxed: a hint */
                       weft__ready_asked(r) || weft__ready_open(r)))
        return yield_slowly(f);
    if (weft__unlikely(!weft__ready_try_enter(r)))
        return yield_waits(f);
    uintptr_t item = weft__ready_exchange(r, weft__item_of_fiber(f));
    if (weft__unlikely(item == 0)) {
        weft__ready_leave(r);
        return yield_to_child(f);
    }
    w->picks++; /* so each way of giving way looks around every LOOK_AROUND-th time */
    struct weft__fiber *next = (struct weft__fiber *)(item & ~WEFT__ITEM_FIBER);
    go_on_with(w, next);
    if (exceptions)
        weft__context_switch(&f->context, &next->context);
    else
        weft__context_switch_plain(&f->context, &next->context);
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
    return yielded(f);
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
    switch_to_fiber(w, &f->context, next);
    weft__worker_after(f->worker);
}

void weft__fiber_lend(struct weft__fiber *f, struct weft__fiber *lent)
{
    struct weft__worker *w = f->worker;
    lent->first = NULL; /* it finds the chain */
    lent->unusual = w->unusual;
    lend(f, w, lent);
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
            item = task_left(f, w, t, rc);
        if (weft__likely(item == 0))
            item = weft__unlikely(f->unusual != 0) ? leave_unusual(f, w) : weft__worker_pick_quick(w);
        if (item != 0 && !(item & WEFT__ITEM_FIBER)) {
            t = weft__item_task(item);
            if ((weft__task_counted(t) ? t->stack_class : w->rt->stack_class) == f->stack.size_class) {
                prepare(w, f, t);
                f->inlined = f->inlined_rounds = 0;
                weft__count(&w->steps, 1);
                continue;
            }
        }
        w->after = put_after;
        w->after_argument = f;
        switch_to(w, &f->context, item);
        weft__worker_after(f->worker); /* taken from the cache, maybe by another worker */
    }
}
