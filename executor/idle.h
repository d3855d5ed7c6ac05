/* SPDX-License-Identifier: Apache-2.0 */
/* executor/idle.h -- see idle.c: who sleeps, who searches, who collects events, and how nobody misses work. */
#ifndef WEFT_EXECUTOR_IDLE_H
#define WEFT_EXECUTOR_IDLE_H

#include "executor/atomic.h"
#include "executor/parker.h"

struct weft__worker;
struct weft_runtime;

enum { WEFT__COLLECTOR_FREE = -1, WEFT__COLLECTOR_REACTOR = -2 };

struct weft__idle {
    alignas(WEFT__CACHELINE) _Atomic(uint32_t) parked; /* bits set in `bits`, or about to be */
    _Atomic(int32_t) searching;                        /* woken workers that have not found work yet */
    _Atomic(uint32_t) lookers;                         /* workers that look around before they sleep; a hint */
    _Atomic(int32_t) collector;                        /* the token: who may be in driver->collect */
    _Atomic(uint32_t) asleep;                          /* the reactor thread sleeps without a tick */
    _Atomic(int64_t) last_collect;                     /* instant of the last one */
    _Atomic(uint32_t) rescues; /* times the reactor thread has woken somebody for work that lay behind a step; a hint */
    alignas(WEFT__CACHELINE) _Atomic(uint64_t) bits[16]; /* worker i sleeps, and nobody has taken its wake yet */
    _Atomic(uint64_t) aside[16]; /* worker i sleeps, and stands aside: it is woken for its own sake only (follow.c) */
    struct weft__parker reactor;
};

void weft__idle_init(struct weft__idle *idle);
/* Work for somebody became visible: wake one sleeping worker unless one is searching already. Any thread; `w` the calling
 * worker or NULL. */
void weft__notify(struct weft_runtime *rt, struct weft__worker *w);
/* The same for forked children of the calling worker: whom the kernel puts on its CPU does not push it off there (see BESIDE). */
void weft__notify_of_forks(struct weft__worker *w);
/* Worker: is it on the CPU of who woke it last? And was that for forked children? See BESIDE. */
bool weft__idle_beside(const struct weft__worker *w);
bool weft__idle_beside_forks(const struct weft__worker *w);
/* Wake this worker if it sleeps: there is work that only it, or its node, may run. Any thread; false: it does not sleep, or is woken already. */
bool weft__idle_wake(struct weft_runtime *rt, unsigned worker);
/* Wake every sleeping worker and the reactor thread (shutdown). */
void weft__notify_all(struct weft_runtime *rt);
/* Worker: nothing was found: sleep until woken, an event, or the next own deadline. */
void weft__park(struct weft__worker *w);
/* Worker that stands aside: sleep until it is woken for what only it can do, or its next own deadline. */
void weft__park_aside(struct weft__worker *w);
/* Worker: found something after a search: stop counting as searching, and wake the next one if more is to be had. */
void weft__search_ended(struct weft__worker *w);
/* Collect without waiting if nobody else does and I/O is waited for. True: something was made ready. */
bool weft__try_collect(struct weft_runtime *rt, int32_t who);
/* For the virtual clock: make ready what has arrived by now. 1: something was; 0: nothing had arrived; -1: a worker has the
 * token, maybe with an event in its hands, and has been told to come back: it parks anew. */
int weft__collect_arrived(struct weft_runtime *rt);
/* Does every worker sleep, with nobody on the way to wake one? */
bool weft__all_parked(struct weft_runtime *rt);
/* Is there ready work that another worker could take? `least`: so many items in a worker's queue count even if they lie closed; INT64_MAX:
 * only what lies open does. `w`: for this one, which may spare somebody (spare.h); NULL: for anybody. */
bool weft__work_visible(struct weft_runtime *rt, int64_t least, const struct weft__worker *w);

#endif
