/* SPDX-License-Identifier: Apache-2.0 */
/* executor/guard.h -- a word-sized lock for a few instructions' work, never held across a suspension or a callback
 * that takes long.
 *
 * The lowest bit says held. Letting go is a plain store, which is half of what a guard costs: nobody sleeps on the
 * word, so there is nobody to look for. Who finds it held spins, less and less often, and when its holder seems to
 * have lost the CPU sleeps for a short time and looks again (guard.c).
 *
 * The other bits are the object's own, for one that keeps its state in the word (weft_lock, weft_event). They change
 * only by who holds the guard, when it lets go, or by one compare-and-swap from a value that is not held; so a load
 * that finds it not held is an answer as good as one given under the guard. Most guards have no such bits and use lock
 * and unlock.
 *
 * | bits | lock, take            | unlock, give(new bits) | change(from, to)     |
 * | b    | b + HELD              | -                      | to, if b is from     |
 * | b+H  | waits                 | new bits               | refused              |
 *
 * Where one worker is the only one of the process, it takes guards without a locked instruction, and all others announce themselves: sole.c.
 *
 * pairs: GUARD, the release of every one that lets go with the acquire of every one that takes or looks. Any thread.
 * The word is a plain uint32_t because it also lives in public structs that C++ includes, so the operations are the
 * compiler's and not atomic.h's. */
#ifndef WEFT_EXECUTOR_GUARD_H
#define WEFT_EXECUTOR_GUARD_H

#include "executor/sole.h"

#define WEFT__GUARD_HELD ((uint32_t)1)

/* Wait until it is not held, take it, return the other bits. */
uint32_t weft__guard_take_slow(uint32_t *guard);
/* Wait until it is not held, return the bits. */
uint32_t weft__guard_look_slow(const uint32_t *guard);

/* guard_change by who is no worker: announced (sole.c). */
bool weft__guard_change_strange(uint32_t *guard, uint32_t from, uint32_t to);

/* `from` must not be held: a change then is one with taking the guard, and with giving it back if `to` is not held. */
static inline bool weft__guard_change(uint32_t *guard, uint32_t from, uint32_t to)
{
    uint32_t who = weft__sole_who();
    WEFT__SEAM();
    if (weft__likely(who == WEFT__OF_SEVERAL))
        return __atomic_compare_exchange_n(guard, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    if (weft__unlikely(who == WEFT__IS_FOREIGN))
        return weft__guard_change_strange(guard, from, to);
    if (weft__unlikely(!weft__sole_begin()))
        return __atomic_compare_exchange_n(guard, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    bool same = __atomic_load_n(guard, __ATOMIC_ACQUIRE) == from;
    if (weft__likely(same))
        __atomic_store_n(guard, to, __ATOMIC_RELEASE);
    weft__sole_end();
    return same;
}

/* A hint: may be outdated, may be held. */
static inline uint32_t weft__guard_glance(const uint32_t *guard)
{
    WEFT__SEAM();
    return __atomic_load_n(guard, __ATOMIC_RELAXED); /* relaxed: a hint */
}

/* For words that are no guard but lie beside one, written and read without it: only ever a hint. */
static inline void weft__guard_hint(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED); /* relaxed: a hint */
}

/* For such words that tell something of what was written before them: who sees the new value sees that, too. */
static inline void weft__guard_tell(uint32_t *word, uint32_t value)
{
    WEFT__SEAM();
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
static inline uint32_t weft__guard_see(const uint32_t *word)
{
    WEFT__SEAM();
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* A number that changes under a guard only, and is looked at without it: every change is made so; who holds the guard
 * reads it as it is. */
static inline void weft__guard_set_size(size_t *number, size_t value)
{
    __atomic_store_n(number, value, __ATOMIC_RELAXED); /* relaxed: the guard orders; without it, a hint */
}
static inline size_t weft__guard_glance_size(const size_t *number)
{
    WEFT__SEAM();
    return __atomic_load_n(number, __ATOMIC_RELAXED); /* relaxed: a hint */
}

/* ---- with bits of the object's own ---- */

static inline uint32_t weft__guard_take(uint32_t *guard)
{
    uint32_t bits = weft__guard_glance(guard) & ~WEFT__GUARD_HELD;
    if (weft__unlikely(!weft__guard_change(guard, bits, bits | WEFT__GUARD_HELD)))
        return weft__guard_take_slow(guard);
    return bits;
}

static inline void weft__guard_give(uint32_t *guard, uint32_t bits)
{
    WEFT__SEAM();
    __atomic_store_n(guard, bits, __ATOMIC_RELEASE);
}

static inline uint32_t weft__guard_look(const uint32_t *guard)
{
    WEFT__SEAM();
    uint32_t bits = __atomic_load_n(guard, __ATOMIC_ACQUIRE);
    return weft__likely(!(bits & WEFT__GUARD_HELD)) ? bits : weft__guard_look_slow(guard);
}

/* ---- without ---- */

static inline bool weft__guard_try_lock(uint32_t *guard)
{
    return weft__guard_change(guard, 0, WEFT__GUARD_HELD);
}

static inline void weft__guard_lock(uint32_t *guard)
{
    if (weft__unlikely(!weft__guard_try_lock(guard)))
        (void)weft__guard_take_slow(guard);
}

static inline void weft__guard_unlock(uint32_t *guard)
{
    weft__guard_give(guard, 0);
}

#endif
