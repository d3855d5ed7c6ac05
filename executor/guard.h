/* SPDX-License-Identifier: Apache-2.0 */
/* executor/guard.h -- a word-sized lock for a few instructions' work, never held across a suspension or a callback
 * that takes long. States: 0 free, 1 held, 2 held and somebody sleeps on it (futex). Any thread. */
#ifndef WEFT_EXECUTOR_GUARD_H
#define WEFT_EXECUTOR_GUARD_H

#include "executor/base.h"

void weft__guard_lock_slow(uint32_t *guard);
void weft__guard_unlock_slow(uint32_t *guard);

/* The word is a plain uint32_t because it also lives in public structs that C++ includes. pairs: GUARD, the release in
 * unlock with the acquire in lock. */
static inline bool weft__guard_try_lock(uint32_t *guard)
{
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(guard, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void weft__guard_lock(uint32_t *guard)
{
    if (weft__unlikely(!weft__guard_try_lock(guard)))
        weft__guard_lock_slow(guard);
}

static inline void weft__guard_unlock(uint32_t *guard)
{
    if (weft__unlikely(__atomic_exchange_n(guard, 0, __ATOMIC_RELEASE) == 2))
        weft__guard_unlock_slow(guard);
}

#endif
