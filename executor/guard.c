/* SPDX-License-Identifier: Apache-2.0 */
/* executor/guard.c -- what somebody does who finds a guard held.
 *
 * First it spins. Each look takes the word's cache line from the holder, who needs it to let go, so the pauses between
 * looks grow: that costs the one who waits little and lets the holder, if it comes back at once, do some operations in
 * a row, where line and guard would else change hands for each.
 *
 * SPIN is longer than any guard is held (the longest: over a membarrier, some ten microseconds). So after it the
 * holder has lost the CPU, and the waiting thread gives away its own: by sleeping for a time, which grows, not by
 * waiting to be called. It costs the holder nothing, needs no second word, and the memory may be gone a moment after
 * the guard was let go. Not sched_yield: that does not let a thread of lower priority run. Any thread;
 * async-signal-safe. */
#include "executor/guard.h"

#include <time.h>

enum {
    PAUSE_MAX = 16,      /* between two looks; some 20 to 40 ns each */
    SPIN = 512,          /* pauses in all */
    NAP_MIN = 20 * 1000, /* nanoseconds */
    NAP_MAX = 1 * 1000 * 1000,
};

struct patience {
    unsigned pauses, spun;
    long nap;
};

static void wait_a_little(struct patience *p)
{
    if (p->spun < SPIN) {
        p->pauses = p->pauses == 0 ? 1 : p->pauses < PAUSE_MAX ? 2 * p->pauses : PAUSE_MAX;
        p->spun += p->pauses;
        for (unsigned i = 0; i < p->pauses; i++)
            weft__cpu_relax();
        return;
    }
    p->nap = p->nap == 0 ? NAP_MIN : p->nap < NAP_MAX / 2 ? 2 * p->nap : NAP_MAX;
    struct timespec nap = {.tv_nsec = p->nap};
    (void)nanosleep(&nap, NULL); /* ended early by a signal: as good */
}

bool weft__guard_change_strange(uint32_t *guard, uint32_t from, uint32_t to)
{
    weft__sole_stranger_begin();
    bool changed = __atomic_compare_exchange_n(guard, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    weft__sole_stranger_end();
    return changed;
}

uint32_t weft__guard_take_slow(uint32_t *guard)
{
    struct patience p = {0};
    for (;;) {
        wait_a_little(&p);
        uint32_t bits = weft__guard_glance(guard);
        if (!(bits & WEFT__GUARD_HELD) && weft__guard_change(guard, bits, bits | WEFT__GUARD_HELD))
            return bits;
    }
}

uint32_t weft__guard_look_slow(const uint32_t *guard)
{
    struct patience p = {0};
    for (;;) {
        wait_a_little(&p);
        uint32_t bits = __atomic_load_n(guard, __ATOMIC_ACQUIRE); /* pairs: GUARD */
        if (!(bits & WEFT__GUARD_HELD))
            return bits;
    }
}
