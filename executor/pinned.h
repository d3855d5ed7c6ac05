/* SPDX-License-Identifier: Apache-2.0 */
/* executor/pinned.h -- see pinned.c: what is ready and may run on one worker, or on the workers of one node, only. */
#ifndef WEFT_EXECUTOR_PINNED_H
#define WEFT_EXECUTOR_PINNED_H

#include "executor/atomic.h"
#include "executor/inbox.h"

struct weft_runtime;
struct weft__worker;
struct weft__fiber;
struct weft_task;
struct weft_task_options;

/* The ready queue of a place: the worker i has number i, the k-th node that is somebody's home has workers + k. */
struct weft__pinned {
    alignas(
        WEFT__CACHELINE) _Atomic(uint32_t) count; /* written under the guard; PINNED: told at the head of pinned.c */
    uint32_t guard;                               /* of the rest */
    struct weft__link *first, *last;
    unsigned next;          /* member to be asked next when nobody sleeps */
    int node;               /* the kernel's number; -1: a worker's */
    unsigned members;       /* workers that take from here; never change */
    const uint16_t *member; /* their numbers */
};

struct weft__pinned_set {
    struct weft__pinned *place; /* of the workers, then of the nodes */
    unsigned workers, nodes;
    unsigned named_workers; /* so many may be named: with sched=seeded one worker stands for all that were asked for */
    uint16_t *member;
};

enum { WEFT__HURRY_TICK = 1, WEFT__HURRY_PINNED = 2, WEFT__HURRY_ASIDE = 4 }; /* bits of a worker's `hurry` */

int weft__pinned_init(struct weft_runtime *rt);
void weft__pinned_destroy(struct weft_runtime *rt);
/* What the options say of the place: its number + 1, 0: anywhere (also where there is one worker), -EINVAL: no such place. */
int weft__pinned_place(struct weft_runtime *rt, const struct weft_task_options *options, uint32_t *where);
/* The place + 1 of an item that may be pinned; 0: it is not. Whoever has the item. */
unsigned weft__pinned_of(uintptr_t item);
/* May t run on top of what the fiber runs? */
bool weft__pinned_fits(const struct weft__fiber *f, const struct weft_task *t);
/* Any thread (one that is no worker: a visitor). The item is ready, and somebody who may run it is told. */
void weft__pinned_push(struct weft_runtime *rt, unsigned place, uintptr_t item);
/* Owner. The next item for this worker, 0: none. Whether there is one. */
uintptr_t weft__pinned_take(struct weft__worker *w);
bool weft__pinned_waits(const struct weft__worker *w);
/* Does anything lie in any place? Any thread. */
bool weft__pinned_any(const struct weft_runtime *rt);
/* The reactor's tick: what lies in a node's place beside one of its workers that sleeps. True: one was woken. */
bool weft__pinned_late(struct weft_runtime *rt);

#endif
