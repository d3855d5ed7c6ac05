/* SPDX-License-Identifier: Apache-2.0 */
/* executor/spare.h -- see spare.c: whom a thief leaves alone for a while, because it would have done its work sooner itself. */
#ifndef WEFT_EXECUTOR_SPARE_H
#define WEFT_EXECUTOR_SPARE_H

#include <weft/run.h>

#include "executor/atomic.h"
#include "executor/base.h"

struct weft__worker;

#define WEFT__SPARE_LIGHT 200 /* ns an item, with its way from core to core: below that its owner has it done sooner */

/* The thief's own. */
struct weft__spare {
    const struct weft__worker *spared; /* NULL: nobody */
    weft_ns until;
    unsigned loot;  /* so many items were taken last, and it is not known yet how heavy they were; 0: none */
    unsigned light; /* so many times in a row they were light */
    const struct weft__worker *from;
    weft_ns at;
    uint64_t finished;       /* tasks that the thief had ended by then */
    _Atomic(uint64_t) times; /* that it spared somebody: one writer */
};

/* The worker has taken these items of the victim's ready queue. */
void weft__spare_took(struct weft__worker *w, const struct weft__worker *victim, const uintptr_t *items, unsigned n);
/* The worker has nothing left to do: how heavy was it? And is the time over for which it spares somebody? */
void weft__spare_look(struct weft__worker *w);
/* The same at a known time. `light`: WEFT__SPARE_LIGHT; `finished`: tasks that the worker has ended so far. */
void weft__spare_judge(struct weft__spare *s, weft_ns now, weft_ns light, uint64_t finished);
/* The worker has looked on for so long in vain, while the owner made so many steps. */
void weft__spare_brisk(struct weft__worker *w, const struct weft__worker *owner, uint64_t steps, weft_ns now,
                       weft_ns took);
/* When to come back for what the spared one has: WEFT_FOREVER: nobody is spared. */
static inline weft_ns weft__spare_until(const struct weft__spare *s)
{
    return s->spared != NULL ? s->until : WEFT_FOREVER;
}

#endif
