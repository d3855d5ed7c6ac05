/* SPDX-License-Identifier: Apache-2.0 */
/* executor/strand.c -- strands: tasks that never run at the same time (weft/strand.h).
 *
 * A strand is a turn and a line of those who wait for it, first come first served:
 *
 * | state         | something becomes ready (arrive)  | the one with the turn leaves the CPU (leave)  |
 * | FREE          | it gets the turn: HELD            | -                                             |
 * | HELD          | it joins the line                 | the first in line gets the turn; none: FREE   |
 *
 * The one with the turn is in a ready queue, or runs. It keeps the turn from when it is made ready until it suspends or ends, whatever
 * worker runs it; so ready queues, thieves and parking know nothing of strands. An entry that turns out to be nothing (its task was run
 * by its awaiter, or cancelled unstarted) gives the turn on like one that ends.
 *
 * Invariants: at most one of the strand's fibers and unstarted tasks is in a ready queue or running. What ran with the turn before
 * happens before what runs next: the guard orders it. A queue of the line uses the link that a fiber or task has for inboxes: it is in
 * one place at a time.
 *
 * Threads: any. Guard: a few instructions; nothing is called under it. */
#include "executor/strand.h"

#include <stdlib.h>

#include "executor/guard.h"
#include "executor/runtime.h"

struct weft_strand {
    _Atomic(uint32_t) refs; /* STRAND-REFS: the last drop comes after all others */
    uint32_t guard;         /* of the rest */
    bool held;
    struct weft__link *first, *last;
};

weft_strand *weft_strand_create(void)
{
    weft_strand *s = calloc(1, sizeof *s);
    if (s != NULL)
        weft__store_relaxed(&s->refs, 1); /* relaxed: not shared yet */
    return s;
}

weft_strand *weft_strand_ref(weft_strand *s)
{
    weft__fetch_add_relaxed(&s->refs, 1); /* relaxed: the caller holds it */
    return s;
}

void weft_strand_release(weft_strand *s)
{
    if (s != NULL && weft__fetch_sub_acq_rel(&s->refs, 1) == 1) /* pairs: STRAND-REFS (itself) */
        free(s);
}

weft_strand *weft_strand_current(void)
{
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *t = f != NULL ? weft__fiber_counted_task(f) : NULL;
    return t != NULL ? weft__task_strand(t) : NULL;
}

bool weft__strand_arrive(weft_strand *s, struct weft__link *link)
{
    weft__guard_lock(&s->guard);
    bool mine = !s->held;
    if (mine) {
        s->held = true;
    } else {
        link->next = NULL;
        if (s->last != NULL)
            s->last->next = link;
        else
            s->first = link;
        s->last = link;
    }
    weft__guard_unlock(&s->guard);
    return mine;
}

struct weft__link *weft__strand_leave(weft_strand *s)
{
    weft__guard_lock(&s->guard);
    WEFT__ASSERT(s->held);
    struct weft__link *next = s->first;
    if (next == NULL) {
        s->held = false;
    } else {
        s->first = next->next;
        if (s->first == NULL)
            s->last = NULL;
    }
    weft__guard_unlock(&s->guard);
    return next;
}
