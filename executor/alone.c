/* SPDX-License-Identifier: Apache-2.0 */
/* executor/alone.c -- changes of a task that need no locked instruction, because who else could make one announces it first.
 *
 * A locked instruction costs more than all the rest of a task's end. Three changes are nearly always made by a worker while nobody else can
 * have to do with the task: it claims one that it has created, and whose entry it has just taken out of its own queue; it ends one that
 * ran on its awaiter's stack; it frees one of which only its own two references are left. "Nearly": others may cancel or await a task by its
 * handle, or look at all descriptors. These are strangers: they announce themselves first, and wait until no worker is at it. Each worker is an owner,
 * and so are the words of its tasks owned, as strangers.c has it; an owner who is inside
 * its ready queue (ready.h) has that `inside` in the place of its own: the stranger outlasts both. An owner with anything but
 * one of two exact words before it, NEW and STARTED | PLAIN, goes the locked way; so a stranger is only who changes one of these:
 *   NEW              if the mark in the place of its fiber is another worker's; nobody but that one claims it alone. Whoever takes its entry
 *                    out of another queue claims it by a locked instruction, and so may do that without being a stranger, as may the
 *                    worker of the mark itself: its thread does one thing after the other.
 *   STARTED | PLAIN  always; but not who holds the fiber LOCKED that the task is on, or runs on it: then nobody is about to end it.
 * A word with a waiter, C or LOCK in it is no such word. Who goes through all descriptors is a stranger too (weft_all_tasks, the end of
 * a run): the references that it takes are those that freeing looks at.
 *
 * Threads: any. */
#include "executor/alone.h"

#include "executor/membarrier.h"

enum { VISITOR = 1, COUNTED = 2, ENDED = 4 };

/* After the barrier. */
static WEFT__COLD void outlast_workers(struct weft_runtime *rt)
{
    struct weft__worker *self = weft__worker_self();
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct weft__worker *w = &rt->workers[i];
        if (w == self)
            continue;
        weft__strangers_outlast(&w->alone.inside, &w->alone.gave_way);
        weft__strangers_outlast(&w->ready.inside, &w->alone_inside_gave_way);
    }
}

unsigned weft__stranger_begin(struct weft_runtime *rt)
{
    struct weft__worker *self = weft__worker_self();
    unsigned visit = COUNTED;
    if (self == NULL || self->rt != rt) {
        if (!weft__runtime_enter(rt))
            return ENDED; /* it has ended: nobody changes anything any more */
        visit |= VISITOR;
    }
    if (weft__strangers_come(&rt->strangers) && weft__membarrier()) {
        outlast_workers(rt);
        weft__strangers_stay(&rt->strangers);
    }
    return visit;
}

void weft__stranger_end(struct weft_runtime *rt, unsigned visit)
{
    if (visit & COUNTED)
        weft__strangers_go(&rt->strangers);
    if (visit & VISITOR)
        weft__runtime_leave(rt);
}

bool weft__task_strange(const struct weft_task *t, uint64_t word)
{
    if (word == (WEFT__STARTED | WEFT__PLAIN))
        return true;
    if (word != WEFT__NEW)
        return false;
    /* Claimed since: then it is a fiber, and the claim is seen when the word is changed. */
    uintptr_t home = (uintptr_t)weft__load_acquire(&((struct weft_task *)t)->fiber); /* pairs: TASK-FIBER */
    return (home & 3) == 2 && home != (uintptr_t)weft__task_home(weft__worker_self());
}
