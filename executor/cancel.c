/* SPDX-License-Identifier: Apache-2.0 */
/* executor/cancel.c -- a cancel request spreads from a task to what it waits for, without recursion.
 *
 * mark: count the request, which is pending by that (requests.h), and set C, unless the task has ended. run: for each marked task, deliver:
 *   NEW      nothing more: whoever claims it sees C and ends it unrun.
 *   STARTED  tell its fiber (weft__fiber_request): running or woken, it meets the mark by itself; suspended, the mark is
 *            handed up the chain to the innermost task and ends its wait, or goes on to what that wait is for, which puts
 *            further tasks on the list.
 *            Parked, without a fiber, it is made ready, and meets the mark when it runs (parked.c).
 *   THREAD   ends at once; the helper thread's result will be dropped.
 *   FUTURE   a plain one ends at once; one that stands for others (gather) passes the request on to them.
 *   CALLBACK ends unrun: its mark is the claim, so nobody else will run it.
 * The list carries the request's message: it stays with a task that is marked, and arrives with the wait that it ends.
 * The list is worked off depth first, in the order of marking, as asyncio's recursion would. Tasks that wait for each other
 * in a circle would be marked for ever: past WEFT__REQUESTS_MOST a task refuses, which ends the wait of the one that asked.
 *
 * What is woken while a list is worked off is held back and becomes ready when the list is empty (weft__hold_begin): of several that a
 * request goes to (a group, a gather, the end of the run) none can be woken by the clean-up of another, or see it end, before it has
 * got the request too. In asyncio nothing runs in between, either.
 *
 * A CHILD lives in its parent's frame, which is sure to stay only while the parent cannot run: the parent's fiber stays LOCKED
 * until the child has been told (the entry's unlock), one link of the chain at a time.
 *
 * Any thread; takes no guard but a fiber's LOCKED for a moment. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "executor/ahead.h"
#include "executor/alone.h"
#include "executor/requests.h"

void weft__cancel_list_init(struct weft__cancel_list *list)
{
    list->message = NULL;
    list->asked = 0;
    list->count = 0;
    list->capacity = sizeof list->first / sizeof list->first[0];
    list->entries = list->first;
}

static bool append(struct weft__cancel_list *list, struct weft_task *t)
{
    if (list->count == list->capacity) {
        size_t capacity = 4 * list->capacity;
        struct weft__cancel_entry *grown = malloc(capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        for (size_t i = 0; i < list->count; i++)
            grown[i] = list->entries[i];
        if (list->entries != list->first)
            free(list->entries);
        list->entries = grown;
        list->capacity = capacity;
    }
    list->entries[list->count++] = (struct weft__cancel_entry){.task = t};
    return true;
}

static void deliver(struct weft_task *t, struct weft__cancel_list *list)
{
    if (weft__unlikely(t->kind == WEFT__KIND_THREAD || t->kind == WEFT__KIND_FUTURE)) {
        if (t->kind == WEFT__KIND_THREAD) {
            weft__task_finish_race(t, -ECANCELED);
        } else if (t->future == NULL) {
            weft__task_met(t, list->message);
            weft__future_finish(t, -ECANCELED, NULL, true);
        } else {
            t->future->cancel(t, list);
        }
        return;
    }
    if (weft__unlikely(t->kind == WEFT__KIND_CALLBACK)) {
        weft__callback_end(t);
        return;
    }
    if (weft__task_state(t) != WEFT__STARTED || !weft__requests_pending(t))
        return; /* if not pending, it was met with another request, whose maker tells whom there is to tell */
    /* Claimed, but maybe not on its fiber yet: that is a few instructions away in the claimer. */
    struct weft__fiber *f;
    for (unsigned turns = 0;; turns++) {
        if (weft__load_seq_cst(&t->parked) & WEFT__PARK) { /* pairs: PARK-REQUEST */
            if (weft__unpark_cancelled(t))
                return;
            continue;
        }
        f = weft__task_fiber(t);
        if (f != NULL)
            break;
        if (weft__task_state(t) != WEFT__STARTED)
            return;
        if (turns < 128)
            weft__cpu_relax();
        else
            sched_yield();
    }
    weft__fiber_request(f, list);
}

/* The mark's message, before the mark: it is no matter if another request's takes its place. */
static void leave_message(struct weft_task *t, const char *message)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    if (weft__likely(x == NULL && message == NULL))
        return;
    if (x != NULL || (x = weft__task_extra(t)) != NULL)
        weft__store_release(&x->asked, message); /* pairs: TASK-C */
}

bool weft__cancel_accepted(struct weft_task *t, unsigned depth)
{
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    if ((word & WEFT__STATE) == WEFT__DONE || (word & WEFT__STATE) == WEFT__FREE)
        return false;
    /* A plain future or a callback that somebody else is just ending counts as one that takes it: who waits for it goes on when it has ended. */
    return t->kind != WEFT__KIND_FUTURE || t->future == NULL || t->future->accept(t, depth, false);
}

bool weft__cancel_pass(struct weft_task *t, struct weft__cancel_list *list)
{
    return weft__cancel_mark(t, list) ||
           ((t->kind == WEFT__KIND_CALLBACK || (t->kind == WEFT__KIND_FUTURE && t->future == NULL)) &&
            weft__cancel_accepted(t, 0));
}

/* A FUTURE is not a task with requests to count: it takes one that ends it, or passes each on. */
static bool mark_future(struct weft_task *f)
{
    if (f->future != NULL)
        return f->future->accept(f, 0, true);
    uint64_t word = weft__load_acquire(&f->word); /* pairs: TASK-DONE */
    do {
        if ((word & WEFT__STATE) == WEFT__DONE || (word & WEFT__C))
            return false;
    } while (!weft__cas_acq_rel(&f->word, &word, word | WEFT__C)); /* pairs: TASK-C */
    return true;
}

static bool mark_task(struct weft_task *t, struct weft__cancel_list *list)
{
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    if (weft__requests_full(t) || (word & WEFT__STATE) == WEFT__DONE || (word & WEFT__STATE) == WEFT__FREE)
        return false;
    unsigned visit = 0;
    leave_message(t, list->message);
    list->asked = weft__requests_ask(t);
    bool marked = false;
    while (!marked && (word & WEFT__STATE) != WEFT__DONE && (word & WEFT__STATE) != WEFT__FREE) {
        if (weft__likely(visit != 0 || !weft__task_strange(t, word))) {
            marked = weft__cas_seq_cst(&t->word, &word, word | WEFT__C); /* pairs: TASK-C, PARK-REQUEST */
        } else {
            visit = weft__stranger_begin(weft__task_rt(t));
            word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
        }
    }
    if (!marked)
        weft__fetch_sub_acq_rel(&t->requests, 1); /* pairs: TASK-C */
    if (weft__unlikely(visit != 0))
        weft__stranger_end(weft__task_rt(t), visit);
    return marked;
}

static bool mark(struct weft_task *t, struct weft__cancel_list *list)
{
    if (weft__unlikely(t->kind == WEFT__KIND_FUTURE))
        return mark_future(t);
    return weft__unlikely(t->kind == WEFT__KIND_CALLBACK) ? weft__callback_mark(t) : mark_task(t, list);
}

/* The usual case in one go: a suspended task that nothing stands on, in a wait that a cancellation simply ends. Who holds LOCKED may look at
 * the chain and wake, so the mark need not be set only to be taken by the same hand. False: nothing has been done. */
static bool cancel_suspended(struct weft_task *t)
{
    struct weft__fiber *f = weft__task_fiber(t);
    if (f == NULL || t->kind != WEFT__KIND_TASK || weft__task_has_extra(t) != NULL || weft__requests_full(t))
        return false;
    weft__ahead_neighbours(t);
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    if ((word & (WEFT__FIBER_STATE | WEFT__FIBER_LOCKED | WEFT__FIBER_REQUEST)) != WEFT__FIBER_PARKED)
        return false;
    const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: a hint so far */
    if (kind == NULL || kind->cancel != NULL ||
        !weft__sole_cas(&f->word, &word, word | WEFT__FIBER_LOCKED)) /* pairs: FIBER-WORD */
        return false;
    kind = weft__load_relaxed(&f->wait_kind); /* relaxed: FIBER-WORD published it */
    if (weft__unlikely(f->task != t || t->below != NULL || kind->cancel != NULL)) {
        struct weft__cancel_list list;
        weft__cancel_list_init(&list);
        weft__fiber_unlock(f, &list);
        weft__cancel_run(&list);
        return false;
    }
    weft__requests_ask_met(t);
    const uint64_t cancelled = WEFT__FIBER_WOKEN | (uint64_t)WEFT__CANCELLED << 8;
    for (word |= WEFT__FIBER_LOCKED;;) {
        bool first = (word & WEFT__FIBER_STATE) == WEFT__FIBER_PARKED;
        uint64_t next = word & ~(uint64_t)WEFT__FIBER_LOCKED;
        if (first)
            next = (next & ~(uint64_t)WEFT__FIBER_STATE) | cancelled;
        else /* woken otherwise meanwhile: the request meets it when it resumes */
            next |= WEFT__FIBER_REQUEST;
        if (!first && weft__requests_again(t))
            weft__fetch_or_acq_rel(&t->word, (uint64_t)WEFT__C); /* pairs: TASK-C */
        if (weft__sole_cas(&f->word, &word, next))               /* pairs: FIBER-WORD */
            break;
    }
    weft__make_ready(f->worker->rt, weft__item_of_fiber(f)); /* whoever unlocks does it */
    return true;
}

/* No memory for the list: here and now, one level deeper. */
static void deliver_now(struct weft_task *t, const struct weft__cancel_list *list)
{
    struct weft__cancel_list more;
    weft__cancel_list_init(&more);
    more.message = list->message;
    deliver(t, &more);
    weft__cancel_run(&more);
}

void weft__cancel_add(struct weft_task *t, struct weft__cancel_list *list)
{
    if (!weft__task_try_ref(t))
        return;
    if (append(list, t)) {
        list->entries[list->count - 1].fresh = true;
        return;
    }
    if (mark(t, list))
        deliver_now(t, list);
    weft__task_unref(t);
}

bool weft__cancel_mark(struct weft_task *t, struct weft__cancel_list *list)
{
    if (!mark(t, list))
        return false;
    bool counted = weft__task_counted(t);
    if (counted && !weft__task_try_ref(t))
        return true; /* it ended and was released meanwhile */
    if (!append(list, t)) {
        deliver_now(t, list);
        if (counted)
            weft__task_unref(t);
    }
    return true;
}

static void reverse(struct weft__cancel_entry *entries, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        struct weft__cancel_entry e = entries[i];
        entries[i] = entries[n - 1 - i];
        entries[n - 1 - i] = e;
    }
}

void weft__cancel_run(struct weft__cancel_list *list)
{
    if (list->count == 0)
        return;
    struct weft__hold hold;
    weft__hold_begin(&hold);
    reverse(list->entries, list->count); /* the end of the array is next */
    const char *message = list->message;
    while (list->count != 0) {
        struct weft__cancel_entry e = list->entries[--list->count];
        size_t before = list->count;
        bool counted = weft__task_counted(e.task);
        list->message = message;
        if (!e.fresh || mark(e.task, list))
            deliver(e.task, list);
        /* Told: a CHILD that is itself waited through holds its own fiber for the next of the list. */
        if (e.unlock != NULL)
            weft__fiber_unlock(e.unlock, list);
        reverse(list->entries + before, list->count - before);
        if (counted)
            weft__task_unref(e.task);
    }
    if (list->entries != list->first)
        free(list->entries);
    weft__cancel_list_init(list);
    weft__hold_end(&hold);
}

unsigned weft__uncancel(struct weft_task *t)
{
    return weft__requests_take_back(t, 0);
}

bool weft_cancel(weft_task *t)
{
    return weft_cancel_with(t, NULL);
}

bool weft_cancel_with(weft_task *t, const char *message)
{
    weft__preempt_point();
    if (t == NULL)
        return false;
    if (weft__task_state(t) == WEFT__DONE) {
        weft__task_set_retrieved(t); /* asyncio's own rule: who cancels a failed task has dealt with it */
        return false;
    }
    struct weft__worker *w = weft__worker_self();
    bool foreign = w == NULL || w->rt != weft__task_rt(t), taken;
    if (!foreign && message == NULL && cancel_suspended(t))
        return true;
    if (foreign && !weft__runtime_enter(weft__task_rt(t)))
        return false; /* its runtime has ended, and so has it */
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    list.message = message;
    taken = weft__cancel_mark(t, &list);
    if (taken)
        weft__cancel_run(&list);
    if (foreign)
        weft__runtime_leave(weft__task_rt(t));
    return taken;
}

unsigned weft_cancelling(const weft_task *t)
{
    return t != NULL ? weft__requests_count(weft__load_acquire(&((weft_task *)t)->requests)) : 0; /* pairs: TASK-C */
}

unsigned weft_uncancel(weft_task *t)
{
    weft__preempt_point();
    return t != NULL ? weft__uncancel(t) : 0;
}
