/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sole.c -- the only worker of the process needs no locked instructions where only it works.
 *
 * Guards (guard.h) and the words of fibers (fiber.h) are for all threads. With one worker in the process nearly all that use them are its tasks, one
 * after the other: it is their owner, as strangers.c has it. The rest (threads of the program's own, helper threads, the reactor thread) are strangers.
 * This is about single changes: a guard that is held, by whomever, is held by its word, and nobody is `inside` meanwhile. To let go of a guard is a plain
 * store, as ever.
 *
 * Who is what (`sole` in weft__nowhere):
 *   the sole worker    of a runtime with one worker that came when no other runtime was there.
 *   a worker else      its runtime has counted itself among the strangers when it came, until it goes. So its threads need not.
 *   any other thread   announces itself for each change.
 * A sole worker's runtime is a stranger itself until its start is over (`present`): who counts himself, and sees no sole worker yet, is counted before that ends.
 * Without membarrier nobody is sole. What goes on inside is a few instructions of one thread, no signal handler uses guards.
 *
 * Threads: comes and goes by who starts or ends a runtime; strange things any; tick the reactor thread. */
#include "executor/sole.h"

#include "executor/membarrier.h"

struct weft__sole weft__sole = {.strangers = {.keep = WEFT__SOLE_KEEP, .few = WEFT__SOLE_FEW}};

bool weft__sole_comes(unsigned workers)
{
    bool first = weft__fetch_add_seq_cst(&weft__sole.runtimes, 1) == 0; /* pairs: SOLE */
    if (!WEFT__SOLE || !first || workers != 1 || !weft__membarrier_prepare()) {
        weft__sole_stranger_begin();
        return false;
    }
    (void)weft__strangers_come(&weft__sole.strangers); /* until it has settled */
    return true;
}

void weft__sole_settled(void)
{
    weft__store_seq_cst(&weft__sole.present, 1); /* pairs: SOLE */
    weft__strangers_go(&weft__sole.strangers);
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
    weft__store_relaxed(&weft__sole.strangers.count, 0);
    weft__store_relaxed(&weft__sole.strangers.kept, 0);
    weft__store_relaxed(&weft__sole.present, 0);
    weft__store_relaxed(&weft__sole.runtimes, 0);
    weft__store_relaxed(&weft__sole.owner.inside, 0);
}

void weft__sole_stranger_begin(void)
{
    if (weft__strangers_come(&weft__sole.strangers) && weft__load_seq_cst(&weft__sole.present) != 0 && /* pairs: SOLE */
        weft__membarrier()) {
        weft__strangers_outlast(&weft__sole.owner.inside, &weft__sole.owner.gave_way);
        weft__strangers_stay(&weft__sole.strangers);
    }
}

void weft__sole_stranger_end(void)
{
    weft__strangers_go(&weft__sole.strangers);
}

void weft__sole_tick(void)
{
    weft__strangers_tick(&weft__sole.strangers);
}

bool weft__sole_swap_strange(_Atomic(uint64_t) *word, uint64_t from, uint64_t to)
{
    weft__sole_stranger_begin();
    bool swapped = weft__cas_acq_rel(word, &from, to); /* pairs: FIBER-WORD */
    weft__sole_stranger_end();
    return swapped;
}
