/* SPDX-License-Identifier: Apache-2.0 */
/* executor/strangers.c -- words that nearly only one thread changes, their owner, which needs no locked instruction for that.
 *
 * Whoever else changes them is a stranger, and strangers are rare, so it is they who pay:
 *
 *     owner:  1 inside = 1 (plain store)              stranger:  1 strangers + 1 (locked)
 *             2 compiler barrier                                 2 membarrier: every running thread executes a full barrier
 *             3 strangers? then the locked way                   3 wait for each owner until its inside = 0, or until it has given way
 *             4 look at the word, change it (plain)              4 change the word (locked)
 *             5 inside = 0 (release)                             5 strangers - 1
 * STRANGERS: the barrier falls somewhere between two instructions of the owner. Before 1: then the owner sees the stranger in 3. After 1: then the
 * stranger sees `inside` in 3, and waits for 5. So 4 of the one is never at the same time as 4 of the other, and what either wrote the other sees.
 * An owner in a loop is inside most of the time, and so perhaps whenever the stranger looks; but from the barrier on it only gives way, and counts that:
 * a count that has changed since the barrier says that what the owner was at when the barrier fell is over, as it comes later in its program.
 *
 * The barrier takes some 10 us. So a stranger leaves a count behind (after `few` of them in a tick of the reactor thread), and who comes next needs no
 * barrier: owners go the locked way until `keep` ticks have passed. At worst a program pays that often in that time.
 *   kept: 0 nobody has left one; else ticks to go. Raised from 0 by a stranger whose own count stands, after it has counted once more; brought to 0 by the
 *   tick, before it takes that count away. So who has counted himself and then sees `kept` knows that `count` has not been 0 since a barrier.
 * Where the kernel has no membarrier the count is never 0.
 *
 * Who the owners are, what their words are, and who is a stranger to them: alone.c (workers, with the tasks that are theirs), sole.c (the only worker of
 * the process, with guards and fibers).
 * Threads: owner_* the owner; tick the reactor thread; the others any. */
#include "executor/strangers.h"

#include <sched.h>

#include "executor/membarrier.h"

void weft__strangers_init(struct weft__strangers *s, uint32_t keep, uint32_t few)
{
    weft__store_relaxed(&s->count,
                        weft__membarrier_prepare() ? 0 : WEFT__STRANGERS_ALWAYS); /* relaxed: before the threads */
    s->keep = keep;
    s->few = few;
}

bool weft__strangers_come(struct weft__strangers *s)
{
    uint32_t others = weft__fetch_add_seq_cst(&s->count, 1);                     /* pairs: STRANGERS */
    return weft__load_seq_cst(&s->kept) == 0 && others < WEFT__STRANGERS_ALWAYS; /* pairs: STRANGERS */
}

void weft__strangers_outlast(const _Atomic(uint32_t) *inside, const _Atomic(uint32_t) *gave_way)
{
    uint32_t then = weft__load_seq_cst(gave_way); /* pairs: STRANGERS */
    for (unsigned turns = 0;
         weft__load_seq_cst(inside) != 0 && weft__load_seq_cst(gave_way) == then;) { /* pairs: STRANGERS */
        if (++turns < 128)
            weft__cpu_relax();
        else
            sched_yield();
    }
}

void weft__strangers_stay(struct weft__strangers *s)
{
    if (s->keep == 0 || weft__fetch_add_relaxed(&s->barriers, 1) < s->few) /* relaxed: a hint */
        return;
    weft__fetch_add_seq_cst(&s->count, 1); /* pairs: STRANGERS */
    uint32_t none = 0;
    if (!weft__cas_seq_cst(&s->kept, &none, s->keep)) /* pairs: STRANGERS */
        weft__fetch_sub_seq_cst(&s->count, 1);        /* pairs: STRANGERS */
}

void weft__strangers_go(struct weft__strangers *s)
{
    weft__fetch_sub_seq_cst(&s->count, 1); /* pairs: STRANGERS */
}

void weft__strangers_tick(struct weft__strangers *s)
{
    if (weft__load_relaxed(&s->barriers) != 0)    /* relaxed: a hint */
        weft__store_relaxed(&s->barriers, 0);     /* relaxed: a hint */
    uint32_t kept = weft__load_seq_cst(&s->kept); /* pairs: STRANGERS */
    if (weft__likely(kept == 0))
        return;
    weft__store_seq_cst(&s->kept, kept - 1); /* pairs: STRANGERS; others only raise it from 0 */
    if (kept == 1)
        weft__fetch_sub_seq_cst(&s->count, 1); /* pairs: STRANGERS */
}
