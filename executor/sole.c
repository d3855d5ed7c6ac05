/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sole.c -- the only worker of the process needs no locked instructions where only it works.
 *
 * Guards (guard.h) and the words of fibers (fiber.h) are for all threads. With one worker in the process nearly all that use them are its tasks, one
 * after the other. The rest (threads of the program's own, helper threads, the reactor thread) are strangers, and rare, so it is they who pay, as in
 * alone.c:
 *
 *     sole worker:  1 inside = 1 (plain store)            stranger:  1 strangers + 1 (locked)
 *                   2 compiler barrier                               2 membarrier: every running thread executes a full barrier
 *                   3 strangers? then the locked way                 3 wait until inside = 0
 *                   4 look at the word, change it (plain)            4 change the word (locked)
 *                   5 inside = 0 (release)                           5 strangers - 1
 * SOLE: the barrier falls somewhere between two instructions of the sole worker. Before 1: then it sees the stranger in 3. After 1: then the stranger
 * sees `inside` in 3, and waits for 5. So 4 of the one is never at the same time as 4 of the other, and what either wrote the other sees. This is about
 * single changes: a guard that is held, by whomever, is held by its word, and nobody is `inside` meanwhile. To let go of a guard is a plain store, as ever.
 *
 * Who is what (`sole` in weft__nowhere):
 *   the sole worker    of a runtime with one worker that came when no other runtime was there.
 *   a worker else      its runtime has counted itself among the strangers when it came, until it goes. So its threads need not.
 *   any other thread   announces itself for each change.
 * The barrier takes some 10 us. So after a few in a tick of the reactor thread on a stranger leaves a count behind, and who comes next needs none, until
 * `keep` ticks have passed.
 *   kept: 0 nobody has left one; else ticks to go. Raised from 0 by a stranger whose own count stands, after it has counted once more; brought to 0 by the
 *   tick, before it takes that count away. So who has counted himself and then sees `kept` knows that `strangers` has not been 0 since a barrier.
 * A sole worker's runtime is a stranger itself until its start is over (`present`): who counts himself, and sees no sole worker yet, is counted before that ends.
 * Without membarrier nobody is sole. What goes on inside is a few instructions of one thread, no signal handler uses guards.
 *
 * Threads: comes and goes by who starts or ends a runtime; strange things any; tick the reactor thread. */
#include "executor/sole.h"

#include <sched.h>

#include "executor/membarrier.h"

struct weft__sole weft__sole = {.keep = WEFT__SOLE_KEEP, .few = WEFT__SOLE_FEW};

bool weft__sole_comes(unsigned workers)
{
    bool first = weft__fetch_add_seq_cst(&weft__sole.runtimes, 1) == 0; /* pairs: SOLE */
    if (!WEFT__SOLE || !first || workers != 1 || !weft__membarrier_prepare()) {
        weft__sole_stranger_begin();
        return false;
    }
    weft__fetch_add_seq_cst(&weft__sole.strangers, 1); /* pairs: SOLE; until it has settled */
    return true;
}

void weft__sole_settled(void)
{
    weft__store_seq_cst(&weft__sole.present, 1);       /* pairs: SOLE */
    weft__fetch_sub_seq_cst(&weft__sole.strangers, 1); /* pairs: SOLE */
}

void weft__sole_goes(bool sole)
{
    if (!sole || weft__exchange_seq_cst(&weft__sole.present, 0) == 0) /* pairs: SOLE; 0: it has never settled */
        weft__sole_stranger_end();
    weft__fetch_sub_seq_cst(&weft__sole.runtimes, 1); /* pairs: SOLE */
}

void weft__sole_forked(void)
{
    /* relaxed, all: one thread */
    weft__store_relaxed(&weft__sole.strangers, 0);
    weft__store_relaxed(&weft__sole.kept, 0);
    weft__store_relaxed(&weft__sole.present, 0);
    weft__store_relaxed(&weft__sole.runtimes, 0);
    weft__store_relaxed(&weft__sole.inside, 0);
}

static WEFT__COLD void first_stranger(void)
{
    if (weft__load_seq_cst(&weft__sole.present) == 0 || !weft__membarrier()) /* pairs: SOLE */
        return;
    for (unsigned turns = 0; weft__load_seq_cst(&weft__sole.inside) != 0;) { /* pairs: SOLE */
        if (++turns < 128)
            weft__cpu_relax();
        else
            sched_yield();
    }
    if (weft__fetch_add_relaxed(&weft__sole.barriers, 1) < weft__sole.few || weft__sole.keep == 0) /* relaxed: a hint */
        return;
    weft__fetch_add_seq_cst(&weft__sole.strangers, 1); /* pairs: SOLE */
    uint32_t none = 0;
    if (!weft__cas_seq_cst(&weft__sole.kept, &none, weft__sole.keep)) /* pairs: SOLE */
        weft__fetch_sub_seq_cst(&weft__sole.strangers, 1);            /* pairs: SOLE */
}

void weft__sole_stranger_begin(void)
{
    weft__fetch_add_seq_cst(&weft__sole.strangers, 1); /* pairs: SOLE */
    if (weft__load_seq_cst(&weft__sole.kept) == 0)     /* pairs: SOLE */
        first_stranger();
}

void weft__sole_stranger_end(void)
{
    weft__fetch_sub_seq_cst(&weft__sole.strangers, 1); /* pairs: SOLE */
}

void weft__sole_tick(void)
{
    weft__store_relaxed(&weft__sole.barriers, 0);         /* relaxed: a hint */
    uint32_t kept = weft__load_seq_cst(&weft__sole.kept); /* pairs: SOLE */
    if (weft__likely(kept == 0))
        return;
    weft__store_seq_cst(&weft__sole.kept, kept - 1); /* pairs: SOLE; others only raise it from 0 */
    if (kept == 1)
        weft__fetch_sub_seq_cst(&weft__sole.strangers, 1); /* pairs: SOLE */
}

bool weft__sole_swap_strange(_Atomic(uint64_t) *word, uint64_t from, uint64_t to)
{
    weft__sole_stranger_begin();
    bool swapped = weft__cas_acq_rel(word, &from, to); /* pairs: FIBER-WORD */
    weft__sole_stranger_end();
    return swapped;
}
