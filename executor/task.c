/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task.c -- task descriptors: references, claim, end, waiters (creation: task_create.c). State table in task.h.
 *
 * References: one for each handle, one for the queue entry (which becomes the running task's own when it is claimed from the
 * queue; who claims a task by other ways takes its own). Memory goes back to the slab at zero and stays of this type.
 *
 * Labels. TASK-DONE: rc, the frame and everything the task did, before the release of DONE; read after an acquire of it.
 * TASK-C: a request is pending before its mark is set, and that before REQUEST is set in the fiber's word; looked for in the other order, each after what
 * tells of it was cleared (requests.h). TASK-REFS: the
 * last unref sees all that other holders did. TASK-NEW: the fields, before the word says NEW. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <weft/strand.h>

#include "executor/context_vars.h"
#include "executor/guard.h"
#include "executor/requests.h"
#include "executor/task_hot.h"

int weft__task_claim_strange(struct weft_task *t)
{
    if (!weft__task_strange(t, weft__load_acquire(&t->word))) /* pairs: TASK-NEW */
        return weft__task_claim(t);
    unsigned visit = weft__stranger_begin(weft__task_rt(t));
    int claimed = weft__task_claim(t);
    weft__stranger_end(weft__task_rt(t), visit);
    return claimed;
}

void weft__task_refuse(struct weft_task *t, int rc)
{
    if (weft__task_claim(t) == 0) { /* somebody who enumerates the tasks has it */
        weft__task_unref(t);
        return;
    }
    if (t->frame->coro->unstarted != NULL)
        t->frame->coro->unstarted(t->frame);
    weft__task_finish(t, rc);
}

int weft__task_claim_slow(struct weft_task *t)
{
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-NEW */
    for (;;) {
        if ((word & WEFT__STATE) != WEFT__NEW)
            return 0;
        if (word & WEFT__LOCK) {
            weft__cpu_relax();
            word = weft__load_acquire(&t->word); /* pairs: TASK-NEW */
            continue;
        }
        uint64_t started = (word & ~(uint64_t)(WEFT__STATE | WEFT__C)) | WEFT__STARTED;
        if (weft__cas_acq_rel(&t->word, &word, started)) /* pairs: TASK-C */
            return word & WEFT__C && weft__requests_meet(t) ? -1 : 1;
    }
}

/* A few turns, then let others run: the holder of LOCK is between two instructions, or preempted there. */
static void wait_for_lock(unsigned *turns)
{
    if (++*turns < 128)
        weft__cpu_relax();
    else
        sched_yield();
}

/* Tell the waiters, newest first in the word, in the order added. */
static void tell(struct weft_task *t, uint64_t word)
{
    struct weft__waiter *waiter = (struct weft__waiter *)(uintptr_t)(word & ~WEFT__BITS), *first = NULL;
    while (waiter != NULL) {
        struct weft__waiter *next = waiter->next;
        waiter->next = first;
        first = waiter;
        waiter = next;
    }
    while (first != NULL) {
        struct weft__waiter *next = first->next;
        first->fire(first, t);
        first = next;
    }
}

static inline void count_finished(struct weft_task *t, struct weft__worker *w)
{
    if (!weft__task_visible(t))
        return;
    if (w != NULL)
        weft__count(&w->counters.finished, 1);
    else
        weft__fetch_add_relaxed(&weft__task_rt(t)->finished_outside, 1); /* relaxed: statistic */
}

/* The task is marked. A request that nobody met decides over a success: the message goes with it. */
static WEFT__NOINLINE int decide(struct weft_task *t, int rc)
{
    if (!weft__mark_take(t))
        return rc;
    struct weft__task_extra *x = weft__task_has_extra(t);
    if (x != NULL) {
        x->met = weft__load_relaxed(&x->asked);                               /* relaxed: TASK-C orders */
        weft__fetch_or_acq_rel(&t->flags, (uint16_t)WEFT__TASK_KEEP_MESSAGE); /* pairs: TASK-DONE */
    }
    return -ECANCELED;
}

static void keep_message(struct weft_task *t, int rc)
{
    struct weft__task_extra *x = rc == -ECANCELED ? weft__task_has_extra(t) : NULL;
    if (x != NULL)
        weft__store_relaxed(&x->outcome, x->met); /* relaxed: TASK-DONE publishes */
}

void weft__task_finish(struct weft_task *t, int rc)
{
    unsigned turns = 0;
    bool counted = weft__task_counted(t);         /* before a CHILD's memory is gone */
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-C */
    if (counted)
        count_finished(t, weft__own_worker(weft__task_rt(t)));
    for (;;) {
        if (word & WEFT__LOCK) {
            wait_for_lock(&turns);
            word = weft__load_acquire(&t->word); /* pairs: TASK-C */
            continue;
        }
        if (weft__unlikely((word & WEFT__C) && rc >= 0)) {
            rc = decide(t, rc);
            word = weft__load_acquire(&t->word); /* pairs: TASK-C */
            continue;
        }
        t->rc = rc;
        if (weft__unlikely(rc == -ECANCELED))
            keep_message(t, rc);
        if (weft__cas_acq_rel(&t->word, &word, WEFT__DONE)) /* pairs: TASK-DONE */
            break;
    }
    tell(t, word);
    if (counted)
        weft__task_unref(t);
}

void weft__task_finish_awaited(struct weft_task *t, int rc)
{
    uint64_t word = WEFT__STARTED | WEFT__PLAIN;
    if (rc >= 0 && t->kind == WEFT__KIND_TASK && weft__load_relaxed(&t->word) == word) { /* relaxed: the CAS decides */
        t->rc = rc;
        if (weft__cas_acq_rel(&t->word, &word, WEFT__DONE | WEFT__OWED)) { /* pairs: TASK-DONE */
            count_finished(t, weft__own_worker(weft__task_rt(t)));
            return;
        }
    }
    weft__task_finish(t, rc);
}

/* Of several that may end t, LOCK decides who. `refuse`: bits with which it is not to be ended. */
static bool lock_pending(struct weft_task *t, uint64_t refuse, uint64_t *word)
{
    unsigned turns = 0;
    *word = weft__load_acquire(&t->word); /* pairs: TASK-C */
    for (;;) {
        if ((*word & WEFT__STATE) == WEFT__DONE || (*word & refuse))
            return false;
        if (!(*word & WEFT__LOCK) && weft__cas_acq_rel(&t->word, word, *word | WEFT__LOCK)) { /* pairs: TASK-C */
            *word |= WEFT__LOCK;
            return true;
        }
        wait_for_lock(&turns);
        *word = weft__load_acquire(&t->word); /* pairs: TASK-C */
    }
}

bool weft__task_finish_race(struct weft_task *t, int rc)
{
    uint64_t word;
    if (!lock_pending(t, 0, &word))
        return false;
    do {
        if ((word & WEFT__C) && rc >= 0) {
            rc = decide(t, rc);
            word &= ~(uint64_t)WEFT__C;
        }
        t->rc = rc;
        keep_message(t, rc);
    } while (!weft__cas_acq_rel(&t->word, &word, WEFT__DONE)); /* pairs: TASK-DONE; C may have come */
    count_finished(t, weft__own_worker(weft__task_rt(t)));
    tell(t, word);
    weft__task_unref(t);
    return true;
}

/* Futures that this thread has ended and not told yet. Telling one may end the next (a gather of gathers, shields), and stacks are small:
 * so the outermost call tells them all, one after the other. */
struct untold {
    bool telling;
    struct weft_task *first,
        *last; /* linked as in an inbox; each referenced, its waiters in `fiber`, which a FUTURE has no use for */
};
static _Thread_local struct untold untold;

static WEFT__NOINLINE struct untold *own_untold(void)
{
    __asm__ volatile("" ::: "memory"); /* see weft__worker_self */
    return &untold;
}

static void tell_in_turn(struct weft_task *f, uint64_t word)
{
    if ((word & ~WEFT__BITS) == 0)
        return;
    struct untold *u = own_untold();
    if (u->telling) {
        weft_ref(f);
        weft__store_relaxed(&f->fiber, (struct weft__fiber *)(uintptr_t)(word & ~WEFT__BITS)); /* relaxed: own list */
        f->link.next = NULL;
        if (u->first != NULL)
            u->last->link.next = &f->link;
        else
            u->first = f;
        u->last = f;
        return;
    }
    u->telling = true;
    tell(f, word);
    while ((f = u->first) != NULL) {
        u->first = f->link.next != NULL ? weft__container_of(f->link.next, struct weft_task, link) : NULL;
        tell(f, (uintptr_t)weft__load_relaxed(&f->fiber)); /* relaxed: own list */
        weft__task_unref(f);
    }
    u->telling = false;
}

bool weft__future_finish(struct weft_task *f, int rc, const weft_frame *value, bool cancelling)
{
    uint64_t word, refuse = cancelling ? 0 : WEFT__C;
    if (!lock_pending(f, refuse, &word))
        return false;
    if (value != NULL) /* the type stays as it is: other setters are looking at it */
        memcpy(f->frame + 1, value + 1, value->coro->size - sizeof *value);
    f->rc = rc;
    if (rc == -ECANCELED)
        keep_message(f, rc);
    for (;;) {
        if (word & refuse) { /* cancelled at the last moment: the canceller ends it */
            weft__fetch_and_acq_rel(&f->word, ~(uint64_t)WEFT__LOCK); /* pairs: TASK-C */
            return false;
        }
        if (weft__cas_acq_rel(&f->word, &word, WEFT__DONE)) /* pairs: TASK-DONE */
            break;
    }
    tell_in_turn(f, word);
    return true;
}

bool weft__task_add_waiter(struct weft_task *t, struct weft__waiter *waiter)
{
    unsigned turns = 0, visit = 0;
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    for (;;) {
        if ((word & WEFT__STATE) == WEFT__DONE)
            break;
        if (word & WEFT__LOCK) {
            wait_for_lock(&turns);
            word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
            continue;
        }
        if (weft__unlikely(visit == 0) && weft__task_strange(t, word)) {
            visit = weft__stranger_begin(weft__task_rt(t));
            word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
            continue;
        }
        waiter->next = (struct weft__waiter *)(uintptr_t)(word & ~WEFT__BITS);
        if (weft__cas_acq_rel(&t->word, &word, (word & WEFT__BITS) | (uintptr_t)waiter)) /* pairs: TASK-DONE */
            break;
    }
    if (weft__unlikely(visit != 0))
        weft__stranger_end(weft__task_rt(t), visit); /* the caller holds t, also if the waiter has been told already */
    return (word & WEFT__STATE) != WEFT__DONE;
}

bool weft__task_remove_waiter(struct weft_task *t, struct weft__waiter *waiter)
{
    unsigned turns = 0;
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    for (;;) {
        if ((word & WEFT__STATE) == WEFT__DONE)
            return false;
        if ((word & ~(uint64_t)(WEFT__STATE | WEFT__C | WEFT__PLAIN)) == 0)
            return false; /* no waiter at all: told, or taken out; and no stranger need be called for that */
        if (!(word & WEFT__LOCK) && weft__cas_acq_rel(&t->word, &word, word | WEFT__LOCK)) /* pairs: TASK-DONE */
            break;
        wait_for_lock(&turns);
        word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    }
    /* LOCK is held: the list does not change; only C may come. */
    struct weft__waiter *head = (struct weft__waiter *)(uintptr_t)(word & ~WEFT__BITS), *new_head = head;
    bool found = false;
    if (head == waiter) {
        new_head = waiter->next;
        found = true;
    } else {
        for (struct weft__waiter *at = head; at != NULL && !found; at = at->next) {
            if (at->next == waiter) {
                at->next = waiter->next;
                found = true;
            }
        }
    }
    word = weft__load_relaxed(&t->word); /* relaxed: the CAS orders */
    while (!weft__cas_acq_rel(&t->word, &word,
                              (word & (WEFT__STATE | WEFT__C)) | (uintptr_t)new_head)) /* pairs: TASK-DONE */
        ;
    return found;
}

/* ---- references -------------------------------------------------------------------------------------------------- */

bool weft__task_try_ref(struct weft_task *t)
{
    uint32_t refs = weft__load_acquire(&t->refs); /* pairs: TASK-NEW */
    while (refs != 0) {
        if (weft__cas_acq_rel(&t->refs, &refs, refs + 1)) /* pairs: TASK-REFS */
            return true;
    }
    return false;
}

static WEFT__COLD void free_unusual(struct weft_task *t, struct weft__task_extra *x, uint32_t flags)
{
    if (flags & WEFT__TASK_DESTROY)
        t->future->destroy(t);
    if (x == NULL)
        return;
    if (flags & WEFT__TASK_ARMED)
        weft__callback_free(t);
    weft__task_names_free(x);
    weft_strand_release(x->strand);
    weft_context_release(weft__load_relaxed(&x->context)); /* relaxed: the last unref has seen it */
    weft__store_relaxed(&t->side, (uintptr_t)x->rt);       /* relaxed: nobody holds it */
    free(x);
}

/* A FUTURE that nobody set: callbacks wait for it in vain. Or what could not be created. A task has the runtime's reference until it has ended:
 * somebody gave that back. */
static WEFT__COLD void free_unended(struct weft_task *t, uint64_t word)
{
    /* relaxed: at the end of a run what nobody met is dropped as it is, by one thread */
    if (weft__task_visible(t) && (word & WEFT__STATE) != WEFT__FREE &&
        weft__load_relaxed(&weft__task_rt(t)->stopping) == 0)
        weft__task_over_released(t);
    tell(t, word);
}

void weft__task_free(struct weft_task *t)
{
    struct weft_runtime *rt = weft__task_rt(t);
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    if (weft__unlikely(t->rc < 0 && t->rc != -ECANCELED && (word & WEFT__STATE) == WEFT__DONE &&
                       !(weft__load_acquire(&t->flags) &
                         (WEFT__TASK_RETRIEVED | WEFT__TASK_HIDDEN)))) /* pairs: TASK-REFS, TASK-DONE */
        weft__exception(rt, WEFT_NEVER_RETRIEVED, t, t->rc);
    if (weft__unlikely((word & ~(uint64_t)WEFT__OWED) != WEFT__DONE))
        free_unended(t, word);
    struct weft__task_extra *x = weft__task_has_extra(t);
    uint32_t flags = weft__load_relaxed(&t->flags); /* relaxed: the last unref has seen them */
    if (weft__unlikely(x != NULL || (flags & WEFT__TASK_DESTROY)))
        free_unusual(t, x, flags);
    if (t->room == WEFT__ROOM_HEAP)
        weft__heap_frame_free(t->frame);
    t->frame = NULL;
    struct weft__worker *w = weft__own_worker(rt);
    if (w != NULL) {
        weft__store_release(&t->word, WEFT__FREE); /* pairs: TASK-NEW */
        weft__slab_put(&rt->tasks[weft__task_size(t)], &w->tasks[weft__task_size(t)], t);
    } else {
        weft__runtime_handle_freed(rt, t);
    }
}
