/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sole.h -- see sole.c: where one worker is the only one of the process it changes the words of guards and of fibers without a locked
 * instruction, and all other threads, which are strangers to it, announce themselves first. */
#ifndef WEFT_EXECUTOR_SOLE_H
#define WEFT_EXECUTOR_SOLE_H

#include <weft/here.h>

#include "executor/strangers.h"

/* Where who runs here is known for the price of two loads. */
#if WEFT_INLINE_ || defined(WEFT__EXPLORE)
#define WEFT__SOLE 1
#else
#define WEFT__SOLE 0
#endif

#define WEFT__SOLE_KEEP 8
#define WEFT__SOLE_FEW 4

/* What a thread is. */
enum {
    WEFT__OF_SEVERAL = 0, /* a worker; its runtime is counted among the strangers for as long as it lives */
    WEFT__IS_SOLE = 1,    /* the one worker */
    WEFT__IS_FOREIGN = 2, /* no worker */
};

#if !WEFT_INLINE_
struct weft_here_ *weft_here_(void);
#endif
struct weft_runtime;
/* What a thread finds of itself: the beginning of a worker, or of the stand-in where no worker is. */
struct weft__nowhere {
    struct weft_here_ here;
    struct weft_runtime *rt; /* NULL in the stand-in */
    unsigned index;
    uint32_t sole; /* WEFT__OF_SEVERAL ... */
};

struct weft__sole {
    alignas(WEFT__CACHELINE) struct weft__strangers strangers; /* tests change keep and few */
    _Atomic(uint32_t) present;                                 /* there is a sole worker (pairs: SOLE) */
    _Atomic(uint32_t) runtimes;
    alignas(WEFT__CACHELINE) struct weft__owner owner; /* the sole worker, at a word */
};
extern struct weft__sole weft__sole;

/* A runtime comes, with so many workers; true: its worker may be the sole one, once all its threads have settled. Goes. `sole`: what comes said. */
bool weft__sole_comes(unsigned workers);
void weft__sole_settled(void);
void weft__sole_goes(bool sole);
/* In the child of a fork: none of them is there. */
void weft__sole_forked(void);
/* The reactor thread of the sole worker's runtime, at each tick. */
void weft__sole_tick(void);
/* Between these two the sole worker changes no word without a locked instruction. */
void weft__sole_stranger_begin(void);
void weft__sole_stranger_end(void);
/* A stranger's. */
bool weft__sole_swap_strange(_Atomic(uint64_t) *word, uint64_t from, uint64_t to);

#if WEFT__SOLE
static inline uint32_t weft__sole_who(void)
{
    return ((const struct weft__nowhere *)(const void *)weft_here_())->sole;
}
#else
static inline uint32_t weft__sole_who(void)
{
    return WEFT__OF_SEVERAL;
}
#endif

/* The sole worker. True: until sole_end nobody else changes a word; a few instructions. */
static inline bool weft__sole_begin(void)
{
    return weft__owner_begin(&weft__sole.owner, &weft__sole.strangers);
}
static inline void weft__sole_end(void)
{
    weft__owner_end(&weft__sole.owner);
}

/* A compare-and-swap of the word of a fiber. Any thread. */
static inline bool weft__sole_swap(_Atomic(uint64_t) *word, uint64_t from, uint64_t to)
{
    uint32_t who = weft__sole_who();
    if (weft__likely(who == WEFT__OF_SEVERAL))
        return weft__cas_acq_rel(word, &from, to); /* pairs: FIBER-WORD */
    if (weft__unlikely(who == WEFT__IS_FOREIGN))
        return weft__sole_swap_strange(word, from, to);
    if (weft__unlikely(!weft__sole_begin()))
        return weft__cas_acq_rel(word, &from, to); /* pairs: FIBER-WORD */
    bool same = weft__load_acquire(word) == from;  /* pairs: FIBER-WORD */
    if (weft__likely(same))
        weft__store_release(word, to); /* pairs: FIBER-WORD */
    weft__sole_end();
    return same;
}
/* The same for loops: *from is what is there where that was something else. */
static inline bool weft__sole_cas(_Atomic(uint64_t) *word, uint64_t *from, uint64_t to)
{
    bool swapped = weft__sole_swap(word, *from, to);
    if (weft__unlikely(!swapped))
        *from = weft__load_acquire(word); /* pairs: FIBER-WORD */
    return swapped;
}

#endif
