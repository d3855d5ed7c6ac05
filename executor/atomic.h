/* SPDX-License-Identifier: Apache-2.0 */
/* executor/atomic.h -- the one door to atomic operations: names carry the order.
 *
 * Every atomic in weft goes through these macros, so that an order is never implied, and so that an explorer of
 * interleavings can take the place of the machine: with WEFT__SEAM_HOOK defined, each operation first calls weft__seam, where
 * another thread may run (tests/support/delays.c pauses there). Objects are declared _Atomic(T). Each operation stronger
 * than relaxed carries a comment "pairs: LABEL", whose story is told once at the field; each relaxed one says why that is
 * enough. With WEFT__EXPLORE (tests/model/explore) only the pause of a spin loop is a call: the rest the compiler's instrumentation tells.
 * No stand-alone fences: thread sanitizer cannot see them; the store/load orders that need one use seq_cst operations. */
#ifndef WEFT_EXECUTOR_ATOMIC_H
#define WEFT_EXECUTOR_ATOMIC_H

#include <stdatomic.h>

#include "executor/base.h"

#ifdef WEFT__SEAM_HOOK
void weft__seam(void);
#define WEFT__SEAM() weft__seam()
#else
#define WEFT__SEAM() ((void)0)
#endif

#define weft__load_relaxed(p) (WEFT__SEAM(), atomic_load_explicit((p), memory_order_relaxed))
#define weft__load_acquire(p) (WEFT__SEAM(), atomic_load_explicit((p), memory_order_acquire))
#define weft__load_seq_cst(p) (WEFT__SEAM(), atomic_load_explicit((p), memory_order_seq_cst))
#define weft__store_relaxed(p, v) (WEFT__SEAM(), atomic_store_explicit((p), (v), memory_order_relaxed))
#define weft__store_release(p, v) (WEFT__SEAM(), atomic_store_explicit((p), (v), memory_order_release))
#define weft__store_seq_cst(p, v) (WEFT__SEAM(), atomic_store_explicit((p), (v), memory_order_seq_cst))
#define weft__exchange_acq_rel(p, v) (WEFT__SEAM(), atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#define weft__exchange_seq_cst(p, v) (WEFT__SEAM(), atomic_exchange_explicit((p), (v), memory_order_seq_cst))
/* Strong compare-and-swap: *expected is updated on failure. */
#define weft__cas_acq_rel(p, expected, v)                                                                              \
    (WEFT__SEAM(),                                                                                                     \
     atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel, memory_order_acquire))
#define weft__cas_seq_cst(p, expected, v)                                                                              \
    (WEFT__SEAM(),                                                                                                     \
     atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_seq_cst, memory_order_seq_cst))
#define weft__cas_release(p, expected, v)                                                                              \
    (WEFT__SEAM(),                                                                                                     \
     atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_release, memory_order_relaxed))
#define weft__fetch_add_relaxed(p, v) (WEFT__SEAM(), atomic_fetch_add_explicit((p), (v), memory_order_relaxed))
#define weft__fetch_add_acq_rel(p, v) (WEFT__SEAM(), atomic_fetch_add_explicit((p), (v), memory_order_acq_rel))
#define weft__fetch_add_seq_cst(p, v) (WEFT__SEAM(), atomic_fetch_add_explicit((p), (v), memory_order_seq_cst))
#define weft__fetch_sub_acq_rel(p, v) (WEFT__SEAM(), atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel))
#define weft__fetch_sub_seq_cst(p, v) (WEFT__SEAM(), atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst))
#define weft__fetch_or_acq_rel(p, v) (WEFT__SEAM(), atomic_fetch_or_explicit((p), (v), memory_order_acq_rel))
#define weft__fetch_or_seq_cst(p, v) (WEFT__SEAM(), atomic_fetch_or_explicit((p), (v), memory_order_seq_cst))
#define weft__fetch_and_acq_rel(p, v) (WEFT__SEAM(), atomic_fetch_and_explicit((p), (v), memory_order_acq_rel))
#define weft__fetch_and_seq_cst(p, v) (WEFT__SEAM(), atomic_fetch_and_explicit((p), (v), memory_order_seq_cst))

/* A counter that one thread writes and any may read: a plain add for the writer, never a locked instruction. */
#define weft__count(p, n) weft__store_relaxed((p), weft__load_relaxed(p) + (n)) /* relaxed: statistic, one writer */

/* One more, with release, of what one thread writes: a plain add. As one instruction without a register where it can be, so that hot code around a rare one
 * stays as it is. */
#if defined(__x86_64__) && !defined(WEFT__EXPLORE) && !defined(WEFT__SEAM_HOOK) && !WEFT__TSAN
#define weft__bump_release(p) __asm__ volatile("addl $1, %0" : "+m"(*(uint32_t *)(p)) : : "cc", "memory")
#else
#define weft__bump_release(p) weft__store_release((p), weft__load_relaxed(p) + 1) /* relaxed: one writer */
#endif

/* A plain field that one thread writes and reads, and others may look at, to tell of it: nothing follows from what they see. */
#define weft__store_shown(p, v) (WEFT__SEAM(), __atomic_store_n((p), (v), __ATOMIC_RELAXED))
#define weft__load_shown(p) (WEFT__SEAM(), __atomic_load_n((p), __ATOMIC_RELAXED))

/* Keeps the compiler from moving accesses over it; the processor may. */
#define weft__compiler_barrier() atomic_signal_fence(memory_order_seq_cst)

#ifdef WEFT__EXPLORE
void weft__explore_relax(void);
#endif

static inline void weft__cpu_relax(void)
{
    WEFT__SEAM();
#if defined(WEFT__EXPLORE)
    weft__explore_relax();
#elif defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
