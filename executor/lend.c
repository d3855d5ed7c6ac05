/* SPDX-License-Identifier: Apache-2.0 */
/* executor/lend.c -- a stack lent by a call: who gives way to work that is just beginning saves his context, and the idle fiber's stack is used beside the
 * context that stands in weft__fiber_main (weft__context_lend). A gatherer lets its chain run so (chain.c), and a yield its newest forked child.
 *
 * The call returns if the next turn there is his who lent, and he has not gone on since: then neither side has been switched to. Else the lent fiber goes to
 * the cache by a switch, as it was before it was lent, and he goes on by a switch, too. Where contexts cannot be lent (WEFT__CONTEXT_LENDS), both
 * ways are switches.
 *
 * Invariants
 *   1. f->lending is set while f has lent a stack and not gone on, and then points to a frame of f's own stack. Whoever finds f ready and its lending
 *      to be this one may return to it: nobody else can resume f between that and the return, because f's item was just taken out of the queue.
 *   2. What another fiber's lending points to is read only while it is known to be that of a fiber that has not gone on.
 *   3. The lent fiber's saved stack pointer is put back before it goes to a cache: what its context says is weft__fiber_main, as before.
 *
 * Threads: the worker that runs the fiber; a chain or a child may suspend on the lent stack, and end on another worker. */
#include "executor/fiber_switch.h"

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
        item = weft__task_left(f, w, t, rc);
    if (weft__likely(item == 0 && f->unusual == 0 && pick_lender(f, w, l))) {
        l->back = true;
        return;
    }
    if (item == 0)
        item = weft__unlikely(f->unusual != 0) ? weft__fiber_leave_unusual(f, w) : weft__worker_pick_quick(w);
    /* Who lent it may have gone on since, and have lent another one from the same place of his stack: l is then that one's. Where l is not his any more, it
     * is not read. */
    if (has_lent(item, l, f)) {
        fiber_of(item)->worker = w; /* not the one that it lent on, maybe */
        l->back = true;
        return;
    }
    struct weft__context gone = {.sp = NULL};
    w->after = weft__put_after;
    w->after_argument = f;
    weft__switch_to(w, &gone, item); /* for good */
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
    weft__switch_to_fiber(w, &f->context, lent);
    weft__worker_after(f->worker); /* read anew: the fiber may have moved */
}
#endif

void weft__fiber_lend(struct weft__fiber *f, struct weft__fiber *lent)
{
    struct weft__worker *w = f->worker;
    lent->first = NULL; /* it finds the chain */
    lent->unusual = w->unusual;
    lend(f, w, lent);
}

/* ---- to a forked child ------------------------------------------------------------------------------------------ */

/* The fiber is to start the child when it is switched to (prepare in fiber.c): that has neither strand nor place, and was never parked. */
static inline void prepare_child(const struct weft__worker *w, struct weft__fiber *f, struct weft_task *t)
{
    f->first = t;
    f->coro = t->frame->coro;
    f->unusual = w->unusual;
    weft__store_release(&t->fiber, f); /* pairs: TASK-FIBER; now: a canceller may come before it starts */
}

int weft__yield_to_child(struct weft__fiber *f)
{
    struct weft__worker *w = f->worker;
    struct weft__ready *r = &w->ready;
    if (weft__load_relaxed(&r->head) !=
            weft__load_relaxed(&r->tail) || /* relaxed: a thief can only have made it emptier */
        weft__load_relaxed(&r->hunger) < 1) /* relaxed: a hint; who shares single items */
        return weft__yield_slowly(f);
    uintptr_t item = weft__joins_pop_newest(&w->joins);
    if (item == 0)
        return weft__yield_slowly(f);
    struct weft_task *t = weft__item_task(item);
    uint64_t word = WEFT__NEW;
    struct weft__fiber *next = NULL;
    if (weft__likely(weft__cas_acq_rel(&t->word, &word, WEFT__STARTED))) { /* pairs: TASK-NEW */
        next = weft__fiber_get_quick(w, w->rt->stack_class);
        if (weft__likely(next != NULL))
            prepare_child(w, next, t);
        else
            next = weft__fiber_for(w, t);
    } else if (weft__item_claim(item)) {
        next = weft__fiber_for(w, t);
    }
    if (weft__unlikely(next == NULL))
        return weft__yield_slowly(f);
    w->picks++;
    weft__ready_enter(r);
    weft__ready_append(r, weft__item_of_fiber(f));
    lend(f, w, next);
    return weft__yielded(f);
}
