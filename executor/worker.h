/* SPDX-License-Identifier: Apache-2.0 */
/* executor/worker.h -- one worker: its queues, its caches, its counters. Grouped by who writes. */
#ifndef WEFT_EXECUTOR_WORKER_H
#define WEFT_EXECUTOR_WORKER_H

#include <pthread.h>

#include "executor/deque.h"
#include "executor/fiber.h"
#include "executor/parker.h"
#include "executor/slab.h"
#include "executor/topology.h"

/* Written by the worker's own thread, read by anyone. */
struct weft__counters {
    _Atomic(uint64_t) created, finished, inlined, forks, switches, steals[WEFT_DISTANCES], stolen, misses, parks,
        injected;
    _Atomic(uint64_t) batches, events;
};

#define WEFT__STACK_CACHE 64 /* warm fibers a worker keeps per class before it gives some back */

struct weft__fiber_cache {
    struct weft__fiber *first;
    _Atomic(uint32_t) count; /* one writer, or under the guard */
    uint32_t low;            /* least count since the last trim: the part nobody needed */
};

/* Between these two, in one thread, nothing that becomes ready can be run: it is kept, and becomes ready at the end. They may nest: the outermost
 * one decides. Nothing may suspend in between. Any thread. */
struct weft__hold {
    struct weft__worker *worker; /* NULL: a thread that is no worker */
    struct weft_runtime *rt;     /* of what is kept; another runtime's is not held back */
    bool outermost;
    struct weft__link *first, *last;
};

struct weft__worker {
    /* ---- the worker's own thread only ---- */
    struct weft_runtime *rt;
    unsigned index;
    struct weft__fiber *current;                  /* NULL in the idle loop */
    void (*after)(struct weft__worker *, void *); /* to run on the context switched to */
    void *after_argument;
    struct weft__context context; /* the idle loop, on the thread's own stack */
    uint64_t picks, random, next_id, last_id;
    int64_t round_left;    /* order=fifo: entries left in this round */
    uintptr_t due;         /* order=fifo: a callback whose timer has fired: it runs in the timer's place */
    uint64_t round_timers; /* order=fifo: timers set before this count fire in this round; 0: they have */
    bool batching;
    struct weft__hold *hold; /* what becomes ready is held back here; NULL: it goes into the queue */
    struct weft__hold batch; /* of the running task's open batch; batch.c */
    uint64_t batches;        /* opened so far */
    bool in_turn;            /* the runtime's: close at hand */
    bool searching;          /* counted in idle.searching */
    weft_ns last_trim;
    struct weft__slab_cache tasks;
    struct weft__fiber_cache stacks[WEFT__STACK_CLASSES];
    pthread_t thread;
    _Atomic(int) tid; /* kernel's number of the thread, for the tick to ask about */
    struct weft_place place;
    int pin_error;
    /* ---- written by the worker, read by the reactor's tick ---- */
    alignas(WEFT__CACHELINE) _Atomic(uint64_t) steps; /* grows at each switch */
    _Atomic(const weft_coro *) running;               /* what this step runs, NULL in the idle loop */
    struct weft__counters counters;
    /* ---- written by the worker, read by the root at the end ---- */
    _Atomic(uint32_t) callbacks; /* that it runs. CALLBACKS: raised, then `refused` is looked at; refused, then this */
    /* ---- written by others ---- */
    alignas(WEFT__CACHELINE) _Atomic(uint32_t) hurry; /* set by the tick: look at timers and I/O at the next pick */
    _Atomic(uint64_t) wakes;                          /* times woken (statistic) */
    /* ---- shared structures, each with its own rules ---- */
    struct weft__deque ready; /* fibers and unstarted tasks, first in first out */
    struct weft__deque joins; /* forked children, youngest first for the owner, oldest for thieves */
    struct weft__inbox inbox;
    struct weft__parker parker;
    struct weft__timers timers;
};

/* Ready items are tagged words: a fiber to resume, or a task (also a child) to start. */
#define WEFT__ITEM_FIBER ((uintptr_t)1)
static inline uintptr_t weft__item_of_fiber(struct weft__fiber *f)
{
    return (uintptr_t)f | WEFT__ITEM_FIBER;
}
static inline uintptr_t weft__item_of_task(struct weft_task *t)
{
    return (uintptr_t)t;
}
static inline uintptr_t weft__item_of_entry(struct weft__entry *entry)
{
    return (uintptr_t)entry;
}
uintptr_t weft__item_of_link(struct weft__link *link);
struct weft__link *weft__link_of_item(uintptr_t item);

/* The worker whose thread this is, NULL in other threads. Never inlined: its result must not be remembered over a switch. */
struct weft__worker *weft__worker_self(void);
/* Idle loop: run the item (0: only what was left to do) until the CPU comes back. */
void weft__worker_enter(struct weft__worker *w, uintptr_t item);
void weft__worker_set_self(struct weft__worker *w);

int weft__worker_init(struct weft__worker *w, struct weft_runtime *rt, unsigned index);
void weft__worker_destroy(struct weft__worker *w);
void *weft__worker_main(void *worker); /* thread function */

/* Make an item ready: at the end of the calling worker's queue if it belongs to rt, else in the injector; and see to it that
 * somebody runs it. Any thread. */
void weft__make_ready(struct weft_runtime *rt, uintptr_t item);
void weft__hold_begin(struct weft__hold *hold);
void weft__hold_end(struct weft__hold *hold);
/* The open batch of a fiber's task ends: it suspends, or has ended (batch.c). */
void weft__batch_close(struct weft__fiber *f);
/* A timer's callback: with order=fifo it runs where the timer stands in the round, else it is ready. Inside fire. */
void weft__make_due(struct weft_runtime *rt, uintptr_t item);
/* Who had the turn of the strand (NULL: nothing to do) leaves the CPU, or never runs: on to the next. Any thread. */
void weft__strand_pass(struct weft_runtime *rt, struct weft_strand *s);
/* Whoever picked an item: true when it is to be run (a fiber, or a task that is claimed by this call); false when it was nothing any more, or
 * an entry that has been run. */
bool weft__item_claim(uintptr_t item);
/* A callback that was claimed has run, or can't. */
void weft__callback_left(struct weft__worker *w);
/* Owner. The next local item that can be run: a fiber, or a task that this call has claimed. 0: nothing here. */
uintptr_t weft__worker_pick(struct weft__worker *w);
/* Owner, in the idle loop. An item from another worker, from an inbox or the injector; 0: none. */
uintptr_t weft__worker_steal(struct weft__worker *w);
/* Owner. Move what lies in the inbox or the injector to the ready queue; true if anything came. */
bool weft__worker_take_inboxes(struct weft__worker *w);
static inline void weft__worker_after(struct weft__worker *w)
{
    void (*after)(struct weft__worker *, void *) = w->after;
    if (after != NULL) {
        w->after = NULL;
        after(w, w->after_argument);
    }
}

#endif
