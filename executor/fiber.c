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
#include <stdio.h>
#include <string.h>

#include "executor/chain.h"
#include "executor/fiber_run.h"
#include "executor/guard.h"
#include "executor/task_hot.h"

/* ---- running a task ---------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct weft__fiber) <= WEFT__STACK_OWNER, "it lies at the top of its stack");

_Noreturn WEFT__COLD void weft__barrier_broken(const weft_coro *coro)
{
    weft__misuse(coro->name, "a C++ exception left the coroutine; catch it inside and return an error");
}

static WEFT__COLD void left_open(struct weft_task *t, const weft_coro *coro)
{
    if (weft__load_relaxed(&t->open) & WEFT__TASK_FORKED) /* relaxed: its own */
        weft__misuse(coro->name, WEFT__RETURNED_FORKED);
    weft__misuse(coro->name, "the coroutine returned with a time limit or a group still open: each weft_timeout_begin "
                             "needs its weft_timeout_end, each weft_group_begin its weft_group_join");
}

void weft__fiber_check_end(struct weft__fiber *f, struct weft_task *t, const weft_coro *coro)
{
    if (weft__unlikely(weft__load_relaxed(&t->open) != 0)) /* relaxed: its own */
        left_open(t, coro); /* first: in the child of a fork() there is no fiber to be had */
    if (weft__unlikely(f->unusual & (WEFT__FIBER_BATCH | WEFT__FIBER_SCOPE))) {
        if (f->unusual & WEFT__FIBER_BATCH)
            weft__batch_close(f); /* left open: its memory is about to go */
        if ((f->unusual & WEFT__FIBER_SCOPE) && weft__scope_left(f, t))
            left_open(t, coro);
    }
}

WEFT__NOINLINE int weft__fiber_ran(struct weft__fiber *f, struct weft_task *t, const weft_coro *coro, int rc)
{
    weft__fiber_check_end(f, t, coro);
    while (f->unusual & WEFT__FIBER_PARK_AGAIN) { /* it has waited for what it would have been parked at */
        weft__fiber_clear(f, WEFT__FIBER_PARK_AGAIN);
        if (rc != WEFT_PARK)
            break;
        rc = weft__call_entry(coro, t->frame);
        weft__fiber_check_end(f, t, coro);
    }
    return rc;
}

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

static inline void switch_to_fiber(struct weft__worker *w, struct weft__context *from, struct weft__fiber *next)
{
    weft__count(&w->steps, 1);
    w->current = next;
    next->worker = w;
    next->inlined = next->inlined_rounds = 0;
    weft__store_relaxed(&w->running, next->coro); /* relaxed: a hint for reports */
    weft__context_switch(from, &next->context);
}

static WEFT__NOINLINE void switch_to_idle(struct weft__worker *w, struct weft__context *from)
{
    weft__count(&w->steps, 1);
    weft__count(&w->counters.idles, 1);
    w->current = NULL;
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
    if (item == 0)
        item = weft__unlikely(f->unusual != 0) ? leave_unusual(f, w) : weft__worker_pick_quick(w);
    /* Who lent it may have gone on since, and have lent another one from the same place of his stack: l is then that one's. Where l is not his any more, it
     * is not read. */
    struct weft__fiber *lender = fiber_of(item);
    if (weft__likely((item & WEFT__ITEM_FIBER) && lender->lending == l && l->lent == f)) {
        lender->worker = w; /* not the one that it lent on, maybe */
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
    w->current = lent;
    lent->worker = w;
    weft__context_lend(&f->context, &lent->context, run_lent, &l);
    w = f->worker; /* read anew: the fiber may have moved */
    f->lending = NULL;
    if (weft__unlikely(!l.back)) {
        weft__worker_after(w);
        return;
    }
    w->current = f;
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

/* Nothing is ready but forked children: the newest runs on a fiber of its own, and this one takes its place in the queue, as above. What an ordinary
 * turn would come to, in fewer steps. False: nothing was done, or what was taken out has ended. */
static WEFT__NOINLINE bool yield_to_child(struct weft__fiber *f, struct weft__worker *w)
{
    struct weft__ready *r = &w->ready;
    if (weft__ready_closed(r) != 0 || weft__load_relaxed(&r->hunger) < 1) /* relaxed: a hint; who shares single items */
        return false;
    uintptr_t item = weft__joins_pop(&w->joins, 0);
    if (item == 0 || weft__unlikely(!weft__item_claim(item)))
        return false;
    struct weft__fiber *next = fiber_for(w, weft__item_task(item));
    if (weft__unlikely(next == NULL))
        return false;
    w->picks++;
    weft__ready_enter(r);
    weft__ready_append(r, weft__item_of_fiber(f));
    lend(f, w, next);
    return true;
}

/* The whole of a yield where nothing unusual is about: the oldest item is a fiber, this one takes the last place, and the queue stays locked
 * against thieves until this context is saved (weft__worker_after). False: nothing was done. */
static inline bool yield_quickly(struct weft__fiber *f)
{
    struct weft__worker *w = f->worker;
    struct weft__ready *r = &w->ready;
    if (weft__unlikely(f->unusual != 0 || w->slowly != 0 || w->hold != NULL ||
                       ((w->picks + 1) & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0 || /* relaxed: a hint */
                       weft__ready_asked(r) || weft__ready_open(r)))
        return false;
    weft__ready_enter(r);
    uintptr_t item = weft__ready_exchange(r, weft__item_of_fiber(f));
    if (weft__unlikely(item == 0)) {
        weft__ready_leave(r);
        return yield_to_child(f, w);
    }
    w->picks++; /* so each way of giving way looks around every LOOK_AROUND-th time */
    switch_to_fiber(w, &f->context, (struct weft__fiber *)(item & ~WEFT__ITEM_FIBER));
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
    return true;
}

static void requeue(struct weft__worker *w, void *fiber)
{
    weft__make_ready(w->rt, weft__item_of_fiber(fiber));
}

int weft__yield(struct weft__fiber *f)
{
    if (weft__unlikely(f->unusual & WEFT__FIBER_CALLBACK))
        weft__in_callback(f);
    bool requested = (weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
    if (weft__unlikely(requested) && !f->rt->fifo && weft__take_request(f))
        return -ECANCELED;
    f->inlined = f->inlined_rounds = 0;
    if (weft__unlikely(!yield_quickly(f)))
        weft__fiber_switch_away(f, requeue, f);
    requested = (weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
    return weft__unlikely(requested) && weft__take_request(f) ? -ECANCELED : 0;
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

/* ---- who am I ---------------------------------------------------------------------------------------------------- */

void weft__outside_task(const char *call)
{
    weft__misuse(call, "called outside a task; it may only be called by a coroutine that a runtime runs");
}

/* In a signal handler: only plain reads and own formatting. */
void weft__fiber_describe(void *fiber, char *buf, size_t size)
{
    struct weft__fiber *f = fiber;
    struct weft_task *t = f->task;
    const char *function = t != NULL && t->frame != NULL ? t->frame->coro->name : "?";
    while (t != NULL && !weft__task_counted(t))
        t = t->parent;
    char number[24];
    size_t digits = 0;
    const char *name = NULL;
    if (t != NULL) {
        struct weft__task_extra *x = weft__load_relaxed(&t->extra); /* relaxed: a report from a dying process */
        name = x != NULL ? weft__load_relaxed(&x->name) : NULL;     /* relaxed: as before */
        for (uint64_t id = t->id; digits == 0 || id != 0; id /= 10)
            number[digits++] = (char)('0' + id % 10);
    }
    size_t at = 0;
#define PUT(c)                                                                                                         \
    do {                                                                                                               \
        if (at + 1 < size)                                                                                             \
            buf[at++] = (c);                                                                                           \
    } while (0)
    PUT('"');
    for (const char *p = name != NULL ? name : "Task-"; *p != '\0'; p++)
        PUT(*p);
    while (name == NULL && digits != 0)
        PUT(number[--digits]);
    PUT('"');
    PUT(' ');
    PUT('(');
    for (const char *p = function; *p != '\0'; p++)
        PUT(*p);
    PUT(')');
#undef PUT
    if (size != 0)
        buf[at] = '\0';
}
