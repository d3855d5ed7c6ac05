/* SPDX-License-Identifier: Apache-2.0 */
/* executor/burst.h -- see burst.c: is it worth while to wake somebody for forked children? */
#ifndef WEFT_EXECUTOR_BURST_H
#define WEFT_EXECUTOR_BURST_H

#include "executor/atomic.h"
#include "executor/base.h"

struct weft__worker;

struct weft__burst {        /* written by the worker's own thread */
    weft_ns since;          /* instant from which on this one is timed; 0: nobody could have been woken in it so far */
    _Atomic(weft_ns) alone; /* it is left to its worker, since then; 0: it is not. Read by the reactor's tick */
    int64_t again;          /* then: height of the stack of children at which to look at the clock */
    uint32_t brief, needed; /* bursts in a row that were brief; so many are believed */
};

void weft__burst_init(struct weft__burst *b);
/* Owner: children could be shared, and somebody sleeps. True: he is not to be woken now. */
bool weft__burst_alone(struct weft__worker *w);
/* Owner: somebody has been woken for them. */
void weft__burst_shared(struct weft__burst *b);
/* Owner, in the idle loop, when nothing is left to pick: of a burst that is timed. */
void weft__burst_end(struct weft__worker *w);
/* Any thread, a hint: it is left alone, and is still young. */
bool weft__burst_fresh(const struct weft__burst *b);

#endif
