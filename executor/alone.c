/* SPDX-License-Identifier: Apache-2.0 */
/* executor/alone.c -- changes of a task that need no locked instruction, because who else could make one announces it first.
 *
 * A locked instruction costs more than all the rest of a task's end. Three changes are nearly always made by a worker while nobody else can
 * have to do with the task: it claims one that it has created, and whose entry it has just taken out of its own queue; it ends one that
 * ran on its awaiter's stack; it frees one of which only its own two references are left. "Nearly": others may cancel or await a task by its
 * handle, or look at all descriptors. These are strangers, and they are rare, so it is they who pay:
 *
 *     owner:  1 alone = 1 (plain store)               stranger:  1 strangers + 1 (locked)
 *             2 compiler barrier                                 2 membarrier: every running thread executes a full barrier
 *             3 strangers? then the locked way                   3 wait for each worker until its alone = 0
 *             4 look at the word, change it (plain)              4 change the word (locked)
 *             5 alone = 0 (release)                              5 strangers - 1
 * TASK-ALONE: the barrier falls somewhere between two instructions of the owner. Before 1: then the owner sees the stranger in 3. After 1:
 * then the stranger sees `alone` in 3, and waits for 5. So 4 of the one is never at the same time as 4 of the other. An owner who is inside
 * its ready queue (ready.h) has `inside` in the place of `alone`: the stranger waits for both. An owner with anything but
 * one of two exact words before it, NEW and STARTED | PLAIN, goes the locked way; so a stranger is only who changes one of these:
 *   NEW              if the mark in the place of its fiber is another worker's; nobody but that one claims it alone. Whoever takes its entry
 *                    out of another queue claims it by a locked instruction, and so may do that without being a stranger, as may the
 *                    worker of the mark itself: its thread does one thing after the other.
 *   STARTED | PLAIN  always; but not who holds the fiber LOCKED that the task is on, or runs on it: then nobody is about to end it.
 * A word with a waiter, C or LOCK in it is no such word. Who goes through all descriptors is a stranger too (weft_all_tasks, the end of
 * a run): the references that it takes are those that freeing looks at.
 *
 * The barrier takes some 10 us. So a stranger leaves a count behind, and who comes next needs no barrier: workers go the locked way until
 * `keep` ticks of the reactor thread have passed. At worst a program pays one barrier in that time.
 *   kept: 0 nobody has left one; else ticks to go. Raised from 0 by a stranger whose own count stands, after it has counted once more;
 *   brought to 0 by the tick, before it takes that count away. So who has counted himself and then sees `kept` knows that `strangers`
 *   has not been 0 since a barrier.
 * Where the kernel has no membarrier `strangers` is never 0.
 *
 * Threads: begin and end any; tick the reactor thread. */
#include "executor/alone.h"

#include <sched.h>

#include "executor/membarrier.h"

enum { VISITOR = 1, COUNTED = 2, ENDED = 4 };

static WEFT__COLD void first_stranger(struct weft_runtime *rt)
{
    if (weft__load_seq_cst(&rt->strangers) > WEFT__STRANGERS_ALWAYS || !weft__membarrier()) /* pairs: TASK-ALONE */
        return;
    struct weft__worker *self = weft__worker_self();
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct weft__worker *w = &rt->workers[i];
        if (w == self)
            continue;
        for (unsigned turns = 0; weft__load_seq_cst(&w->alone) != 0 ||         /* pairs: TASK-ALONE */
                                 weft__load_seq_cst(&w->ready.inside) != 0;) { /* pairs: READY-INSIDE */
            if (++turns < 128)
                weft__cpu_relax();
            else
                sched_yield();
        }
    }
    if (rt->keep == 0)
        return;
    weft__fetch_add_seq_cst(&rt->strangers, 1); /* pairs: TASK-ALONE */
    uint32_t none = 0;
    if (!weft__cas_seq_cst(&rt->kept, &none, rt->keep)) /* pairs: TASK-ALONE */
        weft__fetch_sub_seq_cst(&rt->strangers, 1);     /* pairs: TASK-ALONE */
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
    weft__fetch_add_seq_cst(&rt->strangers, 1); /* pairs: TASK-ALONE */
    if (weft__load_seq_cst(&rt->kept) == 0)     /* pairs: TASK-ALONE */
        first_stranger(rt);
    return visit;
}

void weft__stranger_end(struct weft_runtime *rt, unsigned visit)
{
    if (visit & COUNTED)
        weft__fetch_sub_seq_cst(&rt->strangers, 1); /* pairs: TASK-ALONE */
    if (visit & VISITOR)
        weft__runtime_leave(rt);
}

void weft__stranger_tick(struct weft_runtime *rt)
{
    uint32_t kept = weft__load_seq_cst(&rt->kept); /* pairs: TASK-ALONE */
    if (weft__likely(kept == 0))
        return;
    weft__store_seq_cst(&rt->kept, kept - 1); /* pairs: TASK-ALONE; others only raise it from 0 */
    if (kept == 1)
        weft__fetch_sub_seq_cst(&rt->strangers, 1); /* pairs: TASK-ALONE */
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
