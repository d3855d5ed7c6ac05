/* SPDX-License-Identifier: Apache-2.0 */
/* executor/alone.h -- see alone.c: a worker changes what is mostly its own without a locked instruction, and strangers wait for it. */
#ifndef WEFT_EXECUTOR_ALONE_H
#define WEFT_EXECUTOR_ALONE_H

#include "executor/runtime.h"

/* Owner. True: until alone_end no stranger is at work. In between nothing may be called that waits or suspends. */
static inline bool weft__alone_begin(struct weft__worker *w)
{
    return weft__owner_begin(&w->alone, &w->rt->strangers);
}
static inline void weft__alone_end(struct weft__worker *w)
{
    weft__owner_end(&w->alone);
}
/* The same for an owner who is inside its ready queue, which strangers also wait for (weft__ready_enter came first). */
static inline bool weft__alone_inside(struct weft__worker *w)
{
    if (weft__likely(weft__load_acquire(&w->rt->strangers.count) == 0)) /* pairs: STRANGERS */
        return true;
    return weft__owner_gives_way(&w->alone_inside_gave_way);
}

/* Any thread: between these two no worker of rt is alone, but the caller's own. They may nest. Begin costs a barrier in all threads (some 10 us),
 * unless another stranger has been there in the last ticks; what it returns is for the end. */
unsigned weft__stranger_begin(struct weft_runtime *rt);
void weft__stranger_end(struct weft_runtime *rt, unsigned visit);

/* A worker's mark in the descriptor of a NEW task that it may claim alone: in the place of the fiber. */
static inline struct weft__fiber *weft__task_home(const struct weft__worker *w)
{
    return (struct weft__fiber *)((uintptr_t)w | 2); /* 1 is of parked ones */
}
/* Who found this word and wants to change it by a locked instruction: must he be a stranger for that? */
bool weft__task_strange(const struct weft_task *t, uint64_t word);

#endif
