/* SPDX-License-Identifier: Apache-2.0 */
/* executor/guard.c -- the slow halves of the word-sized lock: a short spin, then sleep on a futex.
 *
 * Invariant: a thread that sleeps, or is about to, has seen or written 2, and whoever unlocks a 2 wakes one sleeper. A thread
 * that slept takes the lock as 2, since it cannot know whether others sleep: at worst one wake too many.
 * Any thread. The word is no _Atomic object (see guard.h), so the operations are the compiler's and not atomic.h's. */
#include "executor/guard.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "executor/atomic.h"

#define SPINS 64 /* about as long as the lock is held, unless its holder lost the CPU */

void weft__guard_lock_slow(uint32_t *guard)
{
    for (int i = 0; i < SPINS; i++) {
        weft__cpu_relax();
        /* relaxed: only a hint when to try */
        if (__atomic_load_n(guard, __ATOMIC_RELAXED) == 0 && weft__guard_try_lock(guard))
            return;
    }
    while (__atomic_exchange_n(guard, 2, __ATOMIC_ACQUIRE) != 0)         /* pairs: GUARD */
        syscall(SYS_futex, guard, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0); /* any return: try again */
}

void weft__guard_unlock_slow(uint32_t *guard)
{
    /* The memory may be gone already, if the next holder freed it: then this wakes nobody, or somebody who tries again. */
    syscall(SYS_futex, guard, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
