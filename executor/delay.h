/* SPDX-License-Identifier: Apache-2.0 */
/* executor/delay.h -- see delay.c: how long what becomes ready waits for its turn. */
#ifndef WEFT_EXECUTOR_DELAY_H
#define WEFT_EXECUTOR_DELAY_H

#include <weft/base.h>

#include "executor/atomic.h"
#include "executor/task.h"

struct weft__worker;
struct weft_runtime;

enum { WEFT__PROBE_NONE, WEFT__PROBE_WANTED, WEFT__PROBE_QUEUED };

/* Of one worker. */
struct weft__delay {
    struct weft__entry entry;
    _Atomic(uint32_t) state;        /* WEFT__PROBE_* (pairs: PROBE) */
    _Atomic(int64_t) pushed;        /* when the probe entered the queue */
    _Atomic(uint64_t) steps;        /* the worker's, then */
    _Atomic(int64_t) window, least; /* when the window began; the least delay in it, WEFT_FOREVER: none yet */
    /* What is told. DELAY-KNOWN: changed by an exchange, also when tick and probe do so at once, so that each difference goes into the
     * runtime's sum once; who reads it sees the one that was told last. */
    alignas(WEFT__CACHELINE) _Atomic(int64_t) known;
};

void weft__delay_init(struct weft__delay *d);
/* The worker, at a moment at which it looks around anyhow. */
void weft__delay_push(struct weft__worker *w);
static inline bool weft__delay_wanted(const struct weft__delay *d)
{
    return weft__load_relaxed(&d->state) == WEFT__PROBE_WANTED; /* relaxed: the owner looks again */
}
/* The reactor's tick. `idle`: the worker has done nothing since the last one. */
void weft__delay_tick(struct weft__worker *w, bool idle, weft_ns now);
/* The worker has run out of work. */
void weft__delay_none(struct weft__worker *w);
static inline bool weft__delay_told(const struct weft__delay *d)
{
    return weft__load_relaxed(&d->known) != 0; /* relaxed: a number by itself */
}
/* What a worker's queue is known to take. Any thread. */
weft_ns weft__delay_of(const struct weft__worker *w);

#endif
